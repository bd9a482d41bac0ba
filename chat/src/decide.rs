//! Deciding proposals, item by item, into the entries of the next record. Room rules only; no queue, no log.

use std::collections::HashMap;

use shared::config::settings::RoomSettings;
use shared::ids::{Incarnation, Name, RoomId, ServerId, SessionId};
use shared::membership::{Membership, MessageId};
use shared::record::{Decided, Entry, MAX_ENTRIES, Outcome, Refusal};
use shared::room::{Member, RoomState};
use shared::rpc::messages::{Claim, Item};

use crate::gone::Gone;
use crate::rules::{Message, Rules, Target};

/// Most bytes of entries in one record, not counting the proposal that passes it.
const MAX_ENTRY_BYTES: usize = 128 * 1024;

/// Most members that one record expels.
const MAX_EXPELLED: usize = 200;

/// What decides about items, made from the settings once.
#[derive(Debug, Clone)]
pub struct Judge {
    rules: Rules,
    max_members: usize,
    newest_wins: bool,
}

/// Entries decided so far, with the state as it will be when they are committed.
#[derive(Debug)]
pub struct Draft<'a> {
    room: &'a RoomId,
    judge: &'a Judge,
    /// Runs ahead of the log by the draft's entries.
    state: &'a mut RoomState,
    entries: Vec<Entry>,
    decided: Vec<Decided>,
    /// Entries of this draft that may be repeated, by their index.
    said: HashMap<MessageId, u16>,
    /// The time that the record will have.
    time: u64,
    gone: &'a Gone,
    bytes: usize,
}

/// When, and among whom, is decided.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The time that the record will have, in Unix milliseconds.
    pub time: u64,
    /// Which connectors are gone.
    pub gone: &'a Gone,
}

/// Whose proposal it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The connector.
    pub connector: ServerId,
    /// Which run of it.
    pub incarnation: Incarnation,
}

impl Judge {
    /// The rules that the settings describe.
    pub fn new(settings: &RoomSettings) -> Self {
        Self { rules: Rules::new(settings), max_members: settings.max_members, newest_wins: settings.newest_wins }
    }
}

impl<'a> Draft<'a> {
    /// An empty draft on top of `state`, which it advances.
    pub fn new(room: &'a RoomId, judge: &'a Judge, state: &'a mut RoomState, at: Circumstances<'a>) -> Self {
        let Circumstances { time, gone } = at;
        let (entries, decided, said) = (Vec::new(), Vec::new(), HashMap::new());
        Self { room, judge, state, entries, decided, said, time, gone, bytes: 0 }
    }

    /// Members whose connectors are gone leave; as many as fit besides what is to be decided.
    pub fn expel(&mut self) {
        let gone = |(name, member): (&Name, &Member)| {
            let session = &member.session;
            let is_gone = self.gone.is_gone(&session.connector, session.incarnation);
            is_gone.then(|| Entry::Leave { name: name.clone(), session: session.clone() })
        };
        let leaves: Vec<Entry> = self.state.members().iter().filter_map(gone).take(MAX_EXPELLED).collect();
        for leave in leaves {
            self.push(leave);
        }
    }

    /// Whether another proposal of this many items fits. The first always does.
    pub fn has_room_for(&self, items: usize) -> bool {
        // One item makes three entries where a session takes another name from one that is gone.
        self.decided.is_empty() || (self.bytes < MAX_ENTRY_BYTES && self.entries.len() + 3 * items <= MAX_ENTRIES)
    }

    /// Whether this draft already decided a proposal of the author with this number or a later one.
    pub fn has_decided(&self, author: &Author, number: u64) -> bool {
        let order = (author.incarnation, number);
        self.decided.iter().any(|d| d.connector == author.connector && (d.incarnation, d.number) >= order)
    }

    /// Decides every item of a proposal.
    pub fn decide(&mut self, author: &Author, number: u64, items: &[Item]) {
        let outcomes = items.iter().map(|item| self.item(author, item)).collect();
        let Author { connector, incarnation } = author.clone();
        self.decided.push(Decided { connector, incarnation, number, outcomes });
    }

