//! The rooms' log: compare-and-set append, read by position. Defines the contract; [`memory`] and
//! [`jetstream`] implement it.

pub mod jetstream;
pub mod log_health;
pub mod memory;

use bytes::Bytes;
use model::ids::RoomId;
use model::log_parts::{LogPart, LogParts};
use model::record::{Epoch, Position};
use model::rpc::messages::{RoomPage, RoomQuery};
use model::subjects;

use owner::log_operation::{AppendError, Lifetime, ReadError, Tail};

/// A log of many rooms, divided into parts that work and fail apart. Clones are the same log, in the
/// division that was found when it was opened or checked.
///
/// Each part has an epoch. Positions rise over all rooms of a part together, so those of one room
/// have gaps. Within an epoch a position is never reused, also after retention or an operator
/// removed everything.
#[derive(Debug, Clone)]
// An enum instead of a trait object: there are two implementations, and one contract suite runs on
// both.
pub struct Log(Kind);

#[derive(Debug, Clone)]
enum Kind {
    JetStream(jetstream::JetStream),
    Memory(memory::Memory),
}

/// Consistency of a read of a room's last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadConsistency {
    /// A replica that lags behind may respond.
    // Enough where an append follows: that is refused if the read was outdated. One request to the
    // nearest replica instead of the leader.
    Any,
    /// The leader, which orders the appends, responds: no acknowledged record is missing.
    Latest,
}

/// Status of a part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStatus {
    /// Its epoch.
    pub epoch: Epoch,
    /// Bytes of all records that it keeps.
    pub bytes: u64,
    /// Bytes that it may keep.
    pub max_bytes: u64,
    /// The split that it is in.
    pub split: Split,
}

/// The split of a part into two, as its status shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Split {
    /// The part has all of its rooms.
    #[default]
    None,
    /// It is about to be split into this division, and has all of its rooms.
    Announced(LogParts),
    /// It has the rooms that it keeps in this division. The others are in other parts, or will be.
    Begun(LogParts),
}

impl Split {
    /// Returns true if a room is, or is about to be, in another part than in the division `before`.
    pub fn moves(self, room: &RoomId, before: LogParts) -> bool {
        match self {
            Self::None => false,
            Self::Announced(parts) | Self::Begun(parts) => before.moves(room, parts),
        }
    }
}

/// The division of a log, compared with the known one.
#[derive(Debug)]
pub enum DivisionCheck {
    /// The log has the same parts.
    Same,
    /// It is being divided into more, of which not all are there; the reason.
    Incomplete(String),
    /// It has more parts: this is the same log with all of them.
    Divided(Log),
}

impl From<jetstream::JetStream> for Log {
    fn from(jetstream: jetstream::JetStream) -> Self {
        Self(Kind::JetStream(jetstream))
    }
}

impl From<memory::Memory> for Log {
    fn from(memory: memory::Memory) -> Self {
        Self(Kind::Memory(memory))
    }
}

impl Log {
    /// Returns the division of the log into parts.
    pub fn parts(&self) -> LogParts {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.parts(),
            Kind::Memory(memory) => memory.parts(),
        }
    }

    /// Returns the name of a part: its stream's in JetStream.
    pub fn part_name(&self, part: LogPart) -> String {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.part_name(part).to_owned(),
            Kind::Memory(memory) => subjects::log_stream(memory.parts(), part),
        }
    }

    /// Appends `record` if the room's last position is `expected` ([`Position::NONE`]: the room has
    /// no record). Two owners can never both commit behind the same record.
    ///
    /// Returns the record's position, which is above `expected` and above all earlier positions of
    /// the room's part.
    pub async fn append(&self, room: &RoomId, expected: Position, record: Bytes) -> Result<Position, AppendError> {
        self.append_for(room, expected, record, Lifetime::Aging).await
    }

    /// The same for a record with this lifetime.
    pub async fn append_for(
        &self,
        room: &RoomId,
        expected: Position,
        record: Bytes,
        lifetime: Lifetime,
    ) -> Result<Position, AppendError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.append(room, expected, record, lifetime).await,
            Kind::Memory(memory) => memory.append_for(room, expected, record, lifetime),
        }
    }

    /// Appends a message of so many bytes that belongs to no room, to check that a part takes
    /// records of that size. Changes no room's log.
    pub async fn append_probe(&self, part: LogPart, bytes: usize) -> Result<Position, AppendError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.append_probe(part, bytes).await,
            Kind::Memory(memory) => memory.append_probe(part, bytes),
        }
    }

    /// Reads the last message of a room.
    pub async fn last(&self, room: &RoomId, consistency: ReadConsistency) -> Result<Tail, ReadError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.last(room, consistency).await,
            Kind::Memory(memory) => Ok(memory.last(room)),
        }
    }

    /// Reads the room's last message below a position. No acknowledged record is missing.
    pub async fn before(&self, room: &RoomId, position: Position) -> Result<Tail, ReadError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.before(room, position).await,
            Kind::Memory(memory) => Ok(memory.before(room, position)),
        }
    }

    /// Reads records by position, in the order of `positions`; `None` for one that the log no
    /// longer has, or that belongs to another room.
    pub async fn read(&self, room: &RoomId, positions: &[Position]) -> Result<Vec<Option<Bytes>>, ReadError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.read(room, positions).await,
            Kind::Memory(memory) => Ok(memory.read(room, positions)),
        }
    }

    /// Returns true if all chat servers of a cluster append to this log, so that compare-and-set
    /// holds between them. A log in memory is shared within its process only.
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Kind::JetStream(_))
    }

    /// Returns the epoch of the room's part as of after the call. Concurrent callers share a check.
    pub async fn epoch(&self, room: &RoomId) -> Result<Epoch, ReadError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.epoch(room).await,
            Kind::Memory(memory) => Ok(memory.status(memory.parts().of(room)).epoch),
        }
    }

    /// Lists rooms that have records, in the order of their names. Reads the names of all rooms.
    pub async fn rooms(&self, query: &RoomQuery) -> Result<RoomPage, ReadError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.rooms(query).await,
            Kind::Memory(memory) => Ok(memory.rooms(query)),
        }
    }

    /// Finds out if the log was divided into more parts than these.
    pub async fn check_division(&self) -> DivisionCheck {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.check_division().await,
            Kind::Memory(_) => DivisionCheck::Same,
        }
    }

    /// Reads the status of a part.
    ///
    /// If the epoch changed, everything known about its rooms is from a log that no longer exists.
    pub async fn status(&self, part: LogPart) -> Result<LogStatus, ReadError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.status(part).await,
            Kind::Memory(memory) => Ok(memory.status(part)),
        }
    }
}
