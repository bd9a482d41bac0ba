//! Processes of the program's release build, and the processor time that they use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) use testkit::Process;

/// Starts the program with the configuration in `config` and these options. Its output goes to a
/// file in `logs` that is named after `name`.
pub(crate) fn start(name: &str, config: &Path, logs: &Path, options: &[&str]) -> Process {
    let mut command = Command::new(shaddock());
    command.env_clear().arg("--config").arg(config).args(options);
    Process::start(name, command, logs)
}

/// The release build of the program, below the same target directory as this bench: cargo builds
/// programs of its own package only for a bench.
pub(crate) fn shaddock() -> PathBuf {
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
