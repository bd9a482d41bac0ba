//! One room at its owner: waiting requests, the log operation in flight, and the responses. Pure:
//! returns effects and takes the results of log operations.
//!
//! An owner is idle, reading, or active. It becomes active by appending: appends are
//! compare-and-set on the room's last position, so from its first commit on no other owner can
//! commit unnoticed (no split brain). Any append that is not clearly committed ends the activation,
//! and the owner recovers from the log.

mod act_queue;
mod activation;
mod catch_up_reply;
mod context;
pub(crate) mod history_access;
mod looks;
mod ownership;
mod presence_rate;
mod recent_records;
mod recovery;
mod request_checks;
mod requests;
mod retry;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use model::backoff::Backoff;
use model::ids::{RoomId, ServerId};
use model::record::{Epoch, Position, RecordIds};
use model::room::RoomState;
use model::rpc::messages::LogPosition;

use crate::bad_records::BadRecord;
use crate::connector_liveness::ConnectorLiveness;
use crate::draft::RoomPolicy;
use crate::event::Event;
use crate::log_operation::{AppendError, LogOp, LogResult};
use crate::log_space::{LogSpace, RecentBytes};
use crate::log_tail::TailSearch;
use crate::log_walk::{Until, Walk};
use activation::{Activation, EndedActivation, RetainedState};
pub use context::Context;
pub use history_access::HistoryRequest;
use looks::WaitingLooks;
use presence_rate::PresenceRate;
use requests::Waiting;
pub use requests::{ActMessage, Attach, Look, Now, Proposal, Requester};

/// A room at the chat server that appends to it.
#[derive(Debug)]
pub struct Owner {
    me: ServerId,
    room: RoomId,
    policy: Arc<RoomPolicy>,
    ids: RecordIds,
    phase: Phase,
    /// State of the last activation, kept until the log has been read again.
    retained: Option<RetainedState>,
    liveness: Arc<ConnectorLiveness>,
    // In memory only. After a takeover the connectors attach again, so followers need no place in
    // the log.
    followers: BTreeSet<ServerId>,
    // Bounded by the protocol: a connector has one proposal in flight per room, and a repeat
    // replaces it.
    proposals: VecDeque<Proposal>,
    /// Messages of acts, at most one per api server and those of an append that failed.
    acts: VecDeque<ActMessage>,
    presence_rate: PresenceRate,
    /// The proposals wait for others, to share a record.
    are_waiting: bool,
    /// Attaches whose position is not proven yet.
    attaches: Vec<Attach>,
    /// History requests that wait until the state is proven to be current.
    history_requests: Vec<HistoryRequest>,
    /// Looks that wait for the same.
    looks: WaitingLooks,
    retry_at: Option<u64>,
    /// Failures of the log since its last success for this room.
    backoff: Backoff,
    /// Random bits of the room, for the jitter of retries.
    seed: u64,
    /// An append had no clear outcome: the next read must see all acknowledged records.
    needs_latest: bool,
    /// End of the log at which records were missing. They count as missing when a second read finds
    /// the same.
    incomplete_at: Option<Position>,
    /// The last read found no usable end of the log.
    is_unusable: bool,
    /// The room's home is another server.
    is_failover: bool,
    /// The owner may read and append: as the home, or as failover owner while the home is down.
    may_append: bool,
    /// The owner releases the room as soon as nothing is in flight.
    is_handing_over: bool,
    /// The operation in flight began before a new connection or epoch: its result is discarded.
    discards_result: bool,
    used_at: u64,
    /// Bytes of the messages that this owner appended.
    written: RecentBytes,
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// Searches the last record.
    Reading(TailSearch),
    /// Reads back from the last record to a checkpoint.
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
    /// Creates an idle owner of `room`; `ids` are for the records that it appends.
    pub fn new(me: ServerId, room: RoomId, ids: RecordIds, policy: Arc<RoomPolicy>) -> Self {
        let seed = retry::seed(room.as_str());
        Self {
            me,
            room,
            policy,
            ids,
            phase: Phase::Idle,
            retained: None,
            liveness: Arc::default(),
            followers: BTreeSet::new(),
            proposals: VecDeque::new(),
            acts: VecDeque::new(),
            presence_rate: PresenceRate::default(),
            are_waiting: false,
            attaches: Vec::new(),
            history_requests: Vec::new(),
            looks: WaitingLooks::default(),
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
            written: RecentBytes::default(),
        }
    }

    /// Replaces the liveness of the connectors. Its consequences follow with the next event or with
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

    /// Replaces the rules and limits.
    pub fn set_policy(&mut self, policy: &Arc<RoomPolicy>) {
        if Arc::ptr_eq(&self.policy, policy) {
            return;
        }
        self.policy = policy.clone();
        if let Phase::Active(active) = &mut self.phase {
            active.policy = policy.clone();
        }
    }

