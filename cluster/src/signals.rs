//! Signals that stop a process or reload its configuration. All other signals that would end it
//! without a hand-over are ignored.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Sent by tools that rotate logs, by profilers, timers and habit. Some have names on Linux only;
/// the numbers are those of its common architectures.
#[cfg(target_os = "linux")]
const IGNORED: [std::ops::RangeInclusive<i32>; 7] = [
    10..=10, // SIGUSR1
    12..=12, // SIGUSR2
    14..=14, // SIGALRM
    16..=16, // SIGSTKFLT
    25..=27, // SIGXFSZ (a log file at its limit), SIGVTALRM, SIGPROF
    29..=30, // SIGIO, SIGPWR
    FIRST_REAL_TIME..=64,
];

/// The C library uses the numbers below.
#[cfg(target_os = "linux")]
const FIRST_REAL_TIME: i32 = if cfg!(target_env = "musl") { 35 } else { 34 };

/// SIGALRM, SIGXFSZ to SIGPROF, SIGUSR1 and SIGUSR2 of BSD and macOS.
#[cfg(not(target_os = "linux"))]
const IGNORED: [std::ops::RangeInclusive<i32>; 3] = [14..=14, 25..=27, 30..=31];

/// Number of SIGXCPU everywhere: the process is about to be killed for its use of the processor.
const XCPU: i32 = 24;

/// Listens for SIGTERM, SIGINT, SIGQUIT and SIGXCPU from now on.
///
/// # Errors
/// If the operating system does not let us listen.
pub fn stop_signals() -> io::Result<StopSignals> {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::from_raw(XCPU)];
    let [term, int, quit, xcpu] = kinds.map(signal);
    Ok(StopSignals { term: term?, int: int?, quit: quit?, xcpu: xcpu? })
}

/// The stop signals that arrive.
#[derive(Debug)]
pub struct StopSignals {
    term: Signal,
    int: Signal,
    quit: Signal,
    xcpu: Signal,
}

impl StopSignals {
    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
            _ = self.quit.recv() => {}
            _ = self.xcpu.recv() => {}
        }
    }
}

/// Listens for SIGHUP from now on, which reloads the configuration.
///
/// # Errors
///
/// If the operating system refuses the handler.
pub fn reload_signals() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Makes this process ignore all other signals that would end it, but for those of a crash.
///
/// # Errors
/// If the operating system does not let us.
pub fn ignore_other_signals() -> io::Result<()> {
    for number in IGNORED.into_iter().flatten() {
        // Listened for and dropped: the runtime's handler stays, and does nothing.
        drop(signal(SignalKind::from_raw(number))?);
    }
    Ok(())
}
