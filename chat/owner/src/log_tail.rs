//! Finds the last record of a room's log, below messages that are no records of the room. Pure:
//! returns the next read.
//!
//! An append is compare-and-set on a position, and the log keeps that position as a header. A
//! record that names the same position as its predecessor is therefore the room's next one, so a
//! healthy log needs one read. Every other message is compared with the one before it.

use std::sync::Arc;

use model::record::{Epoch, Position, Record, RecordId};

use crate::bad_records::{self, BadRecord};
use crate::log_operation::Tail;

/// Most messages examined; behind more of them the room is unusable.
pub const MAX_MESSAGES: usize = 256;

/// Most bytes of messages kept until it is known if they are records of the room.
// Both bounds protect the server from a program that writes into a room's log without end.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A search from the last message backwards.
#[derive(Debug, Default)]
pub struct TailSearch {
    epoch: Epoch,
    end: Position,
    /// The messages examined so far, newest first.
    unverified: Vec<(Position, Result<Arc<Record>, BadRecord>)>,
    bytes: usize,
}

/// The end of a room's log.
#[derive(Debug)]
pub struct LogEnd {
    /// The log's epoch.
    pub epoch: Epoch,
    /// Position of the last message, behind which the next record is appended.
    pub end: Position,
    /// The last record; none if the room has none.
    pub last: Option<(Position, Arc<Record>)>,
    /// Messages behind it that are no records, oldest first.
    pub bad: Vec<(Position, BadRecord)>,
}

/// The next step of a search, or its result.
#[derive(Debug)]
pub enum TailSearchStep {
    /// Read the last message below this position.
    Before(Position),
    /// The end of the log.
    Found(LogEnd),
    /// Too many messages are no records; this is the last one.
    TooMany(Position),
    /// The log has another epoch than at the beginning of the search.
    EpochChanged,
}

impl TailSearch {
    /// Takes the last message, and then each requested one.
    pub fn feed(&mut self, tail: Tail) -> TailSearchStep {
        if self.unverified.is_empty() {
            self.epoch = tail.epoch;
            self.end = tail.last.as_ref().map_or(Position::NONE, |(position, _)| *position);
        } else if self.epoch != tail.epoch {
            return TailSearchStep::EpochChanged;
        }
        let Some((position, bytes)) = tail.last else { return self.resolve(None) };
        let record = bad_records::read(position, &bytes).map(Arc::new);
        match record {
            Ok(record) if tail.expected == Some(record.prev) || self.is_named(position, record.id) => {
                self.resolve(Some((position, record)))
            }
            record => {
                // Undecodable messages count as messages only: their bytes are not kept.
                self.bytes += record.as_ref().map_or(0, |_| bytes.len());
                self.unverified.push((position, record));
                if self.unverified.len() >= MAX_MESSAGES || self.bytes > MAX_BYTES {
                    return TailSearchStep::TooMany(self.end);
                }
                TailSearchStep::Before(position)
            }
        }
    }

    /// Returns true if a newer message names the record as its predecessor.
    fn is_named(&self, position: Position, id: RecordId) -> bool {
        let names = |record: &Record| record.prev == position && record.prev_id == id && id != RecordId::NONE;
        self.unverified.iter().filter_map(|(_, record)| record.as_ref().ok()).any(|record| names(record))
    }

    /// Goes forward again from a record that is known to be the room's, or from the beginning.
    fn resolve(&mut self, base: Option<(Position, Arc<Record>)>) -> TailSearchStep {
        let (mut last, mut bad) = (base, Vec::new());
        for (position, record) in self.unverified.drain(..).rev() {
            match record {
                Ok(record) if is_next(&record, last.as_ref()) => {
                    last = Some((position, record));
                    // The owner of this record passed over them.
                    bad.clear();
                }
                Ok(_) => bad.push((position, BadRecord::NotNext)),
                Err(reason) => bad.push((position, reason)),
            }
        }
        TailSearchStep::Found(LogEnd { epoch: self.epoch, end: self.end, last, bad })
    }
}