    /// Takes an attach: the connector follows the room from now on.
    pub fn attach(&mut self, attach: Attach, now: Now, cx: &mut Context<'_>) {
        self.used_at = now.ticks;
        self.followers.insert(attach.requester.server.clone());
        // A repeated request replaces the one before: its connector waits for one response.
        self.attaches.retain(|a| a.requester.server != attach.requester.server);
        self.attaches.push(attach);
        self.advance(now, cx);
    }

    /// Takes a proposal.
    pub fn propose(&mut self, mut proposal: Proposal, now: Now, cx: &mut Context<'_>) {
        self.used_at = now.ticks;
        proposal.author.resolve(&self.liveness);
        self.followers.insert(proposal.requester.server.clone());
        if self.is_appending(&proposal) {
            return;
        }
        let same = |p: &&mut Proposal| p.author == proposal.author && p.number == proposal.number;
        match self.proposals.iter_mut().find(same) {
            Some(waiting) => {
                waiting.requester = proposal.requester;
                waiting.is_urgent |= proposal.is_urgent;
            }
            None => self.proposals.push_back(proposal),
        }
        self.advance(now, cx);
    }

    /// Removes a follower.
    pub fn detach(&mut self, connector: &ServerId) {
        self.followers.remove(connector);
    }

    /// Does what is due at this time. Must be called often while [`Owner::awaits_time`].
    pub fn tick(&mut self, now: Now, cx: &mut Context<'_>) {
        self.advance(now, cx);
    }

    /// Appends a checkpoint if the last record is old, and notifies connectors that have members
    /// here but do not follow. Must be called every few seconds.
    pub fn maintain(&mut self, now: Now, cx: &mut Context<'_>) {
        if let Phase::Active(active) = &mut self.phase {
            active.refresh_if_old(now);
            active.notify_detached(&self.followers, cx);
        }
        self.advance(now, cx);
    }

    /// Returns the position of an active owner and its newest records as a walk backwards.
    pub fn walk(&self, until: Until) -> Option<(LogPosition, Walk)> {
        let Phase::Active(active) = &self.phase else { return None };
        Some((active.place(), active.walk(until)?))
    }

    /// Returns the position of an active owner and the room's state there, unless an append is in
    /// flight.
    pub fn state(&self) -> Option<(LogPosition, &RoomState)> {
        let Phase::Active(active) = &self.phase else { return None };
        active.appending_bytes().is_none().then(|| (active.place(), &active.state))
    }

    /// Returns true if the owner waits for the time of a retry, or for that of a record of joins and
    /// leaves.
    pub fn awaits_time(&self) -> bool {
        self.retry_at.is_some() || self.are_waiting
    }

    /// Returns true if requests wait, and the log cannot be used until an operator removes messages
    /// from its end.
    pub fn is_unusable(&self) -> bool {
        self.is_unusable && self.is_wanted()
    }

    /// Returns true if the owner can be dropped: it is idle and unused, the log holds all its state,
    /// and it has not written much lately.
    pub fn is_forgettable(&self, now: Now, forget_ms: u64, log: &LogSpace) -> bool {
        let is_unused = now.ticks.saturating_sub(self.used_at) >= forget_ms;
        is_unused && self.is_quiet() && !self.is_wanted() && !log.is_much(self.written.at(now.ticks))
    }

    /// Takes the result of the log operation in flight.
    pub fn on_log_result(&mut self, result: LogResult, now: Now, cx: &mut Context<'_>) {
        let mut is_proven = false;
        self.end_append(&result, cx);
        if std::mem::take(&mut self.discards_result) {
            self.needs_latest = true;
            self.end_activation(now);
            if !self.may_append {
                return self.release(cx);
            }
            return self.advance(now, cx);
        }
        match (&mut self.phase, result) {
            (Phase::Reading(_), LogResult::Last(Ok(tail))) => self.on_tail(tail, now, cx),
            (Phase::Walking { .. }, LogResult::Read(Ok(records))) => self.advance_walk(records, now, cx),
            // A commit proves the position to all attaches that wait, so they need no read of their
            // own.
            (Phase::Active(active), LogResult::Append(Ok(position))) => {
                let committed = active.on_committed(position, &self.followers, cx);
                self.written.add(committed.message_bytes, now.ticks);
                if let Some(record) = committed.presence {
                    self.presence_rate.record(record, self.policy.presence_records_per_min(), now.ticks);
                }
                self.needs_latest = false;
                self.backoff.reset();
                active.add_proven(self.attaches.drain(..));
                is_proven = true;
            }
            (Phase::Active(active), LogResult::Last(Ok(tail))) => {
                if active.is_last(&tail) {
                    self.backoff.reset();
                    active.confirm_position(cx);
                    is_proven = true;
                } else {
                    // Another server appended: this state is outdated.
                    self.end_activation(now);
                }
            }
            (Phase::Active(active), LogResult::Read(Ok(records))) => active.continue_catch_up(records, cx),
            (_, LogResult::Append(Err(error))) => self.on_append_failed(&error, now, cx),
            (_, LogResult::Last(Err(error)) | LogResult::Read(Err(error))) => self.on_read_failed(&error, now, cx),
            // An operation is requested in one phase and ends in the same; this would be a defect
            // of the caller.
            (_, unexpected) => {
                debug_assert!(false, "{}: a result that was not requested: {unexpected:?}", self.room);
                let event = Event::ResultUnexpected { room: self.room.clone(), result: format!("{unexpected:?}") };
                cx.report(event);
            }
        }
        if is_proven {
            self.resolve_history_requests(cx);
            self.resolve_looks(now, cx);
        }
        self.advance(now, cx);
    }

