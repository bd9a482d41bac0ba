//! The messages between connectors and chat servers, and nothing else.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::text::json_len;

use crate::ids::{Incarnation, MAX_NAME_CHARS, MAX_SERVER_ID_BYTES, Name, RoomId, ServerId};
use crate::membership::Membership;
use crate::placement::{CHAT, CONNECTOR};
use crate::record::{DecidedProposal, Entry, Epoch, Position, Record, RecordId, SharedRecord};
use crate::room::Checkpoint;
use crate::rpc::report::ChatReport;
use crate::subjects;

/// From a connector to a chat server, on `chat.<server-id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromConnector {
    /// [`super::VERSION`] of the writer.
    pub v: u8,
    /// The sender.
    pub connector: ServerId,
    /// The run of the sender; a lower one than the chat server knows is answered with
    /// [`RpcResponse::Stale`].
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
        let (v, request) = (super::VERSION, RpcRequest::Probe);
        Self { v, connector: from, incarnation, continues: Vec::new(), count: 0, known: None, request }
    }
}

/// Numbers of proposals above this come from wrong senders, unless they are close to a known one.
// No connector counts that far.
const MOST_NUMBER: u64 = 1 << 62;

/// Distance above a known number of a proposal up to which a number above [`MOST_NUMBER`] is
/// plausible.
const PLAUSIBLE_NUMBERS: u64 = 1 << 20;

/// Returns false for the number of a proposal that is too far above `last`, the connector's last
/// known one. A server refuses it.
pub fn is_plausible_number(number: u64, last: u64) -> bool {
    // Stored, it would make all later numbers of the connector look old.
    number <= MOST_NUMBER || number <= last.saturating_add(PLAUSIBLE_NUMBERS)
}

/// The highest incarnation of a server that another one knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownIncarnation {
    /// The incarnation.
    pub incarnation: Incarnation,
    /// A message of that run arrived lately, so a lower incarnation that was accepted before is the
    /// older of two processes with one id.
    pub live: bool,
}

/// A request of a connector, or the probe of a chat server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RpcRequest {
    /// Follow a room: the response has the records since the position, or the state.
    Attach { room: RoomId, at: LogPosition },
    /// Commands of clients for a room, as one unit.
    Propose { room: RoomId, at: LogPosition, number: u64, items: Vec<Item> },
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

/// A connector's position in a room's log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// The life of the log that it read.
    pub epoch: Epoch,
    /// The last record that it applied.
    pub position: Position,
    /// The id of that record.
    // A log that lost its end may give the position to another record.
    pub id: RecordId,
}

/// The messages that a client requests, and the membership that reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryQuery {
    /// Whispers are shown to their two memberships only.
    pub viewer: Membership,
    /// The range of messages.
    pub span: HistoryRange,
    /// Most messages; their bytes are bounded, too.
    pub limit: u16,
}

/// A part of a room's messages, by their `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryRange {
    /// The last ones.
    Last,
    /// The last ones before this.
    Before(u64),
    /// The first ones after this.
    After(u64),
    /// The last ones after this, and whether all of those still exist.
    Since(u64),
}

/// One thing that a client wants, or that a connector wants for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A session enters under a name. `claim` says what it may do if another session has that name.
    /// A join of a membership that another session may have carries, as `seen`, the last record
    /// that its connector had applied when the session entered.
    Join {
        session: u64,
        name: Name,
        membership: Membership,
        claim: Claim,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<RecordId>,
    },
    /// A session goes. `incarnation` is the connector's run that the session belongs to, perhaps an
    /// earlier one.
    Leave { session: u64, incarnation: Incarnation },
    /// A session sends a message; `body` is the client's JSON, unread. It is refused if the session
    /// is in the room by another membership than its client knows.
    // A repeat under the other membership would not be recognised as one.
    Send {
        session: u64,
        membership: Membership,
        #[serde(with = "serde_bytes")]
        body: Vec<u8>,
    },
}

/// Rights of a session that enters while another session has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// A client enters: the settings decide.
    New,
    /// A client comes back with its token: it takes its own membership over.
    Back,
    /// The connector brings a session back that the log has seen leave: nothing, the name is the
    /// other's.
    Heal,
}

/// Most bytes of a name.
const NAME: usize = 4 * MAX_NAME_CHARS;
/// Most bytes of a session and its keys.
const SESSION: usize = Entry::SESSION_AROUND + MAX_SERVER_ID_BYTES;

