//! The schedule of an open loop: evenly spaced messages, independent of responses. Pure.

use std::time::Duration;

const NANOS: f64 = 1e9;

/// An open loop's times, in nanoseconds since the run began. Senders take turns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The time of the first message.
    pub begins: u64,
    /// Messages per second of all senders, above 0.
    pub rate: f64,
    /// The number of senders, at least 1.
    pub senders: u32,
}

impl Schedule {
    /// Returns the time of this turn.
    pub fn due(&self, turn: u64) -> u64 {
        // Computed from the first turn: adding up gaps would add up their rounding errors.
        self.begins + (turn as f64 * NANOS / self.rate) as u64
    }

    /// Returns the sender of this turn.
    pub fn sender(&self, turn: u64) -> u32 {
        (turn % u64::from(self.senders)) as u32
    }

    /// The turn in which a sender sends for the `count`th time, from 0.
    pub fn turn(&self, sender: u32, count: u64) -> u64 {
        count * u64::from(self.senders) + u64::from(sender)
    }

    /// Returns the number of turns before this time.
    pub fn turns_before(&self, time: u64) -> u64 {
        let near = (time.saturating_sub(self.begins) as f64 * self.rate / NANOS) as u64;
        // Rounded either way: the turns around it decide.
        let first = near.saturating_sub(1);
        (first..).find(|turn| self.due(*turn) >= time).unwrap_or(near)
    }

    /// Returns the time left until this turn.
    pub(super) fn until(&self, turn: u64, now: u64) -> Duration {
        Duration::from_nanos(self.due(turn).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { begins: 5_000, rate: 3_000.0, senders: 4 };

    #[test]
    fn turns_are_evenly_spread_without_drift() {
        assert_eq!(SCHEDULE.due(0), 5_000);
        assert_eq!(SCHEDULE.due(1), 338_333);
        assert_eq!(SCHEDULE.due(3_000 * 3_600), 5_000 + 3_600 * 1_000_000_000);
    }

    #[test]
    fn senders_take_turns() {
        let senders: Vec<_> = (0..6).map(|turn| SCHEDULE.sender(turn)).collect();
        assert_eq!(senders, [0, 1, 2, 3, 0, 1]);
        for turn in 0..100 {
            let sender = SCHEDULE.sender(turn);
            assert_eq!(SCHEDULE.turn(sender, turn / 4), turn);
        }
    }

    #[test]
    fn as_many_turns_are_before_a_time_as_are_due_then() {
        for rate in [0.3, 1.0, 7.0, 3_000.0, 99_999.9] {
            let schedule = Schedule { rate, ..SCHEDULE };
            for turn in [0, 1, 2, 1_000, 123_457] {
                assert_eq!(schedule.turns_before(schedule.due(turn)), turn, "{rate}");
                assert_eq!(schedule.turns_before(schedule.due(turn) + 1), turn + 1, "{rate}");
            }
        }
        assert_eq!(SCHEDULE.turns_before(0), 0);
    }

    #[test]
    fn a_second_has_as_many_turns_as_the_rate() {
        let turns = |from: u64| SCHEDULE.turns_before(from + 1_000_000_000) - SCHEDULE.turns_before(from);
        assert_eq!(turns(5_000), 3_000);
        assert_eq!(turns(123_456_789), 3_000);
    }
}
