//! A room's state as bytes: inside records of the log, and towards a connector that has nothing to
//! build on. A large one is several of them, to be added up.

mod splitter;

use serde::{Deserialize, Serialize};

use super::act_log::{ACT_ID_BYTES, LAST_BYTES, OUTCOME_BYTES, resolved};
use super::dedup_window::SentMessage;
use super::moderation::{self, AMENDED_BYTES, user_bytes};
use super::{
    Amendment, DoneAct, Erasure, LastActs, LastProposal, Member, Moderation, Redaction, Revocation, RoomState, Rule,
};
use crate::act::{MAX_ACTS, Profile, RuleKind, Target};
use crate::ids::{Actor, Incarnation, Name, ServerId, SessionId, Uid};
use crate::membership::{Membership, MessageId, Sender};
use crate::record::{Position, StoredOutcome};
use splitter::Splitter;

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
    /// Index of a member, and its profile.
    // Beside the members, as few or all of them have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    profiles: Vec<(usize, Profile)>,
    /// Index of a member, and the milliseconds from its last message to `time`; left out towards
    /// connectors, as all that follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spoke: Vec<(usize, u64)>,
    /// Api server, incarnation, number, position and outcomes of its last message of acts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    acts: Vec<(ServerId, Incarnation, u64, Position, Vec<StoredOutcome>)>,
    /// Id, digest, `seq` and time of the acts that were done lately, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    act_ids: Vec<(MessageId, u64, u64, u64)>,
    /// Target, kind, end and author of the rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<(Target, RuleKind, u64, Actor)>,
    /// `seq` of the amended messages, position of the newest amendment, `true` for an edit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    amended: Vec<(u64, Position, bool)>,
    /// Users whose messages are redacted, up to which `seq`, and the position.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    redacted: Vec<(Uid, u64, Position)>,
    /// The last of the cleared messages.
    #[serde(default, skip_serializing_if = "is_zero")]
    cleared: u64,
    /// Users whose tokens are void, of those issued before, and the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revoked: Vec<(Uid, u64, u64)>,
    /// Erasures that are not done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    erasures: Vec<(MessageId, Uid, String)>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Bytes around a checkpoint's lists, those of acts' effects left out.
const AROUND: usize = 112;

/// Bytes around all lists of a part.
const PART_AROUND: usize = AROUND + moderation::AROUND;

/// Most bytes of a run or of a proposal.
const RUN_BYTES: usize = 160;

/// Most bytes of a member besides its name and details.
const MEMBER_BYTES: usize = 44;

/// Most bytes of the time of a member's last message.
pub(super) const SPOKE_BYTES: usize = 16;

