//! An activation: the room's state, at most one log operation in flight, and the responses that
//! each result permits.

mod checkpoints;
mod commit;
mod decision;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use model::ids::{RoomId, ServerId};
use model::record::{CheckpointPart, Entry, Epoch, LINKS, Lasting, Position, Record, RecordId, RecordIds, VERSION};
use model::room::{Checkpoint, RoomState};
use model::rpc::EncodedResponse;
use model::rpc::messages::RpcResponse;

use checkpoints::{CHECKPOINT_MS, SinceCheckpoint};
use decision::Decision;

use super::recent_records::RecentRecords;
use super::{ActMessage, Attach, Context, Now, Proposal, Waiting};
use crate::connector_liveness::ConnectorLiveness;
use crate::draft::{MessageTally, RoomPolicy, Undo};
use crate::log_operation::{Lifetime, LogOp};
use crate::log_space::MessageSpace;
use crate::log_walk::{Until, Walk};
use crate::recent_joins::RecentJoins;

/// The inputs of an activation.
pub(super) struct ActivationStart {
    pub(super) me: ServerId,
    pub(super) room: RoomId,
    pub(super) policy: Arc<RoomPolicy>,
    pub(super) epoch: Epoch,
    pub(super) liveness: Arc<ConnectorLiveness>,
    /// The log's last message; it may be behind the last record.
    pub(super) end: Position,
    /// The records from the last checkpoint, or from the first record, to the last; none in a new
    /// room.
    pub(super) records: Vec<(Position, Arc<Record>)>,
    /// No record is missing among them.
    pub(super) is_whole: bool,
    /// The room's state before its log was erased, or before records of it went missing.
    pub(super) retained: Option<RetainedState>,
}

/// A room's state without a log: keeps the members when the log lost all or some of the room's
/// records, by hand or by age.
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

    /// Returns true if this is the state behind the record.
    pub(super) fn is_at(&self, record: RecordId) -> bool {
        self.id == record
    }
}

/// The rest of an activation: its requests in flight or unanswered, and the state unless the room was
/// empty.
#[derive(Debug)]
pub(super) struct EndedActivation {
    pub(super) proposals: Vec<Proposal>,
    pub(super) acts: Vec<ActMessage>,
    pub(super) attaches: Vec<Attach>,
    pub(super) retained: Option<RetainedState>,
}

/// A room's state while this server appends to it.
#[derive(Debug)]
pub(super) struct Activation {
    me: ServerId,
    pub(super) room: RoomId,
    pub(super) policy: Arc<RoomPolicy>,
    pub(super) epoch: Epoch,
    /// Ahead of the log by the record in flight.
    pub(super) state: RoomState,
    /// Position of the room's last record.
    pub(super) position: Position,
    /// Position of the log's last message for the room, which an append expects: the last record,
    /// or a message behind it that is no record.
    pub(super) end: Position,
    /// Records are missing before the last one. Connectors must take the state instead of
    /// continuing from the last record.
    follows_loss: bool,
    /// Id of the last record. In an erased log, the id of the last record that was there:
    /// connectors that have it continue behind a gap, the others take the state.
    pub(super) id: RecordId,
    recent_joins: RecentJoins,
    /// Positions of the last record's predecessors, newest first.
    pub(super) predecessors: Vec<Position>,
    /// Messages of acts had no place in the last record, and are decided before the proposals.
    acts_go_first: bool,
    /// Members may be here whom a rule bans.
    expels_banned: bool,
    /// [`RoomPolicy::slow_ms`] of the room.
    slow_ms: u64,
    /// The newest record that no age removes; [`Position::NONE`] for none.
    last_lasting: Position,
    pub(super) recent: RecentRecords,
    since: SinceCheckpoint,
    /// Connectors that the first record of the activation names and is sent to; taken when that is
    /// made.
    notify_connectors: Option<Vec<ServerId>>,
    checkpoint_requested: bool,
    /// Ticks of the last checkpoint that no age removes.
    // Not each checkpoint of a room with rules: a small room has one in every second record, and the
    // messages beside them would never be too old.
    lasted_at: Option<u64>,
    /// Records behind that.
    since_lasting: usize,
    /// The next checkpoint is to be such a one if the room has rules.
    is_lasting_due: bool,
    /// Ticks of the last append. An activation begins with one.
    appended_at: u64,
    /// The remaining parts of a checkpoint that is being written.
    parts: VecDeque<(CheckpointPart, Checkpoint)>,
    /// No age removes these.
    are_parts_lasting: bool,
    /// Size limit of its parts, in bytes.
    part_bytes: usize,
    /// A checkpoint did not fit beside the decided entries: the next record decides nothing.
    checkpoint_only: bool,
    /// Liveness of the connectors.
    pub(super) liveness: Arc<ConnectorLiveness>,
    /// Attaches whose position is proven; they are answered before the next append.
    pub(super) proven_attaches: VecDeque<Attach>,
    pub(super) pending: PendingOperation,
}

