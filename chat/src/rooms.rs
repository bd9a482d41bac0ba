//! Every room of a chat server, and its links to connectors. Pure: messages and results in, sends and log operations out.

mod homes;
mod incarnations;
mod leaving;
mod links;
mod readers;
mod rival;
mod senders;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use shared::allowed_senders::AllowedSenders;
use shared::config::{Servers, Settings};
use shared::ids::{Incarnation, RoomId, ServerId};
use shared::lineage::Lineage;
use shared::metrics::Metrics;
use shared::placement::Router;
use shared::record::{RecordIds, SharedRecord};
use shared::rpc::messages::{FromConnector, RpcRequest, RpcResponse};
use shared::rpc::{self, RpcError, Trace};
use shared::size_limits::SizeLimits;
use tracing::debug;

use crate::decide::{Author, Judge};
use crate::gone::Gone;
use crate::history::Reader;
use crate::homes::Homes;
use crate::owner::{Act, Asker, Attach, LogDone, LogOp, Now, Owner, Proposal, Viewing};
use incarnations::Sender;
use rival::Claim;

/// Milliseconds of silence after which a connector follows nothing any more; its next message finds a number missing,
/// and it attaches again.
const SILENCE_MS: u64 = 30_000;

/// Questions for messages that are answered at once; what comes above is dropped, and asked again.
const MAX_READERS: usize = 256;

/// Questions that wait for a look at a home; what comes above is dropped, and asked again.
const MAX_WAITING: usize = 4_096;

/// Milliseconds between two looks at every room.
const SWEEP_MS: u64 = 5_000;

/// The rooms of one chat server.
#[derive(Debug)]
pub struct Rooms {
    me: ServerId,
    /// The incarnation that it started with, and the one that it has.
    start: Incarnation,
    incarnation: Incarnation,
    router: Router,
    servers: Arc<Servers>,
    senders: AllowedSenders,
    judge: Arc<Judge>,
    metrics: Arc<Metrics>,
    forget_ms: u64,
    lease_secs: u32,
    // Ordered: what happens must depend on nothing but the inputs, or no run of a simulation could be repeated.
    owners: BTreeMap<RoomId, Owner>,
    /// Owners that were made in this run.
    owners_made: u64,
    /// Rooms that wait for a time to try again.
    restless: BTreeSet<RoomId>,
    /// Rooms that wait, and whose log cannot be used.
    unusable: BTreeSet<RoomId>,
    swept_at: u64,
    links: BTreeMap<ServerId, Link>,
    /// What the links say of who is gone.
    gone: Arc<Gone>,
    readers: BTreeMap<u64, Reader>,
    reader: u64,
    homes: Homes,
    /// Rooms of others in which this server appends, or did lately.
    stand_ins: BTreeSet<RoomId>,
    /// Owners do not all know yet what is new about connectors.
    has_news: bool,
    /// Questions about rooms of others, until it is known whether their homes live.
    waiting: Vec<(Asker, Incarnation, RpcRequest)>,
    /// The log refuses whoever does not know its end: another server may stand in for a room's home.
    is_fenced: bool,
    is_leaving: bool,
    /// Another process with this server's id started later: this one is silent.
    yields: bool,
    /// Records appended since this run began.
    records: u64,
    acts: Vec<Act>,
    effects: Vec<Effect>,
}

/// Which chat server it is, and among whom.
#[derive(Debug)]
pub struct Identity {
    /// The server.
    pub me: ServerId,
    /// Which run of it.
    pub incarnation: Incarnation,
    /// All servers, to tell whose room is whose.
    pub servers: Arc<Servers>,
    /// All chat servers append to one log. Else each has its own, and a room waits for its home.
    pub is_fenced: bool,
}

/// A message of a connector, as it came.
#[derive(Debug)]
pub struct Heard<'a> {
    /// The encoded message.
    pub body: &'a [u8],
    /// Where its answer goes.
    pub reply: Option<String>,
    /// A signature proves its sender, and thereby its count. Without one it is taken as it comes: a forged count must not keep its sender's own
    /// messages out.
    pub is_proven: bool,
    /// The client request behind it.
    pub trace: Trace,
}

/// What is known of a connector.
#[derive(Debug, Default)]
struct Link {
    runs: Lineage,
    /// Earlier runs that were accepted, and are not continued by the present one.
    former: VecDeque<Incarnation>,
    /// The highest counts of the present run's signed messages, and of its signed heartbeats.
    counted: u64,
    beaten: u64,
    /// A heartbeat of the present run named this server's incarnation.
    accepts_us: bool,
    /// The word of its heartbeats on a later run of this server.
    claim: Option<Claim>,
    /// Number of the last message to it. It rises also for what could not be sent, so that the loss is noticed.
    number: u64,
    heard_at: u64,
    /// Ticks of the message before that of the present run; none for its first one.
    heard_before: Option<u64>,
    silent: bool,
    /// Seconds in which it could have been heard and was not.
    silence: u32,
}

