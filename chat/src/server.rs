//! The edge of a chat server: one task that passes messages and log results to [`Rooms`] and
//! performs its effects.

mod health;
mod log_operations;
mod log_parts;
mod log_split;

use std::iter;
use std::time::Duration;

use bus::{self, BusError, Message, OutgoingMessage, Subscription};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use model::ids::{RoomId, ServerId};
use model::log_parts::PerPart;
use model::rpc::messages::{FromChat, FromConnector, RoomPage, RoomQuery, RpcResponse};
use model::rpc::{self, Label, RpcError, header};
use model::subjects;
use node::Node;
use node::signing::{Admission, Sender, Signer};
use runtime::clock;
use runtime::fault;
use runtime::health::{Check, Queues};
use runtime::interval::interval;
use runtime::log_rate_limit::LogRateLimit;
use runtime::metrics::Metrics;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::log::{DivisionCheck, Log};
use crate::operations::{MAX_IN_FLIGHT, Operations};
use crate::report::Reporter;
use health::{Gauges, bus_checks};
use log_operations::OperationOrigin;
use log_parts::{CheckResult, PartState, ProbeResult};
use log_split::HeldOperation;
use owner::log_operation::LogResult;
use owner::room::Now;
use owner::rooms::{Effect, Identity, IncomingRequest, LogRequester, OutgoingReply, Rooms};

/// Interval of retries and sweeps.
const TICK: Duration = Duration::from_millis(200);

/// Most requests taken at once.
// Proposals that are taken together are appended together, as one record per room.
const MAX_BATCH: usize = 256;

/// Waiting operations of a part of the log above which the log is too slow for the load.
const MANY_OPERATIONS: usize = 4 * MAX_IN_FLIGHT;

/// The parts of a running chat server.
pub struct Chat {
    id: ServerId,
    node: Node,
    log: Log,
    rooms: Rooms,
    reporter: Reporter,
    signer: Signer,
    view: String,
    started: Instant,
    in_flight: FuturesUnordered<BoxFuture<'static, (OperationOrigin, LogResult)>>,
    /// Operations of history readers in flight.
    reads: FuturesUnordered<BoxFuture<'static, (OperationOrigin, LogResult)>>,
    operations: Operations<(RoomId, LogRequester)>,
    probes: FuturesUnordered<BoxFuture<'static, (ServerId, bool)>>,
    /// Lists of rooms that are being read.
    lists: FuturesUnordered<BoxFuture<'static, (u64, Option<RoomPage>)>>,
    parts: PerPart<PartState>,
    /// Reads of the log's status, and appends that check if it takes records again; at most one of
    /// each part.
    log_checks: FuturesUnordered<BoxFuture<'static, CheckResult>>,
    log_probes: FuturesUnordered<BoxFuture<'static, ProbeResult>>,
    /// Operations of rooms that move to another part of the log.
    held: Vec<HeldOperation>,
    /// Looks for new parts of the log; at most one.
    division_checks: FuturesUnordered<BoxFuture<'static, DivisionCheck>>,
    queues: Queues,
    gauges: Gauges,
    /// End of the time in which a server that hands its rooms over still redirects connectors that
    /// were not notified.
    hand_over_until: Option<Instant>,
}

impl Chat {
    /// Starts the chat server `id`. It responds on its subject when this returns.
    ///
    /// # Errors
    /// If the bus refuses the subscription.
    pub async fn start(id: ServerId, node: Node, log: Log) -> Result<(), BusError> {
        let subject = subjects::chat(&id);
        let requests = node.bus.subscribe(&subject, node.settings.rpc.subscription_queue).await?;
        let identity = Identity {
            me: id.clone(),
            incarnation: clock::incarnation(),
            servers: node.server_list.now(),
            // With a log in memory of its own, another process would accept the same positions: nothing keeps
            // two owners apart.
            is_fenced: log.is_shared() || node.bus.nats_client().is_none(),
        };
        let chat = Self {
            rooms: Rooms::new(identity, &node.settings, node.size_limits()).with_log_parts(log.parts(), &node.settings),
            reporter: Reporter::new(id.clone(), log.clone(), node.metrics.clone()),
            signer: Signer::new(&id, &node),
            view: node.server_list.now().view_hash(),
            started: Instant::now(),
            in_flight: FuturesUnordered::new(),
            reads: FuturesUnordered::new(),
            operations: Operations::new(log.parts()),
            probes: FuturesUnordered::new(),
            lists: FuturesUnordered::new(),
            parts: PartState::of(&log, &node.metrics),
            log_checks: FuturesUnordered::new(),
            log_probes: FuturesUnordered::new(),
            held: Vec::new(),
            division_checks: FuturesUnordered::new(),
            queues: Queues::default(),
            gauges: Gauges::new(&node.metrics),
            hand_over_until: None,
            log,
            node: node.clone(),
            id,
        };
        chat.node.health.set(Check::Log, log_parts::fault(&chat.parts));
        info!(server = %chat.id, subject, "chat server ready");
        node.lifecycle.spawn_main(chat.run(requests));
        Ok(())
    }

