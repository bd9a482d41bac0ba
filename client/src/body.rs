//! What requests ask and answers say, as types. Knows nothing of connections.

use serde::{Deserialize, Serialize};

/// A membership to be taken up again, as an earlier [`Entered`] named it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resume {
    /// [`Entered::token`].
    pub token: String,
    /// Everything up to here was seen: the highest `seq` of what was told, or [`Entered::seq`].
    pub since: u64,
    /// The life of the log that `since` belongs to: [`Entered::epoch`].
    pub epoch: u64,
}

/// The answer to entering a room.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entered {
    /// Names in the room, ours among them; the first ones, where there are many.
    pub users: Vec<String>,
    /// How many there are; 0 from servers that do not say.
    #[serde(default)]
    pub total: u64,
    /// Whether each coming and going is told; in a large room only how many are there.
    #[serde(default = "yes")]
    pub names: bool,
    /// The room's log up to here is in `users` and `missed`, what comes after is told.
    #[serde(default)]
    pub seq: u64,
    /// Unix milliseconds.
    #[serde(default)]
    pub time: u64,
    /// The life of the log; every `seq` is one of it. 0 from servers that do not say.
    #[serde(default)]
    pub epoch: u64,
    /// Names the membership, for [`Resume`]; empty from servers that do not say.
    #[serde(default)]
    pub token: String,
    /// After [`Resume`]: what was said since, ascending; the newest that fit. Own messages and whispers are among them.
    #[serde(default)]
    pub missed: Vec<Said>,
    /// After [`Resume`]: whether all that was said since still exists, in `missed` or behind `cursor`.
    #[serde(default)]
    pub recovered: Option<bool>,
    /// Older messages did not fit into `missed`: go on with [`History::Before`] this, down to `since`.
    #[serde(default)]
    pub cursor: Option<u64>,
}

/// What servers do that know of no large rooms.
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
}

impl Message {
    /// A message to all in the room.
    pub fn to_all(content: &str) -> Self {
        Self::to("*", content)
    }

    /// A whisper to one member.
    pub fn to(target: &str, content: &str) -> Self {
        Self { content: content.to_owned(), target: target.to_owned(), id: None }
    }

    /// Makes it safe to repeat: for a minute the membership's messages with this id (1 to 64 characters) are said once,
    /// and answered alike.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }
}

/// The answer to a message: it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Sent {
    /// Where it stands in the room's log; 0 from servers that do not say.
    #[serde(default)]
    pub seq: u64,
    /// When it was committed, in Unix milliseconds.
    #[serde(default)]
    pub time: u64,
}

/// Which messages of the room, by their `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// The last ones.
    Last,
    /// The last ones before this.
    Before(u64),
    /// The first ones after this.
    After(u64),
}

/// Messages of the room, perhaps fewer than were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Page {
    /// By rising `seq`.
    pub messages: Vec<Said>,
    /// The life of the log that they are from.
    pub epoch: u64,
    /// There may be more: ask for what is after it, or before it, as this page was asked for.
    #[serde(default)]
    pub cursor: Option<u64>,
}

/// Names of members of the room, in the servers' order, perhaps fewer than were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Members {
    /// The names.
    pub users: Vec<String>,
    /// How many are in the room.
    pub total: u64,
    /// The room's log up to here is in them, what comes after is told.
    pub seq: u64,
    /// Unix milliseconds.
    pub time: u64,
    /// There are more: ask for those after it.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// A message of the past.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Said {
    /// Its text.
    pub msg: String,
    /// Who said it.
    pub from: String,
    /// `*`, or to whom it was whispered.
    pub target: String,
    /// Where it stands in the room's log.
    pub seq: u64,
    /// When it was committed, in Unix milliseconds.
    pub time: u64,
}