/// Something to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send to a connector: as the answer to a question, or as news.
    Send(Send),
    /// Do this in the log, and bring the result to [`Rooms::done`].
    Log { room: RoomId, asker: LogAsker, op: LogOp },
    /// Ask whether this chat server is there, and bring the answer to [`Rooms::found`].
    Probe(ServerId),
    /// Look at `servers.json`: a server spoke that it did not have.
    Doubt,
}

/// For whom a log operation is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogAsker {
    /// The room's owner.
    Owner,
    /// The question for messages with this number.
    Reader(u64),
}

/// A message to a connector.
#[derive(Debug, PartialEq, Eq)]
pub struct Send {
    /// Who gets it.
    pub connector: ServerId,
    /// The subject that its question named, one of its own; none for news.
    pub reply: Option<String>,
    /// For the `Method` header.
    pub method: &'static str,
    /// For the `Room` header.
    pub room: Option<RoomId>,
    /// For the `traceparent` header.
    pub trace: Trace,
    /// The encoded message.
    pub body: Bytes,
    /// The record that it ends with, for its signature.
    pub record: Option<SharedRecord>,
}

impl Rooms {
    /// No rooms yet.
    pub fn new(identity: Identity, settings: &Settings, size_limits: SizeLimits, metrics: Arc<Metrics>) -> Self {
        let Identity { me, incarnation, servers, is_fenced } = identity;
        let lease_secs = settings.room.lease_secs;
        Self {
            router: Router::default(),
            senders: AllowedSenders::new(&servers, u64::from(lease_secs) * 1_000),
            servers,
            me,
            start: incarnation,
            incarnation,
            judge: Arc::new(Judge::new(settings, size_limits)),
            metrics,
            forget_ms: u64::from(settings.room.forget_secs) * 1_000,
            lease_secs,
            owners: BTreeMap::new(),
            owners_made: 0,
            restless: BTreeSet::new(),
            unusable: BTreeSet::new(),
            swept_at: 0,
            links: BTreeMap::new(),
            gone: Arc::default(),
            readers: BTreeMap::new(),
            reader: 0,
            homes: Homes::default(),
            stand_ins: BTreeSet::new(),
            has_news: false,
            waiting: Vec::new(),
            is_fenced,
            is_leaving: false,
            yields: false,
            records: 0,
            acts: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// The broker takes messages of this size from now on. A record in flight that is too large fails, and is decided anew.
    pub fn set_size_limits(&mut self, size_limits: SizeLimits) {
        if self.judge.size_limits() != size_limits {
            self.judge = Arc::new(self.judge.with_size_limits(size_limits));
        }
    }

    /// Takes a message of a connector.
    ///
    /// # Errors
    /// If the bytes are not such a message; nothing has changed then.
    pub fn message(&mut self, heard: Heard<'_>, now: Now) -> Result<Vec<Effect>, RpcError> {
        let message: FromConnector = rpc::decode(heard.body)?;
        if !self.admits(&message, heard.reply.as_deref(), now.ticks) {
            return Ok(self.take_effects());
        }
        let FromConnector { connector, incarnation, continues, count, known, question, .. } = message;
        if question == RpcRequest::Probe {
            self.answer_probe(connector, heard.reply, heard.trace, now);
            return Ok(self.take_effects());
        }
        let count = heard.is_proven.then_some(count);
        match self.hear(&connector, Lineage::claimed(incarnation, continues), (count, &question), now.ticks) {
            Sender::Accepted => {
                known.into_iter().for_each(|known| self.hear_of_itself(&connector, known, now.ticks));
                let asker = Asker { connector, reply: heard.reply.unwrap_or_default(), trace: heard.trace };
                self.question(asker, incarnation, question, now);
                self.expel(now);
            }
            Sender::Repeated => {
                debug!(%connector, ?count, "a copy of a connector's message, or one that was overtaken, was ignored")
            }
            Sender::Stale(known) => self.answer_stale((connector, heard.reply, heard.trace), known),
            Sender::Unclear => {}
            Sender::Implausible => self.refuse(&connector, incarnation),
        }
        Ok(self.take_effects())
    }

    fn question(&mut self, asker: Asker, incarnation: Incarnation, question: RpcRequest, now: Now) {
        if self.yields {
            // The other process answers.
            return;
        }
        if self.is_leaving {
            return self.send_elsewhere(asker, &question, now);
        }
        let is_another = question.room().is_some_and(|room| !self.may_own(room));
        if is_another && !matches!(question, RpcRequest::Detach { .. }) {
            self.ask_home(asker, incarnation, question, now);
        } else {
            self.accept(asker, incarnation, question, now);
        }
    }

    fn accept(&mut self, asker: Asker, incarnation: Incarnation, question: RpcRequest, now: Now) {
        match question {
            RpcRequest::Heartbeat | RpcRequest::Probe => self.answer_heartbeat(asker, RpcResponse::Alive, now),
            RpcRequest::Detach { room } => {
                if let Some(owner) = self.owners.get_mut(&room) {
                    owner.detach(&asker.connector);
                }
            }
            RpcRequest::Attach { room, at } => {
                self.with_owner(&room, |owner, acts| owner.attach(Attach { asker, incarnation, at }, now, acts));
            }
            RpcRequest::History { room, number, session, wanted } => {
                let viewing = Viewing { asker, incarnation, number, session, wanted };
                self.with_owner(&room, |owner, acts| owner.view(viewing, now, acts));
            }
            RpcRequest::Propose { room, at, number, items } => {
                let author = Author { connector: asker.connector.clone(), incarnation };
                let proposal = Proposal { asker, author, at, number, items };
                self.with_owner(&room, |owner, acts| owner.propose(proposal, now, acts));
            }
        }
    }

    /// Takes the result of a log operation.
    pub fn done(&mut self, room: &RoomId, asker: LogAsker, done: LogDone, now: Now) -> Vec<Effect> {
        if matches!(done, LogDone::Append(Ok(_))) {
            self.records += 1;
        }
        match asker {
            LogAsker::Owner => self.with_owner(room, |owner, acts| owner.done(done, now, acts)),
            LogAsker::Reader(number) => self.has_read(number, done),
        }
        self.take_effects()
    }

    /// The connection to the log was made anew, or the log is another one: every room starts from what it says.
    ///
    /// A connector may have missed anything, and may have said that it follows no longer: none follows until it attaches
    /// again, which a missing number makes it do.
    pub fn start_over(&mut self, now: Now) -> Vec<Effect> {
        self.links.values_mut().for_each(|link| link.number += 1);
        self.with_all(|owner, acts| {
            owner.start_over(now);
            owner.tick(now, acts);
        });
        self.take_effects()
    }

    /// To be called a few times a second: tries again what failed, and now and then forgets what nobody needs.
    pub fn tick(&mut self, now: Now) -> Vec<Effect> {
        if now.ticks.saturating_sub(self.swept_at) >= SWEEP_MS {
            self.swept_at = now.ticks;
            self.sweep(now);
        }
        self.look_for_rivals(now);
        self.look_at_stand_ins(now);
        for room in std::mem::take(&mut self.restless) {
            self.with_owner(&room, |owner, acts| owner.tick(now, acts));
        }
        self.take_effects()
    }

    /// Looks at every room, so it is not done often.
    fn sweep(&mut self, now: Now) {
        self.forget_silent(now.ticks);
        let forget_ms = self.forget_ms;
        self.owners.retain(|_, owner| !owner.is_forgettable(now, forget_ms));
        self.unusable.retain(|room| self.owners.contains_key(room));
        self.with_all(|owner, acts| owner.look_after(now, acts));
    }

    /// Connectors that are known, those that were silent for long among them.
    pub fn connectors(&self) -> usize {
        self.links.len()
    }

    /// Rooms whose state is in memory.
    pub fn count(&self) -> usize {
        self.owners.len()
    }

    /// Rooms that wait, and whose log cannot be used.
    pub fn unusable(&self) -> usize {
        self.unusable.len()
    }

    fn take_effects(&mut self) -> Vec<Effect> {
        let mut effects = std::mem::take(&mut self.effects);
        if self.yields {
            effects.retain(|effect| !matches!(effect, Effect::Send(_)));
        }
        effects
    }

    fn with_all(&mut self, action: impl Fn(&mut Owner, &mut Vec<Act>)) {
        for room in self.owners.keys().cloned().collect::<Vec<_>>() {
            self.with_owner(&room, &action);
        }
    }

    fn with_owner(&mut self, room: &RoomId, action: impl FnOnce(&mut Owner, &mut Vec<Act>)) {
        let mut acts = std::mem::take(&mut self.acts);
        let owner = self.owners.entry(room.clone()).or_insert_with(|| {
            self.owners_made += 1;
            let ids = RecordIds::new(&self.me, self.incarnation, self.owners_made);
            Owner::new(self.me.clone(), room.clone(), ids, self.judge.clone(), self.metrics.clone())
        });
        owner.learn(&self.gone);
        owner.judge_with(&self.judge);
        action(owner, &mut acts);
        if owner.is_restless() {
            self.restless.insert(room.clone());
        }
        if owner.is_unusable() {
            self.unusable.insert(room.clone());
        } else {
            self.unusable.remove(room);
        }
        for act in acts.drain(..) {
            self.perform(room, act);
        }
        self.acts = acts;
    }

    fn perform(&mut self, room: &RoomId, act: Act) {
        match act {
            Act::Answer(asker, answer) => self.answer(asker, &answer),
            Act::Tell(connector, answer, trace) => self.send(connector, None, trace, &answer),
            Act::Read(viewing) => self.read(Reader::new(room.clone(), viewing, self.judge.size_limits())),
            Act::Log(op) => self.effects.push(Effect::Log { room: room.clone(), asker: LogAsker::Owner, op }),
        }
    }
}
