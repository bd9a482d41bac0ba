//! The holds of a process, which all its connectors share, and the timer that ends them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::adaptive_hold::AdaptiveHold;
use crate::precise_timer::PreciseTimer;

/// The holds of a process. Clones are the same thing.
#[derive(Debug, Clone)]
pub struct SharedHold(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rule: Mutex<AdaptiveHold>,
    // One for all: each thread that wakes up costs more than the requests of a hold.
    timer: PreciseTimer,
}

/// The ends of holds, as one connector waits for them.
#[derive(Debug)]
pub struct HoldEnds {
    fired: watch::Receiver<u64>,
    /// Number of the hold that it waits for, if there is one.
    awaited: Option<u64>,
}

impl SharedHold {
    /// Creates the holds of a process, and the thread of their timer. None is longer than `limit`.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(limit: Duration, now: Instant) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner { rule: Mutex::new(AdaptiveHold::new(limit, now)), timer: PreciseTimer::start()? })))
    }

    /// Returns the ends of holds for a connector, which waits for none yet.
    pub fn ends(&self) -> HoldEnds {
        HoldEnds { fired: self.0.timer.fired(), awaited: None }
    }

    /// Counts requests.
    pub fn record_requests(&self, count: usize, now: Instant) {
        self.rule().record_requests(count, now);
    }

    /// Counts pushes to sessions.
    pub fn record_pushes(&self, count: usize, now: Instant) {
        self.rule().record_pushes(count, now);
    }

    /// Begins a hold for requests of which the first arrived at `first`, or joins the one that
    /// lasts. Returns false if they need not wait.
    pub fn begin(&self, first: Instant, now: Instant, ends: &mut HoldEnds) -> bool {
        let mut rule = self.rule();
        let lasts = rule.end(now).is_some();
        let end = rule.begin(first, now);
        ends.awaited = end.map(|end| if lasts { self.0.timer.last() } else { self.0.timer.set(end - now) });
        ends.awaited.is_some()
    }

    fn rule(&self) -> MutexGuard<'_, AdaptiveHold> {
        // Nothing panics while holding the lock.
        self.0.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HoldEnds {
    /// Returns true while it waits for the end of a hold.
    pub fn is_waiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// Completes when the hold ends; at once if it waits for none. Can be dropped while waiting
    /// without losing the end.
    pub async fn next(&mut self) {
        if let Some(awaited) = self.awaited {
            // The timer is gone only with all of the process's connectors.
            self.fired.wait_for(|fired| *fired >= awaited).await.ok();
            self.awaited = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(3);

    #[tokio::test]
    async fn all_connectors_of_a_process_wait_for_one_end() {
        let hold = SharedHold::start(LIMIT, Instant::now()).unwrap();
        let (mut first, mut second) = (hold.ends(), hold.ends());
        let began = Instant::now();
        hold.record_requests(200, began);
        assert!(hold.begin(began, began, &mut first) && hold.begin(began, began, &mut second));
        tokio::join!(first.next(), second.next());
        assert!(began.elapsed() >= Duration::from_millis(2), "{:?}", began.elapsed());
        assert!(!first.is_waiting() && !second.is_waiting());
    }

    #[tokio::test]
    async fn light_load_does_not_wait() {
        let hold = SharedHold::start(LIMIT, Instant::now()).unwrap();
        let mut ends = hold.ends();
        let now = Instant::now();
        hold.record_requests(1, now);
        assert!(!hold.begin(now, now, &mut ends) && !ends.is_waiting());
        ends.next().await;
    }
}
