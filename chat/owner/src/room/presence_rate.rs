//! The rate of records that hold joins and leaves alone. Pure.
//!
//! A room keeps a number of records, so each such record evicts a message in the end. While members
//! enter and leave all the time, their joins and leaves wait for up to a second and share a record.
//! A storm of logins has few leaves, and nothing waits.

use std::collections::VecDeque;

use model::record::{Entry, Record};
use model::rpc::messages::Item;

use super::Proposal;

/// Milliseconds in which records are counted.
const WINDOW_MS: u64 = 60_000;

/// Milliseconds after such a record in which the next joins and leaves wait.
// A second, less a tick of the chat server: the first tick behind this ends the wait. Connectors
// repeat a request after a second.
const WAIT_MS: u64 = 800;

/// Joins for each leave, up to which members come and go. With more, they come.
const MAX_JOINS_PER_LEAVE: usize = 2;

/// A committed record whose proposals hold joins and leaves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PresenceRecord {
    joins: usize,
    leaves: usize,
}

impl PresenceRecord {
    /// Returns what a record that decided these proposals counts as; `None` for one with messages,
    /// or without joins and leaves.
    pub(super) fn of(record: &Record, proposals: &[Proposal]) -> Option<Self> {
        let mut items = proposals.iter().flat_map(|proposal| &proposal.items).peekable();
        if items.peek().is_none() || items.any(|item| matches!(item, Item::Send { .. })) {
            return None;
        }
        let count = |is_kind: fn(&Entry) -> bool| record.entries.iter().filter(|entry| is_kind(entry)).count();
        let joins = count(|entry| matches!(entry, Entry::Join { .. }));
        let leaves = count(|entry| matches!(entry, Entry::Leave { .. }));
        match joins + leaves {
            // A record of refused joins alone costs as much as one of joins and leaves.
            0 if record.entries.is_empty() => Some(Self { joins, leaves: 1 }),
            // Members that come back never wait, so they do not count either.
            0 => None,
            _ => Some(Self { joins, leaves }),
        }
    }
}

/// The times of a room's newest records of joins and leaves, as ticks. Not in the log: after a
/// takeover the new owner counts anew.
#[derive(Debug, Default)]
pub(super) struct PresenceRate {
    /// Oldest first; at most one more than may come in a minute.
    records: VecDeque<(u64, PresenceRecord)>,
    joins: usize,
    leaves: usize,
}

impl PresenceRate {
    /// Notes a committed record. `most` is `room.presence_records_per_min`.
    pub(super) fn record(&mut self, record: PresenceRecord, most: usize, ticks: u64) {
        (self.joins, self.leaves) = (self.joins + record.joins, self.leaves + record.leaves);
        self.records.push_back((ticks, record));
        while self.records.len() > most + 1
            && let Some((_, oldest)) = self.records.pop_front()
        {
            (self.joins, self.leaves) = (self.joins - oldest.joins, self.leaves - oldest.leaves);
        }
    }

    /// Returns true if joins and leaves wait now for others.
    pub(super) fn is_waiting_time(&self, most: usize, ticks: u64) -> bool {
        let is_within = |ms: u64, record: Option<&(u64, PresenceRecord)>| {
            record.is_some_and(|(then, _)| ticks.saturating_sub(*then) < ms)
        };
        most > 0
            && self.records.len() > most
            && self.joins <= MAX_JOINS_PER_LEAVE * self.leaves
            && is_within(WINDOW_MS, self.records.front())
            && is_within(WAIT_MS, self.records.back())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOIN: PresenceRecord = PresenceRecord { joins: 1, leaves: 0 };
    const LEAVE: PresenceRecord = PresenceRecord { joins: 0, leaves: 1 };

    /// Records that come at an interval, in turn. Returns the time of the last one.
    fn rate(kinds: &[PresenceRecord], count: u64, every_ms: u64) -> (PresenceRate, u64) {
        let mut rate = PresenceRate::default();
        (0..count).zip(kinds.iter().cycle()).for_each(|(number, kind)| rate.record(*kind, 60, number * every_ms));
        (rate, (count - 1) * every_ms)
    }

    #[test]
    fn more_than_so_many_records_within_a_minute_make_others_wait() {
        let (few, now) = rate(&[JOIN, LEAVE], 60, 100);
        assert!(!few.is_waiting_time(60, now + 1));
        let (slow, now) = rate(&[JOIN, LEAVE], 100, 1_000);
        assert!(!slow.is_waiting_time(60, now + 1));
        let (many, now) = rate(&[JOIN, LEAVE], 61, 100);
        assert_eq!([1, 799, 800].map(|ms| many.is_waiting_time(60, now + ms)), [true, true, false]);
    }

    #[test]
    fn nothing_waits_where_members_join_or_without_a_limit() {
        for kinds in [&[JOIN][..], &[JOIN, JOIN, JOIN, LEAVE]] {
            let (storm, now) = rate(kinds, 1_000, 10);
            assert!(!storm.is_waiting_time(60, now + 1), "{kinds:?}");
        }
        let mut off = PresenceRate::default();
        (0..1_000).for_each(|number| off.record(LEAVE, 0, number));
        assert!(!off.is_waiting_time(0, 1_000));
    }

    #[test]
    fn few_records_are_kept() {
        let (rate, _) = rate(&[JOIN, LEAVE], 1_000, 1);
        assert_eq!((rate.records.len(), rate.joins + rate.leaves), (61, 61));
    }
}
