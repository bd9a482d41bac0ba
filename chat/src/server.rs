//! The edge of a chat server: one task that moves messages and log results into [`Rooms`] and its effects out.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{FutureExt, Stream, StreamExt};
use shared::bus::{self, Bus, BusError, Message, Outgoing, Subscription};
use shared::clock;
use shared::fault;
use shared::health::{Check, Depth, NOT_ALONE, Queues};
use shared::ids::{RoomId, ServerId};
use shared::log_limit::LogLimit;
use shared::metrics::{Metrics, Share};
use shared::node::Node;
use shared::record::{Epoch, Position};
use shared::rpc::messages::{Answer, FromChat, FromConnector};
use shared::rpc::{self, Label, RpcError, Trace, header};
use shared::signing::{Admission, Sender, Signer};
use shared::subjects;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

use crate::log::writable::Writable;
use crate::log::{AppendError, Log, Look, ReadError, Sight};
use crate::operations::{IN_FLIGHT, Operations, questions};
use crate::owner::{LogDone, LogOp, Now};
use crate::rooms::{Effect, Heard, Identity, LogAsker, Rooms, Send};

/// Time between two looks at what is to be tried again or forgotten.
const TICK: Duration = Duration::from_millis(200);

/// Time between two checks that this server can hear at all; silence of others counts only where it can.
const LISTEN: Duration = Duration::from_secs(1);

/// Time between two looks whether the log is still the same one. A new connection is a reason of its own.
const LOOK: Duration = Duration::from_secs(3);

/// Questions taken at once, at most: their records are appended together.
const QUESTIONS: usize = 256;

/// Log operations that wait because the log is too slow for what is asked.
const MANY_OPERATIONS: usize = 4 * IN_FLIGHT;

/// A running chat server's parts.
pub struct Chat {
    id: ServerId,
    node: Node,
    log: Log,
    rooms: Rooms,
    signer: Signer,
    view: String,
    started: Instant,
    running: FuturesUnordered<BoxFuture<'static, (Asked, LogDone)>>,
    operations: Operations<(RoomId, LogAsker)>,
    probes: FuturesUnordered<BoxFuture<'static, (ServerId, bool)>>,
    /// The log as it was found last.
    epoch: Option<Epoch>,
    writable: Writable,
    /// An append that is to show that the log takes records again; one at most, with its bytes.
    proofs: FuturesUnordered<BoxFuture<'static, (usize, Result<Position, AppendError>)>>,
    queues: Queues,
    figures: Figures,
    /// It hands its rooms over, and until when it is there for those who did not hear of it.
    leaving: Option<Instant>,
}

/// What a chat server has of the process's levels; gone with it.
struct Figures {
    rooms: Share,
    questions: Share,
    operations: Share,
}

impl Figures {
    fn new(metrics: &Metrics) -> Self {
        Self {
            rooms: metrics.rooms_known.share(),
            questions: metrics.queue_bus_messages.share(),
            operations: metrics.queue_log_operations.share(),
        }
    }
}

/// Who asked for a log operation.
struct Asked {
    room: RoomId,
    asker: LogAsker,
    questions: usize,
    /// Of the record that is appended.
    bytes: usize,
}

impl Chat {
    /// Starts the chat server `id`: when this returns, it answers on its subject.
    ///
    /// # Errors
    /// If the bus does not take the subscription.
    pub async fn start(id: ServerId, node: Node, log: Log) -> Result<(), BusError> {
        let subject = subjects::chat(&id);
        let questions = node.bus.subscribe(&subject, node.settings.rpc.subscription_queue).await?;
        let identity = Identity {
            me: id.clone(),
            incarnation: clock::incarnation(),
            servers: node.roster.now(),
            is_fenced: log.is_shared() || node.bus.nats_client().is_none(),
        };
        let chat = Self {
            rooms: Rooms::new(identity, &node.settings, node.budget(), node.metrics.clone()),
            signer: Signer::new(&id, &node),
            view: node.roster.now().view_hash(),
            started: Instant::now(),
            running: FuturesUnordered::new(),
            operations: Operations::default(),
            probes: FuturesUnordered::new(),
            epoch: None,
            writable: Writable::default(),
            proofs: FuturesUnordered::new(),
            queues: Queues::default(),
            figures: Figures::new(&node.metrics),
            leaving: None,
            log,
            node: node.clone(),
            id,
        };
        chat.node.health.set(Check::Log, chat.writable.fault());
        info!(server = %chat.id, subject, "chat server ready");
        node.lifecycle.spawn_main(chat.run(questions));
        Ok(())
    }

