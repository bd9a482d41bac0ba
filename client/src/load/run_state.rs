//! What all sessions of a run share: the clock, the step, the bells that wake them, and their tallies.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::counts::Tally;
use super::plan::Plan;
use super::sender::{Step, Tempo};
use super::tag::Mark;

/// Parts in which is counted, so that threads seldom wait for each other.
const PARTS: usize = 4;

/// What sessions share.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) plan: Plan,
    pub(super) mark: Mark,
    /// Cancelled when sessions are to end.
    pub(super) over: CancellationToken,
    began: Instant,
    step: RwLock<Step>,
    bells: Vec<AtomicWaker>,
    tallies: Vec<Mutex<Tally>>,
    door: Semaphore,
    /// When the next login may begin.
    next_login: Mutex<Instant>,
}

impl Stage {
    /// Before the first login; what is counted until the first step is one window.
    pub(super) fn new(plan: &Plan, run: u32) -> Self {
        let began = Instant::now();
        let tally = || Mutex::new(Tally { window: 0..u64::MAX, ..Tally::default() });
        Self {
            mark: Mark::new(run),
            over: CancellationToken::new(),
            began,
            step: RwLock::new(Step { number: 0, tempo: Tempo::Quiet }),
            bells: (0..plan.users).map(|_| AtomicWaker::new()).collect(),
            tallies: (0..PARTS).map(|_| tally()).collect(),
            door: Semaphore::new(plan.connecting),
            next_login: Mutex::new(began),
            plan: plan.clone(),
        }
    }

    /// Nanoseconds since the run began.
    pub(super) fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// When that is.
    pub(super) fn instant(&self, nanos: u64) -> Instant {
        self.began + Duration::from_nanos(nanos)
    }

    pub(super) fn step(&self) -> Step {
        *self.step.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the step, and wakes everybody.
    pub(super) fn set_step(&self, step: Step) {
        *self.step.write().unwrap_or_else(PoisonError::into_inner) = step;
        self.wake_all();
    }

    /// Ends all sessions.
    pub(super) fn end(&self) {
        self.over.cancel();
        self.wake_all();
    }

    /// Wakes everybody, to look what there is to do.
    pub(super) fn wake_all(&self) {
        self.bells.iter().for_each(AtomicWaker::wake);
    }

    /// What wakes this user.
    pub(super) fn bell(&self, user: u32) -> &AtomicWaker {
        &self.bells[user as usize]
    }

    /// Where this user counts.
    pub(super) fn tally(&self, user: u32) -> MutexGuard<'_, Tally> {
        lock(&self.tallies[user as usize % PARTS])
    }

    /// One count, of all users.
    pub(super) fn count(&self, of: impl Fn(&Tally) -> u64) -> u64 {
        self.tallies.iter().map(|tally| of(&lock(tally))).sum()
    }

    /// What all users counted; from now on they count anew, in this window.
    pub(super) fn renew(&self, window: &Range<u64>) -> Tally {
        let mut sum = Tally::default();
        for tally in &self.tallies {
            sum.add(&lock(tally).renew(window.clone()));
        }
        sum
    }

    /// Waits until one more login may begin; it is under way until the permit is dropped. `None` if all is over.
    pub(super) async fn admit(&self) -> Option<SemaphorePermit<'_>> {
        let admitted = async {
            let permit = self.door.acquire().await.ok();
            sleep_until(self.turn_to_log_in()).await;
            permit
        };
        self.over.run_until_cancelled(admitted).await.flatten()
    }

    /// Nobody makes up for time in which nobody could.
    fn turn_to_log_in(&self) -> Instant {
        let mut next = self.next_login.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(Instant::now() - Duration::from_millis(10));
        *next = turn + Duration::from_secs_f64(1.0 / self.plan.connect_rate);
        turn
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
