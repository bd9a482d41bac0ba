//! One room at a connector: follows its records, tells the local sessions, proposes what they want. Pure.
//!
//! A room is attached before anything is proposed to it. From then on its records are applied along the chain, each
//! once; whatever is missing is read by attaching again. Applying is what tells clients.

mod apply;
mod attached;
mod crowd;
mod locals;
mod members;
pub mod proposer;
mod reading;
mod sessions;

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::backoff::{Backoff, Policy};
use shared::ids::{Incarnation, Name, RoomId, ServerId, SessionId};
use shared::lineage::Lineage;
use shared::membership::Token;
use shared::metrics::Metrics;
use shared::record::{Epoch, Position, Record, Refusal};
use shared::room::RoomState;
use shared::rpc::messages::{HistoryPage, Item, LogPosition, RpcRequest, Unavailable};
use shared::size_limits::SizeLimits;

use crate::hub::pacing::Attaches;
use attached::Gathering;
use crowd::Crowd;
use locals::Locals;
use proposer::{Ask, Proposer, Wanted};
use reading::Readings;

pub use members::Members;
pub use reading::Missed;

/// Milliseconds until an owner is asked again that cannot append.
const RETRY: Policy = Policy { first_ms: 100, longest_ms: LONGEST_MS };

/// Milliseconds until a room is asked for again of a server that does not own it, or that is not there.
///
/// That passes within a second or so, when lists of servers or verdicts agree again, and clients wait for it; a longer delay would
/// be added to it. All rooms together are bounded by [`Attaches`].
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
pub enum Reply {
    /// The session is in the room, with these.
    Entered(Box<Entered>),
    /// The message is committed.
    Sent { seq: u64, time: u64 },
    /// Messages of the room.
    History { epoch: Epoch, page: HistoryPage },
    /// Names of the room's members.
    Members(Members),
    /// The session is in no room.
    Left,
    /// The owner refused. `enter` says whether the request was one to enter.
    Refused { refusal: Refusal, enter: bool },
    /// Nobody knows yet what came of it, or will: repeat it.
    Unknown { enter: bool, because: Option<Unavailable> },
    /// Too much waits.
    Busy { enter: bool },
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
    pub missed: Option<Missed>,
}

/// What a room wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Act {
    /// Ask the owner.
    Ask(RpcRequest),
    /// Answer a request.
    Answer(Ask, Reply),
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
    pub numbers: &'a mut u64,
    /// What is to be done.
    pub acts: &'a mut Vec<Act>,
    /// Nothing new is proposed now: more is to come.
    pub gathers: bool,
    /// Attaches that all rooms together may ask now.
    pub attaches: &'a mut Attaches,
}

/// Where something stands in the room's log.
#[derive(Debug, Clone, Copy)]
struct When {
    seq: u64,
    time: u64,
}

/// A room with local sessions, or lately so.
#[derive(Debug)]
pub struct Room {
    id: RoomId,
    at: LogPosition,
    state: RoomState,
    /// Who is here for all that local sessions were told.
    crowd: Crowd,
    locals: Locals,
    /// Sessions whose connection broke, and until when they are kept.
    held: BTreeMap<u64, u64>,
    readings: Readings,
    proposer: Proposer,
    attach: Attach,
    gathering: Option<Gathering>,
    empty_since: u64,
    trouble: Option<Unavailable>,
    /// Refusals of the owner, or of the broker for it, since it did something for this room.
    backoff: Backoff,
    /// Repeats of what was not answered since then.
    repeats: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attach {
    /// To be asked, not before this time.
    Wanted(u64),
    /// Asked with this place; asked again at this time.
    Asked(LogPosition, u64),
    /// Asked with this place, and to be asked again when answered: something was lost meanwhile.
    AskedAndAgain(LogPosition, u64),
    Done,
}

impl Room {
    /// A room that nothing is known of.
    pub fn new(id: RoomId, common: &Common, now: u64) -> Self {
        Self {
            id,
            at: LogPosition::default(),
            state: RoomState::default(),
            crowd: Crowd::new(common.large_members),
            locals: Locals::default(),
            held: BTreeMap::new(),
            readings: Readings::default(),
            proposer: Proposer::new(common.incarnation, common.max_waiting),
            attach: Attach::Wanted(0),
            gathering: None,
            empty_since: now,
            trouble: None,
            backoff: Backoff::default(),
            repeats: 0,
        }
    }