#[derive(Debug)]
pub(super) enum PendingOperation {
    None,
    Append(Box<PendingAppend>),
    /// Reads the last position for these attaches.
    Prove(Vec<Attach>),
    /// Reads the records that the first proven attach lacks.
    CatchUp(Walk),
}

#[derive(Debug)]
pub(super) struct PendingAppend {
    record: Record,
    size: usize,
    proposals: Vec<Proposal>,
    acts: Vec<ActMessage>,
    /// Connectors with members before the record.
    before: BTreeSet<ServerId>,
    /// Restores the state of the log.
    undo: Undo,
    messages: MessageTally,
}

impl Activation {
    /// Folds the records that were read. Nothing may be delivered before the first append.
    pub(super) fn new(start: ActivationStart) -> Self {
        let first = start.records.first();
        let mut active = Self {
            slow_ms: start.policy.slow_ms(&start.room),
            me: start.me,
            room: start.room,
            policy: start.policy,
            epoch: start.epoch,
            state: RoomState::replay(&start.records),
            position: Position::NONE,
            end: Position::NONE,
            follows_loss: !start.is_whole,
            id: RecordId::NONE,
            recent_joins: RecentJoins::since(first.map_or(RecordId::NONE, |(_, record)| record.prev_id)),
            predecessors: Vec::new(),
            acts_go_first: false,
            expels_banned: false,
            last_lasting: Position::NONE,
            recent: RecentRecords::default(),
            since: SinceCheckpoint::default(),
            notify_connectors: None,
            checkpoint_requested: false,
            lasted_at: None,
            since_lasting: 0,
            is_lasting_due: true,
            appended_at: 0,
            parts: VecDeque::new(),
            are_parts_lasting: false,
            part_bytes: 0,
            checkpoint_only: false,
            liveness: start.liveness,
            proven_attaches: VecDeque::new(),
            pending: PendingOperation::None,
        };
        let mut named = BTreeSet::new();
        for (position, record) in start.records {
            if record.prev != active.position {
                // Joins may be among the missing records before this one, and connectors that have
                // those get the state.
                active.recent_joins = RecentJoins::since(record.prev_id);
                active.recent = RecentRecords::default();
            }
            active.set_last_record(position, &record, record.size());
            named.extend(record.notify_connectors.iter().cloned());
        }
        active.end = start.end;
        active.checkpoint_requested = active.follows_loss;
        if let Some(RetainedState { id, state, recent_joins, .. }) = start.retained {
            // An erased log may assign positions again, so the outcomes of earlier messages are
            // dropped: they would name other messages.
            let is_erased = active.position == Position::NONE;
            active.state = if is_erased { state.without_messages() } else { state };
            (active.id, active.recent_joins) = (id, recent_joins);
            (active.checkpoint_requested, active.follows_loss) = (true, false);
        }
        active.expels_banned = active.state.moderation().has_rules();
        named.extend(active.state.known_connectors().cloned());
        active.notify_connectors = Some(named.into_iter().collect());
        active
    }

