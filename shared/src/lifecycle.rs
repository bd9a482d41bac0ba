//! Starting and stopping: every task has an owner, and after `stop` none is left.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one server, and the signals that end them.
///
/// `draining` asks a server to hand over to others what it does, while it goes on working. `stopping` asks for an orderly end:
/// stop taking new work, finish what is accepted. `killed` comes when the grace time is over: end at once. Clones speak of the
/// same tasks.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    tracker: TaskTracker,
    drain: CancellationToken,
    drained: CancellationToken,
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Lifecycle {
    /// A lifecycle without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` as one of this lifecycle's tasks; it is dropped when the lifecycle is killed.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let hard = self.hard.clone();
        // Boxed: a block that holds a future and awaits it has room for it twice.
        let task = Box::pin(task);
        tokio::spawn(self.tracker.track_future(async move {
            tokio::select! {
                () = hard.cancelled_owned() => {}
                () = task => {}
            }
        }));
    }

    /// Completes when the server is to hand over what it does to others.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.drain.clone().cancelled_owned()
    }

    /// Whether the server is about to end: it hands over, or stops.
    pub fn is_ending(&self) -> bool {
        self.drain.is_cancelled() || self.soft.is_cancelled()
    }

    /// The server has handed over all that it did.
    pub fn has_drained(&self) {
        self.drained.cancel();
    }

    /// Asks the server to hand over, and waits until it has, at most so long. Returns whether it has.
    pub async fn drain(&self, most: Duration) -> bool {
        self.drain.cancel();
        tokio::time::timeout(most, self.drained.cancelled()).await.is_ok()
    }

    /// Completes when an orderly end was asked for.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        self.soft.clone().cancelled_owned()
    }

    /// Asks all tasks to end without waiting for them.
    pub fn begin_stop(&self) {
        self.soft.cancel();
        self.tracker.close();
    }

    /// Asks all tasks to end, waits up to `grace`, then drops what is left.
    ///
    /// Returns whether all ended by themselves. Afterwards none is left.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.begin_stop();
        let orderly = tokio::time::timeout(grace, self.tracker.wait()).await.is_ok();
        self.hard.cancel();
        self.tracker.wait().await;
        orderly
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stop_waits_for_orderly_tasks() {
        let lifecycle = Lifecycle::new();
        let stopping = lifecycle.stopping();
        lifecycle.spawn(async move {
            stopping.await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        });
        assert!(lifecycle.stop(Duration::from_secs(2)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn stop_drops_what_does_not_end() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(std::future::pending());
        assert!(!lifecycle.stop(Duration::from_secs(2)).await);
    }
}
