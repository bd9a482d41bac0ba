//! The acts that a room decided lately: the last message of each api server with its outcomes, and
//! the ids under which acts may be repeated. Apart from connectors' proposals and from the
//! deduplication window of messages: no record is sent to api servers, and clients cannot evict ids
//! of acts.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::ids::{Incarnation, ServerId};
use crate::membership::MessageId;
use crate::record::{DecidedActs, Outcome, Position};

/// Most ids of acts that a room remembers.
pub const MAX_ACT_IDS: usize = 4_096;

/// Milliseconds for which an id is remembered, at least: the default of `room.id_secs`.
const ACT_ID_MS: u64 = 300_000;

/// Most bytes of an id.
pub(super) const ACT_ID_BYTES: usize = 40;

/// Most bytes of the last message of an api server besides its outcomes.
pub(super) const LAST_BYTES: usize = 112;

/// Most bytes of one outcome of it.
pub(super) const OUTCOME_BYTES: usize = 22;

/// The last message of acts of an api server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastActs {
    /// The run of the api server.
    pub incarnation: Incarnation,
    /// The number of the message within that run.
    pub number: u64,
    /// The record that decided it.
    pub position: Position,
    /// One outcome per act.
    pub outcomes: Vec<Outcome>,
}

/// An act that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoneAct {
    /// First bytes of a digest over the act.
    pub digest: u64,
    /// `seq` of its entry.
    pub seq: u64,
    /// Time of its record.
    pub time: u64,
}

/// The acts that a room decided lately.
#[derive(Debug, Clone, Default)]
pub(super) struct ActLog {
    last: BTreeMap<ServerId, LastActs>,
    /// Ids of acts that were done, oldest first.
    ids: VecDeque<(MessageId, DoneAct)>,
    // Invariant: derived from `ids`, of which the newest with the same id counts.
    by_id: HashMap<MessageId, DoneAct>,
    outcomes: usize,
}

impl PartialEq for ActLog {
    fn eq(&self, other: &Self) -> bool {
        (&self.last, &self.ids) == (&other.last, &other.ids)
    }
}

impl Eq for ActLog {}

impl ActLog {
    pub(super) fn last(&self, server: &ServerId) -> Option<&LastActs> {
        self.last.get(server)
    }

    pub(super) fn find(&self, id: MessageId) -> Option<DoneAct> {
        self.by_id.get(&id).copied()
    }

    /// Takes the acts that a record decided.
    pub(super) fn fold(&mut self, position: Position, time: u64, decided: &DecidedActs) {
        let outcomes: Vec<Outcome> = decided.acts.iter().map(|act| act.outcome).collect();
        let last = LastActs { incarnation: decided.incarnation, number: decided.number, position, outcomes };
        self.set_last(decided.server.clone(), last);
        for act in &decided.acts {
            if let Outcome::Done(index) = act.outcome {
                self.add(act.id, DoneAct { digest: act.digest, seq: position.seq(index.into()), time });
            }
        }
    }

    pub(super) fn set_last(&mut self, server: ServerId, last: LastActs) {
        self.outcomes += last.outcomes.len();
        if let Some(before) = self.last.insert(server, last) {
            self.outcomes -= before.outcomes.len();
        }
    }

    pub(super) fn add(&mut self, id: MessageId, done: DoneAct) {
        self.ids.push_back((id, done));
        self.by_id.insert(id, done);
        // By the times of records: all readers forget the same.
        while let Some((oldest, first)) = self.ids.front().copied()
            && (self.ids.len() > MAX_ACT_IDS || done.time.saturating_sub(first.time) > ACT_ID_MS)
        {
            self.ids.pop_front();
            if self.by_id.get(&oldest) == Some(&first) {
                self.by_id.remove(&oldest);
            }
        }
    }

    /// All ids, oldest first.
    pub(super) fn ids(&self) -> impl Iterator<Item = (MessageId, DoneAct)> {
        self.ids.iter().copied()
    }

    /// The last message of each api server.
    pub(super) fn all_last(&self) -> impl Iterator<Item = (&ServerId, &LastActs)> {
        self.last.iter()
    }

    /// Most bytes in a checkpoint.
    pub(super) fn size(&self) -> usize {
        self.last.len() * LAST_BYTES + self.outcomes * OUTCOME_BYTES + self.ids.len() * ACT_ID_BYTES
    }
}
