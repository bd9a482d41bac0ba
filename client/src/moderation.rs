//! Rights in a room, and rules about its users. Knows nothing of connections.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Something that a member may do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// To be in it.
    Enter,
    /// To send messages to all.
    Send,
    /// To send whispers.
    Whisper,
    /// To read messages, the history included.
    Read,
    /// To see its members.
    List,
    /// To send signals.
    Signal,
    /// To mute, ban and expel others.
    Moderate,
    /// A right of a newer server.
    #[serde(other)]
    Other,
}

impl Right {
    /// Returns the rights of a member for which the server names no others.
    pub(crate) fn of_all_members() -> BTreeSet<Self> {
        [Self::Enter, Self::Send, Self::Whisper, Self::Read, Self::List, Self::Signal].into()
    }
}

/// A moderator's request about a user: whom it is about, and for how long.
///
/// ```
/// use client::Act;
///
/// let ten_minutes = Act::on_name("bob").with_secs(600).with_reason("too loud");
/// let for_good = Act::on_uid("4711");
/// assert_ne!(ten_minutes, for_good);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Act {
    #[serde(flatten)]
    target: Target,
    #[serde(skip_serializing_if = "Option::is_none")]
    secs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Target {
    Name(String),
    Uid(String),
}

impl Act {
    /// About the member with this name.
    pub fn on_name(name: &str) -> Self {
        Self { target: Target::Name(name.to_owned()), secs: None, reason: None }
    }

    /// About the user with this id in the application, under any name.
    pub fn on_uid(uid: &str) -> Self {
        Self { target: Target::Uid(uid.to_owned()), secs: None, reason: None }
    }

    /// Sets the duration of a mute or ban; without it, or with 0, it has no end.
    #[must_use]
    pub fn with_secs(mut self, secs: u64) -> Self {
        self.secs = Some(secs);
        self
    }

    /// Sets a text of up to 256 bytes for a user who is removed or banned.
    #[must_use]
    pub fn with_reason(mut self, reason: &str) -> Self {
        self.reason = Some(reason.to_owned());
        self
    }
}

/// The acts that a rule forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    /// To send messages.
    Mute,
    /// To be in the room.
    Ban,
}

/// A mute or ban of the session's user, which begins, changes or ends.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rule {
    /// The room.
    pub rid: String,
    /// The acts that it forbids.
    pub kind: RuleKind,
    /// Its end in Unix milliseconds; 0 if it has none.
    pub until: u64,
    /// The server's time of the event, in Unix milliseconds.
    pub time: u64,
}

impl Rule {
    /// Returns true if a moderator ended the rule. One that reaches its end gives no event.
    pub fn has_ended(&self) -> bool {
        self.until != 0 && self.until <= self.time
    }
}
