//! Processes of the program's release build, and the processor time that they use.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub(crate) use testkit::{Process, shaddock};

/// Starts the program with the configuration in `config` and these options. Its output goes to a
/// file in `logs` that is named after `name`.
pub(crate) fn start(name: &str, config: &Path, logs: &Path, options: &[&str]) -> Process {
    let mut command = Command::new(shaddock());
    command.env_clear().arg("--config").arg(config).args(options);
    Process::start(name, command, logs)
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
