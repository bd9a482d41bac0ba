//! The requests of all commands: the members of a JSON object, which over HTTP come from the path,
//! the query and the body. A member that the command does not know is refused.

mod fields;

use model::act::RuleKind;
use model::ids::{Name, RoomId, Uid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Items of a page, where a request does not say.
pub(crate) const USUAL_LIMIT: usize = 100;

/// Sends a message to a room.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publish {
    /// The room.
    #[serde(deserialize_with = "fields::rid")]
    #[schema(value_type = String, max_length = 64)]
    pub(crate) rid: RoomId,
    /// The text, at most `room.max_content` bytes as JSON.
    #[serde(deserialize_with = "fields::content")]
    pub(crate) content: String,
    /// The sender's name. Without it that of the key, or else the first of `names.reserved`. All
    /// other names need the scope `users`.
    #[serde(default, deserialize_with = "fields::from", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 64)]
    pub(crate) from: Option<Name>,
    /// The user in whose name it is sent; needs the scope `users`.
    #[serde(default, deserialize_with = "fields::speaker", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 128)]
    pub(crate) uid: Option<Uid>,
    /// JSON beside the text, at most 4,096 bytes.
    #[serde(default, deserialize_with = "fields::more", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub(crate) data: Option<Value>,
}

/// Sends a message to many rooms.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Broadcast {
    /// The rooms.
    #[serde(deserialize_with = "fields::rids")]
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 1000)]
    pub(crate) rooms: Vec<RoomId>,
    /// As in a message to one room, like all that follow.
    #[serde(deserialize_with = "fields::content")]
    pub(crate) content: String,
    #[serde(default, deserialize_with = "fields::from")]
    #[schema(value_type = Option<String>, max_length = 64)]
    pub(crate) from: Option<Name>,
    #[serde(default, deserialize_with = "fields::speaker")]
    #[schema(value_type = Option<String>, max_length = 128)]
    pub(crate) uid: Option<Uid>,
    #[serde(default, deserialize_with = "fields::more")]
    #[schema(value_type = Option<Value>)]
    pub(crate) data: Option<Value>,
}

/// Looks at a room.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Info {
    /// The room.
    #[serde(deserialize_with = "fields::rid")]
    #[schema(value_type = String, max_length = 64)]
    pub(crate) rid: RoomId,
}

/// Lists rooms that have a log.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListRooms {
    /// The beginning of their ids.
    #[serde(default, deserialize_with = "fields::prefix")]
    #[schema(max_length = 256)]
    pub(crate) prefix: Option<String>,
    /// The `cursor` of the page before.
    #[serde(default, deserialize_with = "fields::after_room")]
    #[schema(value_type = Option<String>)]
    pub(crate) after: Option<RoomId>,
    /// Most rooms of the page; 100 without it.
    #[serde(default, deserialize_with = "fields::page")]
    #[schema(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<usize>,
}

/// Lists the members of a room.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListMembers {
    /// The room.
    #[serde(deserialize_with = "fields::rid")]
    #[schema(value_type = String, max_length = 64)]
    pub(crate) rid: RoomId,
    /// The `cursor` of the page before.
    #[serde(default, deserialize_with = "fields::after_name")]
    #[schema(value_type = Option<String>)]
    pub(crate) after: Option<Name>,
    /// Most members of the page; 100 without it.
    #[serde(default, deserialize_with = "fields::page")]
    #[schema(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<usize>,
}

/// Reads messages of a room: the newest, or those before or after one.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadMessages {
    /// The room.
    #[serde(deserialize_with = "fields::rid")]
    #[schema(value_type = String, max_length = 64)]
    pub(crate) rid: RoomId,
    /// Messages below this `seq`. Not together with `after`.
    #[serde(default, deserialize_with = "fields::before_seq")]
    pub(crate) before: Option<u64>,
    /// Messages above this `seq`.
    #[serde(default, deserialize_with = "fields::after_seq")]
    pub(crate) after: Option<u64>,
    /// Most messages of the page; 100 without it.
    #[serde(default, deserialize_with = "fields::page")]
    #[schema(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<usize>,
    /// Whispers, too; needs the scope `admin`.
    #[serde(default, deserialize_with = "fields::whispers")]
    pub(crate) whispers: Option<bool>,
}

/// Lists the rules of a room.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListRules {
    /// The room.
    #[serde(deserialize_with = "fields::rid")]
    #[schema(value_type = String, max_length = 64)]
    pub(crate) rid: RoomId,
    /// The `cursor` of the page before.
    #[serde(default, deserialize_with = "fields::after_rule")]
    pub(crate) after: Option<String>,
    /// Most rules of the page; 100 without it.
    #[serde(default, deserialize_with = "fields::page")]
    #[schema(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<usize>,
}

/// The meaning of `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TargetKind {
    /// A user with a token.
    Uid,
    /// The name of a user without one.
    Name,
}

