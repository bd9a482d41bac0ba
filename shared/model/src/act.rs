//! Acts: changes of a room that are no member's own coming and going or message, and what a token
//! says about a member. Pure.
//!
//! No role proposes acts so far; owners decide them, and rooms keep their effects.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::text::json_len;

use crate::ids::{Actor, Name, SessionId, Uid};
use crate::membership::MessageId;
use crate::record::Entry;

/// Most bytes of [`Profile::info`].
pub const MAX_INFO_BYTES: usize = 512;

/// Most bytes of [`MessageMeta::data`].
pub const MAX_DATA_BYTES: usize = 4_096;

/// Most bytes of the reason of an expulsion.
pub const MAX_REASON_BYTES: usize = 256;

/// Most bytes of the cursor of an erasure.
pub const MAX_CURSOR_BYTES: usize = 320;

/// Acts of one message.
pub const MAX_ACTS: usize = 64;

/// The rights of a member, one bit each: those of [`crate::permissions::Action`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rights(pub u16);

/// The claims of a member's token; empty without a token.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
    /// The member's rights; without them those of the settings apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rights: Option<Rights>,
    /// JSON that member lists show, up to [`MAX_INFO_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Arc<str>>,
}

impl Profile {
    /// Returns it as members and entries have it; `None` if it says nothing.
    // A pointer for each member and entry: most have none, and sessions are many.
    pub fn boxed(self) -> Option<Box<Self>> {
        (!self.is_empty()).then(|| Box::new(self))
    }

    /// Bytes of a profile besides its texts.
    const AROUND: usize = 40;

    /// Most bytes of any profile.
    pub const MOST_BYTES: usize = Self::AROUND + crate::ids::MAX_UID_BYTES + MAX_INFO_BYTES;

    /// Returns true if it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Its bytes as JSON towards clients, or a little more.
    pub fn json_size(&self) -> usize {
        let uid = self.uid.as_ref().map_or(0, |uid| 8 + json_len(uid.as_str()));
        // Characters beyond ASCII are escaped, as in all texts.
        uid + self.info.as_ref().map_or(0, |info| 9 + json_len(info))
    }

    /// Most bytes of its encoding; none if it is empty.
    pub fn size(&self) -> usize {
        let uid = self.uid.as_ref().map_or(0, |uid| uid.as_str().len());
        let info = self.info.as_ref().map_or(0, |info| info.len());
        if self.is_empty() { 0 } else { Self::AROUND + uid + info }
    }
}

/// The parts of a message besides its sender and content.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageMeta {
    /// The user who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
    /// The API key by which it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// JSON of the application, up to [`MAX_DATA_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Arc<str>>,
}

impl MessageMeta {
    /// Its bytes as JSON towards clients, or a little more.
    pub fn json_size(&self) -> usize {
        let uid = self.uid.as_ref().map_or(0, |uid| 8 + json_len(uid.as_str()));
        let data = self.data.as_ref().map_or(0, |data| 9 + json_len(data));
        uid + data + self.by.as_ref().map_or(0, |_| 11)
    }

    /// Returns it as entries have it; `None` if the message has nothing else.
    pub fn boxed(self) -> Option<Box<Self>> {
        (!self.is_empty()).then(|| Box::new(self))
    }

    /// Returns true if the message has nothing else.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes of it besides its texts.
    pub const AROUND: usize = 32;

    /// Most bytes of its encoding; none if it is empty.
    pub fn size(&self) -> usize {
        let id = |id: Option<&str>| id.map_or(0, str::len);
        let (uid, by) = (id(self.uid.as_ref().map(Uid::as_str)), id(self.by.as_ref().map(Actor::as_str)));
        let data = self.data.as_ref().map_or(0, |data| data.len());
        if self.is_empty() { 0 } else { Self::AROUND + uid + by + data }
    }
}

/// The acts that a rule forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// To send.
    Mute,
    /// To be in the room.
    Ban,
}

/// The user whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A user with a token.
    Uid(Uid),
    /// A user without one.
    Name(Name),
}

impl Target {
    /// Bytes of the name or uid.
    pub fn size(&self) -> usize {
        match self {
            Self::Uid(uid) => uid.as_str().len(),
            Self::Name(name) => name.as_str().len(),
        }
    }
}

/// An act with the id under which it may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifiedAct {
    /// Its idempotency key.
    pub id: MessageId,
    /// First bytes of a digest over the act: the same key with another act is refused.
    pub digest: u64,
    /// The act.
    pub act: Act,
}

