//! One room at its owner: what waits, what is in flight to the log, whom to tell. Pure: it asks for log operations and
//! takes their results, it makes answers and leaves their sending to others.
//!
//! An owner is idle, reading, or active. It becomes active by appending: its first record carries the expectation that
//! what it read is still the room's last, so from then on nobody else commits unnoticed. Any append that is not a clear
//! yes makes it idle again, and it starts from what the log says.

mod activation;
mod catch_up_reply;
pub(crate) mod history_access;
mod ownership;
mod recent_records;
mod recovery;
mod request_checks;
mod retry;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use model::backoff::Backoff;
use model::ids::{Incarnation, RoomId, ServerId};
use model::record::{Epoch, Position, RecordIds};
use model::rpc::Trace;
use model::rpc::messages::{Item, LogPosition, RpcResponse};
use runtime::log_rate_limit::LogRateLimit;
use runtime::metrics::Metrics;
use tracing::{debug, error};

use crate::bad_records::BadRecord;
use crate::connector_liveness::ConnectorLiveness;
use crate::draft::{Author, RoomPolicy};
use crate::log::{AppendError, ReadError, Tail};
use crate::log_tail::TailSearch;
use crate::log_walk::{Until, Walk};
use activation::{Activation, RetainedState};
pub use history_access::HistoryRequest;

/// A connector that waits for an answer, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The connector.
    pub connector: ServerId,
    /// The subject of its question's answer.
    pub reply: String,
    /// The client request behind its question.
    pub trace: Trace,
}

/// An attach that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// Who asks.
    pub requester: Requester,
    /// Which run of the connector.
    pub incarnation: Incarnation,
    /// How far it has read.
    pub at: LogPosition,
}

/// A proposal that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Who asks.
    pub requester: Requester,
    /// Whose it is.
    pub author: Author,
    /// How far the connector has read.
    pub at: LogPosition,
    /// Which of the connector's run.
    pub number: u64,
    /// What is proposed.
    pub items: Vec<Item>,
}

impl Proposal {
    /// Most bytes that it may come to in a record.
    fn size(&self) -> usize {
        self.items.iter().map(Item::size).sum()
    }
}

/// What an owner wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum OwnerEffect {
    /// Answer a question.
    Respond(Requester, RpcResponse),
    /// Tell a connector that did not ask what another one's question led to.
    Notify(ServerId, RpcResponse, Option<Trace>),
    /// Do this in the log and bring the result.
    Log(LogOp),
    /// Read the messages that this asks for: its viewer may see them.
    Read(HistoryRequest),
}

/// A log operation; an owner has one in flight at most.
#[derive(Debug, PartialEq, Eq)]
pub enum LogOp {
    /// Read the room's last message. One that may not be the last any more will do unless it must
    /// be `certain`: an append follows that is refused then.
    Last { certain: bool },
    /// Read the room's last message below a position.
    Before(Position),
    /// Read records by position.
    Read(Vec<Position>),
    /// Append.
    Append { expected: Position, record: Bytes },
    /// Look which life of the log this is.
    Epoch,
}

/// What came of a log operation.
#[derive(Debug)]
pub enum LogResult {
    /// Of [`LogOp::Last`] and [`LogOp::Before`].
    Last(Result<Tail, ReadError>),
    /// Of [`LogOp::Read`], with the positions that were asked.
    Read(Result<Vec<(Position, Option<Bytes>)>, ReadError>),
    /// Of [`LogOp::Append`].
    Append(Result<Position, AppendError>),
    /// Of [`LogOp::Epoch`].
    Epoch(Result<Epoch, ReadError>),
}

/// The time, as two clocks tell it.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds that only rise.
    pub ticks: u64,
    /// Unix milliseconds.
    pub wall_ms: u64,
}

/// A room at the chat server that appends to it.
#[derive(Debug)]
pub struct Owner {
    me: ServerId,
    room: RoomId,
    policy: Arc<RoomPolicy>,
    metrics: Arc<Metrics>,
    ids: RecordIds,
    phase: Phase,
    /// What the last activation knew, until the log was read again.
    retained: Option<RetainedState>,
    liveness: Arc<ConnectorLiveness>,
    followers: BTreeSet<ServerId>,
    proposals: VecDeque<Proposal>,
    /// Attaches whose position is yet to be proven.
    attaches: Vec<Attach>,
    /// Questions for messages, until it is known who is in the room.
    history_requests: Vec<HistoryRequest>,
    retry_at: Option<u64>,
    /// Failures of the log since it did something for this room.
    backoff: Backoff,
    /// Random bits of the room's own.
    seed: u64,
    /// An append had no clear outcome: what is read next must be certain.
    needs_latest: bool,
    /// The log's end at which records were found to be missing: they are, if that is found once
    /// more.
    incomplete_at: Option<Position>,
    /// The last reading found nothing that could be used.
    is_unusable: bool,
    /// The room's home is another server.
    is_failover: bool,
    /// It may read and append: as the room's home, or while that is down.
    may_append: bool,
    /// It hands the room over as soon as nothing is in flight.
    is_handing_over: bool,
    /// What is in flight was begun on a log that may be another one now: its result counts for nothing.
    discards_result: bool,
    used_at: u64,
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// Looking for the last record.
    Reading(TailSearch),
    /// Reading back from the last record to a checkpoint.
    Walking {
        epoch: Epoch,
        /// The last message of the log.
        end: Position,
        walk: Walk,
        bad: Vec<(Position, BadRecord)>,
    },
    Active(Box<Activation>),
}

