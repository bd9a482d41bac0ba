//! The schedule by which a connector that shuts down closes its connections: evenly over a time
//! window. Pure.

use std::time::Duration;

/// Spreads the closing of connections over the drain window.
#[derive(Debug)]
pub struct DrainSchedule {
    /// Connections due up to this time have been taken, except for the fraction in `carry`.
    closed_until: Duration,
    /// Fraction of a connection that is due and not yet taken.
    carry: f64,
    ends: Duration,
}

impl DrainSchedule {
    /// Begins at `now + wait` and ends `window` later.
    pub fn new(now: Duration, wait: Duration, window: Duration) -> Self {
        let begins = now + wait;
        Self { closed_until: begins, carry: 0.0, ends: begins + window }
    }

    /// Returns the number of connections to close now, of `open`; all of them at the end.
    ///
    /// The rate does not depend on the interval between calls: a fraction of a connection is
    /// carried over, so no second gets more than its share.
    pub fn take_due(&mut self, now: Duration, open: usize) -> usize {
        if now >= self.ends {
            return open;
        }
        let Some(past) = now.checked_sub(self.closed_until) else { return 0 };
        // The share is taken of the connections that are still open, not of those at the beginning:
        // clients also leave by themselves, and a fixed rate would finish early.
        let left = self.ends - self.closed_until;
        let share = past.as_secs_f64() / left.as_secs_f64() * (open as f64 - self.carry).max(0.0);
        let due = (self.carry + share).floor();
        self.carry += share - due;
        self.closed_until = now;
        // Clients that left by themselves may have reduced `open` below the carried share.
        (due as usize).min(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK_MS: usize = 50;

    /// Returns the connections closed at each tick of a wait of one second and a window of five.
    fn closed(mut open: usize) -> Vec<usize> {
        let ms = |ms: usize| Duration::from_millis(ms as u64);
        let mut schedule = DrainSchedule::new(ms(0), ms(1_000), ms(5_000));
        let mut tick = |tick| {
            let due = schedule.take_due(ms(tick * TICK_MS), open);
            open -= due;
            due
        };
        let closed = (0..=120).map(&mut tick).collect();
        assert_eq!(open, 0);
        closed
    }

    #[test]
    fn connections_are_closed_evenly_and_in_the_end_all() {
        let closed = closed(1_000);
        assert!(closed[..20].iter().all(|count| *count == 0), "gates must learn of it first");
        let most = closed.iter().max().unwrap();
        assert!((10..=11).contains(most), "{most} at once");
    }

    #[test]
    fn no_second_has_more_than_its_share() {
        for open in [1, 4, 49, 60, 149, 200, 333, 1_000, 20_000] {
            let most = closed(open).windows(1_000 / TICK_MS).map(|second| second.iter().sum::<usize>()).max().unwrap();
            assert!(most <= open.div_ceil(5) + 1, "{most} of {open} within a second");
        }
    }
}