    /// Makes a record the room's last.
    fn set_last_record(&mut self, position: Position, record: &Record, size: usize) {
        self.predecessors = record.predecessors().take(LINKS - 1).collect();
        (self.position, self.end, self.id) = (position, position, record.id);
        self.last_lasting = self.lasting_at(position, record);
        self.since_lasting += 1;
        self.recent_joins.add(record);
        if record.checkpoint.is_some() && record.part.is_none() {
            self.since = SinceCheckpoint::default();
        } else {
            self.since.records += 1;
            self.since.bytes += size;
        }
        self.recent.push(position, Arc::new(record.for_connectors()));
    }

    /// Returns the place of the next record among those that no age removes.
    fn lasting(&self, record: &Record) -> Option<Lasting> {
        let is_checkpoint_lasting = match &record.checkpoint {
            // A part alone does not show if the others have rules.
            Some(_) if record.part.is_some() => self.are_parts_lasting,
            Some(whole) => self.is_lasting_due && whole.must_last(),
            None => false,
        };
        let is_one = is_checkpoint_lasting || record.entries.iter().any(Entry::must_last);
        let before = self.last_lasting;
        (is_one || before != Position::NONE).then_some(Lasting { is_one, before })
    }

    /// Returns the newest lasting record up to the one at a position.
    fn lasting_at(&self, position: Position, record: &Record) -> Position {
        if record.must_last() {
            return position;
        }
        let before = record.lasting_before().unwrap_or(Position::NONE);
        let has_replaced = match record.part {
            None => record.checkpoint.as_ref().is_some_and(|whole| !whole.must_last()),
            Some(CheckpointPart { base, index, of }) => index.checked_add(1) == Some(of) && before <= base,
        };
        // A complete checkpoint without rules: those before are of no use.
        if has_replaced { Position::NONE } else { before }
    }

    /// Returns the newest records in memory as a walk backwards.
    pub(super) fn walk(&self, until: Until) -> Option<Walk> {
        let (last, record) = self.recent.last()?;
        // Records in memory have no links: the walk begins at the last record as the log has it.
        let mut first = Record::clone(record);
        first.links = self.predecessors.iter().skip(1).copied().collect();
        let mut walk = Walk::new(until, *last, Arc::new(first));
        walk.feed(self.recent.iter().rev().skip(1).map(|(position, record)| (*position, Some(record.clone()))));
        Some(walk)
    }

    /// Replaces the liveness of the connectors.
    pub(super) fn set_liveness(&mut self, liveness: &Arc<ConnectorLiveness>) {
        self.liveness = liveness.clone();
        if let PendingOperation::Append(appending) = &mut self.pending {
            appending.proposals.iter_mut().for_each(|proposal| proposal.author.resolve(liveness));
        }
    }