impl Item {
    /// Most bytes of a message besides its content, with names of its sender and of whom it is for.
    pub const SEND_AROUND: usize = DecidedProposal::OUTCOME + Entry::AROUND + 2 * NAME;

    /// The value of the `Method` header.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Join { .. } => "enter",
            Self::Leave { .. } => "leave",
            Self::Send { .. } => "send",
        }
    }

    /// Upper bound of the bytes that it takes on the bus and of those that it adds to a record.
    pub fn size(&self) -> usize {
        // If a session takes the name of a disconnected one, two sessions leave and one joins.
        const JOIN: usize = 3 * (Entry::AROUND + SESSION) + NAME;
        const LEAVE: usize = Entry::AROUND + SESSION + NAME;
        match self {
            Self::Join { name, .. } => DecidedProposal::OUTCOME + JOIN + 2 * name.as_str().len(),
            Self::Leave { .. } => DecidedProposal::OUTCOME + LEAVE,
            Self::Send { body, .. } => Self::SEND_AROUND + body.len(),
        }
    }
}

/// From a chat server to a connector, on `connector.<server-id>.>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromChat {
    /// [`super::VERSION`] of the writer.
    pub v: u8,
    /// The sender.
    pub chat: ServerId,
    /// The run of the sender; a lower one than known is ignored, and reported in heartbeats.
    pub incarnation: Incarnation,
    /// Numbers the messages of this run to this connector, without gaps: a missing one was lost.
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
}

/// The content of a response to an attach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// The records after the connector's position, oldest first; `more` means that the connector
    /// must attach again for the rest.
    Since { records: Vec<(Position, Arc<Record>)>, more: bool },
    /// The state at the position that the response names.
    State(Box<Checkpoint>),
    /// One part of the state. The others, `of` in all, come in responses of their own, in order.
    StatePart { index: u16, of: u16, part: Box<Checkpoint> },
}

/// Messages of a room, oldest first.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The messages.
    pub messages: Vec<HistoryMessage>,
    /// There may be more in the requested direction, beyond this `seq`.
    pub cursor: Option<u64>,
    /// True if no requested message has been evicted.
    pub complete: bool,
}

/// A message, as a page has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryMessage {
    /// Its position in the room's log, as `seq`.
    pub seq: u64,
    /// The time of its commit, in Unix milliseconds.
    pub time: u64,
    /// The sender.
    pub from: Name,
    /// The target of a whisper; none for the whole room.
    pub to: Option<Name>,
    /// The text.
    pub content: String,
}

impl HistoryMessage {
    /// Its bytes as JSON towards clients, or a little more.
    pub fn json_size(&self) -> usize {
        let target = self.to.as_ref().map_or("*", Name::as_str);
        128 + json_len(&self.content) + json_len(self.from.as_str()) + json_len(target)
    }
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
        }
    }

    /// The room that it is about.
    pub fn room(&self) -> Option<&RoomId> {
        match self {
            Self::Record { room, .. }
            | Self::Attached { room, .. }
            | Self::History { room, .. }
            | Self::NotOwner { room }
            | Self::Unavailable { room, .. } => Some(room),
            Self::Alive | Self::Leaving | Self::Stale(_) => None,
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

/// A gate's request that checks if a connector takes users; on `connector.<server-id>.ping`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// [`super::VERSION`] of the writer.
    pub v: u8,
    /// The gate.
    pub gate: ServerId,
}

/// A connector's response to the [`Ping`] of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// [`super::VERSION`] of the writer.
    pub v: u8,
    /// The connector.
    pub connector: ServerId,
    /// True if the connector takes new users.
    pub accepting: bool,
    /// The run of the connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// Statistics of the connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<ConnectorStats>,
    /// Chat servers as it sees them, those left out that it knows nothing of. Empty from an earlier
    /// program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chats: Vec<ChatReport>,
    /// The port that it listens on for clients.
    // `servers.json` may have been edited since the start of the connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_port: Option<u16>,
}

/// Statistics of a connector, for operators.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorStats {
    /// Of the program.
    pub version: String,
    /// Milliseconds since its start.
    pub uptime_ms: u64,
    /// Client connections now.
    pub connections: u64,
    /// Rooms that it follows now.
    pub rooms: u64,
    /// Client requests since its start.
    pub requests: u64,
}

/// Statistics of a chat server, for operators.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatStats {
    /// Of the program.
    pub version: String,
    /// Milliseconds since its start.
    pub uptime_ms: u64,
    /// Rooms whose state it has in memory now.
    pub rooms: u64,
    /// Records that it appended since its start.
    pub records: u64,
}
