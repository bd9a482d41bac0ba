//! A room's state: what folding its records gives. Knows nothing of tasks, buses, logs or clocks.

mod checkpoint;
mod said;

use std::collections::{BTreeMap, HashMap};

use crate::ids::{Incarnation, Name, ServerId, SessionId};
use crate::membership::{Membership, MessageId};
use crate::record::{Entry, Position, Record};

pub use checkpoint::Checkpoint;
use said::Said;
pub use said::{ID_MS, MAX_IDS};

/// Who is in a room, and what must not be done twice there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomState {
    // Invariant: a name has one session, and a session one name; the three maps say the same.
    members: BTreeMap<Name, Member>,
    names: HashMap<SessionId, Name>,
    /// Members per run of a connector.
    runs: BTreeMap<(ServerId, Incarnation), usize>,
    name_bytes: usize,
    proposals: BTreeMap<ServerId, LastProposal>,
    said: Said,
    time: u64,
}

/// A name's stay in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Through which session.
    pub session: SessionId,
    /// Which stay it is; the same after it moved to another session.
    pub membership: Membership,
}

/// The last proposal of a connector that the room's log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastProposal {
    /// Which run of the connector.
    pub incarnation: Incarnation,
    /// Which proposal of that run.
    pub number: u64,
    /// The record that decided it.
    pub position: Position,
}

impl LastProposal {
    /// What orders the proposals of one connector.
    pub fn order(&self) -> (Incarnation, u64) {
        (self.incarnation, self.number)
    }
}

impl RoomState {
    /// The state after a record that carries a checkpoint.
    ///
    /// A checkpoint has what the record's entries did. Which proposals it decided, and where, the record itself says: its
    /// position was not known when it was written.
    pub fn after(position: Position, record: &Record) -> Option<Self> {
        let mut state = Self::from(record.checkpoint.as_ref()?);
        state.settle(position, record);
        Some(state)
    }

    /// Applies a committed record.
    ///
    /// Folding cannot fail: whether an entry is allowed was decided before it was appended, and every reader of the log
    /// must come to the same state.
    pub fn fold(&mut self, position: Position, record: &Record) {
        for entry in &record.entries {
            self.apply(entry);
        }
        self.settle(position, record);
    }

    /// Applies one entry; a record's entries are followed by [`RoomState::settle`].
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Join { name, session, membership } => {
                self.insert(name.clone(), Member { session: session.clone(), membership: *membership });
            }
            Entry::Move { name, from, to } => {
                if let Some(member) = self.members.get(name).filter(|member| member.session == *from) {
                    let membership = member.membership;
                    self.insert(name.clone(), Member { session: to.clone(), membership });
                }
            }
            Entry::Leave { name, session } => {
                if self.session_of(name) == Some(session) {
                    self.remove(name);
                }
            }
            Entry::Say { .. } | Entry::Whisper { .. } | Entry::Open => {}
        }
    }

    /// Notes what a record says besides what its entries do to the members: the proposals it decided, the messages with
    /// an id, and its time.
    pub fn settle(&mut self, position: Position, record: &Record) {
        for decided in &record.proposals {
            let last = LastProposal { incarnation: decided.incarnation, number: decided.number, position };
            self.proposals.insert(decided.connector.clone(), last);
        }
        self.time = self.time.max(record.time);
        for (index, entry) in record.entries.iter().enumerate() {
            if let Some(id) = entry.message_id() {
                self.said.note(id, position.seq(index), record.time);
            }
        }
        self.said.forget(self.time);
    }

    fn insert(&mut self, name: Name, member: Member) {
        self.remove(&name);
        if let Some(old) = self.names.get(&member.session).cloned() {
            self.remove(&old);
        }
        *self.runs.entry(run_of(&member.session)).or_default() += 1;
        self.name_bytes += name.as_str().len();
        self.names.insert(member.session.clone(), name.clone());
        self.members.insert(name, member);
    }

    fn remove(&mut self, name: &Name) {
        let Some(Member { session, .. }) = self.members.remove(name) else { return };
        self.name_bytes -= name.as_str().len();
        self.names.remove(&session);
        let run = run_of(&session);
        if let Some(count) = self.runs.get_mut(&run) {
            *count -= 1;
            if *count == 0 {
                self.runs.remove(&run);
            }
        }
    }

    /// The session through which a name is in the room.
    pub fn session_of(&self, name: &Name) -> Option<&SessionId> {
        self.members.get(name).map(|member| &member.session)
    }

    /// `seq` and time of the message that was said under this id, within [`ID_MS`] of the record time `time`.
    pub fn said(&self, id: MessageId, time: u64) -> Option<(u64, u64)> {
        self.said.find(id).filter(|(_, said_at)| time.saturating_sub(*said_at) <= ID_MS)
    }

    /// The name that a session has in the room.
    pub fn name_of(&self, session: &SessionId) -> Option<&Name> {
        self.names.get(session)
    }

    /// All members, by name.
    pub fn members(&self) -> &BTreeMap<Name, Member> {
        &self.members
    }

    /// The connectors that have members here.
    pub fn connectors(&self) -> impl Iterator<Item = &ServerId> {
        let mut before = None;
        // Runs of one connector stand together.
        self.runs
            .keys()
            .map(|(connector, _)| connector)
            .filter(move |connector| before.replace(*connector) != Some(*connector))
    }

    /// The runs of connectors that have members here.
    pub fn runs(&self) -> impl Iterator<Item = (&ServerId, Incarnation)> {
        self.runs.keys().map(|(connector, run)| (connector, *run))
    }

    /// The last proposal of a connector.
    pub fn last_proposal(&self, connector: &ServerId) -> Option<&LastProposal> {
        self.proposals.get(connector)
    }

    /// Connectors that the log speaks of, as members' homes or as authors of proposals.
    pub fn named(&self) -> impl Iterator<Item = &ServerId> {
        self.connectors().chain(self.proposals.keys())
    }

    /// Most bytes that a checkpoint of this state takes, known without making one.
    pub fn checkpoint_size(&self) -> usize {
        let runs = self.runs.len().max(1) + self.proposals.len();
        64 + runs * 160 + self.members.len() * 44 + self.name_bytes + self.said.iter().len() * Checkpoint::ID_BYTES
    }

    /// Time of the newest record; the next one is not before it.
    pub fn time(&self) -> u64 {
        self.time
    }
}

fn run_of(session: &SessionId) -> (ServerId, Incarnation) {
    (session.connector.clone(), session.incarnation)
}

#[cfg(test)]
mod tests;
