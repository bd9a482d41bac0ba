//! One room at a connector: follows its records, tells the local sessions, proposes what they want. Pure.
//!
//! A room is attached before anything is proposed to it. From then on its records are applied along the chain, each
//! once; whatever is missing is read by attaching again. Applying is what tells clients.

mod apply;
mod catch_up;
mod history_reads;
mod local_sessions;
mod presence;
mod presence_push;
pub mod proposer;
mod sessions;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::backoff::{Backoff, Policy};
use model::ids::{Incarnation, Name, RoomId, ServerId, SessionId};
use model::lineage::Lineage;
use model::membership::Token;
use model::record::{Epoch, Position, Record, Refusal};
use model::room::RoomState;
use model::rpc::messages::{HistoryPage, Item, LogPosition, RpcRequest, Unavailable};
use model::size_limits::SizeLimits;
use runtime::metrics::Metrics;

use crate::connector_state::attach_rate_limit::AttachRateLimit;
use catch_up::PartialState;
use history_reads::HistoryReads;
use local_sessions::LocalSessions;
use presence::Presence;
use proposer::{PendingRequest, Proposer, QueuedItem};

pub use history_reads::MissedMessages;
pub use presence_push::MembersPage;

/// Milliseconds until an owner is asked again that cannot append.
const RETRY: Policy = Policy { first_ms: 100, longest_ms: LONGEST_MS };

/// Milliseconds until a room is asked for again of a server that does not own it, or that is not there.
///
/// That passes within a second or so, when lists of servers or verdicts agree again, and clients wait for it; a longer delay would
/// be added to it. All rooms together are bounded by [`AttachRateLimit`].
const SEARCH: Policy = Policy { first_ms: 100, longest_ms: 400 };

/// Longest delay of retries and repeats without its jitter, in milliseconds; with it just below two seconds.
const LONGEST_MS: u64 = 1_300;

/// Milliseconds that a room without sessions waits for the answer to its attach. Should the attach arrive after the detach, the
/// owner would count this connector as a follower. While no owner answers, rooms that clients tried to enter must not pile up.
const ATTACHES_MS: u64 = 30_000;

/// What all rooms of a connector have in common.
#[derive(Debug)]
pub struct Common {
    /// The connector.
    pub me: ServerId,
    /// Which run of it.
    pub incarnation: Incarnation,
    /// Milliseconds until an unanswered question is repeated.
    pub repeat_ms: u64,
    /// Milliseconds that a room is followed after its last local session left.
    pub linger_ms: u64,
    /// Milliseconds that a session whose connection broke stays in its room, for its client to come back.
    pub resume_ms: u64,
    /// Requests that may wait for a room.
    pub max_waiting: usize,
    /// How large messages may be now.
    pub size_limits: SizeLimits,
    /// Members of a room above which it is large: how many they are is told, and not each coming and going.
    pub large_members: usize,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// What a client is told without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// Somebody spoke; `target` is `None` for all.
    Chat { from: Name, content: String, target: Option<Name>, seq: u64, time: u64 },
    /// Somebody came.
    Add { name: Name },
    /// Somebody went.
    Leave { name: Name },
    /// All up to `from` was told; what is up to `to`, a `seq` of this epoch, will not be.
    Gap { from: u64, to: u64, epoch: Epoch },
    /// How many are here; `names` says whether each coming and going is told from now on.
    Members { total: usize, names: bool },
}

/// What a client's request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomResponse {
    /// The session is in the room, with these.
    Entered(Box<Entered>),
    /// The message is committed.
    Sent { seq: u64, time: u64 },
    /// Messages of the room.
    History { epoch: Epoch, page: HistoryPage },
    /// Names of the room's members.
    Members(MembersPage),
    /// The session is in no room.
    Left,
    /// The owner refused. `enter` says whether the request was one to enter.
    Refused { refusal: Refusal, enter: bool },
    /// Nobody knows yet what came of it, or will: repeat it.
    Unknown { enter: bool, because: Option<Unavailable> },
    /// Too much waits.
    QueueFull { enter: bool },
}