    async fn run(mut self, mut questions: Subscription) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let looks = looks(self.log.clone());
        tokio::pin!(looks);
        let hearing = hearing(self.node.bus.clone(), self.node.metrics.clone());
        tokio::pin!(hearing);
        let mut roster = self.node.roster.clone();
        let mut connection = self.node.bus.connection();
        let mut generation = connection.borrow_and_update().generation;
        let stopping = self.node.lifecycle.stopping();
        tokio::pin!(stopping);
        let draining = self.node.lifecycle.draining();
        tokio::pin!(draining);
        loop {
            self.rooms.set_budget(self.node.budget());
            tokio::select! {
                () = &mut stopping => break,
                () = &mut draining, if self.leaving.is_none() => self.leave(),
                Some((asked, done)) = self.running.next() => {
                    self.done(&asked, done);
                    // What else is done by now: answers that are sent together are read together.
                    for _ in 0..IN_FLIGHT {
                        let Some((asked, done)) = self.running.next().now_or_never().flatten() else { break };
                        self.done(&asked, done);
                    }
                }
                Some((home, is_alive)) = self.probes.next() => {
                    let effects = self.rooms.found(&home, is_alive, self.now());
                    self.perform(effects);
                }
                servers = roster.changed() => {
                    self.view = servers.view_hash();
                    let effects = self.rooms.set_servers(servers, self.now());
                    self.perform(effects);
                }
                made = bus::made_anew(&mut connection, generation) => {
                    generation = made;
                    self.start_over();
                }
                message = questions.next() => {
                    let Some(message) = message else { break };
                    self.message(&message);
                    for message in iter::from_fn(|| questions.try_next()).take(QUESTIONS) {
                        self.message(&message);
                    }
                }
                Some(found) = looks.next() => self.found(found),
                Some((bytes, proof)) = self.proofs.next() => self.writable.appended(&proof, bytes, Instant::now()),
                Some(()) = hearing.next() => {
                    let effects = self.rooms.listened(self.now());
                    self.perform(effects);
                }
                _ = tick.tick() => {
                    let effects = self.rooms.tick(self.now());
                    self.perform(effects);
                    self.has_left();
                    self.prove();
                    self.check(questions.waiting());
                }
            }
        }
        self.finish(&mut questions).await;
    }

    /// What was asked before the stop is decided, committed and answered. Connectors stop first, so nothing new comes.
    async fn finish(&mut self, questions: &mut Subscription) {
        loop {
            while let Some(message) = questions.try_next() {
                self.message(&message);
            }
            match self.running.next().await {
                Some((asked, done)) => self.done(&asked, done),
                None => break,
            }
        }
        info!(server = %self.id, "chat server stopped");
    }

    /// Notes whether this server is ready for work.
    fn check(&mut self, questions: Option<usize>) {
        let Node { health, metrics, settings, .. } = &self.node;
        let questions = questions.unwrap_or_default();
        self.figures.rooms.set(self.rooms.count());
        self.figures.questions.set(questions);
        self.figures.operations.set(self.operations.waiting());
        let questions = Depth::within(settings.rpc.subscription_queue, "questions", questions);
        let operations = Depth { of: "log operations", waiting: self.operations.waiting(), mark: MANY_OPERATIONS };
        let fault = self.queues.look(metrics.dropped_for_room(), &[questions, operations], Instant::now());
        health.set(Check::Queues, fault);
        health.set(Check::Log, self.writable.fault().or_else(|| unusable(self.rooms.unusable())));
        health.set(Check::Identity, self.rooms.yields().then_some(NOT_ALONE));
        health.beat();
        self.node.examine(&self.id);
    }

    /// Appends a message of no room if the log failed and no room tries it. A later process that has
    /// this server's id does so itself.
    fn prove(&mut self) {
        let bytes = self.writable.wants_proof(Instant::now());
        let Some(bytes) = bytes.filter(|_| self.proofs.is_empty() && !self.rooms.yields()) else { return };
        let log = self.log.clone();
        self.proofs.push(Box::pin(async move { (bytes, log.prove(bytes).await) }));
    }

    fn now(&self) -> Now {
        let ticks = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { ticks, wall_ms: clock::now_ms() }
    }

    fn message(&mut self, message: &Message) {
        if rpc::is_json(&message.payload) {
            return ignored(&self.id, message, &RpcError::Json, &self.node.metrics);
        }
        let admission = self.signer.admit(Sender::Connector, message);
        if admission == Admission::Dropped {
            return;
        }
        fault::point(self.id.as_str(), &message.payload);
        let began = Instant::now();
        let trace = Trace::from_header(message.headers.get(header::TRACEPARENT));
        debug!(%trace, method = message.headers.get(header::METHOD), "question");
        if message.headers.get(header::VIEW).is_some_and(|view| view != self.view) {
            self.node.roster.doubt();
        }
        let is_proven = admission == Admission::Signed;
        let heard = Heard { body: &message.payload, reply: message.reply.clone(), is_proven, trace };
        match self.rooms.message(heard, self.now()) {
            Ok(effects) => self.perform(effects),
            Err(error) => ignored(&self.id, message, &error, &self.node.metrics),
        }
        self.node.metrics.stage_seconds.room.add(began.elapsed());
    }

    fn done(&mut self, Asked { room, asker, questions, bytes }: &Asked, done: LogDone) {
        let (began, is_append) = (Instant::now(), matches!(done, LogDone::Append(_)));
        if let LogDone::Append(result) = &done {
            self.writable.appended(result, *bytes, Instant::now());
        }
        let effects = self.rooms.done(room, *asker, done, self.now());
        self.perform(effects);
        if is_append {
            self.node.metrics.stage_seconds.room.add(began.elapsed());
        }
        self.operations.end(*questions);
        self.operate();
    }

    fn found(&mut self, log: Result<Look, ReadError>) {
        self.writable.looked(&log);
        if let Ok(Look { bytes, .. }) = log {
            self.node.metrics.log_bytes.set(bytes);
        }
        match log {
            Ok(Look { epoch, .. }) if self.epoch.replace(epoch).is_some_and(|before| before != epoch) => {
                warn!(server = %self.id, epoch = epoch.0, "the rooms' log is another one now; all rooms start over");
                self.start_over();
            }
            Ok(_) => {}
            // Whatever needs the log says so where it matters.
            Err(error) => debug!(server = %self.id, %error, "the log cannot be looked at"),
        }
    }

    /// Hands all rooms over; whoever does not hear of it is told when it asks next.
    fn leave(&mut self) {
        info!(server = %self.id, "chat server hands its rooms over");
        self.leaving = Some(Instant::now() + self.node.settings.rpc.heartbeat());
        let effects = self.rooms.leave();
        self.perform(effects);
    }

    fn has_left(&self) {
        let is_over = self.leaving.is_some_and(|until| until <= Instant::now());
        if is_over && self.rooms.has_left() && self.running.is_empty() {
            self.node.lifecycle.has_drained();
        }
    }

    fn start_over(&mut self) {
        let effects = self.rooms.start_over(self.now());
        self.perform(effects);
    }

    /// Begins as many of the operations that wait as may be in flight.
    fn operate(&mut self) {
        while let Some(((room, asker), op)) = self.operations.begin() {
            let bytes = if let LogOp::Append { record, .. } = &op { record.len() } else { 0 };
            let asked = Asked { room, asker, questions: questions(&op), bytes };
            self.running.push(Box::pin(operate(self.log.clone(), asked, op, self.node.metrics.clone())));
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(send) => self.send(send),
                Effect::Log { room, asker, op } => {
                    self.operations.add((room, asker), op);
                    self.operate();
                }
                Effect::Probe(home) => self.probe(home),
                Effect::Doubt => self.node.roster.doubt(),
            }
        }
    }

    fn probe(&self, home: ServerId) {
        let trace = Trace::new();
        let label = Label { method: "probe", room: None, from: &self.id, view: &self.view, trace: &trace };
        let body = FromConnector::probe(self.id.clone(), self.rooms.incarnation());
        let (subject, headers) = (subjects::chat(&home), label.headers());
        let (bus, deadline) = (self.node.bus.clone(), self.node.settings.rpc.heartbeat());
        let (signer, verifier) = (self.signer.clone(), self.signer.clone());
        let (me, metrics) = (self.id.clone(), self.node.metrics.clone());
        self.probes.push(Box::pin(async move {
            let Ok(payload) = rpc::encode(&body) else { return (home, false) };
            let question = |reply| {
                let mut question = Outgoing { subject, reply: Some(reply), headers, payload };
                signer.sign(&home, &mut question, None);
                question
            };
            let asked = home.clone();
            let accepts = move |answer: &Message| {
                let said = rpc::decode::<FromChat>(&answer.payload);
                let said = said.inspect_err(|error| ignored(&me, answer, error, &metrics));
                said.is_ok_and(|said| said.chat == asked) && verifier.admit(Sender::Chat, answer) != Admission::Dropped
            };
            let answer = bus.request_for(question, accepts, deadline).await.ok();
            let answer = answer.and_then(|answer| rpc::decode::<FromChat>(&answer.payload).ok());
            // One that leaves is not to be waited for.
            let is_alive = answer.is_some_and(|said| said.answer != Answer::Leaving);
            (home, is_alive)
        }));
    }

    fn send(&self, Send { connector, reply, method, room, trace, body, record }: Send) {
        let label = Label { method, room: room.as_ref(), from: &self.id, view: &self.view, trace: &trace };
        let subject = reply.unwrap_or_else(|| subjects::connector_push(&connector));
        let mut message = Outgoing { subject, reply: None, headers: label.headers(), payload: body };
        self.signer.sign(&connector, &mut message, record.as_ref());
        if let Err(error) = self.node.bus.publish(message) {
            // Counted by the bus; the connector finds its number missing and reads what it missed.
            debug!(server = %self.id, %connector, %error, "a message to a connector was not sent");
        }
    }
}

