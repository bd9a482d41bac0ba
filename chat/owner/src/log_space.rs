//! The space that a part of the log has left, as a chat server knows it: the status of the last
//! check, and what this server has appended since.

use model::rpc::messages::LogShortage;
use model::settings::Settings;
use model::size_limits::largest_message;

/// Part of the log above which it takes joins and leaves, and no messages.
const RESERVE: f64 = 0.95;

/// Bytes of a record in the log besides its own: its subject, headers, and the log's own fields.
const RECORD_AROUND: u64 = 128;

/// Milliseconds between two checks of the log.
const CHECK_MS: u64 = 3_000;

/// Milliseconds between two checks while more than half of `log.pressure` is used.
const FREQUENT_CHECK_MS: u64 = 300;

/// Milliseconds between two checks while this server appends much.
const LEAST_CHECK_MS: u64 = 5;

/// The log has so many times the bytes that this server may append between two checks.
// The checks show what other servers append. With a small log the time alone is no bound: it could
// be full before the next check.
const CHECKS_PER_LOG: u64 = 256;

const HOUR_MS: u64 = 3_600_000;

/// The space of a part of the log.
#[derive(Debug, Clone)]
pub struct LogSpace {
    pressure: f64,
    room_share: f64,
    /// Bytes of the largest message: a room may always have one.
    largest_message: u64,
    /// The limits that follow from the log's size; none before the first check.
    limits: Option<Limits>,
    /// Bytes in the log at the last check.
    checked: u64,
    /// Bytes appended since the last check began, and since one began that has not ended yet.
    appended: u64,
    appended_during_check: u64,
    /// Bytes of the appends in flight.
    in_flight: u64,
}

/// Limits of a log, in bytes.
#[derive(Debug, Clone, Copy)]
struct Limits {
    size: u64,
    pressure: u64,
    reserve: u64,
    room_share: u64,
}

/// Bytes that the messages of a room's next record may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageSpace {
    /// Until the log's reserve.
    pub until_reserve: u64,
    /// Of the room's share; none without pressure.
    pub of_share: Option<u64>,
}

impl MessageSpace {
    /// No limit.
    pub const UNLIMITED: Self = Self { until_reserve: u64::MAX, of_share: None };
}

/// Bytes of a room's messages, halved each hour.
#[derive(Debug, Default, Clone, Copy)]
pub struct RecentBytes {
    bytes: u64,
    halved_at: u64,
}

impl RecentBytes {
    /// Returns the bytes now.
    pub fn at(self, ticks: u64) -> u64 {
        self.halved(ticks).bytes
    }

    /// Adds the bytes of messages.
    pub fn add(&mut self, bytes: u64, ticks: u64) {
        *self = self.halved(ticks);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn halved(self, ticks: u64) -> Self {
        let hours = ticks.saturating_sub(self.halved_at) / HOUR_MS;
        let bytes = u32::try_from(hours).ok().and_then(|hours| self.bytes.checked_shr(hours)).unwrap_or(0);
        Self { bytes, halved_at: self.halved_at + hours * HOUR_MS }
    }
}

impl LogSpace {
    /// Returns the space of a log that was not checked yet: it has no limit.
    pub fn new(settings: &Settings) -> Self {
        Self {
            pressure: settings.log.pressure,
            room_share: settings.log.room_share,
            largest_message: largest_message(settings.room.max_content) as u64,
            limits: None,
            checked: 0,
            appended: 0,
            appended_during_check: 0,
            in_flight: 0,
        }
    }

    /// Returns the space of a piece of this part, which has all its bytes at first. Appends in
    /// flight are not counted yet.
    pub(crate) fn of_piece(&self) -> Self {
        Self { in_flight: 0, ..self.clone() }
    }

    /// Notes that a check begins.
    pub fn begin_check(&mut self) {
        self.appended_during_check = 0;
    }

    /// Takes the result of a check that succeeded: the bytes that the log has and may have.
    // Appends that ended during the check may be in the result or not. They count once more: an
    // estimate that is too low could fill the log.
    pub fn end_check(&mut self, bytes: u64, size: u64) {
        let part = |part: f64| (size as f64 * part) as u64;
        let room_share = part(self.room_share).max(self.largest_message);
        self.limits = Some(Limits { size, pressure: part(self.pressure), reserve: part(RESERVE), room_share });
        self.checked = bytes;
        self.appended = self.appended_during_check;
    }

    /// Returns the milliseconds between the beginning of the last check and that of the next.
    pub fn check_ms(&self) -> u64 {
        match self.limits {
            Some(limits) if self.appended + self.in_flight > limits.size / CHECKS_PER_LOG => LEAST_CHECK_MS,
            Some(limits) if self.used() > limits.pressure / 2 => FREQUENT_CHECK_MS,
            _ => CHECK_MS,
        }
    }

    /// Returns the shortage, if there is one.
    pub fn shortage(&self) -> Option<LogShortage> {
        let (limits, used) = (self.limits?, self.used());
        if used > limits.reserve {
            Some(LogShortage::Reserve)
        } else {
            (used > limits.pressure).then_some(LogShortage::Pressure)
        }
    }

