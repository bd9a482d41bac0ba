//! One room at its owner: what waits, what is in flight to the log, whom to tell. Pure: it asks for log operations and
//! takes their results, it makes answers and leaves their sending to others.
//!
//! An owner is idle, reading, or active. It becomes active by appending: its first record carries the expectation that
//! what it read is still the room's last, so from then on nobody else commits unnoticed. Any append that is not a clear
//! yes makes it idle again, and it starts from what the log says.

mod active;
mod attached;
mod recent;
mod stale;
mod standing;
mod starting;
mod trying;
pub(crate) mod viewing;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use shared::backoff::Backoff;
use shared::ids::{Incarnation, RoomId, ServerId};
use shared::log_rate_limit::LogRateLimit;
use shared::metrics::Metrics;
use shared::record::{Epoch, Position, RecordIds};
use shared::rpc::Trace;
use shared::rpc::messages::{Item, LogPosition, RpcResponse};
use tracing::{debug, error};

use crate::bad_records::BadRecord;
use crate::decide::{Author, Judge};
use crate::gone::Gone;
use crate::log::{AppendError, ReadError, Tail};
use crate::tail::TailSearch;
use crate::walk::{Until, Walk};
use active::{Active, Kept};
pub use viewing::Viewing;

/// A connector that waits for an answer, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
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
    pub asker: Asker,
    /// Which run of the connector.
    pub incarnation: Incarnation,
    /// How far it has read.
    pub at: LogPosition,
}

/// A proposal that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Who asks.
    pub asker: Asker,
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
pub enum Act {
    /// Answer a question.
    Answer(Asker, RpcResponse),
    /// Tell a connector that did not ask what another one's question led to.
    Tell(ServerId, RpcResponse, Trace),
    /// Do this in the log and bring the result.
    Log(LogOp),
    /// Read the messages that this asks for: its viewer may see them.
    Read(Viewing),
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
pub enum LogDone {
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
    judge: Arc<Judge>,
    metrics: Arc<Metrics>,
    ids: RecordIds,
    phase: Phase,
    /// What the last activation knew, until the log was read again.
    kept: Option<Kept>,
    gone: Arc<Gone>,
    followers: BTreeSet<ServerId>,
    proposals: VecDeque<Proposal>,
    /// Attaches whose position is yet to be proven.
    attaches: Vec<Attach>,
    /// Questions for messages, until it is known who is in the room.
    viewings: Vec<Viewing>,
    retry_at: Option<u64>,
    /// Failures of the log since it did something for this room.
    backoff: Backoff,
    /// Random bits of the room's own.
    seed: u64,
    /// An append had no clear outcome: what is read next must be certain.
    in_doubt: bool,
    /// The log's end at which records were found to be missing: they are, if that is found once
    /// more.
    incomplete_at: Option<Position>,
    /// The last reading found nothing that could be used.
    is_unusable: bool,
    /// The room's home is another server.
    stands_in: bool,
    /// It may read and append: as the room's home, or while that is down.
    is_permitted: bool,
    /// It hands the room over as soon as nothing is in flight.
    is_retiring: bool,
    /// What is in flight was begun on a log that may be another one now: its result counts for nothing.
    is_stale: bool,
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
    Active(Box<Active>),
}

impl Owner {
    /// An idle owner of `room`; `ids` are for the records that it appends.
    pub fn new(me: ServerId, room: RoomId, ids: RecordIds, judge: Arc<Judge>, metrics: Arc<Metrics>) -> Self {
        let seed = trying::seed(room.as_str());
        Self {
            me,
            room,
            judge,
            metrics,
            ids,
            phase: Phase::Idle,
            kept: None,
            gone: Arc::default(),
            followers: BTreeSet::new(),
            proposals: VecDeque::new(),
            attaches: Vec::new(),
            viewings: Vec::new(),
            retry_at: None,
            backoff: Backoff::default(),
            seed,
            in_doubt: false,
            incomplete_at: None,
            is_unusable: false,
            stands_in: false,
            is_permitted: true,
            is_retiring: false,
            is_stale: false,
            used_at: 0,
        }
    }

    /// Which connectors are gone, from now on. What follows from it is done when something else happens, or with
    /// [`Owner::tick`].
    pub fn learn(&mut self, gone: &Arc<Gone>) {
        if Arc::ptr_eq(&self.gone, gone) {
            return;
        }
        self.gone = gone.clone();
        self.proposals.iter_mut().for_each(|proposal| proposal.author.unify(gone));
        if let Phase::Active(active) = &mut self.phase {
            active.learn(gone);
        }
    }

    /// The rules from now on.
    pub fn judge_with(&mut self, judge: &Arc<Judge>) {
        if Arc::ptr_eq(&self.judge, judge) {
            return;
        }
        self.judge = judge.clone();
        if let Phase::Active(active) = &mut self.phase {
            active.judge = judge.clone();
        }
    }

    /// A connector wants to follow.
    pub fn attach(&mut self, attach: Attach, now: Now, acts: &mut Vec<Act>) {
        self.used_at = now.ticks;
        self.followers.insert(attach.asker.connector.clone());
        // A repeated question replaces the one before: its connector waits for one answer.
        self.attaches.retain(|a| a.asker.connector != attach.asker.connector);
        self.attaches.push(attach);
        self.go_on(now, acts);
    }

