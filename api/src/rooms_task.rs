//! The task between commands and chat servers: it owns the proposer, and moves its inputs and effects.

mod outcomes;
mod report;

use std::collections::BTreeMap;
use std::iter;
use std::time::Duration;

use bus::{Message, OutgoingMessage, Subscription};
use bytes::Bytes;
use model::ids::{RoomId, ServerId};
use model::placement::{API, CHAT};
use model::rpc::messages::{HistoryRange, LookAbout, RoomQuery};
use model::rpc::{self, Label, RpcError};
use model::subjects;
use node::Node;
use node::signing::{Admission, Sender, Signer};
use proposer::effects::{Effect, Ticket, Times};
use proposer::proposer::Proposer;
use runtime::clock;
use runtime::health::{Check, NO_CHAT_SERVER};
use runtime::interval::interval;
use runtime::log_rate_limit::LogRateLimit;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::rooms::{FromConnectors, MessagesQuery, Outcome, Page, RoomsRequest, ServerLine};
use outcomes::Pending;

/// Interval of repeats and deadlines.
const TICK: Duration = Duration::from_millis(50);

/// Most bus messages taken at once.
const MESSAGES: usize = 256;

/// Talks to chat servers for the commands of an api server.
pub(crate) struct RoomsTask {
    id: ServerId,
    node: Node,
    signer: Signer,
    view: String,
    proposer: Proposer,
    /// The places for outcomes.
    waiting: BTreeMap<Ticket, Pending>,
    last_ticket: u64,
    started: Instant,
}

impl RoomsTask {
    /// Creates the task of an api server.
    pub(crate) fn new(id: ServerId, node: Node) -> Self {
        let (settings, servers) = (&node.settings, node.server_list.now());
        let times = Times {
            request_ms: settings.rpc.request_ms.into(),
            repeat_ms: settings.rpc.repeat_ms.into(),
            lease_ms: u64::from(settings.room.lease_secs) * 1_000,
        };
        node.health.set(Check::Peers, Some(NO_CHAT_SERVER));
        Self {
            signer: Signer::new(&id, &node),
            view: servers.view_hash(),
            proposer: Proposer::new(id.clone(), clock::incarnation(), servers, times, node.size_limits()),
            waiting: BTreeMap::new(),
            last_ticket: 0,
            started: Instant::now(),
            id,
            node,
        }
    }

    /// Serves requests until the server stops, and the outcome of each is known or its time is over.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<RoomsRequest>, mut inbox: Subscription) {
        let mut tick = interval(TICK);
        let mut probes = interval(self.node.settings.rpc.heartbeat());
        let mut server_list = self.node.server_list.clone();
        let mut connection = self.node.bus.connection();
        let mut generation = connection.borrow_and_update().generation;
        let stopping = self.node.lifecycle.stopping();
        tokio::pin!(stopping);
        let mut is_stopping = false;
        loop {
            self.proposer.set_size_limits(self.node.size_limits());
            tokio::select! {
                () = &mut stopping, if !is_stopping => is_stopping = true,
                request = requests.recv() => {
                    // The commands' end: nobody waits for an outcome any more.
                    let Some(request) = request else { break };
                    self.on_request(request);
                }
                message = inbox.next() => {
                    let Some(message) = message else { break };
                    self.on_message(&message);
                    for message in iter::from_fn(|| inbox.try_next()).take(MESSAGES) {
                        self.on_message(&message);
                    }
                }
                _ = tick.tick() => {
                    let effects = self.proposer.tick(self.now());
                    self.perform(effects);
                    self.update_health();
                    if is_stopping && self.waiting.is_empty() && requests.is_empty() {
                        break;
                    }
                }
                // Without a connection no response arrives, and all chat servers would seem down.
                _ = probes.tick(), if connection.borrow().up => {
                    let effects = self.proposer.send_probes(self.now());
                    self.perform(effects);
                }
                servers = server_list.changed() => {
                    self.view = servers.view_hash();
                    let effects = self.proposer.set_servers(servers, self.now());
                    self.perform(effects);
                }
                made = bus::wait_for_reconnect(&mut connection, generation) => {
                    generation = made;
                    let effects = self.proposer.on_reconnected(self.now());
                    self.perform(effects);
                }
            }
        }
        info!(server = %self.id, "server API stopped");
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn update_health(&self) {
        let servers = self.proposer.chat_servers();
        if servers.chats().any(|chat| servers.state(chat).is_some_and(outcomes::is_up)) {
            // Never set back: chat servers that fail later are replaced by others.
            self.node.health.set(Check::Peers, None::<&str>);
        }
        self.node.health.record_alive();
        self.node.update_health(&self.id);
    }

