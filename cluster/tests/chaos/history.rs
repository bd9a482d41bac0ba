//! What people note, in the order in which it happened to them: all that the checker knows.

use std::collections::BTreeSet;

use client::{Chat, Said};

/// One person's notes of one act. A person is in one room, perhaps several times.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) name: String,
    pub(crate) room: String,
    pub(crate) observations: Vec<Observation>,
    /// Whether this person was in the room at the end, and had heard what was said last.
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
    /// A message was refused at its first try: it is never said.
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
    /// The connection ended without our wish, and this person never comes back: the last note.
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
    /// How the membership before goes on; none for a new one.
    pub(crate) resumed: Option<Resumed>,
}

/// A membership that goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resumed {
    /// What the person had seen of `epoch`.
    pub(crate) since: u64,
    pub(crate) epoch: u64,
    /// `recovered`
    pub(crate) whole: bool,
}

/// A message, as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) seq: u64,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) text: String,
}

impl History {
    /// Whether this person went before the end, never to come back.
    pub(crate) fn has_departed(&self) -> bool {
        matches!(self.observations.last(), Some(Observation::Departed))
    }
}

/// What a person says as message `number`: no two messages of an act have the same text.
pub(crate) fn text(name: &str, number: u64) -> String {
    format!("{name} {number}")
}

impl From<Chat> for Delivery {
    fn from(chat: Chat) -> Self {
        Self { seq: chat.seq, from: chat.from, to: chat.target, text: chat.msg }
    }
}

impl From<Said> for Delivery {
    fn from(said: Said) -> Self {
        Self { seq: said.seq, from: said.from, to: said.target, text: said.msg }
    }
}

impl Delivery {
    /// Whether this person is told at once. Own whispers are not, only when they were missed.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        self.to == "*" || self.to == name
    }

    /// Whether this person may ever read it.
    pub(crate) fn is_readable_by(&self, name: &str) -> bool {
        self.is_for(name) || self.from == name
    }
}
