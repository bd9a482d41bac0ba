//! A rate limit for log lines: a line that can repeat per message, room or connection is logged once
//! in a while, with the number of lines that were suppressed in between.
//!
//! ```
//! use runtime::log_rate_limit::LogRateLimit;
//!
//! static REFUSED: LogRateLimit = LogRateLimit::new();
//! if let Some(suppressed) = REFUSED.pass() {
//!     tracing::warn!(suppressed, "a message was refused");
//! }
//! ```

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time between two lines of one kind.
const GAP: Duration = Duration::from_secs(10);

/// The limit of one kind of line, a static beside the line.
// A process has one log: a limit per server or room would let through as many lines as there are
// servers or rooms.
#[derive(Debug)]
pub struct LogRateLimit(Mutex<State>);

/// The time of the last line, and the count of suppressed lines since. Pure; the time is an
/// argument.
#[derive(Debug, Default)]
struct State {
    logged_at: Option<Instant>,
    suppressed: u64,
}

impl LogRateLimit {
    /// Nothing of this kind was logged.
    #[expect(clippy::new_without_default, reason = "a static wants a const function, which Default has none of")]
    pub const fn new() -> Self {
        Self(Mutex::new(State { logged_at: None, suppressed: 0 }))
    }

    /// Returns the number of lines suppressed since the last one if a line may be logged now; else
    /// counts it as suppressed.
    pub fn pass(&self) -> Option<u64> {
        // No code panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now())
    }
}

impl State {
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.logged_at.is_some_and(|at| now.saturating_duration_since(at) < GAP) {
            self.suppressed += 1;
            return None;
        }
        self.logged_at = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_passes_once_per_gap_with_the_count_of_suppressed_ones() {
        let limit = LogRateLimit::new();
        assert_eq!(limit.pass(), Some(0));
        for _ in 0..1_000 {
            assert_eq!(limit.pass(), None);
        }
        tokio::time::advance(GAP).await;
        assert_eq!(limit.pass(), Some(1_000));
        assert_eq!(limit.pass(), None);
        tokio::time::advance(GAP * 9).await;
        assert_eq!(limit.pass(), Some(1));
        tokio::time::advance(GAP).await;
        assert_eq!(limit.pass(), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_are_limited_apart() {
        let (one, other) = (LogRateLimit::new(), LogRateLimit::new());
        assert_eq!((one.pass(), one.pass(), other.pass()), (Some(0), None, Some(0)));
    }
}
