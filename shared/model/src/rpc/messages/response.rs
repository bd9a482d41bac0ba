//! Messages of chat servers to connectors and api servers: responses, and committed records.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ActOutcome, ChatStats, HistoryPage, KnownIncarnation, LogPosition, LookResult, RoomPage};
use crate::ids::{Incarnation, RoomId, ServerId};
use crate::record::{Epoch, Position, Record, SharedRecord, encoded};
use crate::room::Checkpoint;

/// From a chat server to a connector, on `connector.<server-id>.>`, or to an api server, on
/// `api.<server-id>.reply.*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromChat {
    /// [`rpc::VERSION`](crate::rpc::VERSION) of the writer.
    pub v: u8,
    /// The sender.
    pub chat: ServerId,
    /// The run of the sender; a lower one than known is ignored, and reported in heartbeats.
    pub incarnation: Incarnation,
    /// Numbers the messages of this run to this connector, without gaps: a missing one was lost. 0
    /// in messages to other servers.
    pub number: u64,
    /// Statistics of the chat server, in responses to heartbeats and probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<ChatStats>,
    /// The response.
    // Last, so that a record in it ends the message and is hashed separately.
    #[serde(rename = "answer")]
    pub response: RpcResponse,
}

/// A response of a chat server, or a committed record that it pushes to other connectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RpcResponse {
    /// A committed record: the response to a proposal in it, and a push to all other connectors of
    /// the room.
    Record { room: RoomId, epoch: Epoch, position: Position, record: SharedRecord },
    /// The response to an attach; `requested` repeats the position of the request.
    Attached {
        room: RoomId,
        #[serde(rename = "asked")]
        requested: LogPosition,
        now: LogPosition,
        #[serde(rename = "news")]
        catch_up: CatchUp,
    },
    /// The response to a history request; all messages up to `upto` were read.
    History { room: RoomId, number: u64, upto: LogPosition, page: HistoryPage },
    /// This server does not own the room: repeat the request here, or at another server.
    NotOwner { room: RoomId },
    /// The owner cannot append now; the proposal stays to be repeated.
    Unavailable { room: RoomId, because: Unavailable },
    /// The response to a heartbeat.
    Alive,
    /// The same from a server that is about to end, also sent unrequested: other servers own its
    /// rooms from now on.
    Leaving,
    /// A higher incarnation of the connector is known: the request had no effect. Uses up no
    /// number.
    Stale(KnownIncarnation),
    /// The response to a message of acts, which is decided in the log of this epoch: one outcome per
    /// act, the same for each repeat.
    Acted { room: RoomId, number: u64, epoch: Epoch, outcomes: Vec<ActOutcome> },
    /// The message of acts had no effect, because the room knows this later one of the api server.
    ActStale { room: RoomId, incarnation: Incarnation, number: u64 },
    /// Too many requests wait: this one was dropped. Repeat it later.
    Busy { room: RoomId },
    /// The response to a look: a part of the room behind the record `upto`.
    Looked { room: RoomId, number: u64, upto: LogPosition, found: LookResult },
    /// The response to a request for a list of rooms; `None` if the log cannot list them now.
    Rooms { number: u64, page: Option<RoomPage> },
}

/// The content of a response to an attach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// The records after the connector's position, oldest first; `more` means that the connector
    /// must attach again for the rest.
    Since {
        #[serde(with = "encoded")]
        records: Vec<(Position, Arc<Record>)>,
        more: bool,
    },
    /// The state at the position that the response names.
    State(Box<Checkpoint>),
    /// One part of the state. The others, `of` in all, come in responses of their own, in order.
    StatePart { index: u16, of: u16, part: Box<Checkpoint> },
}

/// The reason why an owner cannot append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unavailable {
    /// The log is as large as it may be.
    LogFull,
    /// The log does not respond, or not clearly.
    LogAway,
}

impl RpcResponse {
    /// The value of the `Method` header.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Record { .. } => "record",
            Self::Attached { .. } => "attached",
            Self::History { .. } => "history",
            Self::NotOwner { .. } => "not_owner",
            Self::Unavailable { .. } => "unavailable",
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Stale(_) => "stale",
            Self::Acted { .. } => "acted",
            Self::ActStale { .. } => "act_stale",
            Self::Busy { .. } => "busy",
            Self::Looked { .. } => "looked",
            Self::Rooms { .. } => "rooms",
        }
    }

    /// The room that it is about.
    pub fn room(&self) -> Option<&RoomId> {
        match self {
            Self::Record { room, .. }
            | Self::Attached { room, .. }
            | Self::History { room, .. }
            | Self::NotOwner { room }
            | Self::Unavailable { room, .. }
            | Self::Acted { room, .. }
            | Self::ActStale { room, .. }
            | Self::Busy { room }
            | Self::Looked { room, .. } => Some(room),
            Self::Alive | Self::Leaving | Self::Stale(_) | Self::Rooms { .. } => None,
        }
    }

    /// The record that ends the message.
    pub fn record(&self) -> Option<&SharedRecord> {
        match self {
            Self::Record { record, .. } => Some(record),
            _ => None,
        }
    }
}