    async fn run(mut self, mut requests: Subscription) {
        let mut tick = interval(TICK);
        let bus_checks = bus_checks(self.node.bus.clone(), self.node.metrics.clone());
        tokio::pin!(bus_checks);
        let mut server_list = self.node.server_list.clone();
        let mut connection = self.node.bus.connection();
        let mut generation = connection.borrow_and_update().generation;
        let stopping = self.node.lifecycle.stopping();
        tokio::pin!(stopping);
        let draining = self.node.lifecycle.draining();
        tokio::pin!(draining);
        loop {
            // A broker may be restarted with another max_payload while servers run.
            self.rooms.set_size_limits(self.node.size_limits());
            tokio::select! {
                () = &mut stopping => break,
                () = &mut draining, if self.hand_over_until.is_none() => self.hand_over(),
                Some((origin, done)) = self.in_flight.next() => {
                    self.on_log_result(origin, done);
                    // Further results that are ready: responses that are sent together are read
                    // together.
                    for _ in 0..MAX_IN_FLIGHT {
                        let Some((origin, done)) = self.in_flight.next().now_or_never().flatten() else { break };
                        self.on_log_result(origin, done);
                    }
                }
                // One at a time: each is up to 32 records to decode, and the log in memory has the
                // next ones at once. Appends and messages would wait for hundreds.
                Some((origin, done)) = self.reads.next() => self.on_log_result(origin, done),
                Some((home, is_alive)) = self.probes.next() => {
                    let effects = self.rooms.on_probe_result(&home, is_alive, self.now());
                    self.perform(effects);
                }
                Some((list, page)) = self.lists.next() => self.on_rooms_listed(list, page),
                servers = server_list.changed() => {
                    self.view = servers.view_hash();
                    let effects = self.rooms.set_servers(servers, self.now());
                    self.perform(effects);
                }
                made = bus::wait_for_reconnect(&mut connection, generation) => {
                    generation = made;
                    self.start_over();
                }
                message = requests.next() => {
                    let Some(message) = message else { break };
                    self.on_message(&message);
                    for message in iter::from_fn(|| requests.try_next()).take(MAX_BATCH) {
                        self.on_message(&message);
                    }
                }
                Some(found) = self.log_checks.next() => self.on_log_status(found),
                Some(found) = self.division_checks.next() => self.on_division_checked(found),
                Some(probed) = self.log_probes.next() => self.on_probed(probed),
                Some(()) = bus_checks.next() => {
                    let effects = self.rooms.count_silence(self.now());
                    self.perform(effects);
                }
                _ = tick.tick() => {
                    let effects = self.rooms.tick(self.now());
                    self.perform(effects);
                    self.report_drained();
                    self.check_log();
                    self.probe_log();
                    self.report_health(requests.waiting());
                }
            }
        }
        self.finish(&mut requests).await;
    }

    /// Decides, commits and answers the requests from before the stop. Connectors stop first, so no
    /// others arrive.
    async fn finish(&mut self, requests: &mut Subscription) {
        loop {
            while let Some(message) = requests.try_next() {
                self.on_message(&message);
            }
            let (origin, done) = tokio::select! {
                Some(result) = self.in_flight.next() => result,
                Some(result) = self.reads.next() => result,
                Some((list, page)) = self.lists.next() => {
                    self.on_rooms_listed(list, page);
                    continue;
                }
                else => break,
            };
            self.on_log_result(origin, done);
        }
        info!(server = %self.id, "chat server stopped");
    }

    fn now(&self) -> Now {
        let ticks = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { ticks, wall_ms: clock::now_ms() }
    }

    fn on_message(&mut self, message: &Message) {
        if rpc::is_json(&message.payload) {
            return log_ignored(&self.id, message, &RpcError::Json, &self.node.metrics);
        }
        let admission = self.signer.admit(Sender::Connector, message);
        if admission == Admission::Dropped {
            return;
        }
        fault::point(self.id.as_str(), &message.payload);
        let began = Instant::now();
        let trace = bus::trace_of(&message.headers);
        debug!(%trace, method = message.headers.get(header::METHOD), "request");
        if message.headers.get(header::VIEW).is_some_and(|view| view != self.view) {
            self.node.server_list.request_recheck();
        }
        let is_proven = admission == Admission::Signed;
        let incoming = IncomingRequest { body: &message.payload, reply: message.reply.clone(), is_proven, trace };
        match self.rooms.handle_message(incoming, self.now()) {
            Ok(effects) => self.perform(effects),
            Err(error) => log_ignored(&self.id, message, &error, &self.node.metrics),
        }
        self.node.metrics.stage_seconds.room.add(began.elapsed());
    }

    fn on_log_result(&mut self, origin: OperationOrigin, done: LogResult) {
        let (division, part) = origin.part;
        let part = division.in_division(part, self.log.parts());
        self.operations.end(part, origin.work, origin.requests);
        if self.is_held(&origin, &done) {
            self.hold_result(origin, done);
        } else {
            self.pass_result(&origin, done);
        }
        self.start_operations(part);
    }