/// More api servers than a cluster has.
const MANY_API_SERVERS: usize = 16;

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

    /// The member at an index, as a state has it that took the members.
    fn member(&self, state: &RoomState, index: usize) -> Option<(Name, Member)> {
        let (name, ..) = self.members.get(index)?;
        Some((name.clone(), state.members.get(name)?.clone()))
    }

    /// Returns true if it has rules, revocations or erasures.
    pub fn must_last(&self) -> bool {
        !(self.rules.is_empty() && self.revoked.is_empty() && self.erasures.is_empty())
    }

    /// Puts the effects of acts into tables.
    fn fill(&self, moderation: &mut Moderation) {
        moderation.clear(self.cleared);
        for (target, kind, until, by) in &self.rules {
            moderation.set_rule((target.clone(), *kind), Rule { until: *until, by: by.clone() });
        }
        for (seq, position, is_edit) in &self.amended {
            moderation.set_amended(*seq, Amendment { position: *position, is_edit: *is_edit });
        }
        for (uid, upto, position) in &self.redacted {
            moderation.set_redacted(uid.clone(), Redaction { upto: *upto, position: *position });
        }
        for (uid, before, until) in &self.revoked {
            moderation.set_revoked(uid.clone(), Revocation { before: *before, until: *until });
        }
        for (id, uid, cursor) in &self.erasures {
            moderation.set_erasure(*id, Erasure { uid: uid.clone(), cursor: cursor.clone() });
        }
    }

    /// Time of the newest record that the state knows.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Upper bound of the state of a room with this many members and connectors, with the longest
    /// names.
    pub fn most_bytes(members: usize, connectors: usize) -> usize {
        let members = members * (MEMBER_BYTES + 256 + SPOKE_BYTES + Profile::MOST_BYTES);
        let ids = ids_bytes(super::MAX_IDS, super::MAX_IDS, super::MAX_IDS);
        let last = LAST_BYTES + MAX_ACTS * OUTCOME_BYTES;
        let acts = MANY_API_SERVERS * last + super::MAX_ACT_IDS * ACT_ID_BYTES;
        // The room of all rooms has no members.
        let tables = (members + Moderation::most_bytes()).max(Moderation::most_global_bytes());
        // Members of a connector's earlier run may still be there, too.
        AROUND + 3 * connectors * RUN_BYTES + ids + acts + tables
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
            + self.detail_bytes
            + self.acts.as_ref().map_or(0, |acts| acts.size())
            + self.moderation().size()
            + ids_bytes(self.dedup_window.len(), counted, senders)
    }

    /// The state in as many checkpoints as it takes for each to have this many bytes at most, or
    /// one element.
    pub fn checkpoints(&self, most: usize) -> Vec<Checkpoint> {
        let mut parts = Splitter::new(self.time, most);
        self.put_members(&mut parts, true);
        self.dedup_window.iter().for_each(|message| parts.put_message(message));
        self.put_acts(&mut parts);
        self.put_moderation(&mut parts);
        parts.finish()
    }

    /// The same as a connector needs it: without what only an owner does.
    pub fn checkpoints_for_connectors(&self, most: usize) -> Vec<Checkpoint> {
        let mut parts = Splitter::new(self.time, most);
        self.put_members(&mut parts, false);
        parts.finish()
    }

    fn put_members(&self, parts: &mut Splitter, is_for_log: bool) {
        for (connector, last) in &self.proposals {
            let proposal = (connector.clone(), last.incarnation, last.number, last.position);
            parts.room_for(RUN_BYTES).proposals.push(proposal);
        }
        for (connector, run) in self.runs() {
            for (number, name) in self.sessions_of(connector, run) {
                let Some(member) = self.members.get(name) else { continue };
                parts.put_member((connector, run), number, name, member);
                if is_for_log && member.spoke_at > 0 {
                    let (index, ago) = (parts.filling.members.len() - 1, self.time.saturating_sub(member.spoke_at));
                    parts.filling.spoke.push((index, ago));
                }
            }
        }
    }

    fn put_acts(&self, parts: &mut Splitter) {
        let Some(acts) = &self.acts else { return };
        for (server, last) in acts.all_last() {
            let LastActs { incarnation, number, position, outcomes } = last;
            let size = LAST_BYTES + outcomes.len() * OUTCOME_BYTES;
            let outcomes = outcomes.iter().copied().map(StoredOutcome::from).collect();
            parts.room_for(size).acts.push((server.clone(), *incarnation, *number, *position, outcomes));
        }
        for (id, DoneAct { digest, seq, time }) in acts.ids() {
            parts.room_for(ACT_ID_BYTES).act_ids.push((id, digest, seq, time));
        }
    }

    fn put_moderation(&self, parts: &mut Splitter) {
        let Moderation { rules, amended, redacted, cleared, revoked, erasures, .. } = self.moderation();
        parts.filling.cleared = *cleared;
        for ((target, kind), Rule { until, by }) in rules {
            let size = moderation::rule_bytes(target, by);
            parts.room_for(size).rules.push((target.clone(), *kind, *until, by.clone()));
        }
        for (seq, Amendment { position, is_edit }) in amended {
            parts.room_for(AMENDED_BYTES).amended.push((*seq, *position, *is_edit));
        }
        for (uid, Redaction { upto, position }) in redacted {
            parts.room_for(user_bytes(uid)).redacted.push((uid.clone(), *upto, *position));
        }
        for (uid, Revocation { before, until }) in revoked {
            parts.room_for(user_bytes(uid)).revoked.push((uid.clone(), *before, *until));
        }
        for (id, erasure) in erasures {
            let size = moderation::erasure_bytes(erasure);
            parts.room_for(size).erasures.push((*id, erasure.uid.clone(), erasure.cursor.clone()));
        }
    }

    fn add_acts(&mut self, checkpoint: &Checkpoint) {
        if checkpoint.acts.is_empty() && checkpoint.act_ids.is_empty() {
            return;
        }
        let log = self.acts.get_or_insert_default();
        for (server, incarnation, number, position, outcomes) in &checkpoint.acts {
            // Earlier builds wrote indexes of entries.
            let outcome = |stored: &StoredOutcome| resolved((*stored).into(), *position, checkpoint.time);
            let outcomes = outcomes.iter().map(outcome).collect();
            let last = LastActs { incarnation: *incarnation, number: *number, position: *position, outcomes };
            log.set_last(server.clone(), last);
        }
        for (id, digest, seq, time) in &checkpoint.act_ids {
            log.add(*id, DoneAct { digest: *digest, seq: *seq, time: *time });
        }
    }

    fn add_moderation(&mut self, checkpoint: &Checkpoint) {
        self.change_moderation(|moderation| checkpoint.fill(moderation));
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
                self.insert(name.clone(), Member::new(session, *membership));
            }
        }
        for (index, profile) in &checkpoint.profiles {
            if let Some((name, member)) = checkpoint.member(self, *index) {
                self.insert(name, Member { profile: profile.clone().boxed(), ..member });
            }
        }
        for (index, ago) in &checkpoint.spoke {
            if let Some((name, member)) = checkpoint.member(self, *index) {
                self.insert(name, Member { spoke_at: checkpoint.time.saturating_sub(*ago), ..member });
            }
        }
        self.add_acts(checkpoint);
        self.add_moderation(checkpoint);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;

    /// Earlier builds wrote the outcomes of acts as indexes of entries.
    #[test]
    fn an_act_that_was_done_has_its_seq_in_states_of_earlier_builds() {
        let server = ServerId::new("api-server-1").unwrap();
        let acts = vec![(server.clone(), Incarnation(1), 3, Position(5), vec![StoredOutcome::Done(2)])];
        let state = RoomState::from(&Checkpoint { time: 99, acts, ..Checkpoint::default() });
        let outcomes = &state.last_acts(&server).unwrap().outcomes;
        assert_eq!(outcomes[..], [Outcome::Duplicate { seq: 5_002, time: 99 }]);
    }
}