/// Mutes or bans a user in a room.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetRule {
    /// The room.
    #[serde(deserialize_with = "fields::rid")]
    #[schema(value_type = String, max_length = 64)]
    pub(crate) rid: RoomId,
    /// The user.
    #[serde(deserialize_with = "fields::target")]
    pub(crate) target: String,
    /// The meaning of `target`; without it a uid, or a name where `auth.mode` is "off".
    pub(crate) by: Option<TargetKind>,
    /// `mute` or `ban`.
    #[serde(deserialize_with = "fields::rule_kind")]
    #[schema(value_type = String, pattern = "^(mute|ban)$")]
    pub(crate) kind: RuleKind,
    /// Seconds until its end. Without it and `until` it has none.
    #[serde(default, deserialize_with = "fields::secs")]
    pub(crate) secs: Option<u64>,
    /// Its end in Unix milliseconds.
    #[serde(default, deserialize_with = "fields::until")]
    pub(crate) until: Option<u64>,
}

/// Ends a rule of a room.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndRule {
    /// The room.
    #[serde(deserialize_with = "fields::rid")]
    #[schema(value_type = String, max_length = 64)]
    pub(crate) rid: RoomId,
    /// The user.
    #[serde(deserialize_with = "fields::target")]
    pub(crate) target: String,
    /// The meaning of `target`, as when the rule began.
    pub(crate) by: Option<TargetKind>,
    /// `mute` or `ban`.
    #[serde(deserialize_with = "fields::rule_kind")]
    #[schema(value_type = String, pattern = "^(mute|ban)$")]
    pub(crate) kind: RuleKind,
}

/// Makes a member leave a room.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expel {
    /// The room.
    #[serde(deserialize_with = "fields::rid")]
    #[schema(value_type = String, max_length = 64)]
    pub(crate) rid: RoomId,
    /// The member.
    #[serde(deserialize_with = "fields::name")]
    #[schema(value_type = String, max_length = 64)]
    pub(crate) name: Name,
    /// The reason that the member gets, at most 256 bytes.
    #[serde(default, deserialize_with = "fields::reason", skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub(crate) reason: Option<String>,
}

/// Lists the sessions of a user on all connectors.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListSessions {
    /// The user.
    #[serde(deserialize_with = "fields::uid")]
    #[schema(value_type = String, max_length = 128)]
    pub(crate) uid: Uid,
}

/// Ends the sessions of a user on all connectors.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Disconnect {
    /// The user.
    #[serde(deserialize_with = "fields::uid")]
    #[schema(value_type = String, max_length = 128)]
    pub(crate) uid: Uid,
    /// Closes connections plainly, so that clients come back; else sessions are kicked.
    #[serde(default, deserialize_with = "fields::reconnect")]
    pub(crate) reconnect: Option<bool>,
}

/// Bans a user from all rooms.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ban {
    /// The user.
    #[serde(deserialize_with = "fields::uid")]
    #[schema(value_type = String, max_length = 128)]
    pub(crate) uid: Uid,
    /// Seconds until its end. Without it and `until` it has none.
    #[serde(default, deserialize_with = "fields::secs")]
    pub(crate) secs: Option<u64>,
    /// Its end in Unix milliseconds.
    #[serde(default, deserialize_with = "fields::until")]
    pub(crate) until: Option<u64>,
}

/// Ends a ban from all rooms.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unban {
    /// The user.
    #[serde(deserialize_with = "fields::uid")]
    #[schema(value_type = String, max_length = 128)]
    pub(crate) uid: Uid,
}

/// Makes a user's earlier tokens void.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revoke {
    /// The user.
    #[serde(deserialize_with = "fields::uid")]
    #[schema(value_type = String, max_length = 128)]
    pub(crate) uid: Uid,
    /// Those issued before, in Unix seconds; without it before now.
    #[serde(default, deserialize_with = "fields::before_secs")]
    pub(crate) before: Option<u64>,
}

/// Lists the servers and their states.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListServers {}

/// Lists connected users.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListUsers {
    /// The beginning of their ids.
    #[serde(default, deserialize_with = "fields::prefix")]
    #[schema(max_length = 256)]
    pub(crate) prefix: Option<String>,
    /// The `cursor` of the page before.
    #[serde(default, deserialize_with = "fields::after_uid")]
    #[schema(value_type = Option<String>)]
    pub(crate) after: Option<Uid>,
    /// Most users of the page; 100 without it.
    #[serde(default, deserialize_with = "fields::page")]
    #[schema(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<usize>,
}

/// Executes many commands.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    /// Does not wait for one command before it sends the next. Those of one room stay in order.
    #[serde(default, deserialize_with = "fields::parallel")]
    pub(crate) parallel: Option<bool>,
    /// The commands: objects with a member `command`, beside those of its request.
    #[schema(value_type = Vec<Object>, min_items = 1, max_items = 1000)]
    pub(crate) commands: Vec<Map<String, Value>>,
}
