//! The effects of acts on a room: rules, amended and cleared messages; in the room of all rooms also
//! revoked tokens and erasures. Each table has a bound.

mod rows;

use std::collections::BTreeMap;

use crate::act::{MAX_CURSOR_BYTES, RuleKind, Target};
use crate::ids::{MAX_UID_BYTES, RoomId, Uid};
use crate::membership::MessageId;
use crate::record::{Entry, Position, Record};

pub(super) use rows::{AMENDED_BYTES, AROUND, erasure_bytes, rule_bytes, user_bytes};
pub use rows::{Amendment, Erasure, Redaction, Revocation, Rule};
use rows::{ERASURE_BYTES, LONGEST_TARGET, RULE_BYTES, USER_BYTES};

/// Most rules of a room.
pub const MAX_RULES: usize = 2_000;
/// Most rules of the room of all rooms.
pub const MAX_GLOBAL_RULES: usize = 10_000;
/// Most amended messages.
pub const MAX_AMENDED: usize = 4_096;
/// Most edits among them; the rest is for redactions.
pub const MAX_EDITS: usize = MAX_AMENDED / 2;
/// Most users whose messages are redacted.
pub const MAX_REDACTED: usize = 1_024;
/// Most users whose tokens are revoked.
pub const MAX_REVOKED: usize = 10_000;
/// Most erasures that are not done.
pub const MAX_ERASURES: usize = 1_000;

/// The effects of acts on a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moderation {
    pub(super) rules: BTreeMap<(Target, RuleKind), Rule>,
    pub(super) amended: BTreeMap<u64, Amendment>,
    pub(super) redacted: BTreeMap<Uid, Redaction>,
    pub(super) cleared: u64,
    pub(super) revoked: BTreeMap<Uid, Revocation>,
    pub(super) erasures: BTreeMap<MessageId, Erasure>,
    // Invariant: derived from the tables, so that equal tables make equal values.
    edits: usize,
    /// Most bytes of the encoded tables.
    bytes: usize,
    /// The earliest end of a rule or revocation; `u64::MAX` for none.
    expires_at: Option<u64>,
}

impl Moderation {
    /// Creates empty tables.
    pub const fn new() -> Self {
        Self {
            rules: BTreeMap::new(),
            amended: BTreeMap::new(),
            redacted: BTreeMap::new(),
            cleared: 0,
            revoked: BTreeMap::new(),
            erasures: BTreeMap::new(),
            edits: 0,
            bytes: 0,
            expires_at: None,
        }
    }

    /// Returns true if no act left anything.
    pub fn is_empty(&self) -> bool {
        self.size() == 0
    }

    /// Returns true for the entries that tables hold.
    pub fn is_changed_by(entry: &Entry) -> bool {
        match entry {
            Entry::Rule { .. }
            | Entry::Amend { .. }
            | Entry::Redact { .. }
            | Entry::Clear { .. }
            | Entry::Revoke { .. }
            | Entry::Erase { .. } => true,
            Entry::Open
            | Entry::Join { .. }
            | Entry::Move { .. }
            | Entry::Leave { .. }
            | Entry::Message { .. }
            | Entry::Whisper { .. }
            | Entry::Expel { .. }
            | Entry::Rights { .. } => false,
        }
    }

    /// Returns true if the table that an entry needs has no place for it.
    pub fn is_full_for(&self, room: &RoomId, entry: &Entry) -> bool {
        match entry {
            Entry::Rule { target, kind, .. } => {
                let most = if room.is_of_all_rooms() { MAX_GLOBAL_RULES } else { MAX_RULES };
                self.rules.len() >= most && !self.rules.contains_key(&(target.clone(), *kind))
            }
            Entry::Amend { seq, content, .. } => {
                let before = self.amended.get(seq);
                let is_full = before.is_none() && self.amended.len() >= MAX_AMENDED;
                if content.is_some() {
                    is_full || (self.edits >= MAX_EDITS && !before.is_some_and(|before| before.is_edit))
                } else {
                    // The oldest edit gives way.
                    is_full && self.edits == 0
                }
            }
            Entry::Redact { uid, .. } => self.redacted.len() >= MAX_REDACTED && !self.redacted.contains_key(uid),
            Entry::Revoke { uid, .. } => self.revoked.len() >= MAX_REVOKED && !self.revoked.contains_key(uid),
            Entry::Erase { id, done, .. } => {
                !done && self.erasures.len() >= MAX_ERASURES && !self.erasures.contains_key(id)
            }
            Entry::Open
            | Entry::Join { .. }
            | Entry::Move { .. }
            | Entry::Leave { .. }
            | Entry::Message { .. }
            | Entry::Whisper { .. }
            | Entry::Expel { .. }
            | Entry::Clear { .. }
            | Entry::Rights { .. } => false,
        }
    }

    /// Applies a record's acts. An entry for which there is no place changes nothing.
    pub(super) fn fold(&mut self, position: Position, record: &Record) {
        // First, as the owner did: a rule may have the place of one that ended.
        self.expire(record.time);
        for entry in &record.entries {
            self.apply(position, entry);
        }
        self.expire(record.time);
    }

