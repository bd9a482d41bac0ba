//! One room at a connector: follows the room's records, pushes them to the local sessions, proposes
//! their requests. Pure.
//!
//! A room attaches before it proposes anything. From then on it applies the room's records along
//! the chain, each once; it closes a gap by attaching again. Clients learn about the room only from
//! applied records.

mod apply;
mod catch_up;
mod client_messages;
mod context;
mod history_reads;
mod local_sessions;
mod presence;
pub mod proposer;
mod read_queue;
mod session_state;
mod sessions;

use model::backoff::{Backoff, Policy};
use model::ids::{Incarnation, ServerId, SessionId};
use model::lineage::Lineage;
use model::record::{Epoch, Position, Record, Refusal};
use model::room::RoomState;
use model::rpc::messages::{Item, LogPosition, RpcRequest, Unavailable};
use model::size_limits::SizeLimits;

use crate::event::Event;
use catch_up::PartialState;
use local_sessions::LocalSessions;
use presence::Presence;
use proposer::{InFlight, Proposer, QueuedItem};
use read_queue::ReadQueue;
use session_state::SessionState;

pub use client_messages::{Entered, Profiles, Push, RoomResponse};
pub use context::Context;
pub use history_reads::MissedMessages;
pub use presence::MembersPage;

/// Backoff, in milliseconds, of requests to an owner that cannot append.
const RETRY: Policy = Policy { first_ms: 100, longest_ms: LONGEST_MS };

/// Backoff, in milliseconds, of requests about a room whose server does not own it, or is not
/// there.
// Lists of servers or verdicts agree again within a second or so, and clients wait for that; a
// longer delay would be added to their wait. `AttachRateLimit` bounds all rooms together.
const SEARCH: Policy = Policy { first_ms: 100, longest_ms: 400 };

/// Longest delay of retries and repeats without its jitter, in milliseconds; with it just below two
/// seconds.
const LONGEST_MS: u64 = 1_300;

/// Milliseconds that a room without sessions waits for the answer to its attach.
// A room that is dropped at once could detach before its attach arrives, and the owner would count
// this connector as a follower. The bound is for times in which no owner answers: rooms that
// clients tried to enter must not pile up.
const ATTACHES_MS: u64 = 30_000;

/// Settings and shared state of all rooms of a connector.
#[derive(Debug)]
pub struct Common {
    /// The connector's id.
    pub me: ServerId,
    /// The incarnations of the connector's process.
    pub lineage: Lineage,
    /// Milliseconds until an unanswered request is repeated.
    pub repeat_ms: u64,
    /// Milliseconds that a room is followed after its last local session left.
    pub linger_ms: u64,
    /// Milliseconds that a session whose connection broke stays in its room, for its client to
    /// resume.
    pub resume_ms: u64,
    /// Most requests that wait for a room.
    pub max_waiting: usize,
    /// Present size limits of messages.
    pub size_limits: SizeLimits,
    /// A room with more members is large: its clients get member counts instead of each join and
    /// leave.
    pub large_members: usize,
}

impl Common {
    /// Returns the connector's present incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.lineage.present()
    }
}

/// Position and time of something in the room's log.
#[derive(Debug, Clone, Copy)]
struct Stamp {
    seq: u64,
    time: u64,
}

