//! One room at a connector: follows its records, tells the local sessions, proposes what they want. Pure.
//!
//! A room is attached before anything is proposed to it. From then on its records are applied along the chain, each
//! once; whatever is missing is read by attaching again. Applying is what tells clients.

mod apply;
pub mod proposer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::ids::{Incarnation, Name, RoomId, ServerId, SessionId};
use shared::metrics::Metrics;
use shared::record::{Epoch, MAX_ENTRIES, Position, Record, Refusal};
use shared::room::{Checkpoint, RoomState};
use shared::rpc::messages::{Item, News, Place, Question, Unavailable};

use proposer::{Ask, Proposer, Wanted};

/// Milliseconds that members of a room whose log was lost have to come back before the others are told that they went.
const SETTLE_MS: u64 = 2_000;

/// Milliseconds until an owner that refused, or was not there, is asked again, at least; half as many more at random.
pub(crate) const BACK_OFF_MS: u64 = 100;

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
    /// Requests that may wait for a room.
    pub max_waiting: usize,
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
}

/// What a client's request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The session is in the room, with these.
    Entered { users: Vec<Name>, seq: u64, time: u64 },
    /// The message is committed.
    Sent { seq: u64, time: u64 },
    /// The session is in no room.
    Left,
    /// The owner refused. `enter` says whether the request was one to enter.
    Refused { refusal: Refusal, enter: bool },
    /// Nobody knows yet what came of it, or will: repeat it.
    Unknown { enter: bool, because: Option<Unavailable> },
    /// Too much waits.
    Busy { enter: bool },
}

/// What a room wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Act {
    /// Ask the owner.
    Ask(Question),
    /// Answer a request.
    Answer(Ask, Reply),
    /// Tell these sessions.
    Push(Vec<u64>, Push),
    /// A session that asked to enter is in.
    Entered(u64),
    /// A session that asked to enter is not in.
    NotEntered(u64),
    /// A session lost its place to another one of its name.
    Displaced(u64),
}

/// What a room is asked to do with, or was told at.
pub struct Context<'a> {
    /// What all rooms have in common.
    pub common: &'a Common,
    /// Milliseconds that only rise.
    pub now: u64,
    /// Milliseconds of chance; spreads what would come at once.
    pub jitter: u64,
    /// The last number given to a proposal of this connector.
    pub numbers: &'a mut u64,
    /// What is to be done.
    pub acts: &'a mut Vec<Act>,
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
    at: Place,
    state: RoomState,
    /// Names that local sessions believe to be here.
    told: BTreeSet<Name>,
    settle_at: Option<u64>,
    locals: BTreeMap<u64, Local>,
    proposer: Proposer,
    attach: Attach,
    empty_since: u64,
    trouble: Option<Unavailable>,
}

/// A local session, as this connector wants it to be.
#[derive(Debug)]
struct Local {
    name: Name,
    /// The session wants to be here; false while its leave is pending.
    wanted: bool,
    /// The client was told that it is here, and hears what happens.
    hears: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attach {
    /// To be asked, not before this time.
    Wanted(u64),
    /// Asked with this place; asked again at this time.
    Asked(Place, u64),
    /// Asked with this place, and to be asked again when answered: something was lost meanwhile.
    AskedAndAgain(Place, u64),
    Done,
}

impl Room {
    /// A room that nothing is known of.
    pub fn new(id: RoomId, common: &Common, now: u64) -> Self {
        Self {
            id,
            at: Place::default(),
            state: RoomState::default(),
            told: BTreeSet::new(),
            settle_at: None,
            locals: BTreeMap::new(),
            proposer: Proposer::new(common.incarnation, common.max_waiting),
            attach: Attach::Wanted(0),
            empty_since: now,
            trouble: None,
        }
    }

    /// A session wants to enter under a name.
    pub fn enter(&mut self, name: Name, ask: Ask, cx: &mut Context<'_>) {
        let session = ask.session;
        let wanted = Wanted { item: Item::Join { session, name: name.clone() }, ask: Some(ask.clone()) };
        if self.proposer.request(wanted).is_err() {
            cx.acts.push(Act::Answer(ask, Reply::Busy { enter: true }));
            cx.acts.push(Act::NotEntered(session));
            return;
        }
        self.locals.entry(session).or_insert(Local { name, wanted: true, hears: false }).wanted = true;
        self.go_on(cx);
    }

