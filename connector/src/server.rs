//! The edge of a connector: one task that feeds commands, bus messages and time into the
//! [`ConnectorState`] and carries out its effects.

mod drain;
mod perform;
mod ping;

use std::collections::HashMap;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bus::{self, Message, Subscription};
use follower::chat_servers::ChatServers;
use follower::connector_state::{ConnectorState, Limits, LoginRules, Now, QuotaLimits};
use follower::drain_schedule::DrainSchedule;
use follower::room::Common;
use follower::route::ClientRoute;
use frontend::{self, Options, WriteQueue, routes};
use model::identity::{Principal, User};
use model::ids::ServerId;
use model::lineage::Lineage;
use model::names::NamePolicy;
use model::permissions::Permissions;
use model::rpc::{self, RpcError};
use model::subjects;
use node::Node;
use node::auth::now_secs;
use node::signing::{Admission, Sender, Signer};
use runtime::clock;
use runtime::config::Server;
use runtime::fault;
use runtime::health::{Check, DUPLICATE_ID, Depth, NO_CHAT_SERVER, Queues};
use runtime::interval::interval;
use runtime::log_rate_limit::LogRateLimit;
use runtime::shared_hold::HoldEnds;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};
use wire::Dictionary;

use crate::request_metrics::{ConnectorGauges, RequestTimers};
use crate::session_handler::{Command, SessionHandlers};

/// Capacity of the command queue; when it is full, each session waits with its own command.
const COMMANDS: usize = 4_096;

/// Most commands taken at once; a full batch means a backlog, so no further commands are awaited.
const BATCH: usize = 1_024;

/// Most bus messages taken at once.
// Their effects are carried out before the loop looks at commands and time again: a larger number
// would delay those.
const MESSAGES: usize = 256;

/// Time between two checks of deadlines.
const TICK: Duration = Duration::from_millis(50);

/// Attaches per tick are this part of `nats.publish_queue`, so that they never fill it.
// A sixteenth of the default queue is 512 per tick, so 20,000 rooms attach within two to three
// seconds.
const ATTACH_SHARE: usize = 16;

/// Least number of attaches per tick.
const LEAST_ATTACHES: usize = 16;

/// Time between two updates of the gauges that need a look at every session.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

