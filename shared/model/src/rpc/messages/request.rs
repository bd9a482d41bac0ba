//! Messages to chat servers: requests of connectors and api servers, and probes.

use serde::{Deserialize, Serialize};

use super::{HistoryQuery, Item, KnownIncarnation, LogPosition, LookAbout, RoomQuery};
use crate::act::IdentifiedAct;
use crate::ids::{Incarnation, RoomId, ServerId};
use crate::placement::{API, CHAT, CONNECTOR};
use crate::rpc;
use crate::subjects;

/// From a connector to a chat server, on `chat.<server-id>`; also from an api server or another chat
/// server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromConnector {
    /// [`rpc::VERSION`] of the writer.
    pub v: u8,
    /// The sender, of any type.
    pub connector: ServerId,
    /// The run of the sender; one of a connector that is lower than the chat server knows is answered
    /// with [`RpcResponse::Stale`](super::RpcResponse::Stale).
    pub incarnation: Incarnation,
    /// Lower incarnations that the same process had before, oldest first: their sessions are its
    /// sessions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub continues: Vec<Incarnation>,
    /// Counts the messages of this run from 1 on. A message whose count is not above those before
    /// it is a copy, or was overtaken, and proves nothing of its sender's present state. 0 in
    /// probes, and from api servers.
    pub count: u64,
    /// In a heartbeat: the highest incarnation of the chat server that the connector knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownIncarnation>,
    /// The request.
    #[serde(rename = "question")]
    pub request: RpcRequest,
}

impl FromConnector {
    /// The request by which a server checks if a chat server is up.
    pub fn probe(from: ServerId, incarnation: Incarnation) -> Self {
        // Probes change nothing at the receiver, so they need no count.
        Self::uncounted(from, incarnation, RpcRequest::Probe)
    }

    /// A request that needs no count.
    pub fn uncounted(from: ServerId, incarnation: Incarnation, request: RpcRequest) -> Self {
        let v = rpc::VERSION;
        Self { v, connector: from, incarnation, continues: Vec::new(), count: 0, known: None, request }
    }
}

/// A request of a connector or an api server, or the probe of a chat server.
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
    /// Checks that the server is up. Sent by chat servers and api servers, which follow no rooms and
    /// are sent no numbered messages.
    Probe,
    /// Acts of an api server for a room, decided as one message: 1 to
    /// [`MAX_ACTS`](crate::act::MAX_ACTS). A number at or below one that was decided has no effect.
    Act { room: RoomId, number: u64, acts: Vec<IdentifiedAct> },
    /// Reads a part of a room for an api server. `number` is repeated in the response.
    Look { room: RoomId, number: u64, about: LookAbout },
    /// Lists rooms for an api server. `number` is repeated in the response.
    Rooms { number: u64, query: RoomQuery },
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
            Self::Probe => kind == CHAT || kind == API,
            Self::Act { .. } | Self::Look { .. } | Self::Rooms { .. } => kind == API,
        }
    }

    /// Returns true if the sender may receive the response on `reply`: a subject of its own.
    pub fn is_reply_allowed(&self, sender: &ServerId, reply: Option<&str>) -> bool {
        // Any other subject would make this server publish where the sender itself may not.
        match (self, reply) {
            (Self::Detach { .. }, None) => true,
            (_, None) => false,
            (Self::Probe, Some(reply)) => {
                subjects::is_inbox_of(sender, reply) || subjects::is_api_reply_of(sender, reply)
            }
            (Self::Act { .. } | Self::Look { .. } | Self::Rooms { .. }, Some(reply)) => {
                subjects::is_api_reply_of(sender, reply)
            }
            (_, Some(reply)) => subjects::is_reply_of(sender, reply),
        }
    }

    /// The room that it is about.
    pub fn room(&self) -> Option<&RoomId> {
        match self {
            Self::Attach { room, .. }
            | Self::Propose { room, .. }
            | Self::Detach { room }
            | Self::History { room, .. }
            | Self::Act { room, .. }
            | Self::Look { room, .. } => Some(room),
            Self::Heartbeat | Self::Probe | Self::Rooms { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::GATE;

    /// Which types of servers may send a request, and on which subjects they may await the response.
    #[test]
    fn each_request_has_its_senders_and_their_subjects() {
        let room = RoomId::new("lobby").unwrap();
        let look = RpcRequest::Look { room: room.clone(), number: 1, about: LookAbout::Info };
        let of_api = [
            RpcRequest::Act { room, number: 1, acts: Vec::new() },
            look,
            RpcRequest::Rooms { number: 1, query: RoomQuery::default() },
        ];
        let allowed = |request: &RpcRequest| [GATE, CONNECTOR, CHAT, API].map(|kind| request.is_allowed_from(kind));
        let sender = ServerId::new("api-server-1").unwrap();
        let inbox = format!("{}a.1", subjects::inbox(sender.as_str()));
        let subjects = [&inbox, &subjects::api_reply(&sender, 1), &subjects::connector_reply(&sender, 1)];
        let replies = |request: &RpcRequest| subjects.map(|reply| request.is_reply_allowed(&sender, Some(reply)));
        for request in &of_api {
            assert_eq!(allowed(request), [false, false, false, true], "{request:?}");
            assert_eq!(replies(request), [false, true, false], "{request:?}");
            assert!(!request.is_reply_allowed(&sender, None));
            let other = subjects::api_reply(&ServerId::new("api-server-2").unwrap(), 1);
            assert!(!request.is_reply_allowed(&sender, Some(&other)), "{request:?}");
        }
        assert_eq!(allowed(&RpcRequest::Probe), [false, false, true, true]);
        assert_eq!(replies(&RpcRequest::Probe), [true, true, false]);
        assert_eq!(allowed(&RpcRequest::Heartbeat), [false, true, false, false]);
        assert_eq!(replies(&RpcRequest::Heartbeat), [false, false, true]);
    }
}