    /// The entries and what was decided.
    pub fn finish(self) -> (Vec<Entry>, Vec<Decided>) {
        (self.entries, self.decided)
    }

    fn item(&mut self, author: &Author, item: &Item) -> Outcome {
        let session = |number, incarnation| SessionId { connector: author.connector.clone(), incarnation, number };
        let outcome = match item {
            Item::Join { session: number, name, membership, claim } => {
                let coming = Member { session: session(*number, author.incarnation), membership: *membership };
                self.join(coming, name, *claim)
            }
            Item::Leave { session: number, incarnation } => Ok(self.leave(session(*number, *incarnation))),
            Item::Send { session: number, body } => self.send(&session(*number, author.incarnation), body),
        };
        outcome.unwrap_or_else(Outcome::Refused)
    }

    fn join(&mut self, coming: Member, name: &Name, claim: Claim) -> Result<Outcome, Refusal> {
        let Member { session, membership } = coming;
        let old = self.state.name_of(&session).cloned();
        if old.as_ref() == Some(name) {
            return Ok(Outcome::Already);
        }
        let (from, rest) = match self.state.members().get(name).cloned() {
            Some(there) if claim == Claim::Back && there.membership == membership => (Some(there.session), None),
            there => (None, there.map(|there| there.session)),
        };
        let yields =
            |session: &SessionId| self.gone.is_free(session) || (claim != Claim::Heal && self.judge.newest_wins);
        if rest.as_ref().is_some_and(|session| !yields(session)) {
            return Err(Refusal::NameTaken);
        }
        if old.is_none() && from.is_none() && rest.is_none() && self.state.members().len() >= self.judge.max_members {
            return Err(Refusal::RoomFull);
        }
        // A session has one name: coming under another one is going first.
        if let Some(old) = old {
            self.push(Entry::Leave { name: old, session: session.clone() });
        }
        let name = name.clone();
        if let Some(session) = rest {
            self.push(Entry::Leave { name: name.clone(), session });
        }
        Ok(self.push(match from {
            Some(from) => Entry::Move { name, from, to: session },
            None => Entry::Join { name, session, membership },
        }))
    }

    fn leave(&mut self, session: SessionId) -> Outcome {
        match self.state.name_of(&session).cloned() {
            Some(name) => self.push(Entry::Leave { name, session }),
            None => Outcome::Already,
        }
    }

    fn send(&mut self, session: &SessionId, body: &[u8]) -> Result<Outcome, Refusal> {
        let from = self.state.name_of(session).cloned().ok_or(Refusal::NotMember)?;
        let membership = self.membership_of(&from).ok_or(Refusal::NotMember)?;
        let Message { content, target, id } = self.judge.rules.read(self.room, body)?;
        let id = id.map(|id| membership.message(&id));
        if let Some(outcome) = id.and_then(|id| self.said_before(id)) {
            return Ok(outcome);
        }
        self.bytes += content.len();
        let entry = match target {
            Target::All => Entry::Say { from, content, id },
            Target::One(to) => {
                let to = to.ok_or(Refusal::NoSuchMember)?;
                let between = [membership, self.membership_of(&to).ok_or(Refusal::NoSuchMember)?];
                Entry::Whisper { from, to, between, content, id }
            }
        };
        let outcome = self.push(entry);
        if let (Some(id), Outcome::Done(index)) = (id, outcome) {
            self.said.insert(id, index);
        }
        Ok(outcome)
    }

    fn membership_of(&self, name: &Name) -> Option<Membership> {
        self.state.members().get(name).map(|member| member.membership)
    }

    /// What a message with this id was answered, if it was said in this draft or lately.
    fn said_before(&self, id: MessageId) -> Option<Outcome> {
        if let Some(index) = self.said.get(&id) {
            return Some(Outcome::Done(*index));
        }
        self.state.said(id, self.time).map(|(seq, time)| Outcome::Said { seq, time })
    }

    fn push(&mut self, entry: Entry) -> Outcome {
        self.state.apply(&entry);
        self.bytes += 256;
        self.entries.push(entry);
        // The number of entries is bounded by `has_room_for` and by a proposal's bound, far below u16.
        Outcome::Done(u16::try_from(self.entries.len() - 1).unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests;