/// How a session finds its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// Who is here: the first ones, in a large room.
    pub users: Vec<Name>,
    /// How many are here.
    pub total: usize,
    /// Whether each coming and going is told.
    pub names: bool,
    /// All up to here is in `users` and `missed`; what comes later is told.
    pub seq: u64,
    /// When that was, in Unix milliseconds.
    pub time: u64,
    /// The log that `seq` is of.
    pub epoch: Epoch,
    /// With which the client can come back.
    pub token: Token,
    /// What a client missed that came back.
    pub missed: Option<MissedMessages>,
}

/// What a room wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum RoomEffect {
    /// Ask the owner.
    SendToOwner(RpcRequest),
    /// Answer a request.
    Respond(PendingRequest, RoomResponse),
    /// Tell these sessions.
    Push(Arc<[u64]>, Push),
    /// A session that asked to enter is in.
    Entered(u64),
    /// A session that asked to enter is not in.
    NotEntered(u64),
    /// A session lost its place to another one of its name.
    Displaced(u64),
    /// A session's client came back through another one.
    MovedAway(u64),
    /// The log lost a session's stay.
    Lost(u64),
}

/// What a room is asked to do with, or was told at.
pub struct Context<'a> {
    /// What all rooms have in common.
    pub common: &'a Common,
    /// Milliseconds that only rise.
    pub now: u64,
    /// Random bits of the room's own; they spread what many rooms would do at once.
    pub chance: u64,
    /// The last number given to a proposal or a history question of this connector.
    pub last_number: &'a mut u64,
    /// What is to be done.
    pub effects: &'a mut Vec<RoomEffect>,
    /// Nothing new is proposed now: more is to come.
    pub is_batching: bool,
    /// Attaches that all rooms together may ask now.
    pub attach_limit: &'a mut AttachRateLimit,
}

/// Where something stands in the room's log.
#[derive(Debug, Clone, Copy)]
struct Stamp {
    seq: u64,
    time: u64,
}

/// A room with local sessions, or lately so.
#[derive(Debug)]
pub struct Room {
    id: RoomId,
    applied: LogPosition,
    state: RoomState,
    /// Who is here for all that local sessions were told.
    presence: Presence,
    sessions: LocalSessions,
    /// Sessions whose connection broke, and until when they are kept.
    held: BTreeMap<u64, u64>,
    history_reads: HistoryReads,
    proposer: Proposer,
    attach: AttachState,
    partial_state: Option<PartialState>,
    empty_since: u64,
    last_unavailable: Option<Unavailable>,
    /// Refusals of the owner, or of the broker for it, since it did something for this room.
    backoff: Backoff,
    /// Repeats of what was not answered since then.
    repeats: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttachState {
    /// To be asked, not before this time.
    Due(u64),
    /// Asked with this place; asked again at this time.
    Requested(LogPosition, u64),
    /// Asked with this place, and to be asked again when answered: something was lost meanwhile.
    RequestedStale(LogPosition, u64),
    Done,
}

impl Room {
    /// A room that nothing is known of.
    pub fn new(id: RoomId, common: &Common, now: u64) -> Self {
        Self {
            id,
            applied: LogPosition::default(),
            state: RoomState::default(),
            presence: Presence::new(common.large_members),
            sessions: LocalSessions::default(),
            held: BTreeMap::new(),
            history_reads: HistoryReads::default(),
            proposer: Proposer::new(common.incarnation, common.max_waiting),
            attach: AttachState::Due(0),
            partial_state: None,
            empty_since: now,
            last_unavailable: None,
            backoff: Backoff::default(),
            repeats: 0,
        }
    }

    /// A record came, as the answer to a proposal or as news.
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
        if self.attach == AttachState::Done {
            cx.common.metrics.gaps_repaired.add();
            self.attach = AttachState::Due(cx.now);
        }
        self.advance(cx);
    }

    /// The newest record of a chat server is here. If what was applied goes further, or another way,
    /// the log does not have it, or another server appended since: its owner says which.
    pub fn check_owner_position(&mut self, place: LogPosition, cx: &mut Context<'_>) {
        let is_behind =
            place.epoch == self.applied.epoch && place.position <= self.applied.position && place != self.applied;
        if is_behind && self.attach == AttachState::Done {
            self.attach = AttachState::Due(cx.now);
            self.advance(cx);
        }
    }