    fn on_request(&mut self, request: RoomsRequest) {
        let (room, about, pending) = match request {
            RoomsRequest::Act { room, act, reply, .. } => {
                let ticket = self.wait_for(Pending::Act(reply));
                let effects = self.proposer.act(room, act, ticket, self.now());
                return self.perform(effects);
            }
            RoomsRequest::Rooms { prefix, page: Page { after, limit }, reply, .. } => {
                let ticket = self.wait_for(Pending::Rooms(reply));
                let query = RoomQuery { prefix, after, limit: most(limit) };
                let effects = self.proposer.list_rooms(query, ticket, self.now());
                return self.perform(effects);
            }
            RoomsRequest::Servers { reply, .. } => {
                return drop(reply.send(Outcome::Done(self.servers())));
            }
            RoomsRequest::Sessions { reply, .. } => {
                return drop(reply.send(Outcome::Done(self.no_connector(Vec::new()))));
            }
            RoomsRequest::Disconnect { reply, .. } => return drop(reply.send(Outcome::Done(self.no_connector(0)))),
            RoomsRequest::Users { reply, .. } => {
                return drop(reply.send(Outcome::Done(self.no_connector(Vec::new()))));
            }
            RoomsRequest::Info { room, reply, .. } => (room, LookAbout::Info, Pending::Info(reply)),
            RoomsRequest::Members { room, page: Page { after, limit }, reply, .. } => {
                (room, LookAbout::Members { after, limit: most(limit) }, Pending::Members(reply))
            }
            RoomsRequest::Rules { room, page: Page { after, limit }, reply, .. } => {
                (room, LookAbout::Rules { after, limit: most(limit) }, Pending::Rules(reply))
            }
            RoomsRequest::Messages { room, query: MessagesQuery { before, after, limit, whispers }, reply, .. } => {
                // A command has one of both at most: it is refused otherwise.
                let span = match (before, after) {
                    (Some(before), _) => HistoryRange::Before(before),
                    (None, Some(after)) => HistoryRange::After(after),
                    (None, None) => HistoryRange::Last,
                };
                (room, LookAbout::Messages { span, limit: most(limit), whispers }, Pending::Messages(reply))
            }
        };
        let ticket = self.wait_for(pending);
        let effects = self.proposer.look(room, about, ticket, self.now());
        self.perform(effects);
    }

    /// The states of all servers, as far as this one knows them.
    fn servers(&self) -> Vec<ServerLine> {
        let (known, servers) = (self.proposer.chat_servers(), self.node.server_list.now());
        // Gates and connectors answer no api server, so nothing is known of them.
        let state = |kind: &str, id: &ServerId| match kind {
            CHAT => known.state(id).map_or("unknown", outcomes::state_word),
            API if *id == self.id => "up",
            _ => "unknown",
        };
        let line = |(kind, server): (&str, &model::servers::Server)| ServerLine {
            id: server.id.clone(),
            kind: kind.to_owned(),
            state: state(kind, &server.id),
        };
        servers.all().map(line).collect()
    }

    /// The answer about sessions while no connector answers.
    fn no_connector<T>(&self, found: T) -> FromConnectors<T> {
        let servers = self.node.server_list.now();
        FromConnectors { found, silent: servers.connector().iter().map(|server| server.id.clone()).collect() }
    }

    fn wait_for(&mut self, pending: Pending) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.waiting.insert(ticket, pending);
        ticket
    }

    fn on_message(&mut self, message: &Message) {
        // The subscription has all subjects of this server, for what is to come.
        let Some(token) = subjects::parse_api_reply(&message.subject) else { return };
        if message.no_responders {
            let effects = self.proposer.on_no_responders(token, self.now());
            return self.perform(effects);
        }
        if rpc::is_json(&message.payload) {
            return self.log_ignored(&RpcError::Json);
        }
        if self.signer.admit(Sender::Chat, message) == Admission::Dropped {
            return;
        }
        match self.proposer.receive(token, &message.payload, self.now()) {
            Ok(effects) => self.perform(effects),
            Err(error) => self.log_ignored(&error),
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { chat, token, method, room, body } => {
                    self.send(&chat, token, (method, room.as_ref()), body);
                }
                Effect::Resolve { ticket, outcome } => {
                    if let Some(pending) = self.waiting.remove(&ticket) {
                        pending.resolve(outcome);
                    }
                }
                Effect::RequestRecheck => self.node.server_list.request_recheck(),
                Effect::Report(event) => report::report(event, &self.id, &self.node.metrics),
            }
        }
    }

    fn send(&self, chat: &ServerId, token: u64, (method, room): (&str, Option<&RoomId>), payload: Bytes) {
        let trace = bus::new_trace();
        let label = Label { method, room, from: &self.id, view: &self.view, trace: &trace };
        let (subject, reply) = (subjects::chat(chat), Some(subjects::api_reply(&self.id, token)));
        let mut message = OutgoingMessage { subject, reply, headers: label.headers(), payload };
        self.signer.sign(chat, &mut message, None);
        if let Err(error) = self.node.bus.publish(message) {
            // Counted by the bus, and repeated until there is a response.
            debug!(server = %self.id, %error, "a request to a chat server was not sent");
        }
    }

    fn log_ignored(&self, error: &RpcError) {
        self.node.metrics.bus_bad_messages.add();
        static IGNORED: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = IGNORED.pass() {
            warn!(server = %self.id, %error, suppressed, "a message was ignored");
        }
    }
}

fn most(limit: usize) -> u16 {
    u16::try_from(limit).unwrap_or(u16::MAX)
}
