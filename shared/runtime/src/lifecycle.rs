//! Starting and stopping: every task has an owner, and after `stop` none is left. A panic in a
//! server's own task, or its early end, is a failure of the process; one in a session's task is
//! not.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one server, and the signals that end them.
///
/// `draining` requests that a server hands its work over to others while it continues to serve.
/// `stopping` requests a graceful shutdown: take no new work, finish what is accepted. `killed`
/// comes when the grace time is over: end at once. `failed` is shared by all servers of a process:
/// a server without one of its tasks serves no client, so the process must end. Clones refer to the
/// same tasks.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    tracker: TaskTracker,
    drain: CancellationToken,
    drained: CancellationToken,
    soft: CancellationToken,
    hard: CancellationToken,
    /// One of these tasks failed.
    broken: CancellationToken,
    /// One of the tasks of the process failed.
    failed: CancellationToken,
}

impl Lifecycle {
    /// A lifecycle without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// A lifecycle without tasks, of another server of the same process.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self { failed: self.failed.clone(), ..Self::default() }
    }

    /// Runs `task` as one of this lifecycle's tasks; it is dropped when the lifecycle is killed. If
    /// it panics, the process has failed.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let lifecycle = self.clone();
        self.spawn_session(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                lifecycle.fail();
            }
        });
    }

    /// Runs a task that the server needs: the process has also failed if the task ends before a
    /// stop was requested.
    pub fn spawn_main(&self, task: impl Future<Output = ()> + Send + 'static) {
        let lifecycle = self.clone();
        self.spawn(async move {
            task.await;
            if !lifecycle.soft.is_cancelled() {
                lifecycle.fail();
            }
        });
    }

    /// Runs a task that serves a single client or request. A panic ends that task only.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn_session(&self, task: impl Future<Output = ()> + Send + 'static) {
        // No failure of the process: one client must not be able to end the server for all others.
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

    fn fail(&self) {
        self.broken.cancel();
        self.failed.cancel();
    }

    /// Completes when a task of this process failed.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.failed.clone().cancelled_owned()
    }

    /// Returns true if a task of this process failed.
    pub fn has_failed(&self) -> bool {
        self.failed.is_cancelled()
    }

    /// Returns true if one of these tasks failed: there is no orderly end without it.
    pub fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }

    /// Completes when the server is to hand over what it does to others.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.drain.clone().cancelled_owned()
    }

    /// Returns true if the server is about to end: it drains, or stops, or the process failed.
    pub fn is_ending(&self) -> bool {
        self.drain.is_cancelled() || self.soft.is_cancelled() || self.has_failed()
    }

    /// Notes that the server has handed over all its work.
    pub fn mark_drained(&self) {
        self.drained.cancel();
    }

    /// Requests a drain and waits for its end, at most for `most`. Returns true if the server has
    /// drained.
    pub async fn drain(&self, most: Duration) -> bool {
        self.drain.cancel();
        tokio::time::timeout(most, self.drained.cancelled()).await.is_ok()
    }

    /// Completes when a graceful shutdown was requested.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        self.soft.clone().cancelled_owned()
    }

    /// Requests a stop of all tasks without waiting for them.
    pub fn begin_stop(&self) {
        self.soft.cancel();
        self.tracker.close();
    }

    /// Requests a stop of all tasks, waits up to `grace`, then drops the remaining ones.
    ///
    /// Returns true if all ended by themselves. Afterwards none is left.
    pub async fn stop(&self, grace: Duration) -> bool {
        let grace = if self.is_broken() { Duration::ZERO } else { grace };
        // Without the task that failed the others cannot finish their work, so the grace time would
        // be lost.
        self.begin_stop();
        let orderly = tokio::time::timeout(grace, self.tracker.wait()).await.is_ok();
        // Dropped, not abandoned: a task that outlives its server would still hold listeners and
        // rooms.
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
    async fn stop_drops_tasks_that_do_not_end() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(std::future::pending());
        assert!(!lifecycle.stop(Duration::from_secs(2)).await);
    }

    /// A lifecycle and another one of its process.
    fn two() -> (Lifecycle, Lifecycle) {
        let lifecycle = Lifecycle::new();
        (lifecycle.clone(), lifecycle.sibling())
    }

    async fn panics() {
        panic!("on purpose");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_task_fails_the_process() {
        let (one, other) = two();
        other.spawn(std::future::pending());
        one.spawn(std::future::pending());
        assert!(!one.has_failed() && !other.is_ending());
        one.spawn(panics());
        other.failed().await;
        assert!(one.is_broken() && !other.is_broken());
        assert!(one.is_ending() && other.is_ending());
        // What is left of its server is not waited for.
        let began = tokio::time::Instant::now();
        assert!(!one.stop(Duration::from_secs(60)).await);
        assert!(began.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_early_end_of_a_main_task_fails_the_process() {
        let (one, other) = two();
        one.spawn(async {});
        let stopping = one.stopping();
        one.spawn_main(stopping);
        assert!(one.stop(Duration::from_secs(1)).await);
        assert!(!one.has_failed());
        other.spawn_main(async {});
        one.failed().await;
        let third = one.sibling();
        third.spawn_main(panics());
        third.broken.cancelled().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_sessions_task_ends_that_task_only() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn_session(panics());
        assert!(lifecycle.stop(Duration::from_secs(60)).await);
        assert!(!lifecycle.has_failed());
    }
}
