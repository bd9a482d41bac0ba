//! The newest records of a room, kept in memory for connectors that are a little behind.

use std::collections::VecDeque;
use std::sync::Arc;

use model::record::{Position, Record, RecordId};

/// Most records kept.
// Enough for a connector that missed a few messages. One that is further behind costs a read of the
// log; more records would cost memory in every active room.
const RECENT_RECORDS: usize = 64;

/// Most bytes of records kept.
const RECENT_BYTES: usize = 64 * 1024;

/// The newest records, as connectors get them.
#[derive(Debug, Default)]
pub(super) struct RecentRecords {
    records: VecDeque<(Position, Arc<Record>)>,
    bytes: usize,
}

impl RecentRecords {
    /// Adds a record, and evicts the oldest ones above the limits.
    pub(super) fn push(&mut self, position: Position, record: Arc<Record>) {
        self.bytes += record.size();
        self.records.push_back((position, record));
        // The newest stays, however large: it holds the room's position.
        while self.records.len() > 1 && (self.records.len() > RECENT_RECORDS || self.bytes > RECENT_BYTES) {
            let Some((_, old)) = self.records.pop_front() else { return };
            self.bytes -= old.size();
        }
        debug_assert!(self.records.iter().is_sorted_by_key(|(position, _)| *position), "positions rise");
    }

    /// Returns the newest record.
    pub(super) fn last(&self) -> Option<&(Position, Arc<Record>)> {
        self.records.back()
    }

    /// Returns all records, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &(Position, Arc<Record>)> {
        self.records.iter()
    }

    /// Returns the records after the one with this position and id, if all of them are in memory.
    pub(super) fn after(&self, position: Position, id: RecordId) -> Option<Vec<(Position, Arc<Record>)>> {
        let first = self.records.iter().position(|(at, record)| *at > position && record.follows(position, id))?;
        Some(self.records.iter().skip(first).cloned().collect())
    }
}