/// Returns true if a record is the next one after the room's last.
fn is_next(record: &Record, last: Option<&(Position, Arc<Record>)>) -> bool {
    match last {
        Some((position, last)) => {
            // A record that continues behind lost records names no id.
            record.prev == *position && (record.prev_id == last.id || record.prev_id == RecordId::NONE)
        }
        None => record.prev == Position::NONE,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::bad_records::tests::record;

    /// A message with its position and the expectation of its append.
    type Message = (u64, Vec<u8>, Option<u64>);

    fn appended(at: u64, prev: u64, ids: [u64; 2]) -> Message {
        (at, record(prev, ids[0], ids[1]).encode().unwrap(), Some(prev))
    }

    fn published(at: u64, bytes: impl Into<Vec<u8>>) -> Message {
        (at, bytes.into(), None)
    }

    /// Returns the end of a log with these messages, and the number of messages examined.
    fn search(log: &[Message]) -> (TailSearchStep, usize) {
        let mut search = TailSearch::default();
        let mut below = u64::MAX;
        for looks in 1.. {
            let message = log.iter().rev().find(|(at, ..)| *at < below);
            let last = message.map(|(at, bytes, _)| (Position(*at), Bytes::from(bytes.clone())));
            let expected = message.and_then(|(.., expected)| expected.map(Position));
            match search.feed(Tail { epoch: Epoch(1), last, expected }) {
                TailSearchStep::Before(position) => below = position.0,
                end => return (end, looks),
            }
        }
        unreachable!()
    }

    /// Returns the positions of the last message and record, and of the messages behind that
    /// record.
    fn end(log: &[Message]) -> (u64, Option<u64>, Vec<u64>) {
        match search(log).0 {
            TailSearchStep::Found(LogEnd { end, last, bad, .. }) => {
                (end.0, last.map(|(position, _)| position.0), bad.iter().map(|(position, _)| position.0).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn healthy() -> Vec<Message> {
        vec![appended(10, 0, [0, 1]), appended(20, 10, [1, 2])]
    }

    fn with(messages: impl IntoIterator<Item = Message>) -> Vec<Message> {
        let mut log = healthy();
        log.extend(messages);
        log
    }

    #[test]
    fn a_healthy_log_is_read_once() {
        assert_eq!(end(&healthy()), (20, Some(20), vec![]));
        assert_eq!(search(&healthy()).1, 1);
        assert_eq!(end(&[]), (0, None, vec![]));
    }

    #[test]
    fn messages_that_are_no_records_are_passed_over() {
        let newer = record(20, 2, 3);
        let newer = model::record::Record { v: 9, ..newer }.encode().unwrap();
        let self_link = record(30, 2, 3).encode().unwrap();
        let forward = record(99, 2, 3).encode().unwrap();
        for bytes in [b"garbage".to_vec(), Vec::new(), newer, self_link, forward] {
            let log = with([published(30, bytes.clone()), published(40, bytes)]);
            assert_eq!(end(&log), (40, Some(20), vec![30, 40]));
        }
    }

    #[test]
    fn copies_and_records_of_other_rooms_are_passed_over() {
        let copy = healthy()[1].1.clone();
        let other = record(15, 7, 8).encode().unwrap();
        let first = record(0, 0, 8).encode().unwrap();
        let other_id = record(20, 7, 8).encode().unwrap();
        for bytes in [copy, other, first, other_id] {
            assert_eq!(end(&with([published(30, bytes.clone())])), (30, Some(20), vec![30]));
            // The log accepts the right expectation only, and that is not the record's predecessor.
            assert_eq!(end(&with([(30, bytes, Some(21))])), (30, Some(20), vec![30]));
        }
    }

    #[test]
    fn a_record_that_goes_on_behind_what_is_passed_over_is_the_last() {
        let behind = (40, record(20, 2, 3).encode().unwrap(), Some(30));
        assert_eq!(end(&with([published(30, *b"x"), behind.clone()])), (40, Some(40), vec![]));
        let next = appended(50, 40, [3, 4]);
        let log = with([published(30, *b"x"), behind, next]);
        assert_eq!((end(&log), search(&log).1), ((50, Some(50), vec![]), 1));
    }

    #[test]
    fn a_record_that_follows_needs_no_expectation() {
        let follows = record(20, 2, 3).encode().unwrap();
        assert_eq!(end(&with([published(30, follows)])), (30, Some(30), vec![]));
    }

    #[test]
    fn a_log_that_remembers_no_expectation_is_read_twice() {
        let log: Vec<_> = (1..300_u64)
            .map(|number| published(number, record(number - 1, number - 1, number).encode().unwrap()))
            .collect();
        assert_eq!((end(&log), search(&log).1), ((299, Some(299), vec![]), 2));
    }

    #[test]
    fn a_room_of_which_nothing_is_a_record_is_empty() {
        assert_eq!(end(&[published(30, *b"x"), published(40, *b"y")]), (40, None, vec![30, 40]));
    }

    #[test]
    fn the_search_ends() {
        let log = with((0..MAX_MESSAGES as u64).map(|number| published(30 + number, *b"x")));
        let (end, looks) = search(&log);
        assert!(matches!(end, TailSearchStep::TooMany(Position(position)) if position == 29 + MAX_MESSAGES as u64));
        assert_eq!(looks, MAX_MESSAGES);
        let large = vec![b' '; 3 * 1024 * 1024];
        let large = model::record::Record {
            entries: vec![model::record::Entry::Message {
                from: model::ids::Name::new("ann").unwrap(),
                content: String::from_utf8(large).unwrap(),
                id: None,
                meta: None,
            }],
            ..record(7, 7, 7)
        };
        let log = with((0..9).map(|number| published(30 + number, large.encode().unwrap())));
        assert_eq!(search(&log).1, 3, "bytes are bounded, too");
    }

    #[test]
    fn another_log_ends_the_search() {
        let mut search = TailSearch::default();
        let tail =
            |epoch| Tail { epoch: Epoch(epoch), last: Some((Position(9), Bytes::from_static(b"x"))), expected: None };
        assert!(matches!(search.feed(tail(1)), TailSearchStep::Before(Position(9))));
        assert!(matches!(search.feed(tail(2)), TailSearchStep::EpochChanged));
    }
}