/// A change that an owner is requested to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A message of the application, in the name of `from`, who need not be a member.
    Say {
        /// The sender's name.
        from: Name,
        /// The text.
        content: String,
        /// The API key, and data of the application.
        meta: MessageMeta,
    },
    /// A member must leave.
    Expel {
        /// The member.
        name: Name,
        /// Told to the member.
        reason: String,
        /// The author.
        by: Actor,
    },
    /// A rule begins, changes, or ends: one that ends before the record's time.
    Rule {
        /// The user whom it is about.
        target: Target,
        /// The acts that it forbids.
        kind: RuleKind,
        /// Its end in Unix milliseconds; 0 for never.
        until: u64,
        /// The author.
        by: Actor,
    },
    /// A message gets another content, or none.
    Amend {
        /// The message.
        seq: u64,
        /// `None` redacts it.
        content: Option<String>,
        /// The author.
        by: Actor,
    },
    /// All messages of a user are redacted.
    Redact {
        /// The user.
        uid: Uid,
        /// The last message that is.
        upto: u64,
        /// The author.
        by: Actor,
    },
    /// All messages are redacted.
    Clear {
        /// The last message that is.
        upto: u64,
        /// The author.
        by: Actor,
    },
    /// A member gets other rights.
    Rights {
        /// The member's session.
        session: SessionId,
        /// The new rights.
        rights: Rights,
    },
    /// Tokens of a user are void.
    Revoke {
        /// The user.
        uid: Uid,
        /// Those issued before, in Unix seconds.
        before: u64,
        /// Unix milliseconds from which on none of them would be valid anyway.
        until: u64,
    },
    /// The progress of an erasure.
    Erase {
        /// The erasure.
        id: MessageId,
        /// The user whose messages are redacted in all rooms.
        uid: Uid,
        /// The last room that is done; empty at first.
        cursor: String,
        /// It is over.
        done: bool,
    },
}

impl Act {
    /// Returns the entry of this act; an expulsion's and that of rights need the session of the
    /// member.
    pub fn entry(&self, session: Option<SessionId>) -> Option<Entry> {
        Some(match self.clone() {
            // Remembered as an act, not among the ids of clients.
            Self::Say { from, content, meta } => Entry::Message { from, content, id: None, meta: meta.boxed() },
            Self::Expel { name, reason, by } => Entry::Expel { name, session: session?, reason, by },
            Self::Rule { target, kind, until, by } => Entry::Rule { target, kind, until, by },
            Self::Amend { seq, content, by } => Entry::Amend { seq, content, by },
            Self::Redact { uid, upto, by } => Entry::Redact { uid, upto, by },
            Self::Clear { upto, by } => Entry::Clear { upto, by },
            Self::Rights { rights, .. } => Entry::Rights { session: session?, rights },
            Self::Revoke { uid, before, until } => Entry::Revoke { uid, before, until },
            Self::Erase { id, uid, cursor, done } => Entry::Erase { id, uid, cursor, done },
        })
    }

    /// Most bytes that it adds to a record.
    pub fn size(&self) -> usize {
        // An expulsion's session has a connector's id of at most that many bytes.
        const SESSION: usize = Entry::SESSION_AROUND + crate::ids::MAX_SERVER_ID_BYTES;
        let texts = match self {
            Self::Say { from, content, meta } => from.as_str().len() + content.len() + meta.size(),
            Self::Expel { name, reason, by } => SESSION + name.as_str().len() + reason.len() + by.as_str().len(),
            Self::Rule { target, kind, by, .. } => {
                let expelled = if *kind == RuleKind::Ban { Entry::MOST_EXPULSIONS } else { 0 };
                target.size() + by.as_str().len() + expelled
            }
            Self::Amend { content, by, .. } => content.as_ref().map_or(0, String::len) + by.as_str().len(),
            Self::Redact { uid, by, .. } => uid.as_str().len() + by.as_str().len(),
            Self::Clear { by, .. } => by.as_str().len(),
            Self::Rights { .. } => SESSION,
            Self::Revoke { uid, .. } => uid.as_str().len(),
            Self::Erase { uid, cursor, .. } => uid.as_str().len() + cursor.len(),
        };
        Entry::AROUND + crate::record::DecidedActs::ACT + texts
    }

    /// Returns true if its texts have the lengths that they may have.
    pub fn is_within_limits(&self) -> bool {
        match self {
            Self::Say { meta, .. } => meta.data.as_ref().is_none_or(|data| data.len() <= MAX_DATA_BYTES),
            Self::Expel { reason, .. } => reason.len() <= MAX_REASON_BYTES,
            Self::Erase { cursor, .. } => cursor.len() <= MAX_CURSOR_BYTES,
            Self::Rule { .. }
            | Self::Amend { .. }
            | Self::Redact { .. }
            | Self::Clear { .. }
            | Self::Rights { .. }
            | Self::Revoke { .. } => true,
        }
    }
}
