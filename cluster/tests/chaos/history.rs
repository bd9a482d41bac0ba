//! What people note, in the order in which it happened to them: all that the checker knows.

use std::collections::BTreeSet;

use client::{Chat, Said};

/// One person's notes of one act. A person is in one room, perhaps several times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Diary {
    pub(crate) name: String,
    pub(crate) room: String,
    pub(crate) notes: Vec<Note>,
    /// Whether this person was in the room at the end, and had heard what was said last.
    pub(crate) stayed: bool,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) enum Note {
    /// `enter` was answered.
    Entered(Entered),
    /// A message was sent; another time if its number is not new.
    Tried { number: u64, to: String },
    /// A message is committed.
    Acknowledged { number: u64, seq: u64 },
    /// A message was refused at its first try: it is never said.
    Refused { number: u64 },
    /// A message was pushed.
    Heard(Told),
    /// `onAdd`
    Came(String),
    /// `onLeave`
    Went(String),
    /// `onGap`
    Gap { to: u64, epoch: u64 },
    /// The connection ended without our wish, for this reason; or we broke it.
    #[expect(dead_code, reason = "read in the stories of violations")]
    Lost(String),
    /// The room was left.
    Left,
    /// The connection ended without our wish, and this person never comes back: the last note.
    WentForGood,
}

/// The answer to `enter`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entered {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) users: BTreeSet<String>,
    /// Ascending, with what was behind the cursor.
    pub(crate) missed: Vec<Told>,
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
pub(crate) struct Told {
    pub(crate) seq: u64,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) text: String,
}

impl Diary {
    /// Whether this person went before the end, never to come back.
    pub(crate) fn ends_early(&self) -> bool {
        matches!(self.notes.last(), Some(Note::WentForGood))
    }
}

/// What a person says as message `number`: no two messages of an act have the same text.
pub(crate) fn text(name: &str, number: u64) -> String {
    format!("{name} {number}")
}

impl From<Chat> for Told {
    fn from(chat: Chat) -> Self {
        Self { seq: chat.seq, from: chat.from, to: chat.target, text: chat.msg }
    }
}

impl From<Said> for Told {
    fn from(said: Said) -> Self {
        Self { seq: said.seq, from: said.from, to: said.target, text: said.msg }
    }
}

impl Told {
    /// Whether this person is told at once. Own whispers are not, only when they were missed.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        self.to == "*" || self.to == name
    }

    /// Whether this person may ever read it.
    pub(crate) fn may_be_read_by(&self, name: &str) -> bool {
        self.is_for(name) || self.from == name
    }
}
