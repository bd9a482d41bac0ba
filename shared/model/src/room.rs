//! A room's state: what folding its records gives. Knows nothing of tasks, buses, logs or clocks.

mod act_log;
mod ascii_names;
mod checkpoint;
mod dedup_window;
mod moderation;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::act::{Profile, Rights};
use crate::ids::{Incarnation, Name, ServerId, SessionId, Uid};
use crate::membership::{Membership, MessageId, Sender};
use crate::names::imitated_skeleton;
use crate::record::{Entry, Position, Record};

use act_log::ActLog;
pub use act_log::{DoneAct, LastActs, MAX_ACT_IDS};
use ascii_names::AsciiNames;
pub use checkpoint::Checkpoint;
use checkpoint::SPOKE_BYTES;
pub use dedup_window::MAX_IDS;
use dedup_window::{DedupWindow, SentMessage};
pub use moderation::{
    Amendment, Erasure, MAX_AMENDED, MAX_EDITS, MAX_ERASURES, MAX_GLOBAL_RULES, MAX_REDACTED, MAX_REVOKED, MAX_RULES,
    Moderation, Redaction, Revocation, Rule,
};

/// The members of a room, the deduplication window of its messages, and what acts left in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomState {
    // Invariant: a name has one session, and a session one name; both maps agree.
    members: BTreeMap<Name, Member>,
    /// Names by the runs of connectors and the numbers of their sessions; none is empty.
    runs: BTreeMap<ServerId, BTreeMap<Incarnation, BTreeMap<u64, Name>>>,
    name_bytes: usize,
    ascii_names: AsciiNames,
    /// Most bytes of the members' profiles, and of the times at which they spoke.
    detail_bytes: usize,
    proposals: BTreeMap<ServerId, LastProposal>,
    dedup_window: DedupWindow,
    /// `None` where they are empty.
    // Pointers: rooms are many, and few have any.
    acts: Option<Box<ActLog>>,
    moderation: Option<Box<Moderation>>,
    time: u64,
}

/// A name's stay in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Through which session.
    pub session: SessionId,
    /// The membership, unchanged when the member moved to another session.
    pub membership: Membership,
    /// The claims of the member's token, with the present rights; `None` without a token.
    pub profile: Option<Box<Profile>>,
    /// Time of the member's last message; 0 for none, and towards connectors.
    pub spoke_at: u64,
}

impl Member {
    /// A member without a token.
    pub fn new(session: SessionId, membership: Membership) -> Self {
        Self { session, membership, profile: None, spoke_at: 0 }
    }

    /// Returns the user, if the member has a token.
    pub fn uid(&self) -> Option<&Uid> {
        self.profile.as_ref()?.uid.as_ref()
    }

    /// Returns the member's rights.
    pub fn rights(&self) -> Rights {
        self.profile.as_ref().and_then(|profile| profile.rights).unwrap_or(Rights::MEMBER)
    }

    /// Most bytes in a checkpoint of what few members have.
    fn detail_size(&self) -> usize {
        let spoke = if self.spoke_at > 0 { SPOKE_BYTES } else { 0 };
        spoke + self.profile.as_ref().map_or(0, |profile| profile.size())
    }
}

/// The last proposal of a connector that the room's log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastProposal {
    /// The run of the connector.
    pub incarnation: Incarnation,
    /// The number of the proposal within that run.
    pub number: u64,
    /// The record that decided it.
    pub position: Position,
}

impl RoomState {
    /// The state after these records, oldest first. They begin with a whole checkpoint, with the
    /// first part of one whose other parts are among them, or with the room's first record.
    ///
    /// A whole checkpoint includes the effects of its record's entries, but not the proposals that
    /// the record decided: the position of the record was not known when it was written. Those come
    /// from the record itself.
    pub fn replay(records: &[(Position, Arc<Record>)]) -> Self {
        let mut state = Self::default();
        let base = records.first().and_then(|(_, first)| first.part).map(|part| part.base);
        // Parts of other checkpoints are left out: their owner may have died before the last part.
        let parts = records.iter().filter(|(_, record)| base.is_some() && record.part.map(|part| part.base) == base);
        parts.filter_map(|(_, record)| record.checkpoint.as_deref()).for_each(|part| state.add(part));
        for (position, record) in records {
            match record.checkpoint.as_deref() {
                Some(whole) if record.part.is_none() => {
                    state = Self::from(whole);
                    state.apply_committed(*position, record);
                }
                _ => state.fold(*position, record),
            }
        }
        state
    }

    /// Applies a committed record as a reader of the log does. Cannot fail.
    pub fn fold(&mut self, position: Position, record: &Record) {
        // The owner decided before the append that each entry is allowed, and every reader of the
        // log must come to the same state.
        for entry in &record.entries {
            self.apply(entry);
        }
        self.apply_committed(position, record);
    }

