//! The responses of all commands, beside their `code`.

use model::act::{MessageMeta, RuleKind, Target};
use model::ids::Name;
use model::rpc::messages::HistoryMessage;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::rooms::{Committed, Member, RoomRule, ServerLine, UserSession};

/// An entry that was committed: its place in the room's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Sent {
    /// The position; a repeat with the same idempotency key gets the same one.
    pub(crate) seq: u64,
    /// The time of the commit, in Unix milliseconds.
    pub(crate) time: u64,
    /// The life of the room's log. Positions of two lives cannot be compared.
    pub(crate) epoch: u64,
}

impl From<Committed> for Sent {
    fn from(Committed { seq, time, epoch }: Committed) -> Self {
        Self { seq, time, epoch: epoch.0 }
    }
}

/// The results of several commands, in their order: each with its `code`, and with `reason` or what
/// its command responds.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Results {
    /// One for each command or room.
    #[schema(value_type = Vec<Object>)]
    pub(crate) results: Vec<Value>,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RoomReply {
    /// Its id.
    pub(crate) rid: String,
    /// The chat server that owns it now.
    pub(crate) owner: String,
    /// The number of its members.
    pub(crate) members: usize,
    /// The position of its last entry.
    pub(crate) seq: u64,
    /// The time of that, in Unix milliseconds.
    pub(crate) time: u64,
    /// The life of its log.
    pub(crate) epoch: u64,
}

/// Ids of rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RoomsReply {
    /// The ids, in their order; those that the key is not for are left out.
    pub(crate) rooms: Vec<String>,
    /// There may be more: `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MemberReply {
    /// The name.
    pub(crate) name: String,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    /// The claim `info` of the user's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub(crate) info: Option<Value>,
}

impl From<Member> for MemberReply {
    fn from(Member { name, uid, info }: Member) -> Self {
        Self { name: name.to_string(), uid: uid.map(|uid| uid.to_string()), info: info.as_deref().and_then(json) }
    }
}

/// Parses JSON of an entry; `None` if another release wrote something else there.
fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// Members of a room.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MembersReply {
    /// The room.
    pub(crate) rid: String,
    /// The members, in the order of their names.
    pub(crate) members: Vec<MemberReply>,
    /// The number of all members.
    pub(crate) total: usize,
    /// The position up to which the list is right.
    pub(crate) seq: u64,
    /// There are more: `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MessageReply {
    /// Its position.
    pub(crate) seq: u64,
    /// The time of its commit, in Unix milliseconds.
    pub(crate) time: u64,
    /// The sender.
    pub(crate) from: String,
    /// The receiver of a whisper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// The text.
    pub(crate) content: String,
    /// The user who sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    /// The id of the key by which it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// JSON of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub(crate) data: Option<Value>,
}

impl From<HistoryMessage> for MessageReply {
    fn from(HistoryMessage { seq, time, from, to, content, meta }: HistoryMessage) -> Self {
        let MessageMeta { uid, by, data } = meta.map(|meta| *meta).unwrap_or_default();
        Self {
            seq,
            time,
            from: from.to_string(),
            to: to.as_ref().map(Name::to_string),
            content,
            uid: uid.map(|uid| uid.to_string()),
            by: by.map(|by| by.to_string()),
            data: data.as_deref().and_then(json),
        }
    }
}

/// Messages of a room.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MessagesReply {
    /// The room.
    pub(crate) rid: String,
    /// The life of its log.
    pub(crate) epoch: u64,
    /// The messages, oldest first.
    pub(crate) messages: Vec<MessageReply>,
    /// No message that was asked for is too old to be there.
    pub(crate) complete: bool,
    /// There may be more in the same direction: `before` or `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<u64>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RuleReply {
    /// The user.
    pub(crate) target: String,
    /// The meaning of `target`: `uid` or `name`.
    pub(crate) by: &'static str,
    /// `mute` or `ban`.
    pub(crate) kind: &'static str,
    /// Its end in Unix milliseconds; 0 for never.
    pub(crate) until: u64,
    /// The moderator, or the id of the key.
    pub(crate) author: String,
}

/// The word for a kind of rule.
pub(crate) fn kind_word(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Mute => "mute",
        RuleKind::Ban => "ban",
    }
}

impl From<RoomRule> for RuleReply {
    fn from(RoomRule { target, kind, until, by }: RoomRule) -> Self {
        let (by_word, target) = match target {
            Target::Uid(uid) => ("uid", uid.to_string()),
            Target::Name(name) => ("name", name.to_string()),
        };
        Self { target, by: by_word, kind: kind_word(kind), until, author: by.to_string() }
    }
}

/// Rules of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RulesReply {
    /// The room.
    pub(crate) rid: String,
    /// Those that hold.
    pub(crate) rules: Vec<RuleReply>,
    /// There are more: `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
}

/// A session of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SessionReply {
    /// Its connector.
    pub(crate) connector: String,
    /// The run of the connector, as text: it has more digits than numbers in JavaScript.
    pub(crate) incarnation: String,
    /// Its number in that run, as text.
    pub(crate) session: String,
    /// The room that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rid: Option<String>,
    /// Its name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

impl From<UserSession> for SessionReply {
    fn from(UserSession { connector, incarnation, number, member }: UserSession) -> Self {
        let (rid, name) = member.map(|(room, name)| (room.to_string(), name.to_string())).unzip();
        let (incarnation, session) = (incarnation.0.to_string(), number.to_string());
        Self { connector: connector.to_string(), incarnation, session, rid, name }
    }
}

/// The sessions of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SessionsReply {
    /// The sessions.
    pub(crate) sessions: Vec<SessionReply>,
    /// All connectors responded.
    pub(crate) complete: bool,
    /// The connectors that did not.
    pub(crate) silent: Vec<String>,
}

/// The end of a user's sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct DisconnectReply {
    /// The number of sessions that ended.
    pub(crate) closed: usize,
    /// All connectors responded.
    pub(crate) complete: bool,
    /// The connectors that did not.
    pub(crate) silent: Vec<String>,
}

/// A connected user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct UserReply {
    /// The user.
    pub(crate) uid: String,
    /// The number of the user's sessions.
    pub(crate) sessions: usize,
}

/// Connected users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct UsersReply {
    /// The users, in the order of their ids.
    pub(crate) users: Vec<UserReply>,
    /// All connectors responded.
    pub(crate) complete: bool,
    /// The connectors that did not.
    pub(crate) silent: Vec<String>,
    /// There may be more: `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ServerReply {
    /// Its id.
    pub(crate) id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// `up`, `closed` (takes no users or rooms), `away` (down), or `unknown`.
    pub(crate) state: &'static str,
}

impl From<ServerLine> for ServerReply {
    fn from(ServerLine { id, kind, state }: ServerLine) -> Self {
        Self { id: id.to_string(), kind, state }
    }
}

/// All servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ServersReply {
    /// The servers, by type and in the order of servers.json.
    pub(crate) servers: Vec<ServerReply>,
}

/// A refusal or a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ErrorReply {
    /// The code, which is also the status over HTTP.
    pub(crate) code: u16,
    /// A stable word, a colon, a sentence.
    pub(crate) reason: String,
}