    /// Counts a record for the log's space, if the result is that of its append.
    fn end_append(&self, result: &LogResult, cx: &mut Context<'_>) {
        if let (Phase::Active(active), LogResult::Append(outcome)) = (&self.phase, result)
            && let Some(bytes) = active.appending_bytes()
        {
            cx.log.end_append(bytes, matches!(outcome, Ok(_) | Err(AppendError::Unclear(_))));
        }
    }

    /// Returns the bytes of the record that is being appended.
    pub fn appending_bytes(&self) -> Option<usize> {
        if let Phase::Active(active) = &self.phase { active.appending_bytes() } else { None }
    }

    fn is_appending(&self, proposal: &Proposal) -> bool {
        matches!(&self.phase, Phase::Active(active) if active.is_appending(proposal))
    }

    /// Returns true if nothing is in flight.
    fn is_quiet(&self) -> bool {
        match &self.phase {
            Phase::Idle => true,
            Phase::Active(active) => !active.has_pending(),
            Phase::Reading(_) | Phase::Walking { .. } => false,
        }
    }

    fn is_wanted(&self) -> bool {
        let is_asked = !self.proposals.is_empty() || !self.attaches.is_empty() || !self.history_requests.is_empty();
        is_asked || !self.acts.is_empty() || !self.looks.is_empty() || !self.followers.is_empty()
    }

    fn advance(&mut self, now: Now, cx: &mut Context<'_>) {
        let were_waiting = std::mem::take(&mut self.are_waiting);
        if self.is_handing_over {
            return self.release_if_quiet(cx);
        }
        match &mut self.phase {
            Phase::Idle => {
                if self.may_append && self.is_wanted() && self.retry_at.is_none_or(|at| at <= now.ticks) {
                    self.retry_at = None;
                    self.phase = Phase::Reading(TailSearch::default());
                    cx.request_log(LogOp::Last { certain: self.needs_latest });
                }
            }
            Phase::Reading(_) | Phase::Walking { .. } => {}
            Phase::Active(_) => self.advance_activation(now, cx),
        }
        if self.are_waiting && !were_waiting {
            cx.report(Event::PresenceDelayed);
        }
    }

    fn advance_activation(&mut self, now: Now, cx: &mut Context<'_>) {
        self.refuse_implausible(cx);
        self.refuse_stale(cx);
        let Phase::Active(active) = &mut self.phase else { return };
        let is_waiting_time = self.presence_rate.is_waiting_time(self.policy.presence_records_per_min(), now.ticks);
        let may_wait = is_waiting_time && active.may_wait(&self.proposals);
        let waiting = Waiting {
            proposals: &mut self.proposals,
            acts: &mut self.acts,
            may_wait,
            attaches: &mut self.attaches,
            has_readers: !self.history_requests.is_empty() || !self.looks.is_empty(),
        };
        let was_pending = active.has_pending();
        let space = cx.log.message_space(self.written.at(now.ticks));
        if let Err(error) = active.advance(waiting, (&mut self.ids, space), now, cx) {
            return self.on_encode_failed(&error, now, cx);
        }
        if !was_pending && active.has_pending() {
            self.looks.begin_proof();
        }
        self.are_waiting = may_wait && !self.proposals.is_empty();
    }

    /// Ends the activation; its requests in flight wait again.
    fn end_activation(&mut self, now: Now) {
        if let Phase::Active(active) = std::mem::replace(&mut self.phase, Phase::Idle) {
            let EndedActivation { proposals, acts, attaches, retained } = active.end();
            for proposal in proposals.into_iter().rev() {
                self.proposals.push_front(proposal);
            }
            for message in acts.into_iter().rev() {
                self.acts.push_front(message);
            }
            self.attaches.extend(attaches);
            self.retained = retained;
        }
        // A failed operation overwrites this with its backoff. Ends without a failure, such as a
        // compare-and-set refusal, are retried at once.
        self.retry_at.get_or_insert(now.ticks);
        // A failover owner probes the home again before each activation, so it stops as soon as the
        // home is back.
        self.may_append = !self.is_failover;
    }
}

#[cfg(test)]
mod tests;