    /// Passes a result to the room.
    fn pass_result(&mut self, OperationOrigin { room, requester, part, bytes, .. }: &OperationOrigin, done: LogResult) {
        let (began, is_append) = (Instant::now(), matches!(done, LogResult::Append(_)));
        let (division, part) = *part;
        // A result from before a split shows nothing about the parts of now.
        let is_current = division == self.log.parts();
        if let (LogResult::Append(result), true) = (&done, is_current) {
            self.parts.get_mut(part).health.record_append(result, *bytes, Instant::now());
        }
        let effects = self.rooms.on_log_result(room, *requester, done, self.now());
        self.perform(effects);
        if is_append {
            self.node.metrics.stage_seconds.room.add(began.elapsed());
            if is_current {
                self.check_part(part);
            }
        }
    }

    /// Hands all rooms over. Connectors that miss the notification are redirected with their next
    /// request.
    fn hand_over(&mut self) {
        info!(server = %self.id, "chat server hands its rooms over");
        self.hand_over_until = Some(Instant::now() + self.node.settings.rpc.heartbeat());
        let effects = self.rooms.hand_over();
        self.perform(effects);
    }

    fn report_drained(&self) {
        let is_over = self.hand_over_until.is_some_and(|until| until <= Instant::now());
        if is_over && self.rooms.is_handed_over() && self.in_flight.is_empty() && self.reads.is_empty() {
            self.node.lifecycle.mark_drained();
        }
    }

    fn start_over(&mut self) {
        let effects = self.rooms.start_over(self.now());
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(send) => self.send(send),
                Effect::Log { room, requester, op } => self.request_operation(room, requester, op),
                Effect::Probe(home) => self.probe(home),
                Effect::ListRooms { list, query } => self.list_rooms(list, query),
                Effect::Report(event) => self.reporter.report(&event),
                Effect::RequestRecheck => self.node.server_list.request_recheck(),
            }
        }
    }

    fn list_rooms(&self, list: u64, query: RoomQuery) {
        let (log, server) = (self.log.clone(), self.id.clone());
        self.lists.push(Box::pin(async move {
            let page = log.rooms(&query).await;
            (list, page.inspect_err(|error| debug!(%server, %error, "rooms cannot be listed")).ok())
        }));
    }

    fn on_rooms_listed(&mut self, list: u64, page: Option<RoomPage>) {
        let effects = self.rooms.on_rooms_listed(list, page);
        self.perform(effects);
    }

    fn probe(&self, home: ServerId) {
        let trace = bus::new_trace();
        let label = Label { method: "probe", room: None, from: &self.id, view: &self.view, trace: &trace };
        let body = FromConnector::probe(self.id.clone(), self.rooms.incarnation());
        let (subject, headers) = (subjects::chat(&home), label.headers());
        let (bus, deadline) = (self.node.bus.clone(), self.node.settings.rpc.heartbeat());
        let (signer, verifier) = (self.signer.clone(), self.signer.clone());
        let (me, metrics) = (self.id.clone(), self.node.metrics.clone());
        self.probes.push(Box::pin(async move {
            let Ok(payload) = rpc::encode(&body) else { return (home, false) };
            let request = |reply| {
                let mut request = OutgoingMessage { subject, reply: Some(reply), headers, payload };
                signer.sign(&home, &mut request, None);
                request
            };
            let expected = home.clone();
            let accepts = move |message: &Message| {
                let response = rpc::decode::<FromChat>(&message.payload);
                let response = response.inspect_err(|error| log_ignored(&me, message, error, &metrics));
                response.is_ok_and(|response| response.chat == expected)
                    && verifier.admit(Sender::Chat, message) != Admission::Dropped
            };
            let message = bus.request_for(request, accepts, deadline).await.ok();
            let message = message.and_then(|message| rpc::decode::<FromChat>(&message.payload).ok());
            // A home that hands over counts as down: waiting for it would only lengthen the pause.
            let is_alive = message.is_some_and(|message| message.response != RpcResponse::Leaving);
            (home, is_alive)
        }));
    }

    fn send(&self, OutgoingReply { server: to, reply, method, room, trace, body, record }: OutgoingReply) {
        let trace = trace.unwrap_or_else(bus::new_trace);
        let label = Label { method, room: room.as_ref(), from: &self.id, view: &self.view, trace: &trace };
        let subject = reply.unwrap_or_else(|| subjects::connector_push(&to));
        let mut message = OutgoingMessage { subject, reply: None, headers: label.headers(), payload: body };
        self.signer.sign(&to, &mut message, record.as_ref());
        if let Err(error) = self.node.bus.publish(message) {
            // Counted by the bus. A connector finds the number missing and catches up; others repeat
            // their requests.
            debug!(server = %self.id, %to, %error, "a message was not sent");
        }
    }
}

fn log_ignored(server: &ServerId, message: &Message, error: &RpcError, metrics: &Metrics) {
    metrics.bus_bad_messages.add();
    static IGNORED: LogRateLimit = LogRateLimit::new();
    if let Some(suppressed) = IGNORED.pass() {
        let from = message.headers.get(header::FROM);
        warn!(%server, from, %error, suppressed, "a message was ignored");
    }
}
