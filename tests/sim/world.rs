//! A cluster in one thread: its servers, the messages between them, and its users.

mod acts;
mod clocks;
mod effects;
mod faults;
mod log_parts;
mod log_space;
mod partial_faults;
mod shutdown;
mod stray_messages;
mod timers;
mod user_actions;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chat::log::memory::Memory;
use follower::chat_servers::ChatServers;
use follower::connector_state::{
    ClientRequest, ConnectorState, Effect, Limits, LoginRules, Now as HubNow, QuotaLimits,
};
use follower::drain_schedule::DrainSchedule;
use follower::room::Common;
use follower::route::ClientRoute;
use model::ending::Ending;
use model::ids::{Incarnation, RoomId, ServerId};
use model::lineage::Lineage;
use model::membership::Token;
use model::names::NamePolicy;
use model::network::AddressGroup;
use model::permissions::Permissions;
use model::placement::{CHAT, CONNECTOR, GATE};
use model::record::{Epoch, Position};
use model::rpc::Trace;
use model::settings::NameSettings;
use model::size_limits::SizeLimits;
use owner::log_operation::{AppendError, LogOp, LogResult, ReadError};
use owner::room::Now;
use owner::rooms::{Effect as ChatEffect, Identity, IncomingRequest as Question, LogRequester, Rooms};
use runtime::config::{Server, Servers};
use runtime::metrics::Metrics;

use crate::chance::Chance;
use crate::checks::{self, Tally};
use crate::network::{Agenda, Event, Faults};
use crate::retention::Retention;
use crate::scenario::Scenario;
use crate::trace::{self, RunTrace};
use crate::user::{ClientConnection, Received, ResumePoint, SentRequest, User};
use clocks::WallClock;
use log_parts::{ChatOperations, PartFaults};
use log_space::Fullness;

pub(crate) use acts::ALL_ROOMS;
use acts::ActSender;
pub(crate) use partial_faults::Node;
use partial_faults::Partial;
pub(crate) use user_actions::uid;

/// Milliseconds until a request is answered 503.
const REQUEST_MS: u64 = 2_000;

/// Requests of a session at once.
const MAX_IN_FLIGHT: usize = 50;

const CONNECTORS: usize = 3;
const CHATS: usize = 3;
const USERS: usize = 7;
/// The user who sends all the time in [`Scenario::Flood`].
const FLOODER: usize = 1;
pub(crate) const ROOMS: [&str; 3] = ["lobby", "attic", "room2"];

/// Milliseconds in which users act and faults happen.
const BUSY_MS: u64 = 12_000;

/// Milliseconds after which all must be settled.
const END_MS: u64 = BUSY_MS + 20_000;

/// The other end of a chat server's links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Connector(usize),
    /// All other chat servers.
    Chats,
}

/// A server's machine, whose wall clock outlives the server's runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Machine {
    Chat(usize),
    Connector(usize),
}

struct ChatNode {
    id: ServerId,
    rooms: Rooms,
    run: u64,
    /// It has a connection to the broker.
    up: bool,
    is_dead: bool,
    sleeps_until: u64,
    /// Since when it hands over, to end.
    leaves_since: Option<u64>,
    /// The used part of the log in percent, as it saw it last.
    seen_percent: u64,
    operations: ChatOperations,
}

struct ConnectorNode {
    id: ServerId,
    hub: ConnectorState,
    /// Users by session.
    clients: HashMap<u64, usize>,
    up: bool,
    run: u64,
    is_dead: bool,
    /// Sessions whose clients are gone, which it does not know so far.
    vanished: BTreeSet<u64>,
    leaving: Option<Leaving>,
}

