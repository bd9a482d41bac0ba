//! A room's state as bytes: inside records of the log, and towards a connector that has nothing to
//! build on. A large one is several of them, to be added up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dedup_window::SentMessage;
use super::{LastProposal, Member, RoomState};
use crate::ids::{Incarnation, Name, ServerId, SessionId};
use crate::membership::{Membership, MessageId, Sender};
use crate::record::Position;

/// A state, or a part of one.
// Connectors are spelled once and members refer to them, so a member costs its name and a few bytes
// more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Runs of connectors that members are connected to.
    runs: Vec<(ServerId, Incarnation)>,
    /// Name, index into `runs`, number of the session, membership.
    members: Vec<(Name, usize, u64, Membership)>,
    /// Connector, incarnation, number, position of each connector's last proposal.
    proposals: Vec<(ServerId, Incarnation, u64, Position)>,
    /// Id, `seq` and time of the messages in the deduplication window, oldest first; left out
    /// towards connectors.
    #[serde(rename = "said", default, skip_serializing_if = "Vec::is_empty")]
    sent_messages: Vec<(MessageId, u64, u64)>,
    time: u64,
    /// Senders of those messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    senders: Vec<Sender>,
    /// For each of those messages the place of its sender among `senders`, from 1 on; 0, or none at
    /// the end, for one whose sender is not counted.
    // Beside the messages instead of within them: readers of earlier releases pass over it, and a
    // list of theirs is read as one of messages whose senders are not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sent_by: Vec<u16>,
}

/// Bytes around a checkpoint's lists.
const AROUND: usize = 64;

/// Most bytes of a run or of a proposal.
const RUN_BYTES: usize = 160;

/// Most bytes of a member besides its name.
const MEMBER_BYTES: usize = 44;

/// Most bytes of a remembered message.
const ID_BYTES: usize = 28;

/// Most bytes that its place among the senders adds.
const SENT_BY_BYTES: usize = 3;

/// Most bytes of a sender.
const SENDER_BYTES: usize = 9;

/// Bytes around the lists of senders.
const SENDERS_AROUND: usize = 32;

impl Checkpoint {
    /// Every run of a connector that it names.
    pub(crate) fn runs_mut(&mut self) -> impl Iterator<Item = (&ServerId, &mut Incarnation)> {
        let runs = self.runs.iter_mut().map(|(connector, run)| (&*connector, run));
        runs.chain(self.proposals.iter_mut().map(|(connector, run, ..)| (&*connector, run)))
    }

    /// Time of the newest record that the state knows.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Upper bound of the state of a room with this many members and connectors, with the longest
    /// names.
    pub fn most_bytes(members: usize, connectors: usize) -> usize {
        let (names, ids) = (members * (MEMBER_BYTES + 256), ids_bytes(super::MAX_IDS, super::MAX_IDS, super::MAX_IDS));
        // Members of a connector's earlier run may still be there, too.
        AROUND + 3 * connectors * RUN_BYTES + names + ids
    }
}

/// Most bytes of remembered messages, of which so many have one of so many senders.
fn ids_bytes(messages: usize, counted: usize, senders: usize) -> usize {
    let around = if counted > 0 { SENDERS_AROUND } else { 0 };
    messages * ID_BYTES + around + counted * SENT_BY_BYTES + senders * SENDER_BYTES
}

impl RoomState {
    /// Most bytes that a checkpoint of this state takes, known without making one.
    pub fn checkpoint_size(&self) -> usize {
        let runs = self.runs().count().max(1) + self.proposals.len();
        let (counted, senders) = self.dedup_window.counted();
        AROUND
            + runs * RUN_BYTES
            + self.members.len() * MEMBER_BYTES
            + self.name_bytes
            + ids_bytes(self.dedup_window.len(), counted, senders)
    }

    /// The state in as many checkpoints as it takes for each to have this many bytes at most, or
    /// one element.
    pub fn checkpoints(&self, most: usize) -> Vec<Checkpoint> {
        let mut parts = Splitter::new(self.time, most);
        self.put_members(&mut parts);
        self.dedup_window.iter().for_each(|message| parts.put_message(message));
        parts.finish()
    }

    /// The same as a connector needs it: without what only an owner does.
    pub fn checkpoints_for_connectors(&self, most: usize) -> Vec<Checkpoint> {
        let mut parts = Splitter::new(self.time, most);
        self.put_members(&mut parts);
        parts.finish()
    }

    fn put_members(&self, parts: &mut Splitter) {
        for (connector, last) in &self.proposals {
            let proposal = (connector.clone(), last.incarnation, last.number, last.position);
            parts.room_for(RUN_BYTES).proposals.push(proposal);
        }
        for (connector, run) in self.runs() {
            for (number, name) in self.sessions_of(connector, run) {
                let Some(Member { membership, .. }) = self.members.get(name) else { continue };
                parts.put_member((connector, run), number, name, *membership);
            }
        }
    }