    /// Whoever was asked does not own the room now, or nobody was there.
    pub fn on_not_owner(&mut self, cx: &mut Context<'_>) {
        self.repeats = 0;
        let at = self.backoff.fail(SEARCH, cx.now, cx.chance);
        self.retry_at(at);
    }

    /// Another chat server is to be asked from now on.
    pub fn on_rerouted(&mut self, cx: &mut Context<'_>) {
        self.reset_retries();
        self.retry_at(cx.now);
        self.advance(cx);
    }

    /// The owner did something for this room: what fails next is the first failure.
    fn reset_retries(&mut self) {
        self.backoff.reset();
        self.repeats = 0;
    }

    /// Nothing that was asked will be answered: it is asked again at this time.
    fn retry_at(&mut self, at: u64) {
        self.attach = AttachState::Due(at);
        self.proposer.set_repeat_at(at);
        self.repeat_reads_at(at);
    }

    /// The owner cannot append.
    pub fn on_unavailable(&mut self, because: Unavailable, cx: &mut Context<'_>) {
        self.last_unavailable = Some(because);
        if because == Unavailable::LogAway {
            self.proposer.split_in_flight();
        }
        self.proposer.set_repeat_at(self.backoff.fail(RETRY, cx.now, cx.chance));
    }

    /// Something that the owner sent was lost, or the owner is another run: read from where we are.
    pub fn reattach(&mut self, cx: &mut Context<'_>) {
        self.attach = match self.attach {
            AttachState::Done => AttachState::Due(cx.now),
            AttachState::Requested(place, at) => AttachState::RequestedStale(place, at),
            other => other,
        };
        self.advance(cx);
    }

    /// The connector goes on as another run: the same sessions and proposals, under its name. What
    /// is asked is asked again at once.
    pub fn continue_as(&mut self, lineage: &Lineage, cx: &mut Context<'_>) {
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
        self.repeat_reads_at(cx.now);
        self.advance(cx);
    }

    /// Deadlines and repeats. Returns whether the room is to be kept.
    pub fn tick(&mut self, cx: &mut Context<'_>) -> bool {
        self.expire(cx);
        self.expire_reads(cx);
        for session in self.held.iter().filter(|(_, until)| **until <= cx.now).map(|(s, _)| *s).collect::<Vec<_>>() {
            self.close(session, cx);
        }
        self.tick_presence(cx);
        self.advance(cx);
        if !self.sessions.is_empty() || !self.proposer.is_idle() {
            self.empty_since = cx.now;
            return true;
        }
        let stays = if self.attach == AttachState::Done { cx.common.linger_ms } else { ATTACHES_MS };
        if cx.now.saturating_sub(self.empty_since) < stays {
            return true;
        }
        cx.effects.push(RoomEffect::SendToOwner(RpcRequest::Detach { room: self.id.clone() }));
        false
    }

    /// Whether time alone changes something here.
    pub fn needs_tick(&self) -> bool {
        !self.is_settled() || self.sessions.is_empty()
    }

    /// Whether nothing is asked, and nothing is to be told later.
    pub fn is_settled(&self) -> bool {
        let waits = self.presence.has_pending_total() || !self.held.is_empty() || !self.history_reads.is_empty();
        self.attach == AttachState::Done && self.proposer.is_idle() && !waits
    }

    /// Whether it would propose something, were nothing gathered.
    pub fn has_to_propose(&self) -> bool {
        self.attach == AttachState::Done && self.proposer.has_waiting()
    }

