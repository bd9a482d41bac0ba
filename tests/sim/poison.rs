//! Messages for a room's log that no chat server wrote.

use std::collections::BTreeSet;

use bytes::Bytes;
use chat::log::memory::Memory;
use model::ids::RoomId;
use model::record::{Entry, Position, Record, RecordId, VERSION};

use crate::checks;

/// Milliseconds of a hundred years: a time that no clock of a run shows.
const FAR_MS: u64 = 100 * 365 * 24 * 3_600_000;

/// Times above this one are from the future.
pub(crate) const FUTURE_MS: u64 = FAR_MS / 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Poison {
    Garbage,
    /// Of a version that no program here knows.
    Newer,
    /// Its predecessor is itself.
    SelfLink,
    /// Its predecessor is still to come.
    Forward,
    /// A record that the room has already.
    Copy,
    /// A record of another room.
    OtherRoom,
    /// The room's next record, but for its time.
    Future,
}

impl Poison {
    pub(crate) const ALL: [Self; 7] =
        [Self::Garbage, Self::Newer, Self::SelfLink, Self::Forward, Self::Copy, Self::OtherRoom, Self::Future];

    /// A message of this kind for a room. In one that has no record yet there is only garbage.
    ///
    /// `number` picks among several, and makes ids.
    fn message(self, rooms: &Rooms<'_>, room: &RoomId, number: u64) -> Bytes {
        let records = rooms.records(room);
        let at = rooms.next_position();
        let Some((prev, last)) = records.first() else { return Bytes::from_static(b"garbage") };
        let next = Record {
            prev: *prev,
            prev_id: last.id,
            id: RecordId(number | 1),
            links: last.predecessors().collect(),
            proposals: Vec::new(),
            acts: Vec::new(),
            lasting: None,
            entries: vec![Entry::Open],
            notify_connectors: Vec::new(),
            checkpoint: None,
            part: None,
            ..last.clone()
        };
        let pick = |from: &[(Position, Record)]| from[number as usize % from.len()].1.clone();
        let record = match self {
            Self::Garbage => return Bytes::from_static(b"garbage"),
            Self::Newer => Record { v: VERSION + 1, ..next },
            Self::SelfLink => Record { prev: at, ..next },
            Self::Forward => Record { prev: Position(at.0 + 3), ..next },
            Self::Copy => pick(&records),
            Self::OtherRoom => match rooms.others(room) {
                others if others.is_empty() => return Bytes::from_static(b"garbage"),
                others => pick(&others),
            },
            Self::Future => Record { time: FAR_MS + number % FAR_MS, ..next },
        };
        record.encode().unwrap().into()
    }

    /// Writes a message of this kind into a room's log; returns its position, and whether it is the
    /// room's next record.
    pub(crate) fn publish(self, rooms: &Rooms<'_>, room: &RoomId, number: u64) -> (Position, bool) {
        let message = self.message(rooms, room, number);
        let is_record = self == Self::Future && message != "garbage";
        (rooms.log.publish(room, message).unwrap(), is_record)
    }
}

/// All rooms of a log.
pub(crate) struct Rooms<'a> {
    pub(crate) log: &'a Memory,
    pub(crate) names: &'a [&'a str],
    /// Positions of what is no record.
    pub(crate) bad: &'a BTreeSet<Position>,
}

impl Rooms<'_> {
    fn records(&self, room: &RoomId) -> Vec<(Position, Record)> {
        checks::records(self.log, room, self.bad)
    }

    fn others(&self, room: &RoomId) -> Vec<(Position, Record)> {
        let rooms = self.names.iter().map(|name| RoomId::new(name).unwrap());
        rooms.filter(|other| other != room).flat_map(|other| self.records(&other)).collect()
    }

    /// Positions are given to all rooms together.
    fn next_position(&self) -> Position {
        let last = |name: &&str| self.log.last(&RoomId::new(name).unwrap()).last.map_or(0, |(position, _)| position.0);
        Position(self.names.iter().map(last).max().unwrap_or_default() + 1)
    }
}
