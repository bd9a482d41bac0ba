//! The events of a user in the order in which it observed them: all that the checker knows.

use std::collections::BTreeSet;

use client::{Chat, HistoryMessage};

/// One user's events of one phase. A user is in one room, perhaps several times.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) name: String,
    pub(crate) room: String,
    pub(crate) observations: Vec<Observation>,
    /// The user was a member at the end, and had received the last messages.
    pub(crate) is_member_at_end: bool,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) enum Observation {
    /// `enter` was answered.
    Entered(Entered),
    /// A message was sent; another time if its number is not new.
    Attempted { number: u64, to: String },
    /// A message is committed.
    Acknowledged { number: u64, seq: u64 },
    /// A message was refused at its first attempt: it is never committed.
    Refused { number: u64 },
    /// A message was pushed.
    Received(Delivery),
    /// `onAdd`
    MemberJoined(String),
    /// `onLeave`
    MemberLeft(String),
    /// `onGap`
    Gap { to: u64, epoch: u64 },
    /// The connection ended without our wish, for this reason; or we broke it.
    #[expect(dead_code, reason = "read in the stories of violations")]
    Disconnected(String),
    /// The room was left.
    Left,
    /// The connection was lost, and this user never comes back: the last event.
    Departed,
}

/// The answer to `enter`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entered {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) users: BTreeSet<String>,
    /// Ascending, with what was behind the cursor.
    pub(crate) missed: Vec<Delivery>,
    /// The membership before, if it was resumed; none for a new one.
    pub(crate) resumed: Option<Resumed>,
}

/// A membership that goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resumed {
    /// The last `seq` of `epoch` that the user had seen.
    pub(crate) since: u64,
    pub(crate) epoch: u64,
    /// `recovered`
    pub(crate) whole: bool,
}

/// A message as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) seq: u64,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) text: String,
}

impl History {
    /// Returns true if the user departed before the end and never comes back.
    pub(crate) fn has_departed(&self) -> bool {
        matches!(self.observations.last(), Some(Observation::Departed))
    }
}

/// Returns the text of a user's message. No two messages of a phase have the same text.
pub(crate) fn text(name: &str, number: u64) -> String {
    format!("{name} {number}")
}

impl From<Chat> for Delivery {
    fn from(chat: Chat) -> Self {
        Self { seq: chat.seq, from: chat.from, to: chat.target, text: chat.msg }
    }
}

impl From<HistoryMessage> for Delivery {
    fn from(said: HistoryMessage) -> Self {
        Self { seq: said.seq, from: said.from, to: said.target, text: said.msg }
    }
}

impl Delivery {
    /// Returns true if the message is pushed to this user. A sender gets its own whispers only in a
    /// catch-up.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        self.to == "*" || self.to == name
    }

    /// Returns true if the user may read the message at any time.
    pub(crate) fn is_readable_by(&self, name: &str) -> bool {
        self.is_for(name) || self.from == name
    }
}
