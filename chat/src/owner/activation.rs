//! An activation: the room's state, one log operation in flight, and what each result lets us say.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use model::ids::{Incarnation, RoomId, ServerId};
use model::record::{
    CheckpointPart, DecidedProposal, Entry, Epoch, LINKS, Position, Record, RecordId, RecordIds, VERSION,
};
use model::room::{Checkpoint, RoomState};
use model::rpc::messages::{LogPosition, RpcResponse, Unavailable};
use runtime::metrics::Metrics;

use super::recent_records::RecentRecords;
use super::{Attach, LogOp, Now, OwnerEffect, Proposal};
use crate::connector_liveness::ConnectorLiveness;
use crate::draft::{Draft, DraftContext, RoomPolicy, Undo};
use crate::log_walk::{Until, Walk};
use crate::recent_joins::RecentJoins;

/// A room with members gets a checkpoint at least this often, so that age never takes its last one.
const CHECKPOINT_MS: u64 = 24 * 3_600_000;

/// What an activation starts from.
pub(super) struct ActivationStart {
    pub(super) me: ServerId,
    pub(super) room: RoomId,
    pub(super) policy: Arc<RoomPolicy>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) epoch: Epoch,
    pub(super) liveness: Arc<ConnectorLiveness>,
    /// The last message of the log: it may be behind the last record.
    pub(super) end: Position,
    /// From the last checkpoint, or the first record, to the last; none in a new room.
    pub(super) records: Vec<(Position, Arc<Record>)>,
    /// None of them is missing.
    pub(super) is_whole: bool,
    /// The room as it was before its log was erased, or before records of it went missing.
    pub(super) retained: Option<RetainedState>,
}

/// A room's state without a log: its members stay where the log lost all of the room's records, by
/// hand or by age, or some of them.
#[derive(Debug)]
pub(super) struct RetainedState {
    epoch: Epoch,
    id: RecordId,
    state: RoomState,
    recent_joins: RecentJoins,
}

impl RetainedState {
    pub(super) fn is_of(&self, epoch: Epoch) -> bool {
        self.epoch == epoch
    }

    /// Returns true if it is the state behind this record.
    pub(super) fn is_at(&self, record: RecordId) -> bool {
        self.id == record
    }
}

/// A room's state while this server appends to it.
#[derive(Debug)]
pub(super) struct Activation {
    me: ServerId,
    pub(super) room: RoomId,
    pub(super) policy: Arc<RoomPolicy>,
    metrics: Arc<Metrics>,
    pub(super) epoch: Epoch,
    /// Ahead of the log by the record in flight.
    pub(super) state: RoomState,
    /// The room's last record.
    pub(super) position: Position,
    /// The log's last message for the room, which an append expects: the same, or one behind it
    /// that is no record.
    pub(super) end: Position,
    /// Records are missing before the last one: connectors that have it must not go on from there,
    /// but take the state.
    follows_loss: bool,
    /// Its id. In an erased log that of the last record that was there: connectors that had it go on behind a gap, and the others
    /// take the state.
    pub(super) id: RecordId,
    recent_joins: RecentJoins,
    /// What stands before it, newest first.
    pub(super) predecessors: Vec<Position>,
    pub(super) recent: RecentRecords,
    since: SinceCheckpoint,
    /// Connectors that our first record names and goes to; taken when it is made.
    notify_connectors: Option<Vec<ServerId>>,
    checkpoint_requested: bool,
    /// Ticks of the last append. An activation begins with one.
    appended_at: u64,
    /// The rest of a checkpoint that is being written.
    parts: VecDeque<(CheckpointPart, Checkpoint)>,
    /// Bytes of a part of it.
    part_bytes: usize,
    /// A checkpoint did not fit beside what was decided: the next record decides nothing.
    checkpoint_only: bool,
    /// Which connectors are gone.
    pub(super) liveness: Arc<ConnectorLiveness>,
    /// Attaches whose position is proven, to be answered before anything else is appended.
    pub(super) proven_attaches: VecDeque<Attach>,
    pub(super) pending: PendingOperation,
}

