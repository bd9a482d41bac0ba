//! The holds of a process, which all its connectors share, and the timer that ends them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use crate::adaptive_hold::AdaptiveHold;
use crate::log_rate_limit::LogRateLimit;
use crate::precise_timer::PreciseTimer;

/// The holds of a process. Clones are the same thing.
#[derive(Debug, Clone)]
pub struct SharedHold(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rule: Mutex<AdaptiveHold>,
    // One for all: each wake-up costs as much as some requests.
    timer: PreciseTimer,
}

/// The ends of holds, as one connector waits for them.
#[derive(Debug)]
pub struct HoldEnds {
    hold: SharedHold,
    /// Number of the hold that it waits for, if there is one.
    awaited: Option<u64>,
}

impl SharedHold {
    /// Creates the holds of a process, and their timer. None is longer than `limit`.
    ///
    /// # Errors
    /// If the system has no file descriptor left.
    pub fn start(limit: Duration, now: Instant) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner { rule: Mutex::new(AdaptiveHold::new(limit, now)), timer: PreciseTimer::new()? })))
    }

    /// Returns the ends of holds for a connector, which waits for none yet.
    pub fn ends(&self) -> HoldEnds {
        HoldEnds { hold: self.clone(), awaited: None }
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
        ends.awaited = end.and_then(|end| if lasts { Some(self.0.timer.last()) } else { self.set(end - now) });
        ends.awaited.is_some()
    }

    /// Sets the timer. Without one, requests are not held.
    fn set(&self, length: Duration) -> Option<u64> {
        static NOT_SET: LogRateLimit = LogRateLimit::new();
        let set = self.0.timer.set(length);
        if let Err(error) = &set
            && let Some(suppressed) = NOT_SET.pass()
        {
            error!(%error, suppressed, "the timer of holds failed: requests are not held");
        }
        set.ok()
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
            self.hold.0.timer.fired(awaited).await;
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
