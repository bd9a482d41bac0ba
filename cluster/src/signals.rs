//! The signals that ask a process to stop, or to look at its configuration.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for SIGTERM and SIGINT from now on.
///
/// # Errors
/// If the operating system does not let us listen.
pub fn stop_asked() -> io::Result<StopSignals> {
    Ok(StopSignals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
}

/// SIGTERM and SIGINT as they come.
#[derive(Debug)]
pub struct StopSignals {
    term: Signal,
    int: Signal,
}

impl StopSignals {
    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// Listens for SIGHUP from now on: the configuration is to be looked at.
///
/// # Errors
/// If the operating system does not let us listen.
pub fn look_asked() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}
