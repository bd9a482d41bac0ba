//! Messages to chat servers: requests of connectors, and probes of chat servers.

use serde::{Deserialize, Serialize};

use super::{HistoryQuery, Item, KnownIncarnation, LogPosition};
use crate::ids::{Incarnation, RoomId, ServerId};
use crate::placement::{CHAT, CONNECTOR};
use crate::rpc;
use crate::subjects;

/// From a connector to a chat server, on `chat.<server-id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromConnector {
    /// [`rpc::VERSION`] of the writer.
    pub v: u8,
    /// The sender.
    pub connector: ServerId,
    /// The run of the sender; a lower one than the chat server knows is answered with
    /// [`RpcResponse::Stale`](super::RpcResponse::Stale).
    pub incarnation: Incarnation,
    /// Lower incarnations that the same process had before, oldest first: their sessions are its
    /// sessions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub continues: Vec<Incarnation>,
    /// Counts the messages of this run from 1 on. A message whose count is not above those before
    /// it is a copy, or was overtaken, and proves nothing of its sender's present state. 0 in
    /// probes.
    pub count: u64,
    /// In a heartbeat: the highest incarnation of the chat server that the connector knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownIncarnation>,
    /// The request.
    #[serde(rename = "question")]
    pub request: RpcRequest,
}

impl FromConnector {
    /// The request by which a chat server checks if another one is up.
    pub fn probe(from: ServerId, incarnation: Incarnation) -> Self {
        // Probes change nothing at the receiver, so they need no count.
        let (v, request) = (rpc::VERSION, RpcRequest::Probe);
        Self { v, connector: from, incarnation, continues: Vec::new(), count: 0, known: None, request }
    }
}

/// A request of a connector, or the probe of a chat server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RpcRequest {
    /// Follow a room: the response has the records since the position, or the state.
    Attach { room: RoomId, at: LogPosition },
    /// Commands of clients for a room, as one unit. `urgent` if others that must not wait are queued
    /// behind it.
    Propose {
        room: RoomId,
        at: LogPosition,
        number: u64,
        items: Vec<Item>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        urgent: bool,
    },
    /// Follow a room no longer. Not answered.
    Detach { room: RoomId },
    /// Reads messages of a room as one of its members may see them, who is in the room by this
    /// session of the connector. `number` is repeated in the response.
    History {
        room: RoomId,
        number: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<u64>,
        #[serde(rename = "wanted")]
        query: HistoryQuery,
    },
    /// Checks that the chat server is up. The response names the last message that it sent to this
    /// connector.
    Heartbeat,
    /// Checks that the server is up. Sent by chat servers, which follow no rooms and are sent no
    /// numbered messages.
    Probe,
}

impl RpcRequest {
    /// Returns true if servers of this type, a key of `servers.json`, may send this request.
    pub fn is_allowed_from(&self, kind: &str) -> bool {
        match self {
            Self::Attach { .. }
            | Self::Propose { .. }
            | Self::Detach { .. }
            | Self::History { .. }
            | Self::Heartbeat => kind == CONNECTOR,
            Self::Probe => kind == CHAT,
        }
    }

    /// Returns true if the sender may receive the response on `reply`: a subject of its own.
    pub fn is_reply_allowed(&self, sender: &ServerId, reply: Option<&str>) -> bool {
        // Any other subject would make this server publish where the sender itself may not.
        match (self, reply) {
            (Self::Detach { .. }, None) => true,
            (_, None) => false,
            (Self::Probe, Some(reply)) => subjects::is_inbox_of(sender, reply),
            (_, Some(reply)) => subjects::is_reply_of(sender, reply),
        }
    }

    /// The room that it is about.
    pub fn room(&self) -> Option<&RoomId> {
        match self {
            Self::Attach { room, .. }
            | Self::Propose { room, .. }
            | Self::Detach { room }
            | Self::History { room, .. } => Some(room),
            Self::Heartbeat | Self::Probe => None,
        }
    }
}
