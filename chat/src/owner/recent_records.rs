//! The newest records of a room at its owner, for connectors that are a little behind.

use std::collections::VecDeque;
use std::sync::Arc;

use model::record::{Position, Record, RecordId};

/// Records kept at hand for connectors that are a little behind.
const RECENT_RECORDS: usize = 64;

/// Bytes of such records.
const RECENT_BYTES: usize = 64 * 1024;

/// The newest records, as connectors get them.
#[derive(Debug, Default)]
pub(super) struct RecentRecords {
    records: VecDeque<(Position, Arc<Record>)>,
    bytes: usize,
}

impl RecentRecords {
    /// Adds the newest, and lets go of the oldest that are too many.
    pub(super) fn push(&mut self, position: Position, record: Arc<Record>) {
        self.bytes += record.size();
        self.records.push_back((position, record));
        // The newest stays, however large: it says where the room is.
        while self.records.len() > 1 && (self.records.len() > RECENT_RECORDS || self.bytes > RECENT_BYTES) {
            let Some((_, old)) = self.records.pop_front() else { return };
            self.bytes -= old.size();
        }
    }

    /// The newest.
    pub(super) fn last(&self) -> Option<&(Position, Arc<Record>)> {
        self.records.back()
    }

    /// All, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &(Position, Arc<Record>)> {
        self.records.iter()
    }

    /// The records after the one at `position` that has this id, if all of them are at hand.
    pub(super) fn after(&self, position: Position, id: RecordId) -> Option<Vec<(Position, Arc<Record>)>> {
        let first = self.records.iter().position(|(at, record)| *at > position && record.follows(position, id))?;
        Some(self.records.iter().skip(first).cloned().collect())
    }
}