    /// Applies one entry of the record at a position.
    pub fn apply(&mut self, position: Position, entry: &Entry) {
        match entry {
            Entry::Rule { target, kind, until, by } => {
                self.set_rule((target.clone(), *kind), Rule { until: *until, by: by.clone() });
            }
            Entry::Amend { seq, content, .. } => {
                self.set_amended(*seq, Amendment { position, is_edit: content.is_some() });
            }
            Entry::Redact { uid, upto, .. } => {
                // A redaction that comes late must not show again what a later one hid.
                let upto = self.redacted.get(uid).map_or(*upto, |before| before.upto.max(*upto));
                self.set_redacted(uid.clone(), Redaction { upto, position });
            }
            Entry::Clear { upto, .. } => self.clear(*upto),
            Entry::Revoke { uid, before, until } => {
                // Never takes back what another one revoked.
                let known = self.revoked.get(uid).copied().unwrap_or(Revocation { before: 0, until: 0 });
                let revocation = Revocation { before: known.before.max(*before), until: known.until.max(*until) };
                self.set_revoked(uid.clone(), revocation);
            }
            Entry::Erase { id, done: true, .. } => self.remove_erasure(*id),
            Entry::Erase { id, uid, cursor, done: false } => {
                self.set_erasure(*id, Erasure { uid: uid.clone(), cursor: cursor.clone() });
            }
            Entry::Open
            | Entry::Join { .. }
            | Entry::Move { .. }
            | Entry::Leave { .. }
            | Entry::Message { .. }
            | Entry::Whisper { .. }
            | Entry::Expel { .. }
            | Entry::Rights { .. } => {}
        }
    }

    /// The rule of this kind for a target that holds at the time.
    pub fn rule(&self, target: &Target, kind: RuleKind, time: u64) -> Option<&Rule> {
        self.rules.get(&(target.clone(), kind)).filter(|rule| rule.holds_at(time))
    }

    /// Returns true if there are rules.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The rules that hold at the time, in the order of their targets and kinds.
    pub fn rules(&self, time: u64) -> impl Iterator<Item = (&(Target, RuleKind), &Rule)> {
        self.rules.iter().filter(move |(_, rule)| rule.holds_at(time))
    }

    /// The newest amendment of a message.
    pub fn amendment(&self, seq: u64) -> Option<Amendment> {
        self.amended.get(&seq).copied()
    }

    /// The redaction of a user's messages.
    pub fn redaction(&self, uid: &Uid) -> Option<Redaction> {
        self.redacted.get(uid).copied()
    }

    /// The last of the messages that were cleared; 0 for none.
    pub fn cleared(&self) -> u64 {
        self.cleared
    }

    /// The revocation of a user's tokens.
    pub fn revocation(&self, uid: &Uid) -> Option<Revocation> {
        self.revoked.get(uid).copied()
    }

    /// The erasures that are not done.
    pub fn erasures(&self) -> impl Iterator<Item = (MessageId, &Erasure)> {
        self.erasures.iter().map(|(id, erasure)| (*id, erasure))
    }

    /// Returns true if it has rules, revocations or erasures: effects that must outlive the age of
    /// the log.
    pub fn must_last(&self) -> bool {
        !(self.rules.is_empty() && self.revoked.is_empty() && self.erasures.is_empty())
    }

    /// Forgets what names positions of the log.
    // After the log lost its end, positions may be those of other messages; what names users and tokens
    // still holds.
    pub(super) fn forget_positions(&mut self) {
        self.clear(u64::MAX);
        self.cleared = 0;
    }

    /// Most bytes of the tables in a checkpoint.
    pub(super) fn size(&self) -> usize {
        if self.bytes == 0 && self.cleared == 0 { 0 } else { AROUND + self.bytes }
    }

    /// Most bytes of the tables of any room.
    pub(super) fn most_bytes() -> usize {
        let rules = MAX_RULES * (RULE_BYTES + MAX_UID_BYTES + LONGEST_TARGET);
        AROUND + rules + MAX_AMENDED * AMENDED_BYTES + MAX_REDACTED * (USER_BYTES + MAX_UID_BYTES)
    }

    /// Most bytes of those of the room of all rooms.
    pub(super) fn most_global_bytes() -> usize {
        let more = (MAX_GLOBAL_RULES - MAX_RULES) * (RULE_BYTES + MAX_UID_BYTES + LONGEST_TARGET);
        let revoked = MAX_REVOKED * (USER_BYTES + MAX_UID_BYTES);
        Self::most_bytes() + more + revoked + MAX_ERASURES * (ERASURE_BYTES + MAX_UID_BYTES + MAX_CURSOR_BYTES)
    }

    pub(super) fn set_rule(&mut self, key: (Target, RuleKind), rule: Rule) {
        // Removed first: a rule that replaces another one needs no new place.
        self.remove_rule(&key);
        if self.rules.len() >= MAX_GLOBAL_RULES {
            return;
        }
        self.bytes += rule_bytes(&key.0, &rule.by);
        self.expires_at = earlier(self.expires_at, rule.until);
        self.rules.insert(key, rule);
    }

