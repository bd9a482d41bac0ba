//! The rows of the tables, and their sizes in a checkpoint.

use crate::act::Target;
use crate::ids::{Actor, MAX_NAME_CHARS, Uid};
use crate::record::Position;

/// Most bytes of a rule besides its texts.
pub(super) const RULE_BYTES: usize = 48;
/// Most bytes of an amended message.
pub(in crate::room) const AMENDED_BYTES: usize = 20;
/// Most bytes of a redacted or revoked user besides the id.
pub(super) const USER_BYTES: usize = 24;
/// Most bytes of an erasure besides its texts.
pub(super) const ERASURE_BYTES: usize = 24;
/// Bytes around all tables.
pub(in crate::room) const AROUND: usize = 128;

/// A rule in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its end in Unix milliseconds; 0 for never.
    pub until: u64,
    /// Its author.
    pub by: Actor,
}

impl Rule {
    pub(super) fn holds_at(&self, time: u64) -> bool {
        self.until == 0 || self.until > time
    }
}

/// The newest amendment of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amendment {
    /// The record that has it.
    pub position: Position,
    /// It has another content; a redaction has none.
    pub is_edit: bool,
}

/// The redaction of a user's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redaction {
    /// The last message.
    pub upto: u64,
    /// The record that has it.
    pub position: Position,
}

/// Tokens that are void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// Those issued before, in Unix seconds.
    pub before: u64,
    /// Unix milliseconds from which on none of them would be valid anyway.
    pub until: u64,
}

/// An erasure that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// The user.
    pub uid: Uid,
    /// The last room that is done.
    pub cursor: String,
}

/// Most bytes of the name or uid of a rule's target.
pub(super) const LONGEST_TARGET: usize = 4 * MAX_NAME_CHARS;

pub(in crate::room) fn rule_bytes(target: &Target, by: &Actor) -> usize {
    RULE_BYTES + target.size() + by.as_str().len()
}

pub(in crate::room) fn user_bytes(uid: &Uid) -> usize {
    USER_BYTES + uid.as_str().len()
}

pub(in crate::room) fn erasure_bytes(erasure: &Erasure) -> usize {
    ERASURE_BYTES + erasure.uid.as_str().len() + erasure.cursor.len()
}