    /// Adds what a checkpoint has to a state that is made of others, or to an empty one.
    ///
    /// A member that refers to no connector is left out: such a checkpoint was not written by
    /// [`RoomState::checkpoints`].
    pub fn add(&mut self, checkpoint: &Checkpoint) {
        // A room's time never falls, in any order of the parts.
        self.time = self.time.max(checkpoint.time);
        for (name, run, number, membership) in &checkpoint.members {
            if let Some((connector, incarnation)) = checkpoint.runs.get(*run) {
                let session = SessionId { connector: connector.clone(), incarnation: *incarnation, number: *number };
                self.insert(name.clone(), Member { session, membership: *membership });
            }
        }
        for (index, (id, seq, time)) in checkpoint.sent_messages.iter().enumerate() {
            let place = checkpoint.sent_by.get(index).and_then(|place| usize::from(*place).checked_sub(1));
            let sender = place.and_then(|place| checkpoint.senders.get(place)).copied();
            self.dedup_window.insert(SentMessage { id: *id, seq: *seq, time: *time, sender });
        }
        for (connector, incarnation, number, position) in &checkpoint.proposals {
            let last = LastProposal { incarnation: *incarnation, number: *number, position: *position };
            self.proposals.insert(connector.clone(), last);
        }
    }
}

impl From<&RoomState> for Checkpoint {
    /// The whole state in one.
    fn from(state: &RoomState) -> Self {
        state.checkpoints(usize::MAX).pop().unwrap_or_default()
    }
}

impl From<&Checkpoint> for RoomState {
    fn from(checkpoint: &Checkpoint) -> Self {
        let mut state = Self::default();
        state.add(checkpoint);
        state
    }
}

/// Fills one checkpoint after the other.
struct Splitter {
    full: Vec<Checkpoint>,
    filling: Checkpoint,
    /// Places of the senders in `filling`.
    senders: BTreeMap<Sender, u16>,
    bytes: usize,
    most: usize,
}

impl Splitter {
    fn new(time: u64, most: usize) -> Self {
        let filling = Checkpoint { time, ..Checkpoint::default() };
        Self { full: Vec::new(), filling, senders: BTreeMap::new(), bytes: AROUND, most }
    }

    /// Begins the next checkpoint if this one has no space for `size` bytes.
    fn make_room(&mut self, size: usize) {
        // An element that is larger than the limit alone gets a checkpoint of its own: without
        // progress, splitting would not end.
        if self.bytes.saturating_add(size) > self.most && self.bytes > AROUND {
            let next = Checkpoint { time: self.filling.time, ..Checkpoint::default() };
            self.full.push(std::mem::replace(&mut self.filling, next));
            self.senders.clear();
            self.bytes = AROUND;
        }
    }

    /// The checkpoint that the next element of this size goes into.
    fn room_for(&mut self, size: usize) -> &mut Checkpoint {
        self.make_room(size);
        self.bytes += size;
        &mut self.filling
    }

    fn put_member(&mut self, run: (&ServerId, Incarnation), number: u64, name: &Name, membership: Membership) {
        let size = MEMBER_BYTES + name.as_str().len();
        self.make_room(size + RUN_BYTES);
        // Members of a run stand together, so that it is the last one if it is there.
        let runs = &mut self.filling.runs;
        if runs.last().is_none_or(|(connector, incarnation)| (connector, *incarnation) != run) {
            runs.push((run.0.clone(), run.1));
            self.bytes += RUN_BYTES;
        }
        let index = runs.len() - 1;
        self.room_for(size).members.push((name.clone(), index, number, membership));
    }

    fn put_message(&mut self, SentMessage { id, seq, time, sender }: &SentMessage) {
        let message = (*id, *seq, *time);
        let Some(sender) = sender else { return self.room_for(ID_BYTES).sent_messages.push(message) };
        self.make_room(SENDERS_AROUND + ID_BYTES + SENT_BY_BYTES + SENDER_BYTES);
        if self.senders.is_empty() {
            self.bytes += SENDERS_AROUND;
        }
        let place = match self.senders.get(sender) {
            Some(place) => *place,
            None => {
                self.bytes += SENDER_BYTES;
                self.filling.senders.push(*sender);
                // Far fewer than 65,536: there is at most one for each remembered message.
                let place = u16::try_from(self.filling.senders.len()).unwrap_or_default();
                self.senders.insert(*sender, place);
                place
            }
        };
        let index = self.filling.sent_messages.len();
        self.bytes += ID_BYTES + SENT_BY_BYTES;
        let filling = &mut self.filling;
        filling.sent_messages.push(message);
        filling.sent_by.resize(index, 0);
        filling.sent_by.push(place);
    }

    fn finish(mut self) -> Vec<Checkpoint> {
        self.full.push(self.filling);
        self.full
    }
}