impl Owner {
    /// An idle owner of `room`; `ids` are for the records that it appends.
    pub fn new(me: ServerId, room: RoomId, ids: RecordIds, policy: Arc<RoomPolicy>, metrics: Arc<Metrics>) -> Self {
        let seed = retry::seed(room.as_str());
        Self {
            me,
            room,
            policy,
            metrics,
            ids,
            phase: Phase::Idle,
            retained: None,
            liveness: Arc::default(),
            followers: BTreeSet::new(),
            proposals: VecDeque::new(),
            attaches: Vec::new(),
            history_requests: Vec::new(),
            retry_at: None,
            backoff: Backoff::default(),
            seed,
            needs_latest: false,
            incomplete_at: None,
            is_unusable: false,
            is_failover: false,
            may_append: true,
            is_handing_over: false,
            discards_result: false,
            used_at: 0,
        }
    }

    /// Which connectors are gone, from now on. What follows from it is done when something else happens, or with
    /// [`Owner::tick`].
    pub fn set_liveness(&mut self, liveness: &Arc<ConnectorLiveness>) {
        if Arc::ptr_eq(&self.liveness, liveness) {
            return;
        }
        self.liveness = liveness.clone();
        self.proposals.iter_mut().for_each(|proposal| proposal.author.resolve(liveness));
        if let Phase::Active(active) = &mut self.phase {
            active.set_liveness(liveness);
        }
    }

    /// The rules from now on.
    pub fn set_policy(&mut self, policy: &Arc<RoomPolicy>) {
        if Arc::ptr_eq(&self.policy, policy) {
            return;
        }
        self.policy = policy.clone();
        if let Phase::Active(active) = &mut self.phase {
            active.policy = policy.clone();
        }
    }

    /// A connector wants to follow.
    pub fn attach(&mut self, attach: Attach, now: Now, effects: &mut Vec<OwnerEffect>) {
        self.used_at = now.ticks;
        self.followers.insert(attach.requester.connector.clone());
        // A repeated question replaces the one before: its connector waits for one answer.
        self.attaches.retain(|a| a.requester.connector != attach.requester.connector);
        self.attaches.push(attach);
        self.advance(now, effects);
    }

    /// A connector proposes.
    pub fn propose(&mut self, mut proposal: Proposal, now: Now, effects: &mut Vec<OwnerEffect>) {
        self.used_at = now.ticks;
        proposal.author.resolve(&self.liveness);
        self.followers.insert(proposal.requester.connector.clone());
        if self.is_appending(&proposal) {
            return;
        }
        let same = |p: &&mut Proposal| p.author == proposal.author && p.number == proposal.number;
        match self.proposals.iter_mut().find(same) {
            Some(waiting) => waiting.requester = proposal.requester,
            None => self.proposals.push_back(proposal),
        }
        self.advance(now, effects);
    }

    /// A connector follows no longer.
    pub fn detach(&mut self, connector: &ServerId) {
        self.followers.remove(connector);
    }

    /// Tries again what failed. To be called often while [`Owner::awaits_retry`].
    pub fn tick(&mut self, now: Now, effects: &mut Vec<OwnerEffect>) {
        self.advance(now, effects);
    }

    /// Keeps the state of a silent room from growing too old, and its members from being forgotten by their connectors. To be
    /// called now and then.
    pub fn maintain(&mut self, now: Now, effects: &mut Vec<OwnerEffect>) {
        if let Phase::Active(active) = &mut self.phase {
            active.refresh_if_old(now);
            active.notify_detached(&self.followers, effects);
        }
        self.advance(now, effects);
    }

    /// While it is active: where it is, and its newest records as a walk backwards.
    pub fn walk(&self, until: Until) -> Option<(LogPosition, Walk)> {
        let Phase::Active(active) = &self.phase else { return None };
        Some((active.place(), active.walk(until)?))
    }