/// A room with local sessions, or recently without.
#[derive(Debug)]
pub struct Room {
    applied: LogPosition,
    state: RoomState,
    /// Members as the local sessions know them.
    presence: Presence,
    sessions: LocalSessions,
    history_reads: ReadQueue,
    proposer: Proposer,
    attach: AttachState,
    partial_state: Option<PartialState>,
    empty_since: u64,
    last_unavailable: Option<Unavailable>,
    /// Failures in a row of the owner, or of the broker on its behalf.
    backoff: Backoff,
    /// Repeats of unanswered requests in a row.
    repeats: u32,
    /// The owner refused a message for want of space in the log: until this time further ones are
    /// refused here.
    refuses_messages: Option<(Refusal, u64)>,
    /// It is followed for its rules, with sessions or without.
    is_for_rules: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttachState {
    /// To be sent, not before this time.
    Due(u64),
    /// Sent with this position; to be repeated at this time.
    Requested(LogPosition, u64),
    /// Sent with this position, and to be sent again after the answer: something was lost
    /// meanwhile.
    RequestedStale(LogPosition, u64),
    Done,
}

impl Room {
    /// Returns a room of which nothing is known.
    pub fn new(common: &Common, now: u64) -> Self {
        Self {
            applied: LogPosition::default(),
            state: RoomState::default(),
            presence: Presence::new(common.large_members),
            sessions: LocalSessions::default(),
            history_reads: ReadQueue::default(),
            proposer: Proposer::new(common.incarnation(), common.max_waiting),
            attach: AttachState::Due(0),
            partial_state: None,
            empty_since: now,
            last_unavailable: None,
            backoff: Backoff::default(),
            repeats: 0,
            refuses_messages: None,
            is_for_rules: false,
        }
    }

    /// Follows the room for its rules from now on.
    pub(crate) fn follow_for_rules(&mut self, cx: &mut Context<'_>) {
        self.is_for_rules = true;
        self.advance(cx);
    }

    /// Returns the position up to which records are applied, and the state there.
    pub(crate) fn state(&self) -> (LogPosition, &RoomState) {
        (self.applied, &self.state)
    }

    /// Handles a record: the answer to a proposal, or a broadcast.
    pub fn on_record(&mut self, epoch: Epoch, position: Position, record: &Record, cx: &mut Context<'_>) {
        if epoch == self.applied.epoch && self.applied.epoch != Epoch::default() {
            if position <= self.applied.position {
                return;
            }
            if record.follows(self.applied.position, self.applied.id) {
                self.reset_retries();
                self.apply(position, record, cx);
                return self.advance(cx);
            }
        }
        // An attach repairs every gap: there is no request for single records, and so only one path
        // to get right.
        if self.attach == AttachState::Done {
            cx.report(Event::GapFound);
            self.attach = AttachState::Due(cx.now);
        }
        self.advance(cx);
    }

    /// Handles the position of a chat server's newest record. Attaches again if this room has
    /// applied more than that, or another record there: either the log does not have it, or another
    /// server has appended since.
    pub fn check_owner_position(&mut self, place: LogPosition, cx: &mut Context<'_>) {
        let is_behind =
            place.epoch == self.applied.epoch && place.position <= self.applied.position && place != self.applied;
        if is_behind && self.attach == AttachState::Done {
            self.attach = AttachState::Due(cx.now);
            self.advance(cx);
        }
    }

    /// Handles the answer that the server does not own the room, or is not there.
    pub fn on_not_owner(&mut self, cx: &mut Context<'_>) {
        self.repeats = 0;
        let at = self.backoff.fail(SEARCH, cx.now, cx.chance);
        self.retry_at(at);
    }

    /// Handles a change of the chat server to which the room is routed.
    pub fn on_rerouted(&mut self, cx: &mut Context<'_>) {
        self.reset_retries();
        self.retry_at(cx.now);
        self.advance(cx);
    }

    /// Ends a series of failures: the next one counts as the first.
    fn reset_retries(&mut self) {
        self.backoff.reset();
        self.repeats = 0;
    }

    /// Sends everything again at this time, because no answer will come.
    fn retry_at(&mut self, at: u64) {
        self.attach = AttachState::Due(at);
        self.proposer.set_repeat_at(at);
        self.history_reads.repeat_all_at(at);
    }

    /// Handles the answer that the owner cannot append.
    pub fn on_unavailable(&mut self, because: Unavailable, cx: &mut Context<'_>) {
        self.last_unavailable = Some(because);
        // A broker that takes less than this one refuses a large proposal at each repeat, so it is
        // split.
        if because == Unavailable::LogAway {
            self.proposer.split_in_flight();
        }
        self.proposer.set_repeat_at(self.backoff.fail(RETRY, cx.now, cx.chance));
    }