    fn remove_rule(&mut self, key: &(Target, RuleKind)) {
        if let Some(rule) = self.rules.remove(key) {
            self.bytes -= rule_bytes(&key.0, &rule.by);
            self.find_expiry(rule.until);
        }
    }

    pub(super) fn set_amended(&mut self, seq: u64, amendment: Amendment) {
        if seq <= self.cleared {
            // Cleared messages have no content that could be amended.
            return;
        }
        self.remove_amended(seq);
        if self.amended.len() >= MAX_AMENDED {
            // Redactions hide what must not be seen; an edit that is forgotten shows what its author wrote
            // first.
            let oldest = self.amended.iter().find(|(_, amendment)| amendment.is_edit).map(|(seq, _)| *seq);
            match oldest {
                Some(oldest) => self.remove_amended(oldest),
                None => return,
            }
        }
        self.bytes += AMENDED_BYTES;
        self.edits += usize::from(amendment.is_edit);
        self.amended.insert(seq, amendment);
    }

    fn remove_amended(&mut self, seq: u64) {
        if let Some(amendment) = self.amended.remove(&seq) {
            self.bytes -= AMENDED_BYTES;
            self.edits -= usize::from(amendment.is_edit);
        }
    }

    pub(super) fn set_redacted(&mut self, uid: Uid, redaction: Redaction) {
        self.remove_redacted(&uid);
        if redaction.upto > self.cleared && self.redacted.len() < MAX_REDACTED {
            self.bytes += user_bytes(&uid);
            self.redacted.insert(uid, redaction);
        }
    }

    fn remove_redacted(&mut self, uid: &Uid) {
        if self.redacted.remove(uid).is_some() {
            self.bytes -= user_bytes(uid);
        }
    }

    /// Clears all messages up to one; what amended them is not needed any more.
    pub(super) fn clear(&mut self, upto: u64) {
        // Acts of two moderators may come in either order.
        self.cleared = self.cleared.max(upto);
        for seq in self.amended.range(..=self.cleared).map(|(seq, _)| *seq).collect::<Vec<_>>() {
            self.remove_amended(seq);
        }
        let cleared = self.cleared;
        let users = self.redacted.iter().filter(|(_, redaction)| redaction.upto <= cleared);
        for uid in users.map(|(uid, _)| uid.clone()).collect::<Vec<_>>() {
            self.remove_redacted(&uid);
        }
    }

    pub(super) fn set_revoked(&mut self, uid: Uid, revocation: Revocation) {
        self.remove_revoked(&uid);
        if self.revoked.len() < MAX_REVOKED {
            self.bytes += user_bytes(&uid);
            self.expires_at = earlier(self.expires_at, revocation.until);
            self.revoked.insert(uid, revocation);
        }
    }

    fn remove_revoked(&mut self, uid: &Uid) {
        if let Some(revocation) = self.revoked.remove(uid) {
            self.bytes -= user_bytes(uid);
            self.find_expiry(revocation.until);
        }
    }

    pub(super) fn set_erasure(&mut self, id: MessageId, erasure: Erasure) {
        self.remove_erasure(id);
        if self.erasures.len() < MAX_ERASURES {
            self.bytes += erasure_bytes(&erasure);
            self.erasures.insert(id, erasure);
        }
    }

    fn remove_erasure(&mut self, id: MessageId) {
        if let Some(erasure) = self.erasures.remove(&id) {
            self.bytes -= erasure_bytes(&erasure);
        }
    }

    /// Drops rules and revocations that ended by this time.
    pub fn expire(&mut self, time: u64) {
        if self.expires_at.is_none_or(|at| at > time) {
            return;
        }
        let bytes = &mut self.bytes;
        self.rules.retain(|(target, _), rule| {
            let holds = rule.holds_at(time);
            *bytes -= if holds { 0 } else { rule_bytes(target, &rule.by) };
            holds
        });
        self.revoked.retain(|uid, revocation| {
            let holds = revocation.until == 0 || revocation.until > time;
            *bytes -= if holds { 0 } else { user_bytes(uid) };
            holds
        });
        self.expires_at = self.earliest_end();
    }

    /// Finds the earliest end again, if the removed one had it.
    fn find_expiry(&mut self, removed: u64) {
        if self.expires_at == Some(removed) {
            self.expires_at = self.earliest_end();
        }
    }

    fn earliest_end(&self) -> Option<u64> {
        let rules = self.rules.values().map(|rule| rule.until);
        let ends = rules.chain(self.revoked.values().map(|revocation| revocation.until));
        ends.filter(|until| *until != 0).min()
    }
}

fn earlier(known: Option<u64>, until: u64) -> Option<u64> {
    if until == 0 { known } else { Some(known.map_or(until, |known| known.min(until))) }
}

#[cfg(test)]
mod tests;
