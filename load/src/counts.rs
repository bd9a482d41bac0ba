//! Counters and time histograms of a run. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use hdrhistogram::Histogram;

/// Digits of a time that are right.
// One more digit would make each histogram about ten times as large.
const DIGITS: u8 = 3;
/// The longest time that the histogram distinguishes, in microseconds.
const LONGEST: u64 = 600_000_000;

/// Times in microseconds.
#[derive(Debug, Clone)]
pub(super) struct TimeHistogram(Histogram<u64>);

impl Default for TimeHistogram {
    #[expect(clippy::expect_used, reason = "the bounds are constants")]
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("the bounds make sense"))
    }
}

impl TimeHistogram {
    /// Adds a time in nanoseconds.
    pub(super) fn add(&mut self, nanos: u64) {
        // A time above the bound counts as the longest one. An error would drop the worst times of
        // all.
        self.0.saturating_record(nanos / 1_000);
    }

    /// The quantile, 0 to 1, in milliseconds; 0 without any times.
    pub(super) fn quantile_ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The longest, in milliseconds.
    pub(super) fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }

    fn add_all(&mut self, other: &Self) {
        // Both have the same bounds, so it cannot fail.
        self.0.add(&other.0).ok();
    }
}

/// Counts of one step, or of a part of its users.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// The time that is measured, in nanoseconds since the run began.
    pub(super) window: Range<u64>,
    /// Messages that were due in the window and sent.
    pub(super) sent: u64,
    /// Acknowledgements received in the window.
    pub(super) acknowledged: u64,
    /// Other responses received in the window, by their code.
    pub(super) refused: BTreeMap<u16, u64>,
    /// Messages whose outcome is unknown.
    pub(super) unknown: u64,
    /// Messages that were sent again.
    pub(super) repeated: u64,
    /// Messages received in the window.
    pub(super) deliveries: u64,
    pub(super) doubled: u64,
    pub(super) reordered: u64,
    /// Messages received in another room than the one that they were sent to.
    pub(super) misplaced: u64,
    /// Sessions that ended, by the reason.
    pub(super) closed: BTreeMap<String, u64>,
    /// Logins that failed, by the reason.
    pub(super) denied: BTreeMap<String, u64>,
    /// Logins in the window.
    pub(super) logins: u64,
    /// From when messages of the window were due to each of their deliveries.
    pub(super) latency: TimeHistogram,
    /// From when messages of the window were due to their acknowledgements.
    pub(super) ack: TimeHistogram,
    /// From the first connection of a login until the room is entered.
    pub(super) login: TimeHistogram,
    /// Messages sent without a final response, in the window or not.
    pub(super) pending: u64,
    /// Messages received, in the window or not.
    pub(super) received: u64,
}

impl Counts {
    /// Records a send of a message that was due at `due`; `again` for a repeat.
    pub(super) fn record_sent(&mut self, due: u64, again: bool) {
        // A repeat is the same message: counted twice, it would hide a message that was never sent.
        if !again {
            self.sent += u64::from(self.window.contains(&due));
            self.pending += 1;
        }
    }

    /// Records a received message and when it was due.
    pub(super) fn record_delivery(&mut self, due: u64, now: u64) {
        self.received += 1;
        // Throughput counts arrivals in the window. Latency counts the messages that were due in
        // it, however late they arrive: otherwise the slowest ones would be left out.
        self.deliveries += u64::from(self.window.contains(&now));
        if self.window.contains(&due) {
            self.latency.add(now.saturating_sub(due));
        }
    }

    /// Records the acknowledgement of a message and when it was due.
    pub(super) fn record_acknowledgement(&mut self, due: u64, now: u64) {
        self.acknowledged += u64::from(self.window.contains(&now));
        if self.window.contains(&due) {
            self.ack.add(now.saturating_sub(due));
        }
    }

    /// Records the refusal of a message.
    pub(super) fn record_refusal(&mut self, code: u16, now: u64) {
        if self.window.contains(&now) {
            *self.refused.entry(code).or_default() += 1;
        }
    }

    /// Records a login that began at `began`.
    pub(super) fn record_login(&mut self, began: u64, now: u64) {
        if self.window.contains(&now) {
            self.logins += 1;
            self.login.add(now.saturating_sub(began));
        }
    }

    /// Adds the counts of others in the same window.
    pub(super) fn add(&mut self, other: &Self) {
        self.window = other.window.clone();
        for (sum, count) in [
            (&mut self.sent, other.sent),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.unknown, other.unknown),
            (&mut self.repeated, other.repeated),
            (&mut self.deliveries, other.deliveries),
            (&mut self.doubled, other.doubled),
            (&mut self.reordered, other.reordered),
            (&mut self.misplaced, other.misplaced),
            (&mut self.logins, other.logins),
            (&mut self.received, other.received),
            (&mut self.pending, other.pending),
        ] {
            *sum += count;
        }
        add_counts(&mut self.refused, &other.refused);
        add_counts(&mut self.closed, &other.closed);
        add_counts(&mut self.denied, &other.denied);
        self.latency.add_all(&other.latency);
        self.ack.add_all(&other.ack);
        self.login.add_all(&other.login);
    }

    /// Returns the counts and starts new ones for this window. Messages that are pending stay
    /// pending.
    pub(super) fn take(&mut self, window: Range<u64>) -> Self {
        let fresh = Self { window, pending: self.pending, ..Self::default() };
        std::mem::replace(self, fresh)
    }
}

fn add_counts<K: Ord + Clone>(sums: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    for (key, count) in counts {
        *sums.entry(key.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn latency_is_that_of_what_was_due_in_the_window_and_counts_are_of_what_came_in_it() {
        let mut counts = Counts { window: 10 * MS..20 * MS, ..Counts::default() };
        counts.record_delivery(9 * MS, 11 * MS);
        counts.record_delivery(15 * MS, 16 * MS);
        counts.record_delivery(19 * MS, 119 * MS);
        assert_eq!((counts.deliveries, counts.received), (2, 3));
        assert_eq!(counts.latency.quantile_ms(0.5), 1.0);
        assert!((counts.latency.max_ms() - 100.0).abs() < 0.1, "{}", counts.latency.max_ms());
    }

    #[test]
    fn parts_add_up() {
        let mut sum = Counts::default();
        for part in 1..=3 {
            let mut counts = Counts { window: 0..MS, ..Counts::default() };
            counts.record_refusal(429, 0);
            counts.record_acknowledgement(0, part * 1_000);
            counts.record_login(0, part * 1_000);
            counts.pending = 1;
            sum.add(&counts);
        }
        assert_eq!((sum.refused[&429], sum.acknowledged, sum.logins, sum.pending), (3, 3, 3, 3));
        assert_eq!(sum.ack.max_ms(), 0.003);
        let before = sum.take(MS..2 * MS);
        assert_eq!((before.logins, sum.logins, sum.pending), (3, 0, 3));
    }

    #[test]
    fn without_times_there_are_zeros() {
        assert_eq!((TimeHistogram::default().quantile_ms(0.99), TimeHistogram::default().max_ms()), (0.0, 0.0));
    }
}