    /// A session speaks; `body` is its JSON, unread.
    pub fn send(&mut self, body: Vec<u8>, ask: Ask, cx: &mut Context<'_>) {
        let item = Item::Send { session: ask.session, body };
        self.request(item, ask, cx);
    }

    /// A session asks to leave.
    pub fn leave(&mut self, ask: Ask, cx: &mut Context<'_>) {
        let item = Item::Leave { session: ask.session, incarnation: cx.common.incarnation };
        if let Some(local) = self.locals.get_mut(&ask.session) {
            local.wanted = false;
        }
        self.request(item, ask, cx);
    }

    fn request(&mut self, item: Item, ask: Ask, cx: &mut Context<'_>) {
        if self.proposer.request(Wanted { item, ask: Some(ask.clone()) }).is_err() {
            self.reconcile(ask.session, cx.common);
            cx.acts.push(Act::Answer(ask, Reply::Busy { enter: false }));
        }
        self.go_on(cx);
    }

    /// A session is gone, or in another room: nobody waits for an answer.
    pub fn close(&mut self, session: u64, cx: &mut Context<'_>) {
        let Some(local) = self.locals.get_mut(&session) else { return };
        local.wanted = false;
        local.hears = false;
        self.proposer.withdraw_join(session);
        self.reconcile(session, cx.common);
        self.go_on(cx);
    }

