//! Inputs and effects of a proposer.

use bytes::Bytes;
use model::ids::{RoomId, ServerId};
use model::record::{Epoch, Refusal};
use model::rpc::messages::{LogPosition, LookResult, RoomPage};

use crate::event::Event;

/// Names one input that waits for its outcome; the caller chooses it, and each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// An action for the edge, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sends a request to a chat server. The response goes to
    /// [`api_reply`](model::subjects::api_reply) of the token.
    Send { chat: ServerId, token: u64, method: &'static str, room: Option<RoomId>, body: Bytes },
    /// Tells the outcome of an input; each ticket is resolved once.
    Resolve { ticket: Ticket, outcome: Outcome },
    /// Reads `servers.json` again: a server that is not in it sent a message.
    RequestRecheck,
    /// Counts and logs an occurrence.
    Report(Event),
}

/// The outcome of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The act is the entry with this `seq`, committed at this time to the log of this epoch.
    Done { seq: u64, time: u64, epoch: Epoch },
    /// The act was refused, and has no effect.
    Refused(Refusal),
    /// A part of the room, behind the record `upto`, by its owner.
    Looked { owner: ServerId, upto: LogPosition, found: LookResult },
    /// A list of rooms.
    Rooms(RoomPage),
    /// Too many inputs wait: certainly nothing was done.
    Busy,
    /// There is no outcome in time: an act may have been done, or may be done later.
    Unknown,
}

/// The times of a proposer, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// `rpc.request_ms`: the time in which each ticket is resolved.
    pub request_ms: u64,
    /// `rpc.repeat_ms`: the time after which a request without a response is repeated.
    pub repeat_ms: u64,
    /// `room.lease_secs`: the time of silence after which a removed server counts as one no more.
    pub lease_ms: u64,
}
