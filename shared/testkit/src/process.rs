//! One process: its output is kept in a file, and shown if the test fails. Killed when dropped.

#![expect(clippy::panic, clippy::expect_used, reason = "fails the test that runs the process, saying why")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::eventually;

/// A running program, mostly `shaddock`.
#[derive(Debug)]
pub struct Process {
    name: String,
    id: u32,
    state: Mutex<State>,
    /// The file of its output; none if a test takes the output itself.
    log: Option<PathBuf>,
}

#[derive(Debug)]
struct State {
    child: Child,
    /// Known once the process has ended and this value noticed.
    status: Option<ExitStatus>,
}

impl State {
    fn status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("a child of this process has a status");
        }
        self.status
    }
}

impl Process {
    /// The longest that a start, an end, or an expected line of output may take on a busy machine.
    pub const DEADLINE: Duration = Duration::from_secs(30);

    /// Starts a command. Its stdout and stderr go to `NAME.RUN.log` in `logs`, where `RUN` counts
    /// the starts under this name.
    pub fn start(name: &str, command: Command, logs: &Path) -> Self {
        let mut runs = (1..).map(|run| logs.join(format!("{name}.{run}.log")));
        let log = runs.find(|log| !log.exists()).expect("numbers do not end");
        let output = File::create(&log).expect("the directory takes files");
        let outputs = (output.try_clone().expect("a file can be opened twice").into(), output.into());
        let mut process = Self::start_with_outputs(name, command, outputs);
        process.log = Some(log);
        process
    }

    /// Starts a command with a stdout and a stderr of the test's own. What is written there is not
    /// kept.
    pub fn start_with_outputs(name: &str, mut command: Command, (stdout, stderr): (Stdio, Stdio)) -> Self {
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let id = child.id();
        Self { name: name.to_owned(), id, state: Mutex::new(State { child, status: None }), log: None }
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Everything that the process wrote so far.
    pub fn output(&self) -> String {
        let log = self.log.as_ref().expect("the output is kept");
        fs::read_to_string(log).expect("the output is text")
    }

    /// Waits until the process wrote `text`. Returns false if it ended before.
    pub async fn wait_for_output(&self, text: &str) -> bool {
        let mut is_written = false;
        eventually(Self::DEADLINE, &format!("{} writes {text:?}", self.name), async || {
            // The status first: what is written between the two looks must not be missed.
            let has_ended = self.state().status().is_some();
            is_written = self.output().contains(text);
            is_written || has_ended
        })
        .await;
        is_written
    }

    /// Sends a signal, for example `TERM`.
    ///
    /// # Panics
    /// If the process is known to have ended.
    pub fn signal(&self, signal: &str) {
        // The id of a process that ended may be another's by now.
        assert!(self.state().status.is_none(), "{} has ended", self.name);
        let status = Command::new("kill").args([format!("-{signal}"), self.id.to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{signal} of {} failed", self.name);
    }

    /// Waits until the process ends. Returns its exit code, or none if a signal ended it.
    pub async fn wait(&self) -> Option<i32> {
        self.wait_within(Self::DEADLINE).await
    }

    /// Waits like [`Process::wait`], with another deadline.
    pub async fn wait_within(&self, deadline: Duration) -> Option<i32> {
        let mut status = None;
        eventually(deadline, &format!("{} ends", self.name), async || {
            status = self.state().status();
            status.is_some()
        })
        .await;
        status.and_then(|status| status.code())
    }

    /// Ends the process at once, as `kill -9` does. Nothing of it is left when this returns.
    pub fn kill(&self) {
        let mut state = self.state();
        state.child.kill().expect("a child can be killed");
        state.status = Some(state.child.wait().expect("a killed child ends"));
    }

    /// Stops the process gracefully.
    ///
    /// # Panics
    /// If its exit code is not 0.
    pub async fn stop(&self) {
        self.signal("TERM");
        assert_eq!(self.wait().await, Some(0), "exit code of {}", self.name);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "says why a test failed")]
    fn drop(&mut self) {
        let mut state = self.state();
        // It may have ended by itself.
        state.child.kill().ok();
        state.child.wait().ok();
        drop(state);
        if let Some(log) = self.log.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("--- {}\n{}", self.name, fs::read_to_string(log).unwrap_or_default());
        }
    }
}
