//! The state that all sessions of a run share: clock, step, wakers and counts.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use client::Tls;
use futures_util::task::AtomicWaker;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::plan::Plan;
use super::sender::{SendMode, Step};
use super::tag::RunMarker;

/// The number of locks over which counts are spread.
// One lock for all users would make threads wait for each other; one per user would make every sum
// slow.
const COUNT_SHARDS: usize = 4;

/// The shared state of a run.
#[derive(Debug)]
pub(super) struct RunState {
    pub(super) plan: Plan,
    pub(super) marker: RunMarker,
    /// The authorities that sessions trust, if they are known.
    pub(super) tls: Option<Tls>,
    /// Cancelled when sessions are to end.
    pub(super) stop: CancellationToken,
    began: Instant,
    // Read at each wake-up of a user, and written once a step.
    step: RwLock<Step>,
    // One waker per user: a shared notification would wake all users for each message.
    wakers: Vec<AtomicWaker>,
    counts: Vec<Mutex<Counts>>,
    login_permits: Semaphore,
    /// The earliest time of the next login.
    next_login: Mutex<Instant>,
}

impl RunState {
    /// Before the first login; what is counted until the first step is one window.
    pub(super) fn new(plan: &Plan, run: u32) -> Self {
        let began = Instant::now();
        let counts = || Mutex::new(Counts { window: 0..u64::MAX, ..Counts::default() });
        Self {
            marker: RunMarker::new(run),
            tls: trusted(plan).map(|tls| tls.without_resumption()),
            stop: CancellationToken::new(),
            began,
            step: RwLock::new(Step { number: 0, mode: SendMode::Paused }),
            wakers: (0..plan.users).map(|_| AtomicWaker::new()).collect(),
            counts: (0..COUNT_SHARDS).map(|_| counts()).collect(),
            login_permits: Semaphore::new(plan.connecting),
            next_login: Mutex::new(began),
            plan: plan.clone(),
        }
    }

    /// Nanoseconds since the run began.
    pub(super) fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Returns the instant of this time of the run.
    pub(super) fn instant(&self, nanos: u64) -> Instant {
        self.began + Duration::from_nanos(nanos)
    }

    pub(super) fn step(&self) -> Step {
        *self.step.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the step and wakes all users.
    pub(super) fn set_step(&self, step: Step) {
        *self.step.write().unwrap_or_else(PoisonError::into_inner) = step;
        self.wake_all();
    }

    /// Ends all sessions.
    pub(super) fn end(&self) {
        self.stop.cancel();
        self.wake_all();
    }

    /// Wakes all users, so that they check for due messages.
    pub(super) fn wake_all(&self) {
        self.wakers.iter().for_each(AtomicWaker::wake);
    }

    /// Returns the waker of this user.
    pub(super) fn waker(&self, user: u32) -> &AtomicWaker {
        &self.wakers[user as usize]
    }

    /// Locks the counts of this user.
    pub(super) fn counts(&self, user: u32) -> MutexGuard<'_, Counts> {
        lock(&self.counts[user as usize % COUNT_SHARDS])
    }

    /// Returns one count, summed over all users.
    pub(super) fn sum(&self, of: impl Fn(&Counts) -> u64) -> u64 {
        self.counts.iter().map(|counts| of(&lock(counts))).sum()
    }

    /// Returns the counts of all users, and starts new ones for this window.
    pub(super) fn take_counts(&self, window: &Range<u64>) -> Counts {
        let mut sum = Counts::default();
        for counts in &self.counts {
            sum.add(&lock(counts).take(window.clone()));
        }
        sum
    }

    /// Waits until one more login may begin. It counts as in progress until the permit is dropped.
    /// Returns `None` once the run ends.
    pub(super) async fn begin_login(&self) -> Option<SemaphorePermit<'_>> {
        let admitted = async {
            // Two limits: the permits bound the logins under way, the slots their rate. With a rate
            // alone, a slow server would get ever more of them at once.
            let permit = self.login_permits.acquire().await.ok();
            sleep_until(self.next_login_slot()).await;
            permit
        };
        self.stop.run_until_cancelled(admitted).await.flatten()
    }

    /// Returns the time of the next login, at the configured rate.
    fn next_login_slot(&self) -> Instant {
        let mut next = self.next_login.lock().unwrap_or_else(PoisonError::into_inner);
        // Time in which no login could begin is not made up for, but for 10 ms: a burst would
        // exceed the configured rate.
        let turn = (*next).max(Instant::now() - Duration::from_millis(10));
        *next = turn + Duration::from_secs_f64(1.0 / self.plan.connect_rate);
        turn
    }
}

/// The authorities of the plan, or of the platform if the gate has TLS.
fn trusted(plan: &Plan) -> Option<Tls> {
    // Without any, each login fails with the reason.
    plan.tls.clone().or_else(|| plan.gate.transport.is_secure().then(Tls::platform)?.ok())
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}