/// The reason for which a connector cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The bus refused the subscription.
    #[error(transparent)]
    Bus(#[from] bus::BusError),
    /// The listener has no address.
    #[error(transparent)]
    Listen(#[from] std::io::Error),
}

/// A running connector.
pub struct Connector {
    id: ServerId,
    node: Node,
    signer: Signer,
    state: ConnectorState,
    clients: HashMap<u64, ClientState>,
    dictionary: Option<Arc<Dictionary>>,
    ping: String,
    /// Port that it listens on for clients; `servers.json` may have been edited since the start.
    client_port: u16,
    /// Client connections of the process that the limit of open files leaves room for.
    max_process_connections: usize,
    /// Requests of clients since the start.
    requests: u64,
    view: String,
    started: Instant,
    stopping: bool,
    /// The drain schedule, while clients are moved to other connectors.
    drain: Option<DrainSchedule>,
    /// A later process has this server's id: clients are moved to that process.
    has_rival: bool,
    queues: Queues,
    gauges: ConnectorGauges,
    /// Time at which the gauges of rooms, members and requests were last set.
    gauges_set_at: Instant,
}

struct ClientState {
    write_queue: WriteQueue,
    entered: Arc<AtomicBool>,
    timers: RequestTimers,
    /// Its session is closed, and its connection is to be.
    is_leaving: bool,
}

impl Connector {
    /// Starts a connector: when this returns, it accepts clients from `listener` and receives
    /// messages of chat servers.
    ///
    /// # Errors
    /// If the bus refuses the subscription.
    pub async fn start(server: &Server, node: Node, listener: TcpListener) -> Result<(), StartError> {
        let inbox =
            node.bus.subscribe(&subjects::connector_all(&server.id), node.settings.rpc.subscription_queue).await?;
        let (commands, asked) = mpsc::channel(COMMANDS);
        let address = listener.local_addr()?;
        node.health.set(Check::Peers, Some(NO_CHAT_SERVER));
        let connector = Self::new(server.id.clone(), address.port(), node.clone());
        let options = Options::for_connector(&node);
        node.lifecycle.spawn_main(connector.run((node.hold.ends(), asked), inbox));
        node.lifecycle.spawn_main(frontend::serve(
            listener,
            SessionHandlers::new(commands, node.auth.clone()),
            options,
        ));
        info!(server = %server.id, %address, "connector ready");
        Ok(())
    }

    fn new(id: ServerId, client_port: u16, node: Node) -> Self {
        let settings = &node.settings;
        let common = Common {
            me: id.clone(),
            lineage: Lineage::new(clock::incarnation()),
            repeat_ms: u64::from(settings.rpc.repeat_ms),
            resume_ms: u64::from(settings.session.resume_secs) * 1_000,
            linger_ms: u64::from(settings.room.linger_secs) * 1_000,
            max_waiting: settings.room.max_waiting,
            size_limits: node.size_limits(),
            large_members: settings.room.large_members,
        };
        let limits = Limits {
            max_in_flight: settings.session.max_in_flight,
            request_ms: u64::from(settings.rpc.request_ms),
            attaches_per_tick: (settings.nats.publish_queue / ATTACH_SHARE).max(LEAST_ATTACHES),
            members_per_address: settings.room.members_per_address,
            quotas: QuotaLimits {
                pressure_bytes_per_min: settings.log.pressure_bytes_per_min,
                max_content: settings.room.max_content,
                new_rooms_per_min: settings.session.new_rooms_per_min,
            },
            names: NamePolicy::new(&settings.names),
            logins: LoginRules {
                mode: settings.auth.mode,
                anonymous_prefix: settings.auth.anonymous_prefix.clone(),
                on_expiry: settings.auth.on_expiry,
                grace_ms: u64::from(settings.auth.expiry_grace_secs) * 1_000,
                leeway_ms: u64::from(settings.auth.leeway_secs) * 1_000,
                max_sessions: settings.auth.max_sessions_per_user,
            },
            permissions: Permissions::new(settings),
        };
        let chat_servers = ChatServers::new(node.server_list.now(), u64::from(settings.room.lease_secs) * 1_000);
        Self {
            signer: Signer::new(&id, &node),
            state: ConnectorState::new(common, chat_servers, limits),
            clients: HashMap::new(),
            dictionary: settings.frontend.use_dictionary.then(|| Arc::new(routes::dictionary())),
            ping: subjects::connector_ping(&id),
            client_port,
            max_process_connections: frontend::max_process_connections(),
            requests: 0,
            view: node.server_list.now().view_hash(),
            started: Instant::now(),
            stopping: false,
            drain: None,
            has_rival: false,
            queues: Queues::default(),
            gauges: ConnectorGauges::new(&node.metrics),
            gauges_set_at: Instant::now(),
            id,
            node,
        }
    }

    async fn run(
        mut self,
        (mut hold_ends, mut asked): (HoldEnds, mpsc::Receiver<(Instant, Command)>),
        mut inbox: Subscription,
    ) {
        let mut tick = interval(TICK);
        let mut heartbeat = interval(self.node.settings.rpc.heartbeat());
        let mut server_list = self.node.server_list.clone();
        let mut connection = self.node.bus.connection();
        let mut generation = connection.borrow_and_update().generation;
        let stopping = self.node.lifecycle.stopping();
        tokio::pin!(stopping);
        let draining = self.node.lifecycle.draining();
        tokio::pin!(draining);
        let mut drained = false;
        let mut batch = Vec::new();
        loop {
            self.state.set_size_limits(self.node.size_limits());
            tokio::select! {
                () = &mut stopping, if !self.stopping => {
                    self.stopping = true;
                    let effects = self.state.stop(self.now());
                    self.perform(effects);
                }
                () = &mut draining, if !drained => {
                    drained = true;
                    self.drain();
                }
                count = asked.recv_many(&mut batch, BATCH), if !hold_ends.is_waiting() => {
                    if count == 0 {
                        break;
                    }
                    let (first, now) = (batch[0].0, Instant::now());
                    if count == BATCH || !self.node.hold.begin(first, now, &mut hold_ends) {
                        self.on_commands(&mut batch);
                    }
                }
                () = hold_ends.next(), if hold_ends.is_waiting() => {
                    while batch.len() < BATCH && let Ok(command) = asked.try_recv() {
                        batch.push(command);
                    }
                    self.on_commands(&mut batch);
                }
                message = inbox.next() => {
                    let Some(message) = message else { break };
                    self.on_message(&message);
                    for message in iter::from_fn(|| inbox.try_next()).take(MESSAGES) {
                        self.on_message(&message);
                    }
                }
                _ = tick.tick() => {
                    let effects = self.state.tick(self.now());
                    self.perform(effects);
                    self.advance_drain();
                    self.check_rival();
                    self.update_health(asked.len(), inbox.waiting());
                    if self.stopping && batch.is_empty() && self.try_finish() {
                        break;
                    }
                }
                // Without a connection no answer arrives, and every chat server would be marked as
                // down.
                _ = heartbeat.tick(), if connection.borrow().up => {
                    let effects = self.state.send_heartbeats(self.now());
                    self.perform(effects);
                }
                servers = server_list.changed() => {
                    self.view = servers.view_hash();
                    let effects = self.state.set_servers(servers, self.now());
                    self.perform(effects);
                }
                made = bus::wait_for_reconnect(&mut connection, generation) => {
                    generation = made;
                    let effects = self.state.on_reconnected(self.now());
                    self.perform(effects);
                }
            }
        }
        info!(server = %self.id, "connector stopped");
    }

    /// Updates the gauges and the health checks of this server.
    fn update_health(&mut self, commands: usize, messages: Option<usize>) {
        let Node { health, metrics, settings, .. } = &self.node;
        let messages = messages.unwrap_or_default();
        self.gauges.set_queues(commands, messages);
        if self.gauges_set_at.elapsed() >= GAUGE_INTERVAL {
            self.gauges_set_at = Instant::now();
            self.gauges.set(self.state.gauges());
        }
        let commands = Depth::within(COMMANDS, "commands of clients", commands);
        let messages = Depth::within(settings.rpc.subscription_queue, "bus messages", messages);
        let fault = self.queues.check(metrics.dropped_on_full_queues(), &[commands, messages], Instant::now());
        health.set(Check::Queues, fault);
        health.set(Check::Auth, self.node.auth.fault());
        health.set(Check::Identity, self.has_rival.then_some(DUPLICATE_ID));
        if self.state.has_received_from_chat() {
            // Never set back: chat servers that fail later are replaced by failover owners.
            health.set(Check::Peers, None::<&str>);
        }
        health.record_alive();
        self.node.update_health(&self.id);
    }

    fn now(&self) -> Now {
        let ticks = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { ticks, chance: rand::random() }
    }

    /// Handles a batch of commands; the requests for one room go out in one proposal.
    fn on_commands(&mut self, commands: &mut Vec<(Instant, Command)>) {
        self.node.hold.record_requests(commands.len(), Instant::now());
        // A proposal costs its owner an append and this connector a message, so requests that
        // arrived together share one.
        self.state.begin_batch();
        commands.drain(..).for_each(|(_, command)| self.on_command(command));
        let effects = self.state.propose_batch(self.now());
        self.perform(effects);
    }

    fn on_command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Open { session, address, write_queue, entered, user } => {
                let (timers, is_leaving) = (RequestTimers::default(), false);
                self.clients.insert(session, ClientState { write_queue, entered, timers, is_leaving });
                self.state.open(session, address);
                if let Some(principal) = user {
                    let effects = self.state.log_in(session, user_at(*principal, now));
                    self.perform(effects);
                }
            }
            Command::Request { session, id, mut request, login } => {
                self.requests += 1;
                if request.route == ClientRoute::Enter {
                    fault::point(self.id.as_str(), &request.body);
                }
                // One of a session that leaves ends as those that a client sends while its
                // connection is closed.
                let Some(client) = self.clients.get_mut(&session).filter(|client| !client.is_leaving) else { return };
                if let Some(id) = id {
                    client.timers.start(id, request.route);
                }
                request.login = login.map(|login| (*login).map(|principal| user_at(principal, now)));
                let effects = self.state.handle_request(session, id, request, now);
                self.perform(effects);
            }
            Command::Closed { session, ending } => {
                self.clients.remove(&session);
                let effects = self.state.close(session, ending, now);
                self.perform(effects);
            }
        }
    }

    fn on_message(&mut self, message: &Message) {
        if message.no_responders {
            if let Some(token) = subjects::parse_reply(&message.subject) {
                let effects = self.state.on_no_responders(token, self.now());
                self.perform(effects);
            }
            return;
        }
        // Before the signature: a JSON body is not one of ours, and must not count as a message
        // without a signature.
        if rpc::is_json(&message.payload) {
            return self.log_ignored(message, &RpcError::Json);
        }
        let sender = if message.subject == self.ping { Sender::Gate } else { Sender::Chat };
        let admission = self.signer.admit(sender, message);
        if admission == Admission::Dropped {
            return;
        }
        if sender == Sender::Gate {
            return self.answer_ping(message);
        }
        if message.headers.get(rpc::header::VIEW).is_some_and(|view| view != self.view) {
            self.node.server_list.request_recheck();
        }
        match self.state.receive(&message.payload, admission == Admission::Signed, self.now()) {
            Ok(effects) => self.perform(effects),
            Err(error) => self.log_ignored(message, &error),
        }
    }

    fn log_ignored(&self, message: &Message, error: &RpcError) {
        self.node.metrics.bus_bad_messages.add();
        static IGNORED: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = IGNORED.pass() {
            let from = message.headers.get(rpc::header::FROM);
            warn!(server = %self.id, from, %error, suppressed, "a message was ignored");
        }
    }
}

/// Returns the user of a token that was verified, with the end of its time in ticks.
fn user_at(principal: Principal, now: Now) -> User {
    let (exp, now_secs) = (principal.expires_at, now_secs());
    let millis = |secs: u64| secs.saturating_mul(1_000);
    // A token may be past its time by the leeway.
    let until = match exp.checked_sub(now_secs) {
        Some(left) => now.ticks.saturating_add(millis(left)),
        None => now.ticks.saturating_sub(millis(now_secs - exp)),
    };
    User { since: now.ticks, until, principal }
}