#[derive(Debug)]
pub(super) enum PendingOperation {
    None,
    Append(Box<PendingAppend>),
    /// Reading the last position, for these.
    Prove(Vec<Attach>),
    /// Reading the records that the first proven attach lacks.
    CatchUp(Walk),
}

#[derive(Debug)]
pub(super) struct PendingAppend {
    record: Record,
    size: usize,
    proposals: Vec<Proposal>,
    /// Connectors with members before the record.
    before: BTreeSet<ServerId>,
    /// How the state becomes again what the log has.
    undo: Undo,
}

/// What was decided for a record.
#[derive(Debug, Default)]
struct Decision {
    entries: Vec<Entry>,
    decided: Vec<DecidedProposal>,
    taken: Vec<Proposal>,
    undo: Undo,
}

/// What was written since the last checkpoint.
#[derive(Debug, Default)]
struct SinceCheckpoint {
    records: usize,
    bytes: usize,
}

impl Activation {
    /// Folds what was read. Nothing may be told before the first append.
    pub(super) fn new(start: ActivationStart) -> Self {
        let first = start.records.first();
        let mut active = Self {
            me: start.me,
            room: start.room,
            policy: start.policy,
            metrics: start.metrics,
            epoch: start.epoch,
            state: RoomState::replay(&start.records),
            position: Position::NONE,
            end: Position::NONE,
            follows_loss: !start.is_whole,
            id: RecordId::NONE,
            recent_joins: RecentJoins::since(first.map_or(RecordId::NONE, |(_, record)| record.prev_id)),
            predecessors: Vec::new(),
            recent: RecentRecords::default(),
            since: SinceCheckpoint::default(),
            notify_connectors: None,
            checkpoint_requested: false,
            appended_at: 0,
            parts: VecDeque::new(),
            part_bytes: 0,
            checkpoint_only: false,
            liveness: start.liveness,
            proven_attaches: VecDeque::new(),
            pending: PendingOperation::None,
        };
        let mut named = BTreeSet::new();
        for (position, record) in start.records {
            if record.prev != active.position {
                // Stays may have been entered in what is missing before it, and connectors that
                // have that get the state.
                active.recent_joins = RecentJoins::since(record.prev_id);
                active.recent = RecentRecords::default();
            }
            active.set_last_record(position, &record, record.size());
            named.extend(record.notify_connectors.iter().cloned());
        }
        active.end = start.end;
        active.checkpoint_requested = active.follows_loss;
        if let Some(RetainedState { id, state, recent_joins, .. }) = start.retained {
            // In an erased log messages that were sent with an id are forgotten: their positions
            // may be given again.
            let is_erased = active.position == Position::NONE;
            active.state = if is_erased { state.without_messages() } else { state };
            (active.id, active.recent_joins) = (id, recent_joins);
            (active.checkpoint_requested, active.follows_loss) = (true, false);
        }
        named.extend(active.state.known_connectors().cloned());
        active.notify_connectors = Some(named.into_iter().collect());
        active
    }

    /// Remembers a record as the room's last.
    fn set_last_record(&mut self, position: Position, record: &Record, size: usize) {
        self.predecessors = record.predecessors().take(LINKS - 1).collect();
        (self.position, self.end, self.id) = (position, position, record.id);
        self.recent_joins.add(record);
        if record.checkpoint.is_some() && record.part.is_none() {
            self.since = SinceCheckpoint::default();
        } else {
            self.since.records += 1;
            self.since.bytes += size;
        }
        self.recent.push(position, Arc::new(record.for_connectors()));
    }

    /// The newest records at hand, as a walk backwards.
    pub(super) fn walk(&self, until: Until) -> Option<Walk> {
        let (last, record) = self.recent.last()?;
        // What is at hand has no links: the walk begins at the last record as the log has it.
        let mut first = Record::clone(record);
        first.links = self.predecessors.iter().skip(1).copied().collect();
        let mut walk = Walk::new(until, *last, Arc::new(first));
        walk.feed(self.recent.iter().rev().skip(1).map(|(position, record)| (*position, Some(record.clone()))));
        Some(walk)
    }

