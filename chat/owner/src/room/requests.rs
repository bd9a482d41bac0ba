//! The requests that wait for a room's owner.

use std::collections::VecDeque;

use model::act::IdentifiedAct;
use model::ids::{Incarnation, ServerId};
use model::rpc::Trace;
use model::rpc::messages::{Item, LogPosition, LookAbout};

use crate::draft::Author;

/// A server that waits for a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The connector, or the api server.
    pub server: ServerId,
    /// The subject of the response.
    pub reply: String,
    /// Trace of the client request behind the request.
    pub trace: Trace,
    /// It is a connector: the messages to it are numbered.
    pub is_numbered: bool,
}

/// A waiting attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// The connector.
    pub requester: Requester,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The last record that it has.
    pub at: LogPosition,
}

/// A waiting proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The connector.
    pub requester: Requester,
    /// Connector and incarnation that number the proposal.
    pub author: Author,
    /// The last record that the connector has.
    pub at: LogPosition,
    /// The proposal's number within the incarnation.
    pub number: u64,
    /// The proposed items.
    pub items: Vec<Item>,
    /// Items that must not wait are queued behind it at the connector.
    pub is_urgent: bool,
}

/// A waiting message of acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActMessage {
    /// The api server.
    pub requester: Requester,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The number of the message within that.
    pub number: u64,
    /// The acts; at most [`MAX_ACTS`](model::act::MAX_ACTS).
    pub acts: Vec<IdentifiedAct>,
}

/// A waiting look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The api server.
    pub requester: Requester,
    /// The request's number.
    pub number: u64,
    /// What it reads.
    pub about: LookAbout,
}

impl ActMessage {
    /// Returns its place among the messages of its api server.
    pub(super) fn order(&self) -> (Incarnation, u64) {
        (self.incarnation, self.number)
    }

    /// Returns true if the other message is one of the same api server.
    pub(super) fn is_of_server_of(&self, other: &Self) -> bool {
        self.requester.server == other.requester.server
    }

    /// Returns the most bytes that the message can take in a record.
    pub(super) fn size(&self) -> usize {
        self.acts.iter().map(|act| act.act.size()).sum()
    }
}

impl Proposal {
    /// Returns the most bytes that the proposal can take in a record.
    pub(super) fn size(&self) -> usize {
        self.items.iter().map(Item::size).sum()
    }
}

/// The time on two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds of a monotonic clock.
    pub ticks: u64,
    /// Unix milliseconds.
    pub wall_ms: u64,
}

/// The requests that wait for an activation.
pub(super) struct Waiting<'a> {
    pub(super) proposals: &'a mut VecDeque<Proposal>,
    pub(super) acts: &'a mut VecDeque<ActMessage>,
    /// The proposals may wait for others, to share a record.
    pub(super) may_wait: bool,
    pub(super) attaches: &'a mut Vec<Attach>,
    /// History requests or looks wait for a proof of the position.
    pub(super) has_readers: bool,
}