    /// Returns the bytes of the record that is being appended.
    pub(super) fn appending_bytes(&self) -> Option<usize> {
        match &self.pending {
            PendingOperation::Append(appending) => Some(appending.size),
            PendingOperation::None | PendingOperation::Prove(_) | PendingOperation::CatchUp(_) => None,
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

    /// Returns true if a message of acts is in the record in flight.
    pub(super) fn is_appending_acts(&self, message: &ActMessage) -> bool {
        let PendingOperation::Append(appending) = &self.pending else { return false };
        appending.acts.iter().any(|acts| acts.is_of_server_of(message) && acts.order() == message.order())
    }

    /// Ends the activation.
    pub(super) fn end(mut self) -> EndedActivation {
        let mut attaches: Vec<Attach> = self.proven_attaches.into();
        let (mut proposals, mut acts) = (Vec::new(), Vec::new());
        match self.pending {
            PendingOperation::Append(appending) => {
                appending.undo.apply(&mut self.state);
                (proposals, acts) = (appending.proposals, appending.acts);
            }
            PendingOperation::Prove(waiting) => attaches.extend(waiting),
            PendingOperation::None | PendingOperation::CatchUp(_) => {}
        }
        let retained =
            RetainedState { epoch: self.epoch, id: self.id, state: self.state, recent_joins: self.recent_joins };
        let retained = Some(retained).filter(|retained| retained.id != RecordId::NONE);
        EndedActivation { proposals, acts, attaches, retained }
    }

    /// Notifies connectors that have members here and do not follow: the last record makes them
    /// attach.
    pub(super) fn notify_detached(&self, followers: &BTreeSet<ServerId>, cx: &mut Context<'_>) {
        // These connectors missed the record that named them, or the log lost the leave of their
        // members. Any record makes them attach and compare.
        // None before the first commit in a new or erased log, which notifies them anyway.
        let Some((position, record)) = self.recent.last() else { return };
        let response = EncodedResponse::new(&self.record_answer(*position, record.clone()));
        for connector in self.state.connectors().filter(|connector| !followers.contains(*connector)) {
            cx.out.notify(connector.clone(), &response);
        }
    }

    fn record_answer(&self, position: Position, record: Arc<Record>) -> RpcResponse {
        RpcResponse::Record { room: self.room.clone(), epoch: self.epoch, position, record: record.into() }
    }

    /// Returns true if members must leave because their connectors are down, or move because those
    /// continue as another incarnation.
    fn must_expel(&self) -> bool {
        self.expels_banned
            || self.state.runs().any(|(connector, run)| self.liveness.member_action(connector, run).is_some())
    }

    /// Starts the next log operation, if none is in flight and one is due.
    pub(super) fn advance(
        &mut self,
        Waiting { proposals, acts, may_wait, attaches, has_readers }: Waiting<'_>,
        (ids, space): (&mut RecordIds, MessageSpace),
        now: Now,
        cx: &mut Context<'_>,
    ) -> Result<(), rmp_serde::encode::Error> {
        // Before the append: their position is proven for the present state only.
        self.answer_proven_attaches(cx);
        let is_due = self.notify_connectors.is_some()
            || self.checkpoint_requested
            || !self.parts.is_empty()
            || self.must_expel();
        // A record that is due anyway takes all along.
        if !self.has_pending() && (is_due || !acts.is_empty() || !(proposals.is_empty() || may_wait)) {
            self.append((proposals, acts, &mut *attaches), (ids, space), now, cx)?;
        }
        if !self.has_pending() && (!attaches.is_empty() || has_readers) {
            self.pending = PendingOperation::Prove(std::mem::take(attaches));
            cx.request_log(LogOp::Last { certain: true });
        }
        Ok(())
    }

    fn append(
        &mut self,
        (proposals, messages_of_acts, attaches): (&mut VecDeque<Proposal>, &mut VecDeque<ActMessage>, &mut Vec<Attach>),
        (ids, space): (&mut RecordIds, MessageSpace),
        now: Now,
        cx: &mut Context<'_>,
    ) -> Result<(), rmp_serde::encode::Error> {
        // By their number, too: the log evicts the oldest records of a room, lasting ones as well.
        self.is_lasting_due = self.since_lasting >= self.policy.lasting_records()
            || self.lasted_at.is_none_or(|at| now.ticks.saturating_sub(at) >= CHECKPOINT_MS);
        self.begin_parts();
        let before: BTreeSet<ServerId> = self.state.connectors().cloned().collect();
        // Record times never fall, whatever happens to the wall clock.
        let time = now.wall_ms.max(self.state.time());
        let checkpoint_only = std::mem::take(&mut self.checkpoint_only);
        let Decision { mut entries, decided, acts, taken, taken_acts, undo, messages } = if checkpoint_only {
            Decision::default()
        } else {
            self.decide((proposals, messages_of_acts), attaches, (space, time), cx)
        };
        if entries.is_empty() && decided.is_empty() && acts.is_empty() {
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
            acts,
            lasting: None,
            entries,
            notify_connectors: self.notify_connectors.take().unwrap_or_default(),
            checkpoint: None,
            part: None,
        };
        self.add_checkpoint(&mut record);
        record.lasting = self.lasting(&record);
        self.appended_at = now.ticks;
        let bytes = Bytes::from(record.encode()?);
        let size = bytes.len();
        // The expectation is the fence: if another owner appended meanwhile, the log refuses this
        // record.
        let lifetime = if record.must_last() { Lifetime::Lasting } else { Lifetime::Aging };
        cx.request_log(LogOp::Append { expected: self.end, record: bytes, lifetime });
        let append = PendingAppend { record, size, proposals: taken, acts: taken_acts, before, undo, messages };
        self.pending = PendingOperation::Append(Box::new(append));
        Ok(())
    }
}
