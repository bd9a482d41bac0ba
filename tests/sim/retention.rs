//! The records that a bounded log still has of each room: the newest, and all since the newest
//! checkpoint.
//!
//! The log of a run keeps everything, so that it can be compared with what users received; readers
//! get only these.

use std::collections::{BTreeMap, VecDeque};

use model::ids::RoomId;
use model::record::{Position, Record};

pub(crate) struct Retention {
    most: usize,
    rooms: BTreeMap<RoomId, Kept>,
}

#[derive(Default)]
struct Kept {
    /// Oldest first.
    records: VecDeque<Position>,
    checkpoint: Position,
}

impl Retention {
    /// Keeps so many records of a room.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, rooms: BTreeMap::new() }
    }

    /// A record was appended; what is too much now is removed.
    pub(crate) fn appended(&mut self, room: &RoomId, position: Position, record: &[u8]) {
        if self.most == usize::MAX {
            return;
        }
        let kept = self.rooms.entry(room.clone()).or_default();
        kept.records.push_back(position);
        if Record::decode(record).unwrap().checkpoint.is_some() {
            kept.checkpoint = position;
        }
        while kept.records.len() > self.most && kept.records.front().is_some_and(|oldest| *oldest < kept.checkpoint) {
            kept.records.pop_front();
        }
    }

    /// Returns true if a record of the room may have been evicted.
    pub(crate) fn has_removed(&self, room: &RoomId, position: Position) -> bool {
        let oldest = self.rooms.get(room).and_then(|kept| kept.records.front());
        oldest.is_some_and(|oldest| position < *oldest)
    }
}