    /// Which connectors are gone, from now on, and which runs their latest ones continue.
    pub(super) fn set_liveness(&mut self, liveness: &Arc<ConnectorLiveness>) {
        self.liveness = liveness.clone();
        if let PendingOperation::Append(appending) = &mut self.pending {
            appending.proposals.iter_mut().for_each(|proposal| proposal.author.resolve(liveness));
        }
    }

    pub(super) fn has_pending(&self) -> bool {
        !matches!(self.pending, PendingOperation::None)
    }

    pub(super) fn is_appending(&self, proposal: &Proposal) -> bool {
        match &self.pending {
            PendingOperation::Append(appending) => {
                appending.proposals.iter().any(|p| p.author == proposal.author && p.number == proposal.number)
            }
            PendingOperation::None | PendingOperation::Prove(_) | PendingOperation::CatchUp(_) => false,
        }
    }

    /// Ends the activation: what was in flight or unanswered, and what it knew of a room that was not empty.
    pub(super) fn into_waiting(mut self) -> (Vec<Proposal>, Vec<Attach>, Option<RetainedState>) {
        let mut attaches: Vec<Attach> = self.proven_attaches.into();
        let proposals = match self.pending {
            PendingOperation::Append(appending) => {
                appending.undo.apply(&mut self.state);
                appending.proposals
            }
            PendingOperation::Prove(waiting) => {
                attaches.extend(waiting);
                Vec::new()
            }
            PendingOperation::None | PendingOperation::CatchUp(_) => Vec::new(),
        };
        let retained =
            RetainedState { epoch: self.epoch, id: self.id, state: self.state, recent_joins: self.recent_joins };
        (proposals, attaches, Some(retained).filter(|retained| retained.id != RecordId::NONE))
    }

    /// Asks for a checkpoint when the last record is so old that age may take it before long.
    ///
    /// Its own ticks count as well: a record's time is ahead of a clock that was set back since.
    pub(super) fn refresh_if_old(&mut self, now: Now) {
        let age = |now: u64, then: u64| now.saturating_sub(then) > CHECKPOINT_MS;
        let old = age(now.wall_ms, self.state.time()) || age(now.ticks, self.appended_at);
        self.checkpoint_requested = old && !self.has_pending() && !self.state.members().is_empty();
    }

    /// Tells connectors that have members here and do not follow. They missed what named them last, or the log lost that their
    /// members went: a record is enough for them to look.
    pub(super) fn notify_detached(&self, followers: &BTreeSet<ServerId>, effects: &mut Vec<OwnerEffect>) {
        let Some((position, record)) = self.recent.last() else { return };
        let answer = self.record_answer(*position, record.clone());
        for connector in self.state.connectors().filter(|connector| !followers.contains(*connector)) {
            effects.push(OwnerEffect::Notify(connector.clone(), answer.clone(), None));
        }
    }

    fn record_answer(&self, position: Position, record: Arc<Record>) -> RpcResponse {
        RpcResponse::Record { room: self.room.clone(), epoch: self.epoch, position, record: record.into() }
    }

    /// Returns true if members are to leave because their connectors are gone, or to move because
    /// those continue as another run.
    fn must_expel(&self) -> bool {
        self.state.runs().any(|(connector, run)| self.liveness.member_action(connector, run).is_some())
    }

    /// Does what can be done now: at most one log operation is in flight afterwards.
    pub(super) fn advance(
        &mut self,
        (proposals, attaches, has_history_requests): (&mut VecDeque<Proposal>, &mut Vec<Attach>, bool),
        ids: &mut RecordIds,
        now: Now,
        effects: &mut Vec<OwnerEffect>,
    ) -> Result<(), rmp_serde::encode::Error> {
        self.answer_proven_attaches(effects);
        let is_due = self.notify_connectors.is_some()
            || self.checkpoint_requested
            || !self.parts.is_empty()
            || self.must_expel();
        if !self.has_pending() && (!proposals.is_empty() || is_due) {
            self.append((proposals, &mut *attaches), ids, now, effects)?;
        }
        if !self.has_pending() && (!attaches.is_empty() || has_history_requests) {
            self.pending = PendingOperation::Prove(std::mem::take(attaches));
            effects.push(OwnerEffect::Log(LogOp::Last { certain: true }));
        }
        Ok(())
    }