    /// A record came, as the answer to a proposal or as news.
    pub fn record(&mut self, epoch: Epoch, position: Position, record: &Record, cx: &mut Context<'_>) {
        if epoch == self.at.epoch && self.at.epoch != Epoch::default() {
            if position <= self.at.position {
                return;
            }
            if record.follows(self.at.position, self.at.id) {
                self.has_answered();
                self.apply(position, record, cx);
                return self.go_on(cx);
            }
        }
        if self.attach == Attach::Done {
            cx.common.metrics.gaps_repaired.add();
            self.attach = Attach::Wanted(cx.now);
        }
        self.go_on(cx);
    }

    /// The newest record of a chat server is here. If what was applied goes further, or another way,
    /// the log does not have it, or another server appended since: its owner says which.
    pub fn owner_is_at(&mut self, place: LogPosition, cx: &mut Context<'_>) {
        let is_behind = place.epoch == self.at.epoch && place.position <= self.at.position && place != self.at;
        if is_behind && self.attach == Attach::Done {
            self.attach = Attach::Wanted(cx.now);
            self.go_on(cx);
        }
    }

    /// Whoever was asked does not own the room now, or nobody was there.
    pub fn not_owner(&mut self, cx: &mut Context<'_>) {
        self.repeats = 0;
        let at = self.backoff.fail(SEARCH, cx.now, cx.chance);
        self.ask_again_at(at);
    }

    /// Another chat server is to be asked from now on.
    pub fn moved(&mut self, cx: &mut Context<'_>) {
        self.has_answered();
        self.ask_again_at(cx.now);
        self.go_on(cx);
    }

    /// The owner did something for this room: what fails next is the first failure.
    fn has_answered(&mut self) {
        self.backoff.reset();
        self.repeats = 0;
    }

    /// Nothing that was asked will be answered: it is asked again at this time.
    fn ask_again_at(&mut self, at: u64) {
        self.attach = Attach::Wanted(at);
        self.proposer.repeat_at(at);
        self.repeat_readings_at(at);
    }

    /// The owner cannot append.
    pub fn unavailable(&mut self, because: Unavailable, cx: &mut Context<'_>) {
        self.trouble = Some(because);
        if because == Unavailable::LogAway {
            self.proposer.cut();
        }
        self.proposer.repeat_at(self.backoff.fail(RETRY, cx.now, cx.chance));
    }

    /// Something that the owner sent was lost, or the owner is another run: read from where we are.
    pub fn attach_again(&mut self, cx: &mut Context<'_>) {
        self.attach = match self.attach {
            Attach::Done => Attach::Wanted(cx.now),
            Attach::Asked(place, at) => Attach::AskedAndAgain(place, at),
            other => other,
        };
        self.go_on(cx);
    }

    /// The connector goes on as another run: the same sessions and proposals, under its name. What
    /// is asked is asked again at once.
    pub fn go_on_as(&mut self, lineage: &Lineage, cx: &mut Context<'_>) {
        lineage.unify_state(&cx.common.me, &mut self.state);
        if let Some(gathering) = &mut self.gathering {
            gathering.unify(lineage, &cx.common.me);
        }
        self.proposer.go_on_as(lineage);
        self.repeats = 0;
        match &mut self.attach {
            Attach::Wanted(at) | Attach::Asked(_, at) | Attach::AskedAndAgain(_, at) => *at = cx.now,
            Attach::Done => {}
        }
        self.proposer.repeat_at(cx.now);
        self.repeat_readings_at(cx.now);
        self.go_on(cx);
    }

    /// Deadlines and repeats. Returns whether the room is to be kept.
    pub fn tick(&mut self, cx: &mut Context<'_>) -> bool {
        self.expire(cx);
        self.expire_readings(cx);
        for session in self.held.iter().filter(|(_, until)| **until <= cx.now).map(|(s, _)| *s).collect::<Vec<_>>() {
            self.close(session, cx);
        }
        self.tick_crowd(cx);
        self.go_on(cx);
        if !self.locals.is_empty() || !self.proposer.is_idle() {
            self.empty_since = cx.now;
            return true;
        }
        let stays = if self.attach == Attach::Done { cx.common.linger_ms } else { ATTACHES_MS };
        if cx.now.saturating_sub(self.empty_since) < stays {
            return true;
        }
        cx.acts.push(Act::Ask(RpcRequest::Detach { room: self.id.clone() }));
        false
    }

    /// Whether time alone changes something here.
    pub fn is_busy(&self) -> bool {
        !self.is_settled() || self.locals.is_empty()
    }

    /// Whether nothing is asked, and nothing is to be told later.
    pub fn is_settled(&self) -> bool {
        let waits = self.crowd.waits() || !self.held.is_empty() || !self.readings.is_empty();
        self.attach == Attach::Done && self.proposer.is_idle() && !waits
    }

    /// Whether it would propose something, were nothing gathered.
    pub fn has_to_propose(&self) -> bool {
        self.attach == Attach::Done && self.proposer.waits()
    }