    /// A connector proposes.
    pub fn propose(&mut self, mut proposal: Proposal, now: Now, acts: &mut Vec<Act>) {
        self.used_at = now.ticks;
        proposal.author.unify(&self.gone);
        self.followers.insert(proposal.asker.connector.clone());
        if self.is_appending(&proposal) {
            return;
        }
        let same = |p: &&mut Proposal| p.author == proposal.author && p.number == proposal.number;
        match self.proposals.iter_mut().find(same) {
            Some(waiting) => waiting.asker = proposal.asker,
            None => self.proposals.push_back(proposal),
        }
        self.go_on(now, acts);
    }

    /// A connector follows no longer.
    pub fn detach(&mut self, connector: &ServerId) {
        self.followers.remove(connector);
    }

    /// Tries again what failed. To be called often while [`Owner::is_restless`].
    pub fn tick(&mut self, now: Now, acts: &mut Vec<Act>) {
        self.go_on(now, acts);
    }

    /// Keeps the state of a silent room from growing too old, and its members from being forgotten by their connectors. To be
    /// called now and then.
    pub fn look_after(&mut self, now: Now, acts: &mut Vec<Act>) {
        if let Phase::Active(active) = &mut self.phase {
            active.keep_fresh(now);
            active.remind(&self.followers, acts);
        }
        self.go_on(now, acts);
    }

    /// While it is active: where it is, and its newest records as a walk backwards.
    pub fn walk(&self, until: Until) -> Option<(LogPosition, Walk)> {
        let Phase::Active(active) = &self.phase else { return None };
        Some((active.place(), active.walk(until)?))
    }

    /// Whether it waits for a time to try again.
    pub fn is_restless(&self) -> bool {
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
    pub fn done(&mut self, done: LogDone, now: Now, acts: &mut Vec<Act>) {
        let mut is_proven = false;
        if std::mem::take(&mut self.is_stale) {
            self.in_doubt = true;
            self.end(now);
            if !self.is_permitted {
                return self.give_up(acts);
            }
            return self.go_on(now, acts);
        }
        match (&mut self.phase, done) {
            (Phase::Reading(_), LogDone::Last(Ok(tail))) => self.search(tail, now, acts),
            (Phase::Walking { .. }, LogDone::Read(Ok(records))) => self.go_on_walking(records, now, acts),
            (Phase::Active(active), LogDone::Append(Ok(position))) => {
                active.committed(position, &self.followers, acts);
                self.in_doubt = false;
                self.backoff.reset();
                active.prove(self.attaches.drain(..));
                is_proven = true;
            }
            (Phase::Active(active), LogDone::Last(Ok(tail))) => {
                if active.is_last(&tail) {
                    self.backoff.reset();
                    active.proven(acts);
                    is_proven = true;
                } else {
                    self.end(now);
                }
            }
            (Phase::Active(active), LogDone::Read(Ok(records))) => active.caught_up(records, acts),
            (_, LogDone::Append(Err(error))) => self.refused(&error, now, acts),
            (_, LogDone::Last(Err(error)) | LogDone::Read(Err(error))) => self.away(&error, now, acts),
            // An operation is asked for in one phase and ends in the same; this would be a defect of the caller.
            (_, unasked) => {
                static UNASKED: LogRateLimit = LogRateLimit::new();
                debug!(room = %self.room, ?unasked, "unasked log operation");
                if let Some(suppressed) = UNASKED.pass() {
                    error!(suppressed, "a log operation ended that was not asked for (level debug names the room)");
                }
            }
        }
        if is_proven {
            self.decide_viewings(acts);
        }
        self.go_on(now, acts);
    }

    fn is_appending(&self, proposal: &Proposal) -> bool {
        matches!(&self.phase, Phase::Active(active) if active.is_appending(proposal))
    }

    /// Whether nothing is in flight.
    fn is_quiet(&self) -> bool {
        match &self.phase {
            Phase::Idle => true,
            Phase::Active(active) => !active.is_busy(),
            Phase::Reading(_) | Phase::Walking { .. } => false,
        }
    }

    fn is_wanted(&self) -> bool {
        let is_asked = !self.proposals.is_empty() || !self.attaches.is_empty() || !self.viewings.is_empty();
        is_asked || !self.followers.is_empty()
    }

    fn go_on(&mut self, now: Now, acts: &mut Vec<Act>) {
        if self.is_retiring {
            return self.let_go_if_quiet(acts);
        }
        match &mut self.phase {
            Phase::Idle => {
                if self.is_permitted && self.is_wanted() && self.retry_at.is_none_or(|at| at <= now.ticks) {
                    self.retry_at = None;
                    self.phase = Phase::Reading(TailSearch::default());
                    acts.push(Act::Log(LogOp::Last { certain: self.in_doubt }));
                }
            }
            Phase::Reading(_) | Phase::Walking { .. } => {}
            Phase::Active(_) => self.go_on_appending(now, acts),
        }
    }

    fn go_on_appending(&mut self, now: Now, acts: &mut Vec<Act>) {
        self.refuse_implausible();
        self.refuse_stale(acts);
        let waiting = (&mut self.proposals, &mut self.attaches, !self.viewings.is_empty());
        if let Phase::Active(active) = &mut self.phase
            && let Err(error) = active.go_on(waiting, &mut self.ids, now, acts)
        {
            self.unreadable(&error, now);
        }
    }

    /// The activation is over; what it had in flight waits again.
    fn end(&mut self, now: Now) {
        if let Phase::Active(active) = std::mem::replace(&mut self.phase, Phase::Idle) {
            let (proposals, attaches, kept) = active.into_waiting();
            for proposal in proposals.into_iter().rev() {
                self.proposals.push_front(proposal);
            }
            self.attaches.extend(attaches);
            self.kept = kept;
        }
        self.retry_at.get_or_insert(now.ticks);
        self.is_permitted = !self.stands_in;
    }
}

#[cfg(test)]
mod tests;
