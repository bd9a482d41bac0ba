//! The content of a room's log: records of entries, their positions, and the outcomes of proposals.
//! No I/O.

mod entry;
mod head;
mod refusal;
mod servers;
mod shared;
mod size;
mod stored;
mod stored_entry;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::{Incarnation, ServerId};
use crate::membership::{MessageId, first_bytes};
use crate::room::Checkpoint;
use crate::version;

pub use entry::{Entry, MessageParts};
pub use refusal::Refusal;
pub use shared::SharedRecord;
pub(crate) use shared::encoded;
pub(crate) use stored::StoredOutcome;
use stored::StoredRecord;

/// Version of records; a reader refuses others.
pub const VERSION: u8 = 2;

/// Predecessors that a record links to, its `prev` among them.
// Positions far back are then few reads away. 32 would halve the reads of a page of history, and
// take a dozen bytes more of each record.
pub const LINKS: usize = 16;

/// Most entries in one record.
// With at most 1,000, `seq` = position x 1000 + index is unique.
pub const MAX_ENTRIES: usize = 1_000;

/// The sequence that the log gave to a record; [`Position::NONE`] stands before the first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before the first record.
    pub const NONE: Self = Self(0);

    /// The `seq` that clients see for the entry at `index` of the record at this position.
    pub fn seq(self, index: usize) -> u64 {
        self.0.saturating_mul(MAX_ENTRIES as u64).saturating_add(index as u64)
    }

    /// The highest `seq` at this position: all of the record is up to here.
    pub fn last_seq(self) -> u64 {
        self.seq(MAX_ENTRIES - 1)
    }

    /// The position that a `seq` stands at.
    pub fn of_seq(seq: u64) -> Self {
        Self(seq / MAX_ENTRIES as u64)
    }
}

/// Identifies one append. A log that lost its end gives a position twice, but never to the same id.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordId(pub u64);

impl RecordId {
    /// No record: the predecessor of a room's first one.
    pub const NONE: Self = Self(0);
}

/// Gives ids to the records that one owner of one room appends.
#[derive(Debug)]
pub struct RecordIds {
    next: u64,
}

impl RecordIds {
    /// Ids for an owner in this run of a chat server. `serial` differs for each owner of that run.
    pub fn new(chat: &ServerId, incarnation: Incarnation, serial: u64) -> Self {
        // Two owners never give the same id: the ids begin at the first bytes of a SHA-256 over all
        // of this, and count from there.
        // Derived from the owner's identity: neither random bits nor the record's bytes are needed.
        let parts: [&[u8]; 4] =
            [b"record", &incarnation.0.to_be_bytes(), &serial.to_be_bytes(), chat.as_str().as_bytes()];
        Self { next: u64::from_be_bytes(first_bytes(&parts)) }
    }

    /// Returns an id that was not given before.
    pub fn take(&mut self) -> RecordId {
        self.next = self.next.wrapping_add(1);
        if self.next == RecordId::NONE.0 {
            self.next = 1;
        }
        RecordId(self.next)
    }
}

/// One life of the log: creation time of the stream in Unix milliseconds, or a number made from the
/// start of a memory log. Compared for equality alone.
// No order between epochs: a clock may have been set back.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// Entries committed together. Serialized, it is the text that operators read; its bytes are those
/// of [`Record::encode`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// [`VERSION`] of the writer.
    pub v: u8,
    /// Position of the room's previous record.
    pub prev: Position,
    /// Id of that record, [`RecordId::NONE`] for none.
    // The position alone is not enough: a log that lost its end may give it to another record.
    pub prev_id: RecordId,
    /// Id of this record.
    pub id: RecordId,
    /// Positions of the records before `prev`, newest first; left out towards connectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Position>,
    /// Unix milliseconds at the owner; never less than the previous record's.
    pub time: u64,
    /// The chat server that appended it.
    pub owner: ServerId,
    /// The proposals decided here, whether or not anything came of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proposals: Vec<DecidedProposal>,
    /// The messages of acts decided here; left out towards connectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<DecidedActs>,
    /// Its place among the records that no age removes; left out towards connectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Lasting>,
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// In the first record of an activation: connectors that may have missed records of the
    /// previous owner, to be notified of it.
    #[serde(rename = "named", skip_serializing_if = "Vec::is_empty")]
    pub notify_connectors: Vec<ServerId>,
    /// The state after this record, now and then, or a part of the state at an earlier one; left
    /// out towards connectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    // A pointer: connectors and owners keep many records in memory, and few of them have one.
    pub checkpoint: Option<Box<Checkpoint>>,
    /// Set if the checkpoint is one part of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<CheckpointPart>,
}

/// The place of a record among those that the log keeps at any age: those that make a rule, a
/// revocation or an erasure, and some checkpoints of states with such.
// A chain of their own: where all between are too old, an activation reads on along it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lasting {
    /// This record is one of them.
    pub is_one: bool,
    /// The newest one before this record, back to the last complete checkpoint among them;
    /// [`Position::NONE`] for none.
    pub before: Position,
}

