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
    /// Who asks.
    pub connector: ServerId,
    /// Which run of it; a lower one than known is answered [`RpcResponse::Stale`].
    pub incarnation: Incarnation,
    /// Lower incarnations that the same process had before, oldest first: their sessions are its
    /// sessions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub continues: Vec<Incarnation>,
    /// Counts the messages of this run, from 1 on: one that is not above those that came before is a
    /// copy, or was overtaken, and says nothing of its sender's present. 0 of those who only probe.
    pub count: u64,
    /// In a heartbeat: the highest incarnation of the chat server that the connector knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownIncarnation>,
    /// What it asks.
    pub question: RpcRequest,
}

impl FromConnector {
    /// The question of a chat server, whether another one is there.
    pub fn probe(from: ServerId, incarnation: Incarnation) -> Self {
        let (v, question) = (super::VERSION, RpcRequest::Probe);
        Self { v, connector: from, incarnation, continues: Vec::new(), count: 0, known: None, question }
    }
}

/// Numbers of proposals above this come from wrong senders, unless they are close to a known one: no
/// connector counts so far.
const MOST_NUMBER: u64 = 1 << 62;

/// Distance above a known number of a proposal up to which a number above [`MOST_NUMBER`] is plausible.
const PLAUSIBLE_NUMBERS: u64 = 1 << 20;

/// Returns false for a number of a proposal that a server refuses which knows that its connector had
/// `last`: stored, it would make all later ones look like old ones.
pub fn is_plausible_number(number: u64, last: u64) -> bool {
    number <= MOST_NUMBER || number <= last.saturating_add(PLAUSIBLE_NUMBERS)
}

/// The highest incarnation of a server that another one knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownIncarnation {
    /// The incarnation.
    pub incarnation: Incarnation,
    /// That run was received from lately, so a lower one that was accepted before is the older of
    /// two processes with one id.
    pub live: bool,
}

/// What a connector asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RpcRequest {
    /// Follow a room: answered with the records since the position, or the state.
    Attach { room: RoomId, at: LogPosition },
    /// What clients want in a room, as one unit.
    Propose { room: RoomId, at: LogPosition, number: u64, items: Vec<Item> },
    /// Follow a room no longer. Not answered.
    Detach { room: RoomId },
    /// Messages of a room, as one of its members may see them, who is in by this session of the
    /// connector. `number` comes back with the answer.
    History {
        room: RoomId,
        number: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<u64>,
        wanted: HistoryQuery,
    },
    /// Is there anybody, and which was the last message that you sent me?
    Heartbeat,
    /// Asks whether the server is there. Sent by chat servers, which follow nothing and are sent no
    /// numbers.
    Probe,
}

impl RpcRequest {
    /// Returns true if servers of this type, a key of `servers.json`, may ask it.
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

    /// Returns true if its sender may await the answer on `reply`: on a subject of its own.
    pub fn is_reply_allowed(&self, sender: &ServerId, reply: Option<&str>) -> bool {
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

/// How far a connector has read a room's log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// The life of the log that it read.
    pub epoch: Epoch,
    /// The last record that it applied.
    pub position: Position,
    /// The id of that record: a log that lost its end may give the position to another one.
    pub id: RecordId,
}

/// Which messages, and who is to see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryQuery {
    /// Whispers are shown to the memberships that they are between, and to nobody else.
    pub viewer: Membership,
    /// Which of them.
    pub span: HistoryRange,
    /// How many at most; bytes bound them, too.
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
    /// A session enters under a name; `claim` says what it may do if another session has that. A join of a stay that another
    /// session may have names, as `seen`, the last record that its connector had applied when the session asked.
    Join {
        session: u64,
        name: Name,
        membership: Membership,
        claim: Claim,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<RecordId>,
    },
    /// A session goes. `incarnation` is the connector's run that the session belongs to, perhaps an earlier one.
    Leave { session: u64, incarnation: Incarnation },
    /// A session speaks; `body` is the client's JSON, unread. It is refused if the session is in by another stay than the one
    /// that its client knows: a repeat under that one would not be recognised.
    Send {
        session: u64,
        membership: Membership,
        #[serde(with = "serde_bytes")]
        body: Vec<u8>,
    },
}

/// What a session that enters may do if another has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// A client enters: as the settings say.
    New,
    /// A client comes back with its token: it takes its own membership over.
    Back,
    /// The connector brings a session back that the log has seen leave: nothing, the name is the other's.
    Heal,
}

/// Most bytes of a name.
const NAME: usize = 4 * MAX_NAME_CHARS;
/// Most bytes of a session and its keys.
const SESSION: usize = Entry::SESSION_AROUND + MAX_SERVER_ID_BYTES;