    /// Applies the parts of a committed record that its entries do not carry or that only readers of
    /// the log need: what [`RoomState::apply_metadata`] does, the decided acts and their effects,
    /// and the times of messages.
    pub fn apply_committed(&mut self, position: Position, record: &Record) {
        self.apply_metadata(position, record);
        for decided in &record.acts {
            self.acts.get_or_insert_default().fold(position, record.time, decided);
        }
        if self.moderation.is_some() || record.entries.iter().any(Moderation::is_changed_by) {
            self.change_moderation(|moderation| moderation.fold(position, record));
        }
        for from in record.entries.iter().filter_map(Entry::speaker) {
            if let Some(member) = self.members.get_mut(from) {
                self.detail_bytes -= member.detail_size();
                member.spoke_at = self.time;
                self.detail_bytes += member.detail_size();
            }
        }
    }

    /// Applies one entry; a record's entries are followed by [`RoomState::apply_committed`] at an
    /// owner, and by [`RoomState::apply_metadata`] at a connector.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Join { name, session, membership, profile } => {
                let member = Member { profile: profile.clone(), ..Member::new(session.clone(), *membership) };
                self.insert(name.clone(), member);
            }
            Entry::Move { name, from, to, .. } => {
                if let Some(member) = self.members.get(name).filter(|member| member.session == *from) {
                    let member = Member { session: to.clone(), ..member.clone() };
                    self.insert(name.clone(), member);
                }
            }
            Entry::Leave { name, session } | Entry::Expel { name, session, .. } => {
                if self.session_of(name) == Some(session) {
                    self.remove(name);
                }
            }
            Entry::Rights { session, rights } => {
                if let Some(name) = self.name_of(session).cloned()
                    && let Some(mut member) = self.members.get(&name).cloned()
                {
                    member.profile.get_or_insert_default().rights = Some(*rights);
                    self.insert(name, member);
                }
            }
            // Behind all entries: they concern no entry of the same record.
            Entry::Rule { .. }
            | Entry::Amend { .. }
            | Entry::Redact { .. }
            | Entry::Clear { .. }
            | Entry::Revoke { .. }
            | Entry::Erase { .. }
            | Entry::Message { .. }
            | Entry::Whisper { .. }
            | Entry::Open => {}
        }
    }

    /// Applies the parts of a record that its entries do not carry: the decided proposals, the ids
    /// of messages, and its time.
    pub fn apply_metadata(&mut self, position: Position, record: &Record) {
        for decided in &record.proposals {
            let last = LastProposal { incarnation: decided.incarnation, number: decided.number, position };
            self.proposals.insert(decided.connector.clone(), last);
        }
        // Owners have different clocks: the time of a room never decreases.
        self.time = self.time.max(record.time);
        for (index, entry) in record.entries.iter().enumerate() {
            if let Some((from, id)) = entry.repeatable() {
                let sender = self.dedup_window.counts_senders().then(|| self.sender(from));
                let (seq, time) = (position.seq(index), record.time);
                self.dedup_window.insert(SentMessage { id, seq, time, sender });
            }
        }
    }

    /// The sender of a message in the last applied record, by the name that the record has.
    // By the state behind the whole record: readers that start from the record's checkpoint know no
    // other. Of a member that left within the record, only the name is known then.
    fn sender(&self, from: &Name) -> Sender {
        self.membership_of(from).map_or_else(|| Sender::named(from), |membership| membership.sender())
    }

    /// The same state without the messages that it remembers by their ids, and without all else
    /// that names positions of the log.
    pub fn without_messages(self) -> Self {
        // An api server that repeats its last message gets it decided again.
        let mut state = Self { dedup_window: DedupWindow::default(), acts: None, ..self };
        state.change_moderation(Moderation::forget_positions);
        state
    }

    fn change_moderation(&mut self, change: impl FnOnce(&mut Moderation)) {
        let moderation = self.moderation.get_or_insert_default();
        change(moderation);
        if moderation.is_empty() {
            self.moderation = None;
        }
    }

    /// Sets or removes the member of a name, to undo an entry.
    pub fn restore_member(&mut self, name: Name, member: Option<Member>) {
        match member {
            Some(member) => self.insert(name, member),
            None => self.remove(&name),
        }
    }

    fn insert(&mut self, name: Name, member: Member) {
        self.remove(&name);
        // A session has one name: a join under another one replaces it.
        if let Some(old) = self.name_of(&member.session).cloned() {
            self.remove(&old);
        }
        let SessionId { connector, incarnation, number } = member.session.clone();
        self.runs.entry(connector).or_default().entry(incarnation).or_default().insert(number, name.clone());
        self.name_bytes += name.as_str().len();
        self.ascii_names.add(&name);
        self.detail_bytes += member.detail_size();
        self.members.insert(name, member);
    }

    fn remove(&mut self, name: &Name) {
        let Some(member) = self.members.remove(name) else { return };
        self.name_bytes -= name.as_str().len();
        self.ascii_names.remove(name);
        self.detail_bytes -= member.detail_size();
        let session = member.session;
        let Some(runs) = self.runs.get_mut(&session.connector) else { return };
        let Some(names) = runs.get_mut(&session.incarnation) else { return };
        names.remove(&session.number);
        if names.is_empty() {
            runs.remove(&session.incarnation);
        }
        if runs.is_empty() {
            self.runs.remove(&session.connector);
        }
    }

    /// Renames a run of a connector to a later incarnation of the same process.
    pub fn rename_run(&mut self, connector: &ServerId, from: Incarnation, to: Incarnation) {
        // The numbers of its sessions are unique over both runs, so no two entries collide.
        if let Some(last) = self.proposals.get_mut(connector).filter(|last| last.incarnation == from) {
            last.incarnation = to;
        }
        let Some(runs) = self.runs.get_mut(connector) else { return };
        let Some(names) = runs.remove(&from) else { return };
        for name in names.values() {
            self.members.get_mut(name).into_iter().for_each(|member| member.session.incarnation = to);
        }
        runs.entry(to).or_default().extend(names);
    }

    /// The highest run of a connector that is known from members or proposals.
    pub fn latest_run(&self, connector: &ServerId) -> Option<Incarnation> {
        let of_members = self.runs.get(connector).and_then(|runs| runs.keys().next_back()).copied();
        of_members.max(self.proposals.get(connector).map(|last| last.incarnation))
    }

    /// The session through which a name is in the room.
    pub fn session_of(&self, name: &Name) -> Option<&SessionId> {
        self.members.get(name).map(|member| &member.session)
    }

    /// `seq` and time of the message that was sent with this id, if it is remembered.
    pub fn find_message(&self, id: MessageId) -> Option<(u64, u64)> {
        self.dedup_window.find(id)
    }

    /// The stay of a name.
    pub fn membership_of(&self, name: &Name) -> Option<Membership> {
        self.members.get(name).map(|member| member.membership)
    }

    /// The stay by which a session is in the room.
    pub fn membership_of_session(&self, session: &SessionId) -> Option<Membership> {
        self.membership_of(self.name_of(session)?)
    }

    /// The name that a session has in the room.
    pub fn name_of(&self, session: &SessionId) -> Option<&Name> {
        self.runs.get(&session.connector)?.get(&session.incarnation)?.get(&session.number)
    }

    /// Returns true if a name that is not in the room looks like an ASCII name that is.
    // Takes the state mutably for an index that is made when it is first needed.
    pub fn is_imitation(&mut self, name: &Name) -> bool {
        if self.members.contains_key(name) {
            return false;
        }
        let skeleton = imitated_skeleton(name.as_str());
        skeleton.is_some_and(|skeleton| self.ascii_names.have(&skeleton, self.members.keys()))
    }

    /// All members, by name.
    pub fn members(&self) -> &BTreeMap<Name, Member> {
        &self.members
    }

    /// The connectors that have members here.
    pub fn connectors(&self) -> impl Iterator<Item = &ServerId> {
        self.runs.keys()
    }

    /// The runs of connectors that have members here.
    pub fn runs(&self) -> impl Iterator<Item = (&ServerId, Incarnation)> {
        self.runs.iter().flat_map(|(connector, runs)| runs.keys().map(move |run| (connector, *run)))
    }

    /// The sessions of a run of a connector that are here, by their numbers, and their names.
    pub fn sessions_of(&self, connector: &ServerId, run: Incarnation) -> impl Iterator<Item = (u64, &Name)> {
        let names = self.runs.get(connector).and_then(|runs| runs.get(&run));
        names.into_iter().flatten().map(|(number, name)| (*number, name))
    }

    /// The last proposal of a connector.
    pub fn last_proposal(&self, connector: &ServerId) -> Option<&LastProposal> {
        self.proposals.get(connector)
    }

    /// Every connector that has members or proposals in the log.
    pub fn known_connectors(&self) -> impl Iterator<Item = &ServerId> {
        self.connectors().chain(self.proposals.keys())
    }

    /// The last message of acts of an api server.
    pub fn last_acts(&self, server: &ServerId) -> Option<&LastActs> {
        self.acts.as_ref()?.last(server)
    }

    /// The act that was done with this id, if it is remembered.
    pub fn find_act(&self, id: MessageId) -> Option<DoneAct> {
        self.acts.as_ref()?.find(id)
    }

    /// The effects of acts on the room.
    pub fn moderation(&self) -> &Moderation {
        static EMPTY: Moderation = Moderation::new();
        self.moderation.as_deref().unwrap_or(&EMPTY)
    }

    /// Time of the newest record; the next one is not before it.
    pub fn time(&self) -> u64 {
        self.time
    }
}

#[cfg(test)]
mod tests;
