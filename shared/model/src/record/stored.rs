//! The bytes of a record: a MessagePack map whose fields have names of one letter. Servers are
//! listed once, and sessions, proposals and notices refer to them by their indexes.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::head::Head;
use super::servers::{ServerTable, StoredServer, server};
use super::stored_entry::StoredEntry;
use super::{
    CheckpointPart, DecidedAct, DecidedActs, DecidedProposal, Lasting, Outcome, Position, Record, Refusal, VERSION,
};
use crate::ids::Incarnation;
use crate::membership::MessageId;
use crate::room::Checkpoint;

pub(super) type Error = rmp_serde::decode::Error;

/// A record as it is encoded.
// The list of servers is the record's own, not a room's in its checkpoints: each record must be
// read alone, by the search for the end of a log, by `history`, by connectors and by operators.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredRecord<'a> {
    // First and under this name in all versions: a reader of any version finds it there.
    v: u8,
    #[serde(rename = "h", with = "serde_bytes")]
    head: Vec<u8>,
    /// All servers that the record names, the owner first.
    #[serde(rename = "s")]
    servers: Vec<StoredServer>,
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    proposals: Vec<StoredProposal>,
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    acts: Vec<StoredActs>,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    lasting: Option<(bool, Position)>,
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    entries: Vec<StoredEntry<'a>>,
    #[serde(rename = "n", default, skip_serializing_if = "Vec::is_empty")]
    notify_connectors: Vec<usize>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Cow<'a, Checkpoint>>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    part: Option<CheckpointPart>,
}

/// Index of the connector, its run, the number of the proposal, and the outcomes.
type StoredProposal = (usize, Incarnation, u64, Vec<StoredOutcome>);

/// Index of the api server, its run, the number of the message; id, digest and outcome of each act.
type StoredActs = (usize, Incarnation, u64, Vec<(MessageId, u64, StoredOutcome)>);

/// An outcome; the usual one is its index alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum StoredOutcome {
    Done(u16),
    Other(OtherOutcome),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OtherOutcome {
    #[serde(rename = "u")]
    Unchanged,
    #[serde(rename = "o")]
    Overtaken,
    /// `seq` and time.
    #[serde(rename = "a")]
    Duplicate(u64, u64),
    #[serde(rename = "r")]
    Refused(Refusal),
}

impl<'a> From<&'a Record> for StoredRecord<'a> {
    fn from(record: &'a Record) -> Self {
        let mut servers = ServerTable::default();
        servers.index(&record.owner);
        let Record { prev, prev_id, id, time, .. } = *record;
        let head = Head { prev, prev_id, id, time, links: Cow::Borrowed(&record.links) };
        let proposals = record.proposals.iter().map(|decided| stored_proposal(decided, &mut servers)).collect();
        let acts = record.acts.iter().map(|decided| stored_acts(decided, &mut servers)).collect();
        let entries = record.entries.iter().map(|entry| StoredEntry::new(entry, &mut servers)).collect();
        let notify_connectors = record.notify_connectors.iter().map(|connector| servers.index(connector)).collect();
        Self {
            v: record.v,
            head: head.encode(),
            servers: servers.into_list(),
            proposals,
            acts,
            lasting: record.lasting.map(|Lasting { is_one, before }| (is_one, before)),
            entries,
            notify_connectors,
            checkpoint: record.checkpoint.as_deref().map(Cow::Borrowed),
            part: record.part,
        }
    }
}

impl TryFrom<StoredRecord<'_>> for Record {
    type Error = Error;

    fn try_from(stored: StoredRecord<'_>) -> Result<Self, Error> {
        let servers = stored.servers;
        let head = Head::decode(&stored.head).ok_or_else(|| Error::custom("a record without a head"))?;
        let Head { prev, prev_id, id, time, links } = head;
        let proposals = stored.proposals.into_iter().map(|decided| proposal(decided, &servers));
        let acts = stored.acts.into_iter().map(|decided| acts(decided, &servers));
        let entries = stored.entries.into_iter().map(|entry| entry.read(&servers));
        let notify_connectors = stored.notify_connectors.into_iter().map(|index| server(&servers, index));
        Ok(Self {
            v: VERSION,
            prev,
            prev_id,
            id,
            links: links.into_owned(),
            time,
            owner: server(&servers, 0)?,
            proposals: proposals.collect::<Result<_, _>>()?,
            acts: acts.collect::<Result<_, _>>()?,
            lasting: stored.lasting.map(|(is_one, before)| Lasting { is_one, before }),
            entries: entries.collect::<Result<_, _>>()?,
            notify_connectors: notify_connectors.collect::<Result<_, _>>()?,
            checkpoint: stored.checkpoint.map(|checkpoint| Box::new(checkpoint.into_owned())),
            part: stored.part,
        })
    }
}

fn stored_proposal(decided: &DecidedProposal, servers: &mut ServerTable) -> StoredProposal {
    let outcomes = decided.outcomes.iter().copied().map(StoredOutcome::from).collect();
    (servers.index(&decided.connector), decided.incarnation, decided.number, outcomes)
}

fn proposal(stored: StoredProposal, servers: &[StoredServer]) -> Result<DecidedProposal, Error> {
    let (connector, incarnation, number, outcomes) = stored;
    let outcomes = outcomes.into_iter().map(Outcome::from).collect();
    Ok(DecidedProposal { connector: server(servers, connector)?, incarnation, number, outcomes })
}

fn stored_acts(decided: &DecidedActs, servers: &mut ServerTable) -> StoredActs {
    let acts = decided.acts.iter().map(|act| (act.id, act.digest, act.outcome.into())).collect();
    (servers.index(&decided.server), decided.incarnation, decided.number, acts)
}

fn acts(stored: StoredActs, servers: &[StoredServer]) -> Result<DecidedActs, Error> {
    let (index, incarnation, number, acts) = stored;
    let acts = acts.into_iter().map(|(id, digest, outcome)| DecidedAct { id, digest, outcome: outcome.into() });
    Ok(DecidedActs { server: server(servers, index)?, incarnation, number, acts: acts.collect() })
}

impl From<Outcome> for StoredOutcome {
    fn from(outcome: Outcome) -> Self {
        Self::Other(match outcome {
            Outcome::Done(index) => return Self::Done(index),
            Outcome::Unchanged => OtherOutcome::Unchanged,
            Outcome::Overtaken => OtherOutcome::Overtaken,
            Outcome::Duplicate { seq, time } => OtherOutcome::Duplicate(seq, time),
            Outcome::Refused(refusal) => OtherOutcome::Refused(refusal),
        })
    }
}

impl From<StoredOutcome> for Outcome {
    fn from(stored: StoredOutcome) -> Self {
        match stored {
            StoredOutcome::Done(index) => Self::Done(index),
            StoredOutcome::Other(OtherOutcome::Unchanged) => Self::Unchanged,
            StoredOutcome::Other(OtherOutcome::Overtaken) => Self::Overtaken,
            StoredOutcome::Other(OtherOutcome::Duplicate(seq, time)) => Self::Duplicate { seq, time },
            StoredOutcome::Other(OtherOutcome::Refused(refusal)) => Self::Refused(refusal),
        }
    }
}
