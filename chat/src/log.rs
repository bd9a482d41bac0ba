//! The rooms' log: appended with an expectation, read by position. What it promises stands here; [`memory`] and
//! [`jetstream`] keep it.

pub mod jetstream;
pub mod log_health;
pub mod memory;

use bytes::Bytes;
use model::ids::RoomId;
use model::record::{Epoch, Position};
use thiserror::Error;

/// A log of many rooms. Clones are the same log.
///
/// Positions rise over all rooms together, so those of one room are not gapless. Within an epoch a position never comes
/// again, also not after everything was removed by age or by a limit.
#[derive(Debug, Clone)]
pub struct Log(Kind);

#[derive(Debug, Clone)]
enum Kind {
    JetStream(jetstream::JetStream),
    Memory(memory::Memory),
}

/// How sure a look at a room's last record must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadConsistency {
    /// A replica may answer that is behind: good enough where an append follows, which is refused then.
    Any,
    /// Who orders the appends answers: nothing acknowledged is missing.
    Latest,
}

/// The last message of a room's log, or the last one below a position. It need not be a record: any
/// program that may publish on the broker can write there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The log's present life.
    pub epoch: Epoch,
    /// Position and bytes of the message; none if the room has none, or has none any more.
    pub last: Option<(Position, Bytes)>,
    /// The room's last position as the author of the message expected it, and the log confirmed;
    /// none if it was published without an expectation.
    pub expected: Option<Position>,
}

/// The log as a look found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStatus {
    /// Its present life.
    pub epoch: Epoch,
    /// Bytes of all records that it keeps.
    pub bytes: u64,
}

/// Why nothing, or perhaps nothing, was appended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The room's last record is not the expected one: somebody else appended. Certainly nothing was appended.
    #[error("the room's last record is another one than expected")]
    Refused,
    /// The log is as large as it may be. Certainly nothing was appended.
    #[error("the log is full: raise log.max_total_bytes, or lower log.max_age_hours or log.max_records")]
    Full,
    /// The broker takes no record of this size. Certainly nothing was appended.
    #[error("the broker takes no record of {bytes} bytes")]
    TooLarge {
        /// Of the record.
        bytes: usize,
    },
    /// No clear answer: the record may have been appended, or may yet be.
    #[error("the log gave no clear answer: {0}")]
    Unclear(String),
}

/// A read that gave no answer; it says nothing about what is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the log cannot be read now: {0}")]
pub struct ReadError(pub String);

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
    /// Appends `record` if the room's last position is `expected` ([`Position::NONE`]: the room has no record).
    ///
    /// Returns the record's position, which is above `expected` and above all that the log gave before.
    pub async fn append(&self, room: &RoomId, expected: Position, record: Bytes) -> Result<Position, AppendError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.append(room, expected, record).await,
            Kind::Memory(memory) => memory.append(room, expected, record),
        }
    }

    /// Appends a message of so many bytes that belongs to no room, to see whether the log takes
    /// records of that size. No room's log is touched.
    pub async fn append_probe(&self, bytes: usize) -> Result<Position, AppendError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.append_probe(bytes).await,
            Kind::Memory(memory) => memory.append_probe(bytes),
        }
    }

    /// The last message of a room.
    pub async fn last(&self, room: &RoomId, consistency: ReadConsistency) -> Result<Tail, ReadError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.last(room, consistency).await,
            Kind::Memory(memory) => Ok(memory.last(room)),
        }
    }

    /// The room's last message below a position. Nothing acknowledged is missing.
    pub async fn before(&self, room: &RoomId, position: Position) -> Result<Tail, ReadError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.before(room, position).await,
            Kind::Memory(memory) => Ok(memory.before(room, position)),
        }
    }

    /// Records by position, in the order asked; `None` for one that the log no longer has, or that
    /// is another room's.
    pub async fn read(&self, room: &RoomId, positions: &[Position]) -> Result<Vec<Option<Bytes>>, ReadError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.read(room, positions).await,
            Kind::Memory(memory) => Ok(memory.read(room, positions)),
        }
    }

    /// Whether all chat servers of a cluster append to this log, so that it refuses whoever does not know its end. One in
    /// memory is that only for the servers of its process.
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Kind::JetStream(_))
    }

    /// The present life of the log, looked at after this was called. Many callers share a look.
    pub async fn epoch(&self) -> Result<Epoch, ReadError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.epoch().await,
            Kind::Memory(memory) => Ok(memory.status().epoch),
        }
    }

    /// Looks whether this is still the log that it was.
    ///
    /// Another epoch than before: everything known of the rooms is of a log that is gone.
    pub async fn status(&self) -> Result<LogStatus, ReadError> {
        match &self.0 {
            Kind::JetStream(jetstream) => jetstream.status().await,
            Kind::Memory(memory) => Ok(memory.status()),
        }
    }
}
