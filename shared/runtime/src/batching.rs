//! Rate of sending: at once while there is little, at most once per gap when there is much, so that
//! what comes meanwhile goes out together. Pure; times are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// Sendings that may follow one another at once after a silence.
const BURST: u32 = 8;

/// Time at which something may be sent next. Each sending costs one gap, and time pays them back, up to a
/// burst of them: what is sent more rarely than once per gap never waits.
#[derive(Debug)]
pub struct BatchTimer {
    gap: Duration,
    /// Time at which all that was sent is paid back.
    paid_at: Instant,
}

impl BatchTimer {
    /// Nothing was sent until now; sendings are so far apart when there are many.
    pub fn new(gap: Duration, now: Instant) -> Self {
        Self { gap, paid_at: now }
    }

    /// Until when the next sending is held; none if it may be made now.
    pub fn held_until(&self, now: Instant) -> Option<Instant> {
        let owed = self.paid_at.saturating_duration_since(now);
        let held = owed.checked_sub(self.gap * (BURST - 1))?;
        (!held.is_zero()).then(|| now + held)
    }

    /// Something was sent.
    pub fn sent(&mut self, now: Instant) {
        self.paid_at = self.paid_at.max(now) + self.gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_millis(3);

    /// Sends as often as may be for this time, and tells how often that was.
    fn sent(pace: &mut BatchTimer, from: Instant, lasting: Duration) -> u32 {
        let (mut now, mut sent) = (from, 0);
        while now < from + lasting {
            match pace.held_until(now) {
                Some(until) => now = until,
                None => {
                    pace.sent(now);
                    sent += 1;
                }
            }
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn much_is_sent_a_gap_apart_after_a_burst() {
        let start = Instant::now();
        let mut pace = BatchTimer::new(GAP, start);
        assert_eq!(sent(&mut pace, start, GAP), BURST);
        assert_eq!(sent(&mut pace, start + GAP, GAP * 100), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_rare_never_waits() {
        let start = Instant::now();
        let mut pace = BatchTimer::new(GAP, start);
        for number in 0..1_000 {
            let now = start + GAP * number;
            assert_eq!(pace.held_until(now), None);
            pace.sent(now);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_pays_back_no_more_than_a_burst() {
        let start = Instant::now();
        let mut pace = BatchTimer::new(GAP, start);
        sent(&mut pace, start, GAP * 10);
        let later = start + Duration::from_secs(60);
        assert_eq!(sent(&mut pace, later, GAP), BURST);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_gap_nothing_waits() {
        let start = Instant::now();
        let mut pace = BatchTimer::new(Duration::ZERO, start);
        for _ in 0..1_000 {
            assert_eq!(pace.held_until(start), None);
            pace.sent(start);
        }
    }
}
