//! One process of the program: its output in a file, signals for it, the processor time that it
//! used. Killed when dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::eventually;

/// The deadline of a start, an end, and an awaited line of output.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running program, mostly `shaddock`.
pub(crate) struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts the program with the configuration in `config` and these options. Its output goes to
    /// a file in `logs` that is named after `name`.
    pub(crate) fn start(name: &str, config: &Path, logs: &Path, options: &[&str]) -> Self {
        let mut command = Command::new(shaddock());
        command.env_clear().arg("--config").arg(config).args(options);
        Self::spawn(name, command, logs)
    }

    /// Starts a program. Its stderr goes to a file in `logs` that is named after `name`.
    pub(crate) fn spawn(name: &str, mut command: Command, logs: &Path) -> Self {
        let runs = (1..).map(|run| logs.join(format!("{name}.{run}.log")));
        let output = runs.into_iter().find(|path| !path.exists()).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&output).unwrap());
        Self { name: name.to_owned(), child: command.spawn().unwrap(), output }
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

    /// Returns its output so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    /// Sends it a signal, for example `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([format!("-{signal}"), self.child.id().to_string()]).status();
        assert!(status.unwrap().success(), "kill -{signal} of {} failed", self.name);
    }

    /// Kills it, as `kill -9` does. When this returns, the process has ended.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM, and waits until it has ended with status 0.
    pub(crate) async fn stop(&mut self) {
        self.signal("TERM");
        let mut status = None;
        eventually(DEADLINE, &format!("{} ends", self.name), async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert!(status.is_some_and(|status| status.success()), "{} ends in order: {}", self.name, self.output());
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The release build of the program, below the same target directory as this bench: cargo builds
/// programs of its own package only for a bench.
fn shaddock() -> PathBuf {
    let bench = std::env::current_exe().unwrap();
    let program = bench.parent().and_then(Path::parent).unwrap().join("shaddock");
    assert!(
        program.exists(),
        "there is no {}: run the bench with make (`make bench`, `make bench-failover`, `make bench-messages`), or build \
         it with `cargo build --release --package cluster --bin shaddock`",
        program.display()
    );
    program
}

/// Returns the processor time of all threads of a process, in user and kernel mode.
pub(crate) fn processor_time(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let used = |thread: &Path| {
        // A thread that has just ended is left out.
        let stat = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
        stat.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or_default()
    };
    threads.map(|thread| Duration::from_nanos(used(&thread.unwrap().path()))).sum()
}