fn ignored(server: &ServerId, message: &Message, error: &RpcError, metrics: &Metrics) {
    metrics.bus_bad_messages.add();
    static IGNORED: LogLimit = LogLimit::new();
    if let Some(suppressed) = IGNORED.pass() {
        let from = message.headers.get(header::FROM);
        warn!(%server, from, %error, suppressed, "a message was ignored");
    }
}

/// The fault of a server with rooms that wait and whose log cannot be used.
fn unusable(rooms: usize) -> Option<String> {
    let fault = || {
        format!(
            "{rooms} rooms cannot be used: their logs end with messages that are no records (docs/how-to/recovery.md)"
        )
    };
    (rooms > 0).then(fault)
}

/// What is found when looking at the log, again and again.
fn looks(log: Log) -> impl Stream<Item = Result<Look, ReadError>> {
    let mut interval = tokio::time::interval(LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold((log, interval), async |(log, mut interval)| {
        interval.tick().await;
        let found = log.look().await;
        Some((found, (log, interval)))
    })
}

/// Yields once a second, if a message to ourselves came back.
fn hearing(bus: Bus, metrics: Arc<Metrics>) -> impl Stream<Item = ()> {
    let mut interval = tokio::time::interval(LISTEN);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold((bus, interval, metrics), async |(bus, mut interval, metrics)| {
        loop {
            interval.tick().await;
            let began = Instant::now();
            if bus.round_trip(LISTEN).await.is_ok() {
                metrics.stage_seconds.bus.add(began.elapsed());
                return Some(((), (bus, interval, metrics)));
            }
        }
    })
}

async fn operate(log: Log, asked: Asked, op: LogOp, metrics: Arc<Metrics>) -> (Asked, LogDone) {
    let room = &asked.room;
    let done = match op {
        LogOp::Last { certain } => {
            let sight = if certain { Sight::Certain } else { Sight::Any };
            LogDone::Last(log.last(room, sight).await)
        }
        LogOp::Before(position) => LogDone::Last(log.before(room, position).await),
        LogOp::Append { expected, record } => {
            let began = Instant::now();
            let done = log.append(room, expected, record).await;
            metrics.stage_seconds.log.add(began.elapsed());
            LogDone::Append(done)
        }
        LogOp::Read(positions) => {
            let read = log.read(room, &positions).await;
            LogDone::Read(read.map(|records| positions.into_iter().zip(records).collect()))
        }
        LogOp::Epoch => LogDone::Epoch(log.epoch().await),
    };
    (asked, done)
}
