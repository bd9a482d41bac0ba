//! Queries of a room's messages, and the pages that respond to them.

use serde::{Deserialize, Serialize};
use wire::text::json_len;

use crate::act::MessageMeta;
use crate::ids::Name;
use crate::membership::Membership;

/// The messages that a client requests, and the membership that reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryQuery {
    /// Whispers are shown to their two memberships only.
    pub viewer: Membership,
    /// The range of messages.
    pub span: HistoryRange,
    /// Most messages; their bytes are bounded, too.
    pub limit: u16,
}

/// A part of a room's messages, by their `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryRange {
    /// The last ones.
    Last,
    /// The last ones before this.
    Before(u64),
    /// The first ones after this.
    After(u64),
    /// The last ones after this, and whether all of those still exist.
    Since(u64),
}

/// Messages of a room, oldest first.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The messages.
    pub messages: Vec<HistoryMessage>,
    /// There may be more in the requested direction, beyond this `seq`.
    pub cursor: Option<u64>,
    /// True if no requested message has been evicted.
    pub complete: bool,
}

/// A message, as a page has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryMessage {
    /// Its position in the room's log, as `seq`.
    pub seq: u64,
    /// The time of its commit, in Unix milliseconds.
    pub time: u64,
    /// The sender.
    pub from: Name,
    /// The target of a whisper; none for the whole room.
    pub to: Option<Name>,
    /// The text.
    pub content: String,
    /// The user, and what else the message has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Box<MessageMeta>>,
}

impl HistoryMessage {
    /// Its bytes as JSON towards clients, or a little more.
    pub fn json_size(&self) -> usize {
        let target = self.to.as_ref().map_or("*", Name::as_str);
        let meta = self.meta.as_ref().map_or(0, |meta| meta.json_size());
        128 + meta + json_len(&self.content) + json_len(self.from.as_str()) + json_len(target)
    }
}