/// The state of a connector that drains.
struct Leaving {
    since: u64,
    drain: DrainSchedule,
    /// It has handed over, and finishes.
    stopped: bool,
}

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    trace: RunTrace,
    now: u64,
    chance: Chance,
    agenda: Agenda,
    /// The present list. A server that started before may not have seen it yet.
    servers: Arc<Servers>,
    pub(crate) log: Memory,
    clocks: BTreeMap<Machine, WallClock>,
    /// The records that readers of the log still get.
    pub(crate) retention: Retention,
    /// Partitions between chat servers and peers, and their ends.
    partitions: BTreeMap<(usize, Peer), u64>,
    partial: Partial,
    fullness: Fullness,
    part_faults: PartFaults,
    chats: Vec<ChatNode>,
    connectors: Vec<ConnectorNode>,
    pub(crate) users: Vec<User>,
    sessions: u64,
    texts: u64,
    act_sender: ActSender,
    /// Counts of deliveries, at the end.
    pub(crate) tally: Tally,
    /// Messages with an id, by membership and room; they may be repeated.
    repeatable: Vec<(Token, RoomId, String)>,
    pub(crate) repeated: BTreeSet<String>,
    /// Positions of messages that are no records.
    pub(crate) poison: BTreeSet<Position>,
    /// Positions of records that come from the future.
    pub(crate) future: BTreeSet<Position>,
    /// Records whose appends had no answer: no server knows of them until it reads the log.
    pub(crate) unanswered: BTreeSet<(RoomId, Position)>,
    connection: u64,
    /// Runs of connectors that died, and did not end in order.
    dead_runs: BTreeSet<(usize, u64)>,
    /// Servers that ended in order.
    pub(crate) ended: usize,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) fn server(kind: &str, number: usize) -> Server {
    Server::new(ServerId::new(&format!("{kind}-server-{}", number + 1)).unwrap(), "127.0.0.1")
}

/// A list of these chat servers, of all connectors and of a gate.
pub(crate) fn list(chats: Vec<Server>) -> Arc<Servers> {
    let connectors = (0..CONNECTORS).map(|n| server("connector", n)).collect();
    let gates = vec![server("gate", 0)];
    Arc::new(Servers::new(
        [(CHAT, chats), (CONNECTOR, connectors), (GATE, gates)].map(|(kind, servers)| (kind.to_owned(), servers)),
    ))
}

/// The limits of a connector.
pub(crate) fn connector_limits() -> Limits {
    let quotas = QuotaLimits { pressure_bytes_per_min: 16_384, max_content: 16_384, new_rooms_per_min: 20 };
    Limits {
        max_in_flight: MAX_IN_FLIGHT,
        request_ms: REQUEST_MS,
        attaches_per_tick: 100,
        members_per_address: 100,
        quotas,
        names: NamePolicy::new(&NameSettings::default()),
        logins: LoginRules::off(),
        permissions: Permissions::default(),
    }
}

/// Returns a connector without clients.
pub(crate) fn hub(id: &ServerId, run: Incarnation, servers: Arc<Servers>, limits: Limits) -> ConnectorState {
    let common = Common {
        me: id.clone(),
        lineage: Lineage::new(run),
        repeat_ms: 300,
        linger_ms: 1_000,
        resume_ms: 1_500,
        max_waiting: 100,
        size_limits: SizeLimits::default(),
        large_members: 500,
    };
    ConnectorState::new(common, ChatServers::new(servers, 10_000), limits)
}

impl World {
    /// Runs a scenario to its end, and checks everything that clients received.
    pub(crate) fn run(scenario: Scenario, seed: u64, trace: RunTrace) -> Self {
        let mut world = Self::new(scenario, seed, trace);
        while let Some((time, event)) = world.agenda.next() {
            if time > END_MS {
                break;
            }
            world.now = time;
            world.happen(event);
        }
        for connector in world.connectors.iter().filter(|connector| !connector.is_dead) {
            assert!(connector.hub.is_settled(), "{} is not settled: {:#?}", connector.id, connector.hub);
            assert_eq!(connector.hub.requests_waiting(), 0, "requests without an answer at {}", connector.id);
        }
        world.tally = checks::check(&world);
        world
    }