    /// Whether it waits for a time to try again.
    pub fn awaits_retry(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Returns true if the room waits, and its log cannot be used until an operator removes what is
    /// wrong.
    pub fn is_unusable(&self) -> bool {
        self.is_unusable && self.is_wanted()
    }

    /// Whether nobody needs this owner: it can be dropped, the log knows all that it knew.
    pub fn is_forgettable(&self, now: Now, forget_ms: u64) -> bool {
        self.is_quiet() && !self.is_wanted() && now.ticks.saturating_sub(self.used_at) >= forget_ms
    }

    /// Takes the result of the log operation in flight.
    pub fn on_log_result(&mut self, result: LogResult, now: Now, effects: &mut Vec<OwnerEffect>) {
        let mut is_proven = false;
        if std::mem::take(&mut self.discards_result) {
            self.needs_latest = true;
            self.end_activation(now);
            if !self.may_append {
                return self.release(effects);
            }
            return self.advance(now, effects);
        }
        match (&mut self.phase, result) {
            (Phase::Reading(_), LogResult::Last(Ok(tail))) => self.on_tail(tail, now, effects),
            (Phase::Walking { .. }, LogResult::Read(Ok(records))) => self.advance_walk(records, now, effects),
            (Phase::Active(active), LogResult::Append(Ok(position))) => {
                active.on_committed(position, &self.followers, effects);
                self.needs_latest = false;
                self.backoff.reset();
                active.add_proven(self.attaches.drain(..));
                is_proven = true;
            }
            (Phase::Active(active), LogResult::Last(Ok(tail))) => {
                if active.is_last(&tail) {
                    self.backoff.reset();
                    active.confirm_position(effects);
                    is_proven = true;
                } else {
                    self.end_activation(now);
                }
            }
            (Phase::Active(active), LogResult::Read(Ok(records))) => active.continue_catch_up(records, effects),
            (_, LogResult::Append(Err(error))) => self.on_append_failed(&error, now, effects),
            (_, LogResult::Last(Err(error)) | LogResult::Read(Err(error))) => self.on_read_failed(&error, now, effects),
            // An operation is asked for in one phase and ends in the same; this would be a defect of the caller.
            (_, unexpected) => {
                static UNASKED: LogRateLimit = LogRateLimit::new();
                debug!(room = %self.room, ?unexpected, "unexpected log operation");
                if let Some(suppressed) = UNASKED.pass() {
                    error!(suppressed, "a log operation ended that was not asked for (level debug names the room)");
                }
            }
        }
        if is_proven {
            self.resolve_history_requests(effects);
        }
        self.advance(now, effects);
    }

    fn is_appending(&self, proposal: &Proposal) -> bool {
        matches!(&self.phase, Phase::Active(active) if active.is_appending(proposal))
    }

    /// Whether nothing is in flight.
    fn is_quiet(&self) -> bool {
        match &self.phase {
            Phase::Idle => true,
            Phase::Active(active) => !active.has_pending(),
            Phase::Reading(_) | Phase::Walking { .. } => false,
        }
    }

    fn is_wanted(&self) -> bool {
        let is_asked = !self.proposals.is_empty() || !self.attaches.is_empty() || !self.history_requests.is_empty();
        is_asked || !self.followers.is_empty()
    }

    fn advance(&mut self, now: Now, effects: &mut Vec<OwnerEffect>) {
        if self.is_handing_over {
            return self.release_if_quiet(effects);
        }
        match &mut self.phase {
            Phase::Idle => {
                if self.may_append && self.is_wanted() && self.retry_at.is_none_or(|at| at <= now.ticks) {
                    self.retry_at = None;
                    self.phase = Phase::Reading(TailSearch::default());
                    effects.push(OwnerEffect::Log(LogOp::Last { certain: self.needs_latest }));
                }
            }
            Phase::Reading(_) | Phase::Walking { .. } => {}
            Phase::Active(_) => self.advance_activation(now, effects),
        }
    }

    fn advance_activation(&mut self, now: Now, effects: &mut Vec<OwnerEffect>) {
        self.refuse_implausible();
        self.refuse_stale(effects);
        let waiting = (&mut self.proposals, &mut self.attaches, !self.history_requests.is_empty());
        if let Phase::Active(active) = &mut self.phase
            && let Err(error) = active.advance(waiting, &mut self.ids, now, effects)
        {
            self.on_encode_failed(&error, now);
        }
    }

    /// The activation is over; what it had in flight waits again.
    fn end_activation(&mut self, now: Now) {
        if let Phase::Active(active) = std::mem::replace(&mut self.phase, Phase::Idle) {
            let (proposals, attaches, retained) = active.into_waiting();
            for proposal in proposals.into_iter().rev() {
                self.proposals.push_front(proposal);
            }
            self.attaches.extend(attaches);
            self.retained = retained;
        }
        self.retry_at.get_or_insert(now.ticks);
        self.may_append = !self.is_failover;
    }
}

#[cfg(test)]
mod tests;