    /// Attaches again from the applied position, because a message of the owner was lost, or the
    /// owner is another run.
    pub fn reattach(&mut self, cx: &mut Context<'_>) {
        self.attach = match self.attach {
            AttachState::Done => AttachState::Due(cx.now),
            AttachState::Requested(place, at) => AttachState::RequestedStale(place, at),
            other => other,
        };
        self.advance(cx);
    }

    /// Continues as another run of the connector, with the same sessions and proposals, and repeats
    /// all requests at once.
    pub fn continue_above(&mut self, cx: &mut Context<'_>) {
        let lineage = &cx.common.lineage;
        lineage.unify_state(&cx.common.me, &mut self.state);
        if let Some(partial_state) = &mut self.partial_state {
            partial_state.unify(lineage, &cx.common.me);
        }
        self.proposer.continue_as(lineage);
        self.repeats = 0;
        match &mut self.attach {
            AttachState::Due(at) | AttachState::Requested(_, at) | AttachState::RequestedStale(_, at) => *at = cx.now,
            AttachState::Done => {}
        }
        self.proposer.set_repeat_at(cx.now);
        self.history_reads.repeat_all_at(cx.now);
        self.advance(cx);
    }

    /// Handles deadlines and repeats. Returns false if the room is no longer needed.
    pub fn tick(&mut self, cx: &mut Context<'_>) -> bool {
        self.expire(cx);
        self.expire_reads(cx);
        for session in self.sessions.held_until(cx.now) {
            self.close(session, cx);
        }
        self.tick_presence(cx);
        self.advance(cx);
        if self.is_for_rules || !self.sessions.is_empty() || !self.proposer.is_idle() {
            self.empty_since = cx.now;
            return true;
        }
        // A detach that overtakes the attach is lost on the owner, so an unanswered attach keeps
        // the room.
        // A client may come back within the time that its session would have been held, and the
        // room must not be a new one for it.
        let lingers = cx.common.linger_ms.max(cx.common.resume_ms);
        let stays = if self.attach == AttachState::Done { lingers } else { ATTACHES_MS };
        if cx.now.saturating_sub(self.empty_since) < stays {
            return true;
        }
        cx.request(RpcRequest::Detach { room: cx.room.clone() });
        false
    }

    /// Returns true if time alone changes something here.
    pub fn needs_tick(&self) -> bool {
        !self.is_settled() || self.sessions.is_empty()
    }

    /// Returns true if no request is in flight and no push is delayed.
    pub fn is_settled(&self) -> bool {
        let waits = self.presence.has_pending_total() || self.sessions.has_held() || !self.history_reads.is_empty();
        self.attach == AttachState::Done && self.proposer.is_idle() && !waits
    }

    /// Returns true if the room would propose something, were no batch open.
    pub fn has_to_propose(&self) -> bool {
        self.attach == AttachState::Done && self.proposer.has_waiting()
    }

    /// The methods of the items that wait to be proposed.
    #[cfg(test)]
    pub fn queued_methods(&self) -> Vec<&'static str> {
        self.proposer.queued_methods()
    }

    /// Sends the requests that are due.
    pub fn advance(&mut self, cx: &mut Context<'_>) {
        let repeat_at = self.repeat_at(cx);
        self.send_due_reads(repeat_at, cx);
        match self.attach {
            AttachState::Due(at) => {
                self.request_attach(at, repeat_at, cx);
            }
            AttachState::Requested(_, at) | AttachState::RequestedStale(_, at) => {
                self.repeats += u32::from(self.request_attach(at, repeat_at, cx));
            }
            AttachState::Done => self.propose(repeat_at, cx),
        }
    }

    /// Sends an attach if it is due and the rate limit allows it.
    fn request_attach(&mut self, at: u64, repeat_at: u64, cx: &mut Context<'_>) -> bool {
        let is_waited_for = self.proposer.has_clients() || !self.history_reads.is_empty();
        if at > cx.now || !cx.attach_limit.try_take(is_waited_for) {
            return false;
        }
        self.attach = AttachState::Requested(self.applied, repeat_at);
        cx.request(RpcRequest::Attach { room: cx.room.clone(), at: self.applied });
        true
    }

