//! A room's state as bytes: inside a record of the log, and towards a connector that has nothing to build on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LastProposal, Member, RoomState};
use crate::ids::{Incarnation, Name, ServerId, SessionId};
use crate::membership::{Membership, MessageId};
use crate::record::Position;

/// A whole state. Connectors are spelled once and members refer to them, which makes a member cost its name and a few
/// bytes more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Runs of connectors that members are connected to.
    runs: Vec<(ServerId, Incarnation)>,
    /// Name, index into `runs`, number of the session, membership.
    members: Vec<(Name, usize, u64, Membership)>,
    /// Connector, incarnation, number, position of each connector's last proposal.
    proposals: Vec<(ServerId, Incarnation, u64, Position)>,
    /// Id, `seq` and time of messages said lately, oldest first; left out towards connectors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    said: Vec<(MessageId, u64, u64)>,
    time: u64,
}

impl Checkpoint {
    /// Most bytes that one member takes: a name of 64 four-byte characters, and what stands around it.
    pub const MEMBER_BYTES: usize = 300;

    /// Most bytes that one remembered message takes.
    pub const ID_BYTES: usize = 28;

    /// The state as a connector needs it.
    #[must_use]
    pub fn for_connectors(mut self) -> Self {
        self.said = Vec::new();
        self
    }
}

impl From<&RoomState> for Checkpoint {
    fn from(state: &RoomState) -> Self {
        let mut indexes: BTreeMap<(&ServerId, Incarnation), usize> = BTreeMap::new();
        let mut checkpoint = Self { time: state.time, ..Self::default() };
        for (name, Member { session, membership }) in &state.members {
            let index = *indexes.entry((&session.connector, session.incarnation)).or_insert_with(|| {
                checkpoint.runs.push((session.connector.clone(), session.incarnation));
                checkpoint.runs.len() - 1
            });
            checkpoint.members.push((name.clone(), index, session.number, *membership));
        }
        checkpoint.proposals = state
            .proposals
            .iter()
            .map(|(connector, last)| (connector.clone(), last.incarnation, last.number, last.position))
            .collect();
        checkpoint.said = state.said.iter().copied().collect();
        checkpoint
    }
}

impl From<&Checkpoint> for RoomState {
    /// A member that refers to no connector is left out: such a checkpoint was not written by [`Checkpoint::from`].
    fn from(checkpoint: &Checkpoint) -> Self {
        let mut state = Self { time: checkpoint.time, ..Self::default() };
        for (name, run, number, membership) in &checkpoint.members {
            if let Some((connector, incarnation)) = checkpoint.runs.get(*run) {
                let session = SessionId { connector: connector.clone(), incarnation: *incarnation, number: *number };
                state.insert(name.clone(), Member { session, membership: *membership });
            }
        }
        for (id, seq, time) in &checkpoint.said {
            state.said.note(*id, *seq, *time);
        }
        for (connector, incarnation, number, position) in &checkpoint.proposals {
            let last = LastProposal { incarnation: *incarnation, number: *number, position: *position };
            state.proposals.insert(connector.clone(), last);
        }
        state
    }
}