    /// The methods of the items that wait to be proposed.
    #[cfg(test)]
    pub fn queued(&self) -> Vec<&'static str> {
        self.proposer.queued()
    }

    /// Asks what is to be asked now.
    pub fn go_on(&mut self, cx: &mut Context<'_>) {
        let repeat_at = self.repeat_at(cx);
        self.ask_readings(repeat_at, cx);
        match self.attach {
            Attach::Wanted(at) => {
                self.ask_to_attach(at, repeat_at, cx);
            }
            Attach::Asked(_, at) | Attach::AskedAndAgain(_, at) => {
                self.repeats += u32::from(self.ask_to_attach(at, repeat_at, cx));
            }
            Attach::Done => self.propose(repeat_at, cx),
        }
    }

    /// Asks to attach if it is time, and if this room may do so now: many do not all at once.
    fn ask_to_attach(&mut self, at: u64, repeat_at: u64, cx: &mut Context<'_>) -> bool {
        let is_waited_for = self.proposer.has_clients() || !self.readings.is_empty();
        if at > cx.now || !cx.attaches.take(is_waited_for) {
            return false;
        }
        self.attach = Attach::Asked(self.at, repeat_at);
        cx.acts.push(Act::Ask(RpcRequest::Attach { room: self.id.clone(), at: self.at }));
        true
    }

    /// When a question that is asked now is asked again.
    fn repeat_at(&self, cx: &Context<'_>) -> u64 {
        let policy = Policy { first_ms: cx.common.repeat_ms, longest_ms: LONGEST_MS };
        cx.now + policy.delay(self.repeats, cx.chance)
    }

    fn propose(&mut self, repeat_at: u64, cx: &mut Context<'_>) {
        while let Some(wanted) = self.proposer.take_oversize(cx.common.size_limits) {
            let refused = Reply::Refused { refusal: Refusal::TooLong, enter: false };
            cx.acts.extend(wanted.ask.map(|ask| Act::Answer(ask, refused)));
        }
        let number = self.proposer.next_number(*cx.numbers);
        let has_begun = !cx.gathers && self.proposer.begin(number, self.at.id, cx.common.size_limits).is_some();
        let is_given = has_begun || self.proposer.fence(number, cx.common.size_limits);
        *cx.numbers += u64::from(is_given);
        let Some(head) = self.proposer.head().filter(|head| head.repeat_at <= cx.now) else { return };
        // One that was never asked is none to be repeated.
        self.repeats += u32::from(head.repeat_at > 0);
        let (room, at, (number, items)) = (self.id.clone(), self.at, head.proposal());
        cx.acts.push(Act::Ask(RpcRequest::Propose { room, at, number, items }));
        self.proposer.repeat_at(repeat_at);
    }

    fn expire(&mut self, cx: &mut Context<'_>) {
        for Wanted { item, ask } in self.proposer.expire(cx.now) {
            let Some(ask) = ask else { continue };
            let session = ask.session;
            let enter = matches!(item, Item::Join { .. });
            cx.common.metrics.requests_expired.add();
            cx.acts.push(Act::Answer(ask, Reply::Unknown { enter, because: self.trouble }));
            if enter {
                self.give_up_entering(session, cx);
            } else {
                self.reconcile(session, cx.common);
            }
        }
    }

    /// The client was told that its entering is unknown: unless it is here already, it is not to be.
    fn give_up_entering(&mut self, session: u64, cx: &mut Context<'_>) {
        cx.acts.push(Act::NotEntered(session));
        let is_kept = self.is_kept(session);
        if let Some(local) = self.locals.get_mut(&session) {
            local.wanted = is_kept;
            local.entering = None;
        }
        // Also one that is here: the join that was taken back may have covered that the log has seen it leave.
        self.reconcile(session, cx.common);
    }

    /// Proposes the difference between what the log says of an own session and what is wanted of it.
    fn reconcile(&mut self, session: u64, common: &Common) {
        let in_log = self.state.name_of(&session_id(common, session)).is_some();
        let coming = self.proposer.has_join(session);
        let wanted = self.locals.get(&session).is_some_and(|local| local.wanted);
        match self.locals.get(&session) {
            Some(local) if wanted && !in_log && !coming => {
                self.proposer.rejoin(session, local.name().clone(), local.token.membership(), self.at.id);
            }
            _ if !wanted && (in_log || coming) => self.proposer.leave(session, common.incarnation),
            Some(local) if !wanted && !local.hears => {
                self.locals.remove(&session);
            }
            _ => {}
        }
    }
}

/// The cluster-wide id of a session of this run.
fn session_id(common: &Common, number: u64) -> SessionId {
    SessionId { connector: common.me.clone(), incarnation: common.incarnation, number }
}