    fn new(scenario: Scenario, seed: u64, trace: RunTrace) -> Self {
        let servers = list((0..CHATS).map(|n| server("chat", n)).collect());
        let metrics = Metrics::new();
        let mut world = Self {
            scenario,
            trace,
            now: 0,
            chance: Chance::new(seed),
            agenda: Agenda::default(),
            log: Memory::starting_at(1, &scenario.settings().log),
            clocks: BTreeMap::new(),
            retention: Retention::new(scenario.records_kept()),
            partitions: BTreeMap::new(),
            partial: Partial::default(),
            fullness: Fullness::default(),
            part_faults: PartFaults::default(),
            chats: Vec::new(),
            connectors: Vec::new(),
            users: (0..USERS).map(|n| User { name: format!("p{n}"), connections: Vec::new() }).collect(),
            sessions: 0,
            texts: 0,
            act_sender: ActSender::default(),
            tally: Tally::default(),
            repeatable: Vec::new(),
            repeated: BTreeSet::new(),
            poison: BTreeSet::new(),
            future: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            connection: 1,
            dead_runs: BTreeSet::new(),
            ended: 0,
            servers,
            metrics,
        };
        // Two users with one name: the second is refused at each connector.
        world.users[USERS - 1].name = world.users[0].name.clone();
        world.chats = (0..CHATS).map(|n| world.chat(n, 1)).collect();
        world.connectors = (0..CONNECTORS).map(|n| world.connector(n, 1)).collect();
        world.plan();
        world
    }

    fn chat(&self, number: usize, run: u64) -> ChatNode {
        let id = server("chat", number).id;
        let identity = Identity {
            me: id.clone(),
            incarnation: self.incarnation(Machine::Chat(number), run),
            servers: self.servers.clone(),
            is_fenced: true,
        };
        let (settings, operations) = (self.scenario.settings(), ChatOperations::new(&self.log, self.division()));
        let rooms = Rooms::new(identity, &settings, self.size_limits()).with_log_parts(self.division(), &settings);
        let (sleeps_until, leaves_since) = (0, None);
        ChatNode { id, rooms, run, up: true, is_dead: false, sleeps_until, leaves_since, seen_percent: 0, operations }
    }

    fn connector(&self, number: usize, run: u64) -> ConnectorNode {
        let id = server("connector", number).id;
        let incarnation = self.incarnation(Machine::Connector(number), run);
        let mut hub = hub(&id, incarnation, self.servers.clone(), self.limits());
        hub.set_size_limits(self.size_limits());
        let (clients, vanished) = (HashMap::new(), BTreeSet::new());
        ConnectorNode { id, hub, clients, up: true, run, is_dead: false, vanished, leaving: None }
    }

    /// Returns true if the connector's run to which the client was connected died.
    pub(crate) fn is_of_dead_run(&self, connection: &ClientConnection) -> bool {
        self.dead_runs.contains(&(connection.connector, connection.run))
    }