    /// The methods of the items that wait to be proposed.
    #[cfg(test)]
    pub fn queued_methods(&self) -> Vec<&'static str> {
        self.proposer.queued_methods()
    }

    /// Asks what is to be asked now.
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

    /// Asks to attach if it is time, and if this room may do so now: many do not all at once.
    fn request_attach(&mut self, at: u64, repeat_at: u64, cx: &mut Context<'_>) -> bool {
        let is_waited_for = self.proposer.has_clients() || !self.history_reads.is_empty();
        if at > cx.now || !cx.attach_limit.try_take(is_waited_for) {
            return false;
        }
        self.attach = AttachState::Requested(self.applied, repeat_at);
        cx.effects.push(RoomEffect::SendToOwner(RpcRequest::Attach { room: self.id.clone(), at: self.applied }));
        true
    }

    /// When a question that is asked now is asked again.
    fn repeat_at(&self, cx: &Context<'_>) -> u64 {
        let policy = Policy { first_ms: cx.common.repeat_ms, longest_ms: LONGEST_MS };
        cx.now + policy.delay(self.repeats, cx.chance)
    }

    fn propose(&mut self, repeat_at: u64, cx: &mut Context<'_>) {
        while let Some(queued) = self.proposer.take_oversize(cx.common.size_limits) {
            let refused = RoomResponse::Refused { refusal: Refusal::TooLong, enter: false };
            cx.effects.extend(queued.pending.map(|pending| RoomEffect::Respond(pending, refused)));
        }
        let number = self.proposer.next_number(*cx.last_number);
        let has_begun =
            !cx.is_batching && self.proposer.begin(number, self.applied.id, cx.common.size_limits).is_some();
        let is_given = has_begun || self.proposer.fence(number, cx.common.size_limits);
        *cx.last_number += u64::from(is_given);
        let Some(in_flight) = self.proposer.in_flight().filter(|in_flight| in_flight.repeat_at <= cx.now) else {
            return;
        };
        // One that was never asked is none to be repeated.
        self.repeats += u32::from(in_flight.repeat_at > 0);
        let (room, at, (number, items)) = (self.id.clone(), self.applied, in_flight.proposal());
        cx.effects.push(RoomEffect::SendToOwner(RpcRequest::Propose { room, at, number, items }));
        self.proposer.set_repeat_at(repeat_at);
    }

    fn expire(&mut self, cx: &mut Context<'_>) {
        for QueuedItem { item, pending } in self.proposer.expire(cx.now) {
            let Some(pending) = pending else { continue };
            let session = pending.session;
            let enter = matches!(item, Item::Join { .. });
            cx.common.metrics.requests_expired.add();
            cx.effects
                .push(RoomEffect::Respond(pending, RoomResponse::Unknown { enter, because: self.last_unavailable }));
            if enter {
                self.cancel_enter(session, cx);
            } else {
                self.reconcile(session, cx.common);
            }
        }
    }

    /// The client was told that its entering is unknown: unless it is here already, it is not to be.
    fn cancel_enter(&mut self, session: u64, cx: &mut Context<'_>) {
        cx.effects.push(RoomEffect::NotEntered(session));
        let is_kept = self.is_kept(session);
        if let Some(local) = self.sessions.get_mut(&session) {
            local.is_wanted = is_kept;
            local.entering = None;
        }
        // Also one that is here: the join that was taken back may have covered that the log has seen it leave.
        self.reconcile(session, cx.common);
    }

    /// Proposes the difference between what the log says of an own session and what is wanted of it.
    fn reconcile(&mut self, session: u64, common: &Common) {
        let in_log = self.state.name_of(&session_id(common, session)).is_some();
        let is_joining = self.proposer.has_join(session);
        let is_wanted = self.sessions.get(&session).is_some_and(|local| local.is_wanted);
        match self.sessions.get(&session) {
            Some(local) if is_wanted && !in_log && !is_joining => {
                self.proposer.queue_rejoin(session, local.name().clone(), local.token.membership(), self.applied.id);
            }
            _ if !is_wanted && (in_log || is_joining) => self.proposer.queue_leave(session, common.incarnation),
            Some(local) if !is_wanted && !local.receives_pushes => {
                self.sessions.remove(&session);
            }
            _ => {}
        }
    }
}

/// The cluster-wide id of a session of this run.
fn session_id(common: &Common, number: u64) -> SessionId {
    SessionId { connector: common.me.clone(), incarnation: common.incarnation, number }
}