    fn append(
        &mut self,
        (proposals, attaches): (&mut VecDeque<Proposal>, &mut Vec<Attach>),
        ids: &mut RecordIds,
        now: Now,
        effects: &mut Vec<OwnerEffect>,
    ) -> Result<(), rmp_serde::encode::Error> {
        self.begin_parts();
        let before: BTreeSet<ServerId> = self.state.connectors().cloned().collect();
        let time = now.wall_ms.max(self.state.time());
        let checkpoint_only = std::mem::take(&mut self.checkpoint_only);
        let Decision { mut entries, decided, taken, undo } =
            if checkpoint_only { Decision::default() } else { self.decide(proposals, attaches, effects) };
        if entries.is_empty() && decided.is_empty() {
            if self.notify_connectors.is_none()
                && !self.checkpoint_requested
                && self.parts.is_empty()
                && !checkpoint_only
            {
                return Ok(());
            }
            entries.push(Entry::Open);
        }
        let mut record = Record {
            v: VERSION,
            prev: self.position,
            prev_id: if std::mem::take(&mut self.follows_loss) { RecordId::NONE } else { self.id },
            id: ids.take(),
            links: self.predecessors.clone(),
            time,
            owner: self.me.clone(),
            proposals: decided,
            entries,
            notify_connectors: self.notify_connectors.take().unwrap_or_default(),
            checkpoint: None,
            part: None,
        };
        self.add_checkpoint(&mut record);
        self.appended_at = now.ticks;
        let bytes = Bytes::from(record.encode()?);
        let size = bytes.len();
        effects.push(OwnerEffect::Log(LogOp::Append { expected: self.end, record: bytes }));
        self.pending =
            PendingOperation::Append(Box::new(PendingAppend { record, size, proposals: taken, before, undo }));
        Ok(())
    }

    /// Takes the state as it is in the log, to be written in parts, if a checkpoint is due that is too large for one record.
    fn begin_parts(&mut self) {
        let (size_limits, size) = (self.policy.size_limits(), self.state.checkpoint_size());
        // Parts that do not fit any more are cut anew; those that are in the log count for nothing without the others.
        let is_begun = !self.parts.is_empty();
        let is_due = if is_begun { self.part_bytes > size_limits.part() } else { self.is_checkpoint_due(size, 0) };
        if !is_due || (size <= size_limits.checkpoint() && !is_begun) {
            return;
        }
        self.part_bytes = size_limits.part();
        let parts = self.state.checkpoints(self.part_bytes);
        // There are far fewer parts than members, and those are bounded.
        let (base, of) = (self.position, u16::try_from(parts.len()).unwrap_or(u16::MAX));
        self.parts = (0..of).map(|index| CheckpointPart { base, index, of }).zip(parts).collect();
        self.since = SinceCheckpoint::default();
        self.checkpoint_requested = false;
    }

    /// Adds the next part of a checkpoint, or a whole one that is due, if there is room; else the next record has it.
    fn add_checkpoint(&mut self, record: &mut Record) {
        let (size_limits, written) = (self.policy.size_limits(), record.size());
        let room = size_limits.record().saturating_sub(written);
        if !self.parts.is_empty() {
            self.checkpoint_only = room < size_limits.part();
            let next = if self.checkpoint_only { None } else { self.parts.pop_front() };
            (record.part, record.checkpoint) = next.unzip();
            return;
        }
        let size = self.state.checkpoint_size();
        if size <= size_limits.checkpoint() && self.is_checkpoint_due(size, written) {
            self.checkpoint_only = room < size;
            if room >= size {
                record.checkpoint = Some(Checkpoint::from(&self.state));
                self.checkpoint_requested = false;
            }
        }
    }

    /// The order of a connector's last proposal among those of its present run, which includes the
    /// runs that this continues.
    fn last_order(&self, connector: &ServerId) -> Option<(Incarnation, u64)> {
        let last = self.state.last_proposal(connector)?;
        Some((self.liveness.current_incarnation(connector, last.incarnation), last.number))
    }

