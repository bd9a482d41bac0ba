//! The thread that replaces the certificate for clients when its files change.

use std::io;
use std::thread;
use std::time::Duration;

use cluster::reload_signals;
use node::tls::CertificateReloader;
use runtime::interval::interval;
use runtime::log_rate_limit::LogRateLimit;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tracing::{error, info};

/// Time between two reads. SIGHUP reads at once.
const INTERVAL: Duration = Duration::from_secs(10);

/// Starts the thread, which ends with the process. Completes with an error if it ends before.
///
/// # Errors
/// If the system refuses a thread.
// Threads of the servers look at signals between tasks only, and under a storm of handshakes that is
// late: just then a new certificate must not wait.
pub(crate) fn start(reloader: CertificateReloader) -> io::Result<oneshot::Receiver<()>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (runs, ended) = oneshot::channel();
    thread::Builder::new().name("certificate".to_owned()).spawn(move || {
        if let Err(error) = runtime.block_on(watch(reloader)) {
            error!(%error, "signals cannot be listened for");
        }
        // After a panic, too: the receiver is then told the same.
        drop(runs);
    })?;
    Ok(ended)
}

/// Serves a changed certificate to new connections. Logs an error in it, and keeps the one before.
async fn watch(mut reloader: CertificateReloader) -> io::Result<()> {
    let (mut reloads, mut tick) = (reload_signals()?, interval(INTERVAL));
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = reloads.recv() => {}
        }
        match reloader.reload_if_changed() {
            None => {}
            Some(Ok(())) => {
                static CHANGED: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = CHANGED.pass() {
                    info!(suppressed, "new connections get a new certificate");
                }
            }
            Some(Err(error)) => {
                static REFUSED: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = REFUSED.pass() {
                    error!(suppressed, "the certificate is refused, the one before stays: {error}");
                }
            }
        }
    }
}
