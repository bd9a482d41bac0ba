//! The entries of records: the events of a room.

use serde::Serialize;

use crate::act::{MessageMeta, Profile, Rights, RuleKind, Target};
use crate::ids::{Actor, Name, SessionId, Uid};
use crate::membership::{Membership, MessageId};

/// One event of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// An owner activated the room, with nothing else to append.
    Open,
    /// A member joined, through a session.
    Join {
        name: Name,
        session: SessionId,
        membership: Membership,
        /// The claims of the member's token; `None` without one.
        #[serde(skip_serializing_if = "Option::is_none")]
        profile: Option<Box<Profile>>,
    },
    /// A member continues through another session; it never left.
    Move { name: Name, from: SessionId, to: SessionId, membership: Membership },
    /// A member left.
    Leave { name: Name, session: SessionId },
    /// A member sent a message to the room.
    #[serde(rename = "say")]
    Message {
        from: Name,
        content: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        meta: Option<Box<MessageMeta>>,
    },
    /// A member sent a whisper to one other. Only the two memberships may read it later: another
    /// client may have one of the names by then.
    Whisper {
        from: Name,
        to: Name,
        between: [Membership; 2],
        content: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        meta: Option<Box<MessageMeta>>,
    },
    /// A member was made to leave.
    Expel { name: Name, session: SessionId, reason: String, by: Actor },
    /// A rule for a user began, changed or ended; `until` is 0 for one without an end.
    Rule { target: Target, kind: RuleKind, until: u64, by: Actor },
    /// A message got another content; none if it is redacted.
    Amend {
        seq: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<String>,
        by: Actor,
    },
    /// All messages of a user up to one are redacted.
    Redact { uid: Uid, upto: u64, by: Actor },
    /// All messages up to one are redacted.
    Clear { upto: u64, by: Actor },
    /// A member has other rights.
    Rights { session: SessionId, rights: Rights },
    /// Tokens of a user that were issued before a time, in Unix seconds, are void; after `until`, in
    /// Unix milliseconds, none of them would be valid anyway.
    // The end is in the entry: no reader's state depends on its settings.
    Revoke { uid: Uid, before: u64, until: u64 },
    /// The progress of the erasure of a user's messages in all rooms.
    Erase { id: MessageId, uid: Uid, cursor: String, done: bool },
}

/// A message or a whisper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageParts<'a> {
    /// The sender.
    pub from: &'a Name,
    /// The receiver of a whisper, and the two memberships that may read it.
    pub to: Option<(&'a Name, &'a [Membership; 2])>,
    /// The text.
    pub content: &'a str,
    /// The id under which it may be repeated.
    pub id: Option<MessageId>,
    /// The rest, where there is more.
    pub meta: Option<&'a MessageMeta>,
}

impl MessageParts<'_> {
    /// Returns true if a membership may read it in the history.
    pub fn is_for(&self, viewer: &Membership) -> bool {
        self.to.is_none_or(|(_, between)| between.contains(viewer))
    }
}

impl Entry {
    /// Returns the message or whisper; `None` for an entry of another kind.
    pub fn message(&self) -> Option<MessageParts<'_>> {
        match self {
            Self::Message { from, content, id, meta } => {
                Some(MessageParts { from, to: None, content, id: *id, meta: meta.as_deref() })
            }
            Self::Whisper { from, to, between, content, id, meta } => {
                Some(MessageParts { from, to: Some((to, between)), content, id: *id, meta: meta.as_deref() })
            }
            Self::Open
            | Self::Join { .. }
            | Self::Move { .. }
            | Self::Leave { .. }
            | Self::Expel { .. }
            | Self::Rule { .. }
            | Self::Amend { .. }
            | Self::Redact { .. }
            | Self::Clear { .. }
            | Self::Rights { .. }
            | Self::Revoke { .. }
            | Self::Erase { .. } => None,
        }
    }

    /// Returns the sender of a message that may be repeated, and the id under which it may.
    pub fn repeatable(&self) -> Option<(&Name, MessageId)> {
        let message = self.message()?;
        Some((message.from, message.id?))
    }

    /// Returns true if its effect must outlive the age of the log: a rule, a revocation, an erasure.
    pub fn must_last(&self) -> bool {
        matches!(self, Self::Rule { .. } | Self::Revoke { .. } | Self::Erase { .. })
    }

    /// Returns the member who sent this message; `None` for one that the application sent.
    pub fn speaker(&self) -> Option<&Name> {
        let message = self.message()?;
        message.meta.is_none_or(|meta| meta.by.is_none()).then_some(message.from)
    }

    /// The same without what only an owner needs.
    pub(super) fn for_connectors(&self) -> Self {
        let mut entry = self.clone();
        if let Self::Message { id, .. } | Self::Whisper { id, .. } = &mut entry {
            *id = None;
        }
        entry
    }
}