    /// Returns true if the receiver of an event is gone.
    fn is_void(&self, event: &Event) -> bool {
        match event {
            Event::ToChat { chat, .. } => self.chats[*chat].is_dead || !self.chats[*chat].up,
            Event::ToConnector { connector, .. } => {
                self.connectors[*connector].is_dead || !self.connectors[*connector].up
            }
            Event::NoResponders { connector, .. }
            | Event::Lost { connector, .. }
            | Event::ConnectorLooks(connector)
            | Event::ConnectorUp(connector) => self.connectors[*connector].is_dead,
            Event::Probed { chat, run, .. } | Event::LogDone { chat, run, .. } => self.chats[*chat].run != *run,
            // It breaks with the connection, and its outcome was reported then.
            Event::Log { connection, .. } => *connection != self.connection,
            _ => false,
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some(chat) = event.chat().filter(|chat| self.chats[*chat].sleeps_until > self.now) {
            return self.agenda.at(self.chats[chat].sleeps_until, event);
        }
        let is_void = self.is_void(&event);
        self.trace.event(self.now, &event, is_void);
        if is_void {
            return;
        }
        match event {
            Event::UserActs(user) => self.act_at_once(user),
            Event::ActsSent => self.send_acts(),
            Event::RecordsAge => self.age_records(),
            Event::Tick => self.tick(),
            Event::Heartbeat => self.heartbeat(),
            Event::Listen => self.listen(),
            Event::Log { chat, run, room, asker, op, answered, .. } => {
                let mut done = match self.refusal_of_moved(chat, &room, &op) {
                    Some(refused) => refused,
                    None => self.operate(&room, op),
                };
                if let LogResult::Append(Ok(position)) = done
                    && (!answered || self.is_of_unknown_epoch(chat, &room) || self.has_moved(chat, &room))
                {
                    self.unanswered.insert((room.clone(), position));
                    done = LogResult::Append(Err(AppendError::Unclear("simulated".to_owned())));
                }
                if answered {
                    let delay = self.chance.between(0, 4);
                    self.agenda.at(self.now + delay, Event::LogDone { chat, run, room, asker, done });
                }
            }
            Event::ToChat { .. } | Event::LogDone { .. } | Event::Probed { .. } | Event::ChatLooks(_) => {
                self.deliver_to_chat(event);
            }
            Event::ToConnector { .. }
            | Event::NoResponders { .. }
            | Event::Lost { .. }
            | Event::ConnectorLooks(_)
            | Event::ConnectorUp(_) => self.deliver_to_connector(event),
            _ => self.inject(event),
        }
    }

    fn deliver_to_chat(&mut self, event: Event) {
        let Some(chat) = event.chat() else { return };
        let now = self.chat_now(chat);
        let is_proven = self.signs();
        let rooms = &mut self.chats[chat].rooms;
        let effects = match event {
            Event::ToChat { body, reply, trace, .. } => {
                rooms.handle_message(Question { body: &body, reply, is_proven, trace }, now).unwrap()
            }
            Event::LogDone { room, asker, done, .. } => {
                let effects = rooms.on_log_result(&room, asker, done, now);
                self.chat_effects(chat, effects);
                return self.end_operation(chat, &room, asker);
            }
            Event::Probed { home, is_alive, .. } => rooms.on_probe_result(&home, is_alive, now),
            Event::ChatLooks(_) => rooms.set_servers(self.servers.clone(), now),
            _ => Vec::new(),
        };
        self.chat_effects(chat, effects);
    }

    fn deliver_to_connector(&mut self, event: Event) {
        let now = self.hub_now();
        let (connector, effects) = match event {
            Event::ToConnector { connector, body } => {
                let is_proven = self.signs();
                (connector, self.connectors[connector].hub.receive(&body, is_proven, now).unwrap())
            }
            Event::NoResponders { connector, token } => {
                (connector, self.connectors[connector].hub.on_no_responders(token, now))
            }
            Event::Lost { connector, session } => {
                self.connectors[connector].vanished.remove(&session);
                (connector, self.connectors[connector].hub.close(session, Ending::Lost, now))
            }
            Event::ConnectorLooks(connector) => {
                (connector, self.connectors[connector].hub.set_servers(self.servers.clone(), now))
            }
            Event::ConnectorUp(connector) => {
                self.connectors[connector].up = true;
                (connector, self.connectors[connector].hub.on_reconnected(now))
            }
            _ => return,
        };
        self.connector_effects(connector, effects);
    }

    fn hub_now(&mut self) -> HubNow {
        HubNow { ticks: self.now, chance: self.chance.any() }
    }

    fn chat_now(&self, chat: usize) -> Now {
        Now { ticks: self.now, wall_ms: self.wall_ms(Machine::Chat(chat)) }
    }
}