    /// Returns the time at which a request that is sent now is repeated.
    fn repeat_at(&self, cx: &Context<'_>) -> u64 {
        let policy = Policy { first_ms: cx.common.repeat_ms, longest_ms: LONGEST_MS };
        cx.now + policy.delay(self.repeats, cx.chance)
    }

    fn propose(&mut self, repeat_at: u64, cx: &mut Context<'_>) {
        while let Some(queued) = self.proposer.take_oversize(cx.common.size_limits) {
            let refused = RoomResponse::Refused { refusal: Refusal::TooLong, enter: false };
            cx.respond(queued.pending, refused);
        }
        let number = self.proposer.next_number(*cx.last_number);
        let has_begun =
            !cx.is_batching && self.proposer.begin(number, self.applied.id, cx.common.size_limits).is_some();
        let is_given = has_begun || self.proposer.fence(number, cx.common.size_limits);
        *cx.last_number += u64::from(is_given);
        let becomes_urgent = self.proposer.becomes_urgent(cx.now);
        let is_due = |in_flight: &&InFlight| becomes_urgent || in_flight.repeat_at <= cx.now;
        let Some(in_flight) = self.proposer.in_flight().filter(is_due) else { return };
        // The first sending is not a repeat.
        self.repeats += u32::from(in_flight.repeat_at > 0 && !becomes_urgent);
        let (room, at, (number, items, urgent)) = (cx.room.clone(), self.applied, in_flight.proposal());
        cx.request(RpcRequest::Propose { room, at, number, items, urgent });
        self.proposer.note_sent(cx.now, repeat_at);
    }

    /// Queues a client's request. The caller has checked that the queue is not full.
    fn queue_request(&mut self, queued: QueuedItem, common: &Common) {
        if !queued.item.may_wait(&self.state, (&common.me, common.incarnation())) {
            self.proposer.note_urgent();
        }
        self.proposer.queue_request(queued);
    }

    fn expire(&mut self, cx: &mut Context<'_>) {
        for QueuedItem { item, pending } in self.proposer.expire(cx.now) {
            let Some(pending) = pending else { continue };
            let session = pending.session;
            let enter = matches!(item, Item::Join { .. });
            cx.report(Event::RequestExpired);
            cx.respond(pending, RoomResponse::Unknown { enter, because: self.last_unavailable });
            if enter {
                self.cancel_enter(session, cx);
            } else {
                self.reconcile(session, cx.common);
            }
        }
    }

    /// Gives up a join whose outcome is unknown: unless the session is in the room already, it must
    /// not get there later.
    fn cancel_enter(&mut self, session: u64, cx: &mut Context<'_>) {
        self.sessions.cancel_enter(session);
        // Also for a session that is in: the withdrawn join may have hidden that the log has seen
        // it leave.
        self.reconcile(session, cx.common);
    }

    /// Proposes the difference between the log and the wish of a session of this connector.
    fn reconcile(&mut self, session: u64, common: &Common) {
        let in_log = self.state.name_of(&session_id(common, session)).is_some();
        let is_joining = self.proposer.has_join(session);
        let state = self.sessions.state(session);
        match self.sessions.get(session) {
            Some(local) if state.is_wanted() && !in_log && !is_joining => {
                self.proposer.note_urgent();
                let (name, profile) = (local.name().clone(), local.profile.clone());
                self.proposer.queue_rejoin(session, name, (local.token.membership(), profile), self.applied.id);
            }
            _ if !state.is_wanted() && (in_log || is_joining) => {
                self.proposer.queue_leave(session, common.incarnation())
            }
            _ if state == SessionState::Withdrawn => self.sessions.remove(session),
            _ => {}
        }
    }
}

/// Returns the cluster-wide id of a session of this run.
fn session_id(common: &Common, number: u64) -> SessionId {
    SessionId { connector: common.me.clone(), incarnation: common.incarnation(), number }
}
