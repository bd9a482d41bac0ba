//! Request and response bodies as types. Knows nothing of connections.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::moderation::Right;

/// The claims of a member's token.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
pub struct Profile {
    /// The member's id in the application, the claim `sub`.
    #[serde(default)]
    pub uid: Option<String>,
    /// The claim `info`.
    #[serde(default)]
    pub info: Option<Value>,
}

/// A membership to be taken up again, as an earlier [`Entered`] named it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resume {
    /// [`Entered::token`].
    pub token: String,
    /// Everything up to here was received: the highest `seq` of a push, or [`Entered::seq`].
    pub since: u64,
    /// The life of the log that `since` belongs to: [`Entered::epoch`].
    pub epoch: u64,
}

/// The response to entering a room.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entered {
    /// Names in the room, ours among them; the first ones, where there are many.
    pub users: Vec<String>,
    /// Of those in `users` who have tokens, by name.
    #[serde(default)]
    pub profiles: BTreeMap<String, Profile>,
    /// The member count; 0 from servers that do not send it.
    #[serde(default)]
    pub total: u64,
    /// True if the server pushes each join and leave; in a large room it pushes only the member
    /// count.
    #[serde(default = "yes")]
    pub names: bool,
    /// `users` and `missed` include the room's log up to here; pushes follow for the rest.
    #[serde(default)]
    pub seq: u64,
    /// Unix milliseconds.
    #[serde(default)]
    pub time: u64,
    /// The epoch of the log, to which every `seq` belongs. 0 from servers that do not send it.
    #[serde(default)]
    pub epoch: u64,
    /// The token of the membership, for [`Resume`]; empty from servers that do not send it.
    #[serde(default)]
    pub token: String,
    /// The rights of this member.
    #[serde(default = "Right::of_all_members")]
    pub rights: BTreeSet<Right>,
    /// After [`Resume`]: the messages since, ascending; the newest that fit. Own messages and
    /// whispers are among them.
    #[serde(default)]
    pub missed: Vec<HistoryMessage>,
    /// After [`Resume`]: true if all messages since still exist, in `missed` or behind `cursor`.
    #[serde(default)]
    pub recovered: Option<bool>,
    /// Older messages did not fit into `missed`: go on with [`History::Before`] this, down to
    /// `since`.
    #[serde(default)]
    pub cursor: Option<u64>,
}

/// The value of servers without large rooms.
fn yes() -> bool {
    true
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    content: String,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

impl Message {
    /// A message to all in the room.
    pub fn to_all(content: &str) -> Self {
        Self::to("*", content)
    }

    /// A whisper to one member.
    pub fn to(target: &str, content: &str) -> Self {
        Self { content: content.to_owned(), target: target.to_owned(), id: None, data: None }
    }

    /// Sets an idempotency key of 1 to 64 characters. For a minute the server commits a
    /// membership's messages with the same key once, and sends the same response to each.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// Sets JSON of the application of up to 4,096 bytes, which receivers get beside the text.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }
}

/// The response to a message or an act: it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Sent {
    /// The position in the room's log; 0 from servers that do not send it.
    #[serde(default)]
    pub seq: u64,
    /// The time of the commit, in Unix milliseconds.
    #[serde(default)]
    pub time: u64,
}

/// Selects messages of the room by their `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// The last ones.
    Last,
    /// The last ones before this.
    Before(u64),
    /// The first ones after this.
    After(u64),
}

/// Messages of the room, perhaps fewer than requested.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Page {
    /// By rising `seq`.
    pub messages: Vec<HistoryMessage>,
    /// The life of the log that they are from.
    pub epoch: u64,
    /// There may be more: request the messages after it, or before it, like this page.
    #[serde(default)]
    pub cursor: Option<u64>,
}

/// Names of members of the room, in the servers' order, perhaps fewer than requested.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Members {
    /// The names.
    pub users: Vec<String>,
    /// Of those who have tokens, by name.
    #[serde(default)]
    pub profiles: BTreeMap<String, Profile>,
    /// The member count.
    pub total: u64,
    /// The names include the room's log up to here; pushes follow for the rest.
    pub seq: u64,
    /// Unix milliseconds.
    pub time: u64,
    /// There are more: request the names after it.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// A message of the past.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HistoryMessage {
    /// Its text.
    pub msg: String,
    /// The sender's name.
    pub from: String,
    /// `*`, or the name of the whisper's receiver.
    pub target: String,
    /// The position in the room's log.
    pub seq: u64,
    /// The time of the commit, in Unix milliseconds.
    pub time: u64,
    /// The sender's id in the application, if the sender logged in with a token.
    #[serde(default)]
    pub uid: Option<String>,
    /// The data that was sent beside the text.
    #[serde(default)]
    pub data: Option<Value>,
}