impl Item {
    /// Most bytes of a message besides its content, with names of its sender and of whom it is for.
    pub const SEND_AROUND: usize = DecidedProposal::OUTCOME + Entry::AROUND + 2 * NAME;

    /// What the `Method` header says of it.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Join { .. } => "enter",
            Self::Leave { .. } => "leave",
            Self::Send { .. } => "send",
        }
    }

    /// Most bytes that it takes on the bus, and that it may come to in a record, whichever is more.
    pub fn size(&self) -> usize {
        // Where a session takes another name from one that is gone, two leave and it joins.
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
    /// Who answers.
    pub chat: ServerId,
    /// Which run of it; a lower one than known is ignored, and told in heartbeats.
    pub incarnation: Incarnation,
    /// Numbers the messages of this run to this connector, without gaps: a missing one was lost.
    pub number: u64,
    /// Figures of the chat server, in answers to heartbeats and probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<ChatStats>,
    /// The answer. Last, so that a record in it ends the message and is hashed apart from the rest.
    pub answer: RpcResponse,
}

/// What a chat server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RpcResponse {
    /// A committed record: the answer to a proposal in it, and news to all others.
    Record { room: RoomId, epoch: Epoch, position: Position, record: SharedRecord },
    /// The answer to an attach. `asked` is what the question said.
    Attached { room: RoomId, asked: LogPosition, now: LogPosition, news: CatchUp },
    /// The answer to a question for messages; all up to `upto` was looked at.
    History { room: RoomId, number: u64, upto: LogPosition, page: HistoryPage },
    /// This server does not own the room: ask again, or elsewhere.
    NotOwner { room: RoomId },
    /// The owner cannot append now; the proposal stays to be repeated.
    Unavailable { room: RoomId, because: Unavailable },
    /// The answer to a heartbeat.
    Alive,
    /// The same from a server that is about to end, and what it tells without being asked: its rooms are others' from now on.
    Leaving,
    /// A higher incarnation of the connector is known: nothing came of the question. Uses up no
    /// number.
    Stale(KnownIncarnation),
}

/// What a connector gets that attaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// The records after its position, oldest first; `more` says that there are others, to be asked for again.
    Since { records: Vec<(Position, Arc<Record>)>, more: bool },
    /// The state at the position that the answer names.
    State(Box<Checkpoint>),
    /// A part of it: the others, as many as `of` says, come with answers of their own, in order and one behind the other.
    StatePart { index: u16, of: u16, part: Box<Checkpoint> },
}

/// Messages of a room, oldest first.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The messages.
    pub messages: Vec<HistoryMessage>,
    /// There may be more, in the direction that was asked for: beyond this `seq`.
    pub cursor: Option<u64>,
    /// Nothing is gone that was asked for.
    pub complete: bool,
}

/// A message, as a page has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryMessage {
    /// Where it stands in the room's log.
    pub seq: u64,
    /// When it was committed, in Unix milliseconds.
    pub time: u64,
    /// Who said it.
    pub from: Name,
    /// To whom; none for all.
    pub to: Option<Name>,
    /// What.
    pub content: String,
}

impl HistoryMessage {
    /// Its bytes as JSON towards clients, or a little more.
    pub fn json_size(&self) -> usize {
        let target = self.to.as_ref().map_or("*", Name::as_str);
        128 + json_len(&self.content) + json_len(self.from.as_str()) + json_len(target)
    }
}

/// Why an owner cannot append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unavailable {
    /// The log is as large as it may be.
    LogFull,
    /// The log does not answer, or not clearly.
    LogAway,
}

impl RpcResponse {
    /// What the `Method` header says of it.
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

    /// The room that it speaks of.
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

/// The question of a gate to a connector, whether it takes users; on `connector.<server-id>.ping`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// [`super::VERSION`] of the writer.
    pub v: u8,
    /// The gate.
    pub gate: ServerId,
}

/// The answer of a connector to a gate that asks whether it takes users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// [`super::VERSION`] of the writer.
    pub v: u8,
    /// The connector.
    pub connector: ServerId,
    /// Whether new users are welcome.
    pub accepting: bool,
    /// Which run of it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// How it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<ConnectorStats>,
    /// Chat servers as it sees them, those left out that it knows nothing of. Empty from an earlier
    /// program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chats: Vec<ChatReport>,
    /// The port that it listens on for clients; `servers.json` may have been edited since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_port: Option<u16>,
}

/// What a connector says of itself to whoever looks after it.
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

/// What a chat server says of itself to whoever looks after it.
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