    /// Notes that an append of a record begins.
    pub(crate) fn begin_append(&mut self, record_bytes: usize) {
        self.in_flight += record_bytes as u64 + RECORD_AROUND;
    }

    /// Notes that an append ended; `may_have` is false if the log certainly does not have the
    /// record.
    pub(crate) fn end_append(&mut self, record_bytes: usize, may_have: bool) {
        let bytes = record_bytes as u64 + RECORD_AROUND;
        self.in_flight = self.in_flight.saturating_sub(bytes);
        if may_have {
            self.appended += bytes;
            self.appended_during_check += bytes;
        }
    }

    /// Returns the space for messages of a room that wrote so many bytes of messages lately.
    pub(crate) fn message_space(&self, written: u64) -> MessageSpace {
        let Some(limits) = self.limits else { return MessageSpace::UNLIMITED };
        let used = self.used();
        let of_share = (used > limits.pressure).then(|| limits.room_share.saturating_sub(written));
        MessageSpace { until_reserve: limits.reserve.saturating_sub(used), of_share }
    }

    /// Returns true if a room wrote so much that its owner must be remembered, or its share would
    /// begin anew.
    pub(crate) fn is_much(&self, written: u64) -> bool {
        self.limits.is_some_and(|limits| written > limits.room_share / 2)
    }

    fn used(&self) -> u64 {
        self.checked.saturating_add(self.appended).saturating_add(self.in_flight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn space(bytes: u64, size: u64) -> LogSpace {
        let mut space = LogSpace::new(&Settings::default());
        space.begin_check();
        space.end_check(bytes, size);
        space
    }

    #[test]
    fn the_shortage_follows_the_bytes_in_the_log() {
        let shortage = |percent: u64| space(percent * MIB, 100 * MIB).shortage();
        assert_eq!([0, 80].map(shortage), [None; 2]);
        assert_eq!([81, 95].map(shortage), [Some(LogShortage::Pressure); 2]);
        assert_eq!([96, 200].map(shortage), [Some(LogShortage::Reserve); 2]);
        assert_eq!(LogSpace::new(&Settings::default()).shortage(), None, "not checked yet");
    }

    /// Between two checks, and while its appends are in flight, a server knows its own bytes.
    #[test]
    fn own_appends_count_before_the_next_check() {
        let mut space = space(75 * MIB, 100 * MIB);
        space.begin_append(6 << 20);
        assert_eq!(space.shortage(), Some(LogShortage::Pressure), "in flight");
        space.end_append(6 << 20, false);
        assert_eq!(space.shortage(), None, "refused");
        space.begin_append(6 << 20);
        space.end_append(6 << 20, true);
        assert_eq!(space.shortage(), Some(LogShortage::Pressure));
        space.begin_check();
        space.begin_append(16 << 20);
        space.end_append(16 << 20, true);
        space.end_check(80 * MIB, 100 * MIB);
        assert_eq!(space.shortage(), Some(LogShortage::Reserve), "the check may not have seen it");
        space.begin_check();
        space.end_check(70 * MIB, 100 * MIB);
        assert_eq!(space.shortage(), None, "retention freed some");
    }

    #[test]
    fn checks_are_as_frequent_as_needed() {
        let mut space = space(30 * MIB, 100 * MIB);
        assert_eq!(space.check_ms(), 3_000);
        space.end_check(41 * MIB, 100 * MIB);
        assert_eq!(space.check_ms(), 300);
        space.end_check(0, 100 * MIB);
        space.begin_append(1 << 20);
        space.end_append(1 << 20, true);
        assert_eq!(space.check_ms(), 5, "others may append as much");
    }

    #[test]
    fn the_space_of_a_room_ends_at_the_reserve_and_under_pressure_at_its_share() {
        let at = |percent: u64, written: u64| space(percent * MIB, 100 * MIB).message_space(written);
        assert_eq!(at(50, 10 * MIB), MessageSpace { until_reserve: 45 * MIB, of_share: None });
        assert_eq!(at(90, MIB), MessageSpace { until_reserve: 5 * MIB, of_share: Some(MIB) });
        assert_eq!(at(99, 3 * MIB), MessageSpace { until_reserve: 0, of_share: Some(0) });
        let small = space(450_000, 500_000).message_space(0);
        assert_eq!(small.of_share, Some(16 * 1024 + 4_096 + 512), "a room may have the largest message");
    }

    #[test]
    fn bytes_of_a_room_are_halved_each_hour() {
        let mut recent = RecentBytes::default();
        recent.add(1_000, HOUR_MS / 2);
        assert_eq!([HOUR_MS - 1, HOUR_MS, 2 * HOUR_MS].map(|ticks| recent.at(ticks)), [1_000, 500, 250]);
        recent.add(100, 2 * HOUR_MS + 5);
        assert_eq!([3 * HOUR_MS - 1, 3 * HOUR_MS].map(|ticks| recent.at(ticks)), [350, 175]);
        assert_eq!(recent.at(u64::MAX), 0);
    }
}