    /// A record came, as the answer to a proposal or as news.
    pub fn record(&mut self, epoch: Epoch, position: Position, record: &Record, cx: &mut Context<'_>) {
        if epoch == self.at.epoch && self.at.epoch != Epoch::default() {
            if position <= self.at.position {
                return;
            }
            if record.prev == self.at.position {
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

    /// The owner answered an attach, or a proposal that it had committed before. The answer must be newer than all that
    /// the owner was heard to say.
    pub fn attached(&mut self, asked: Place, now: Place, news: News, cx: &mut Context<'_>) {
        self.trouble = None;
        let complete = match news {
            News::Since { records, more } => self.catch_up(asked, now, &records, cx) && !more,
            News::State(checkpoint) => self.take_state(asked, now, &checkpoint, cx),
        };
        self.attach = match self.attach {
            Attach::Asked(place, _) if place == asked && complete => Attach::Done,
            Attach::Asked(place, _) | Attach::AskedAndAgain(place, _) if place == asked => Attach::Wanted(cx.now),
            // Nobody asked: the owner says so to a proposal that it committed before. It is followed all the same.
            Attach::Done if !complete => Attach::Wanted(cx.now),
            other => other,
        };
        // What was in flight may have been lost with what was missing.
        self.proposer.repeat_at(cx.now);
        self.go_on(cx);
    }

    /// Whoever was asked does not own the room now, or nobody was there.
    pub fn not_owner(&mut self, cx: &mut Context<'_>) {
        let later = cx.now + BACK_OFF_MS + cx.jitter;
        self.attach = Attach::Wanted(later);
        self.proposer.repeat_at(later);
    }

    /// The owner cannot append.
    pub fn unavailable(&mut self, because: Unavailable, cx: &mut Context<'_>) {
        self.trouble = Some(because);
        self.proposer.repeat_at(cx.now + BACK_OFF_MS + cx.jitter);
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

    /// Deadlines and repeats. Returns whether the room is to be kept.
    pub fn tick(&mut self, cx: &mut Context<'_>) -> bool {
        self.expire(cx);
        self.settle(cx);
        self.go_on(cx);
        if !self.locals.is_empty() || !self.proposer.is_idle() {
            self.empty_since = cx.now;
            return true;
        }
        if cx.now.saturating_sub(self.empty_since) < cx.common.linger_ms {
            return true;
        }
        cx.acts.push(Act::Ask(Question::Detach { room: self.id.clone() }));
        false
    }

    /// Whether time alone changes something here.
    pub fn is_busy(&self) -> bool {
        self.attach != Attach::Done || !self.proposer.is_idle() || self.settle_at.is_some() || self.locals.is_empty()
    }

    /// Whether nothing is asked, and nothing is to be told later.
    pub fn is_settled(&self) -> bool {
        self.attach == Attach::Done && self.proposer.is_idle() && self.settle_at.is_none()
    }

    /// How far the room's log was read.
    pub fn place(&self) -> Place {
        self.at
    }

    /// Asks what is to be asked now.
    fn go_on(&mut self, cx: &mut Context<'_>) {
        let repeat_at = cx.now + cx.common.repeat_ms + cx.jitter;
        let room = &self.id;
        match self.attach {
            Attach::Wanted(at) | Attach::Asked(_, at) | Attach::AskedAndAgain(_, at) if at <= cx.now => {
                self.attach = Attach::Asked(self.at, repeat_at);
                cx.acts.push(Act::Ask(Question::Attach { room: room.clone(), at: self.at }));
            }
            Attach::Wanted(_) | Attach::Asked(..) | Attach::AskedAndAgain(..) => {}
            Attach::Done => self.propose(repeat_at, cx),
        }
    }

    fn propose(&mut self, repeat_at: u64, cx: &mut Context<'_>) {
        if self.proposer.begin(*cx.numbers + 1).is_some() {
            *cx.numbers += 1;
        }
        let Some(head) = self.proposer.head().filter(|head| head.repeat_at <= cx.now) else { return };
        let items = head.wanted.iter().map(|w| w.item.clone()).collect();
        let (room, at, number) = (self.id.clone(), self.at, head.number);
        cx.acts.push(Act::Ask(Question::Propose { room, at, number, items }));
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
        if let Some(local) = self.locals.get_mut(&session)
            && !local.hears
        {
            local.wanted = false;
            self.reconcile(session, cx.common);
        }
    }

    /// Proposes the difference between what the log says of an own session and what is wanted of it.
    fn reconcile(&mut self, session: u64, common: &Common) {
        let in_log = self.state.name_of(&session_id(common, session)).is_some();
        let coming = self.proposer.has_join(session);
        let wanted = self.locals.get(&session).is_some_and(|local| local.wanted);
        match self.locals.get(&session) {
            Some(local) if wanted && !in_log && !coming => self.proposer.rejoin(session, local.name.clone()),
            _ if !wanted && (in_log || coming) => self.proposer.leave(session, common.incarnation),
            Some(local) if !wanted && !local.hears => {
                self.locals.remove(&session);
            }
            _ => {}
        }
    }

    fn settle(&mut self, cx: &mut Context<'_>) {
        if self.settle_at.is_some_and(|at| at <= cx.now) {
            self.tell_difference(cx);
        }
    }

    /// Tells the sessions who came and went while the records were not seen.
    fn tell_difference(&mut self, cx: &mut Context<'_>) {
        self.settle_at = None;
        // Local sessions that are on their way back never went, for all that anybody here was told.
        let back = self.locals.values().filter(|local| local.wanted && local.hears).map(|local| &local.name);
        let here: BTreeSet<Name> = self.state.members().keys().chain(back).cloned().collect();
        let told = std::mem::replace(&mut self.told, here);
        let hearing = self.hearing(None);
        if hearing.is_empty() {
            return;
        }
        for name in told.difference(&self.told) {
            cx.acts.push(Act::Push(hearing.clone(), Push::Leave { name: name.clone() }));
        }
        for name in self.told.difference(&told) {
            cx.acts.push(Act::Push(hearing.clone(), Push::Add { name: name.clone() }));
        }
    }

    /// Sessions that hear what happens, but for one.
    fn hearing(&self, but: Option<u64>) -> Vec<u64> {
        let hears = |(number, local): (&u64, &Local)| (local.hears && Some(*number) != but).then_some(*number);
        self.locals.iter().filter_map(hears).collect()
    }

    /// Applies the records of an answer; false if they did not lead to where the owner is.
    fn catch_up(
        &mut self,
        asked: Place,
        now: Place,
        records: &[(Position, Arc<Record>)],
        cx: &mut Context<'_>,
    ) -> bool {
        if now.epoch != self.at.epoch {
            if asked != self.at {
                return false;
            }
            // Another log: the answer has all of it.
            cx.common.metrics.states_taken.add();
            self.start_over(Place { epoch: now.epoch, position: Position::NONE }, RoomState::default(), cx);
        }
        for (position, record) in records {
            if *position > self.at.position && record.prev == self.at.position {
                self.apply(*position, record, cx);
            }
        }
        self.at.position >= now.position
    }

    /// Takes the state instead of the records between, unless records went on meanwhile.
    fn take_state(&mut self, asked: Place, now: Place, checkpoint: &Checkpoint, cx: &mut Context<'_>) -> bool {
        if asked != self.at {
            return false;
        }
        cx.common.metrics.states_taken.add();
        self.start_over(now, RoomState::from(checkpoint), cx);
        true
    }

    fn start_over(&mut self, now: Place, state: RoomState, cx: &mut Context<'_>) {
        let lost = self.at.epoch != now.epoch && self.at.epoch != Epoch::default();
        self.at = now;
        self.state = state;
        self.head_after_state(lost, cx);
        let of_log = self.state.members().values().filter(|s| s.connector == cx.common.me).cloned().collect::<Vec<_>>();
        for session in of_log {
            self.reconcile_run(session.number, session.incarnation, cx.common);
        }
        for number in self.locals.keys().copied().collect::<Vec<_>>() {
            self.reconcile(number, cx.common);
        }
        if lost {
            self.settle_at = Some(cx.now + SETTLE_MS);
        } else {
            self.tell_difference(cx);
        }
    }

    /// What the state says of the proposal in flight.
    fn head_after_state(&mut self, lost: bool, cx: &mut Context<'_>) {
        let last = self.state.last_proposal(&cx.common.me).filter(|last| last.incarnation == cx.common.incarnation);
        let done = last.and_then(|last| self.proposer.committed(last.number));
        for wanted in done.into_iter().flatten() {
            self.answer_unseen(wanted, cx);
        }
        if lost {
            self.proposer.take_head_back();
        }
    }

    /// Answers for an item that was decided in a record that cannot be seen any more.
    fn answer_unseen(&mut self, Wanted { item, ask }: Wanted, cx: &mut Context<'_>) {
        let Some(ask) = ask else { return };
        let session = session_id(cx.common, ask.session);
        match item {
            Item::Join { .. } if self.state.name_of(&session).is_some() => {
                let when = When { seq: self.at.position.seq(MAX_ENTRIES - 1), time: self.state.time() };
                self.entered(ask, when, cx);
            }
            Item::Join { .. } => {
                let number = ask.session;
                cx.acts.push(Act::Answer(ask, Reply::Unknown { enter: true, because: None }));
                self.give_up_entering(number, cx);
            }
            Item::Leave { .. } if self.state.name_of(&session).is_none() => cx.acts.push(Act::Answer(ask, Reply::Left)),
            Item::Leave { .. } | Item::Send { .. } => {
                cx.acts.push(Act::Answer(ask, Reply::Unknown { enter: false, because: None }));
            }
        }
    }

    /// A session is in: it is told with whom.
    fn entered(&mut self, ask: Ask, When { seq, time }: When, cx: &mut Context<'_>) {
        if let Some(local) = self.locals.get_mut(&ask.session) {
            local.hears = local.wanted;
        }
        let number = ask.session;
        let users = self.told.iter().cloned().collect();
        // In this order: who reads the answer may at once send what only those may who are in.
        cx.acts.push(Act::Entered(number));
        cx.acts.push(Act::Answer(ask, Reply::Entered { users, seq, time }));
    }
}

/// The cluster-wide id of a session of this run.
fn session_id(common: &Common, number: u64) -> SessionId {
    SessionId { connector: common.me.clone(), incarnation: common.incarnation, number }
}
