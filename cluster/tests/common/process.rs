//! One process of the program: its output kept in a file and shown if the test fails; killed when dropped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use testkit::eventually;
use tokio::process::{Child, Command};

/// The longest that anything here may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running `shaddock`.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// The program, with nothing of the developer's environment.
pub(crate) fn shaddock() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shaddock"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

impl Process {
    /// Starts the program with environment variables; its output goes to a file in `directory` that
    /// is called after `name`.
    pub(crate) fn start<S: AsRef<OsStr>>(
        directory: &Path,
        name: &str,
        args: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
    ) -> Self {
        let output = File::create(directory.join(format!("{name}.log"))).unwrap();
        let outputs = (output.try_clone().unwrap().into(), output.into());
        Self::start_with_outputs(directory, name, args, environment, outputs)
    }

    /// The same with a stdout and a stderr of the test's own; what goes there is not kept.
    pub(crate) fn start_with_outputs<S: AsRef<OsStr>>(
        directory: &Path,
        name: &str,
        args: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
        (stdout, stderr): (Stdio, Stdio),
    ) -> Self {
        let log = directory.join(format!("{name}.log"));
        let mut command = shaddock();
        command.arg("--config").arg(directory).args(args).envs(environment.iter().copied());
        let child = command.stdout(stdout).stderr(stderr).spawn().unwrap();
        Self { name: name.to_owned(), child, log }
    }

    /// What it wrote so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it wrote `text`; `false` if it ended before.
    pub(crate) async fn wait_for_output(&mut self, text: &str) -> bool {
        let mut said = false;
        eventually(DEADLINE, &format!("{} says {text:?}", self.name), async || {
            let ended = self.child.try_wait().unwrap().is_some();
            said = self.output().contains(text);
            said || ended
        })
        .await;
        said
    }

    /// Sends it a signal, for example `TERM`.
    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.child.id().unwrap_or_else(|| panic!("{} has ended", self.name));
        let status = Command::new("kill").args([format!("-{signal}"), id.to_string()]).status().await;
        assert!(status.unwrap().success(), "kill -{signal} of {} failed", self.name);
    }

    /// Waits for its end, and returns its exit code.
    pub(crate) async fn wait(&mut self) -> Option<i32> {
        self.wait_within(DEADLINE).await
    }

    /// The same with a deadline of one's own.
    pub(crate) async fn wait_within(&mut self, deadline: Duration) -> Option<i32> {
        let status = tokio::time::timeout(deadline, self.child.wait()).await;
        status.unwrap_or_else(|_| panic!("{} does not end within {deadline:?}", self.name)).unwrap().code()
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "tells why a test failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.name, fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