    /// Decides what fits into one record. Repeats of what is committed become attaches, whose answer brings the record, and
    /// so do proposals from ahead of the log.
    fn decide(
        &mut self,
        proposals: &mut VecDeque<Proposal>,
        attaches: &mut Vec<Attach>,
        effects: &mut Vec<OwnerEffect>,
    ) -> Decision {
        let now = self.place();
        // At the last record's id a connector knows all, also where the log was erased since.
        let is_ahead = |at: LogPosition| at.position >= now.position && at.id != now.id;
        let known: Vec<_> = proposals.iter().map(|p| self.last_order(&p.author.connector)).collect();
        let must_expel = self.must_expel();
        let size_limits = self.policy.size_limits();
        let checkpoint = if self.parts.is_empty() { size_limits.checkpoint() } else { size_limits.part() };
        let reserved_bytes =
            checkpoint + self.notify_connectors.iter().flatten().map(|id| id.as_str().len() + 2).sum::<usize>();
        let at = DraftContext { liveness: &self.liveness, recent_joins: &self.recent_joins, reserved_bytes };
        let mut draft = Draft::new(&self.room, &self.policy, &mut self.state, at);
        if must_expel {
            draft.expel();
        }
        let mut taken = Vec::new();
        for last in known {
            let Some(proposal) = proposals.pop_front() else { break };
            let order = (proposal.author.incarnation, proposal.number);
            if proposal.at.epoch != self.epoch {
                effects
                    .push(OwnerEffect::Respond(proposal.requester, RpcResponse::NotOwner { room: self.room.clone() }));
            } else if last == Some(order) || is_ahead(proposal.at) {
                // Committed; or its connector read further than this owner: one of them is behind, and a read says which.
                let incarnation = proposal.author.incarnation;
                attaches.push(Attach { requester: proposal.requester, incarnation, at: proposal.at });
            } else if last > Some(order) || draft.has_decided(&proposal.author, proposal.number) {
                // A late copy of what its connector has long had the answer to.
            } else if proposal.size() > size_limits.record() {
                // Its connector's broker takes more than ours. It proposes less when it hears that this cannot be appended.
                let because = Unavailable::LogAway;
                effects.push(OwnerEffect::Respond(
                    proposal.requester,
                    RpcResponse::Unavailable { room: self.room.clone(), because },
                ));
            } else if draft.fits(&proposal.items) {
                draft.decide(&proposal.author, proposal.number, &proposal.items);
                taken.push(proposal);
            } else {
                proposals.push_front(proposal);
                break;
            }
        }
        let undo = draft.take_undo();
        let (entries, decided) = draft.finish();
        Decision { entries, decided, taken, undo }
    }

    /// Whether the records since the last checkpoint, with one more of `written` bytes, outweigh the next, which has `checkpoint`
    /// bytes, or are too many to be read.
    fn is_checkpoint_due(&self, checkpoint: usize, written: usize) -> bool {
        self.checkpoint_requested
            || self.since.bytes + written >= checkpoint
            || self.since.records + 1 >= self.policy.checkpoint_records(checkpoint)
    }

    /// The record in flight is in the log: everybody concerned is told.
    pub(super) fn on_committed(
        &mut self,
        position: Position,
        followers: &BTreeSet<ServerId>,
        effects: &mut Vec<OwnerEffect>,
    ) {
        let PendingOperation::Append(appending) = std::mem::replace(&mut self.pending, PendingOperation::None) else {
            return;
        };
        let PendingAppend { record, size, proposals, before, .. } = *appending;
        self.metrics.records_committed.add();
        self.metrics.entries_committed.add_many(record.entries.len() as u64);
        self.metrics.record_entries.add(record.entries.len());
        self.state.apply_metadata(position, &record);
        self.set_last_record(position, &record, size);
        // A connector that has its first member by the record proposed it, and is answered.
        let mut others = followers | &before;
        others.extend(record.notify_connectors.iter().cloned());
        let Some((_, record)) = self.recent.last() else { return };
        let answer = self.record_answer(position, record.clone());
        let trace = proposals.first().map(|p| p.requester.trace.clone());
        for proposal in proposals {
            others.remove(&proposal.requester.connector);
            effects.push(OwnerEffect::Respond(proposal.requester, answer.clone()));
        }
        effects
            .extend(others.into_iter().map(|connector| OwnerEffect::Notify(connector, answer.clone(), trace.clone())));
    }
}
