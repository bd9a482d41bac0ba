//! A room's state as bytes: inside records of the log, and towards a connector that has nothing to
//! build on. A large one is several of them, to be added up.

use serde::{Deserialize, Serialize};

use super::{LastProposal, Member, RoomState};
use crate::ids::{Incarnation, Name, ServerId, SessionId};
use crate::membership::{Membership, MessageId};
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
}

/// Bytes around a checkpoint's lists.
const AROUND: usize = 64;

/// Most bytes of a run or of a proposal.
const RUN_BYTES: usize = 160;

/// Most bytes of a member besides its name.
const MEMBER_BYTES: usize = 44;

/// Most bytes of a remembered message.
const ID_BYTES: usize = 28;

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
        let (names, ids) = (members * (MEMBER_BYTES + 256), super::MAX_IDS * ID_BYTES);
        // Members of a connector's earlier run may still be there, too.
        AROUND + 3 * connectors * RUN_BYTES + names + ids
    }
}

impl RoomState {
    /// Most bytes that a checkpoint of this state takes, known without making one.
    pub fn checkpoint_size(&self) -> usize {
        let runs = self.runs().count().max(1) + self.proposals.len();
        AROUND
            + runs * RUN_BYTES
            + self.members.len() * MEMBER_BYTES
            + self.name_bytes
            + self.dedup_window.iter().len() * ID_BYTES
    }

    /// The state in as many checkpoints as it takes for each to have this many bytes at most, or
    /// one element.
    pub fn checkpoints(&self, most: usize) -> Vec<Checkpoint> {
        let mut parts = Splitter::new(self.time, most);
        self.put_members(&mut parts);
        for (id, seq, time) in self.dedup_window.iter() {
            parts.room_for(ID_BYTES).sent_messages.push((*id, *seq, *time));
        }
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
        for (id, seq, time) in &checkpoint.sent_messages {
            self.dedup_window.insert(*id, *seq, *time);
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
    bytes: usize,
    most: usize,
}

impl Splitter {
    fn new(time: u64, most: usize) -> Self {
        let filling = Checkpoint { time, ..Checkpoint::default() };
        Self { full: Vec::new(), filling, bytes: AROUND, most }
    }

    /// Begins the next checkpoint if this one has no space for `size` bytes.
    fn make_room(&mut self, size: usize) {
        // An element that is larger than the limit alone gets a checkpoint of its own: without
        // progress, splitting would not end.
        if self.bytes.saturating_add(size) > self.most && self.bytes > AROUND {
            let next = Checkpoint { time: self.filling.time, ..Checkpoint::default() };
            self.full.push(std::mem::replace(&mut self.filling, next));
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

    fn finish(mut self) -> Vec<Checkpoint> {
        self.full.push(self.filling);
        self.full
    }
}