/// One part of a state that is too large for one record. The parts follow each other, one per
/// record, the first in the record behind `base`. Parts of an owner that died before the last one
/// are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointPart {
    /// The last record that the state knows.
    pub base: Position,
    /// Counts from 0.
    pub index: u16,
    /// Number of parts.
    pub of: u16,
}

/// The outcome of one proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecidedProposal {
    /// The connector that proposed.
    pub connector: ServerId,
    /// The run of that connector.
    pub incarnation: Incarnation,
    /// The number of the proposal within that run.
    pub number: u64,
    /// One outcome per item, in the items' order.
    pub outcomes: Vec<Outcome>,
}

/// The outcome of one message of acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecidedActs {
    /// The api server that sent it.
    pub server: ServerId,
    /// The run of that server.
    pub incarnation: Incarnation,
    /// The number of the message within that run.
    pub number: u64,
    /// The acts, in the message's order.
    pub acts: Vec<DecidedAct>,
}

/// The outcome of one act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DecidedAct {
    /// Its idempotency key.
    pub id: MessageId,
    /// First bytes of a digest over the act.
    pub digest: u64,
    /// Its outcome.
    pub outcome: Outcome,
}

/// The outcome of one item of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is the entry at this index of the record.
    Done(u16),
    /// Nothing to do: the session was in the room, or out of it, already.
    #[serde(rename = "already")]
    Unchanged,
    /// A join that may come too late: another session may have taken the membership over behind the
    /// record that the join names. Its connector reads on, and repeats the join unless it finds
    /// that this is so.
    Overtaken,
    /// The message is a repeat of one with the same id, which got this `seq` at this time.
    #[serde(rename = "said")]
    Duplicate { seq: u64, time: u64 },
    /// It was refused.
    Refused(Refusal),
}

/// Bytes of the log that are not a record this version can read.
#[derive(Debug, Error)]
pub enum RecordError {
    /// Not MessagePack of this shape.
    #[error("the log holds bytes that are not a record: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// Written by a version that this one does not know.
    #[error("the log holds a record of version {0}, this program reads version {VERSION}: {remedy}", remedy = remedy(*.0))]
    Version(u8),
}

/// Returns the operator's step where a log has records of another version.
fn remedy(version: u8) -> &'static str {
    // No program reads two versions: version 1 was in no release.
    if version < VERSION { "stop all servers, and start them with a new log" } else { "run the newer program" }
}

impl Record {
    /// The record as the log holds it.
    pub fn encode(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        version::encode(&StoredRecord::from(self))
    }

    /// The record as MessagePack in which all fields have their names, for operators; no program
    /// reads it.
    pub fn encode_readable(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        version::encode(self)
    }

    /// Reads what [`Record::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        match version::of(bytes)? {
            VERSION => Ok(rmp_serde::from_slice::<StoredRecord<'_>>(bytes)?.try_into()?),
            other => Err(RecordError::Version(other)),
        }
    }

    /// The record as connectors need it: without what only readers of the log use.
    pub fn for_connectors(&self) -> Self {
        Self {
            v: self.v,
            prev: self.prev,
            prev_id: self.prev_id,
            id: self.id,
            links: Vec::new(),
            time: self.time,
            owner: self.owner.clone(),
            proposals: self.proposals.clone(),
            acts: Vec::new(),
            lasting: None,
            entries: self.entries.iter().map(Entry::for_connectors).collect(),
            notify_connectors: self.notify_connectors.clone(),
            checkpoint: None,
            part: None,
        }
    }

    /// Returns true if it is the next one after the record that has this id at this position, or
    /// had it before the room's log was erased.
    pub fn follows(&self, position: Position, id: RecordId) -> bool {
        // Ids, not times: after a clock was set back, a record that replaces a lost one may have
        // the same time.
        self.prev_id == id && (self.prev == position || self.is_behind_erasure())
    }

    /// Returns true if it is the first record of a log that was erased while the room had an owner:
    /// the owner continued from its state after the last record of the old log.
    pub fn is_behind_erasure(&self) -> bool {
        self.prev == Position::NONE && self.prev_id != RecordId::NONE
    }

    /// Returns true if no age removes it.
    pub fn must_last(&self) -> bool {
        self.lasting.is_some_and(|lasting| lasting.is_one)
    }

    /// The newest record before this one that no age removes.
    pub fn lasting_before(&self) -> Option<Position> {
        self.lasting.map(|lasting| lasting.before).filter(|before| *before != Position::NONE)
    }

    /// The predecessors, newest first, `prev` first of all.
    pub fn predecessors(&self) -> impl Iterator<Item = Position> + '_ {
        std::iter::once(self.prev).chain(self.links.iter().copied()).filter(|p| *p != Position::NONE)
    }
}

#[cfg(test)]
mod tests;
