//! A cluster in one thread: who is there, what moves between them, and the people who use it.

mod faults;
mod people;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chat::log::memory::Memory;
use chat::log::{AppendError, ReadError};
use chat::owner::{LogDone, LogOp, Now};
use chat::rooms::{Effect as ChatEffect, Heard as Question, Identity, LogAsker, Rooms};
use connector::hub::{Effect, Hub, Limits, Now as HubNow, Request};
use connector::owners::Owners;
use connector::room::Common;
use shared::budget::Budget;
use shared::config::settings::LogSettings;
use shared::config::{Server, Servers, Settings};
use shared::dispatcher::CHAT;
use shared::frontend::Ending;
use shared::ids::{Incarnation, RoomId, ServerId};
use shared::membership::Token;
use shared::metrics::Metrics;
use shared::record::{Epoch, Position};
use shared::rpc::Trace;

use crate::chance::Chance;
use crate::checks;
use crate::network::{Agenda, Event, Faults};
use crate::person::{Asked, Heard, Person, Place, Visit};

const CONNECTORS: usize = 3;
const CHATS: usize = 3;
const PEOPLE: usize = 7;
pub(crate) const ROOMS: [&str; 3] = ["lobby", "attic", "room2"];

/// Milliseconds in which people do things and faults happen.
const BUSY_MS: u64 = 12_000;

/// Milliseconds after which all must be settled.
const END_MS: u64 = BUSY_MS + 20_000;

/// What is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Calm,
    BadBus,
    BadLog,
    Restarts,
    /// Chat servers that are dead for a while, and others that stand in.
    Deaths,
    /// Chat servers that are taken out of the list and put back in another order, seen by each server at its own moment.
    Changes,
    /// Connectors that die with their clients, and come back or do not.
    ConnectorDeaths,
    /// Chat servers that stand still for a while, are taken for dead, and wake up in the middle of what they did.
    Sleeps,
    /// Connections to the broker that break, and are made anew at different times.
    BadBroker,
    /// The same, and the broker's store lost the last records.
    LostEnd,
    /// A log whose records are all removed by age, while people are there.
    Emptied,
    LostLog,
}

struct ChatNode {
    id: ServerId,
    rooms: Rooms,
    run: u64,
    /// It has a connection to the broker.
    up: bool,
    is_dead: bool,
    sleeps_until: u64,
}

struct ConnectorNode {
    id: ServerId,
    hub: Hub,
    /// Whose sessions they are.
    people: HashMap<u64, usize>,
    up: bool,
    run: u64,
    is_dead: bool,
}

pub(crate) struct World {
    scenario: Scenario,
    now: u64,
    chance: Chance,
    agenda: Agenda,
    servers: Arc<Servers>,
    pub(crate) log: Memory,
    chats: Vec<ChatNode>,
    connectors: Vec<ConnectorNode>,
    pub(crate) people: Vec<Person>,
    sessions: u64,
    texts: u64,
    /// Messages in the logs at the end.
    pub(crate) said: usize,
    /// What was said under an id, by membership and room; it may be repeated.
    repeatable: Vec<(Token, RoomId, String)>,
    pub(crate) repeated: BTreeSet<String>,
    connection: u64,
    pub(crate) metrics: Arc<Metrics>,
}

fn server(kind: &str, number: usize) -> Server {
    Server::new(ServerId::new(&format!("{kind}-server-{}", number + 1)).unwrap(), "127.0.0.1")
}

impl World {
    /// Runs a scenario to its end, and checks what everybody was told.
    pub(crate) fn run(scenario: Scenario, seed: u64) -> Self {
        let mut world = Self::new(scenario, seed);
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
        world.said =
            checks::check(&world, !matches!(scenario, Scenario::LostLog | Scenario::LostEnd | Scenario::Emptied));
        world
    }

    fn new(scenario: Scenario, seed: u64) -> Self {
        let servers = Arc::new(Servers::new([(CHAT.to_owned(), (0..CHATS).map(|n| server("chat", n)).collect())]));
        let metrics = Metrics::new();
        let mut world = Self {
            scenario,
            now: 0,
            chance: Chance::new(seed),
            agenda: Agenda::default(),
            log: Memory::starting_at(1, &LogSettings::default()),
            chats: Vec::new(),
            connectors: Vec::new(),
            people: (0..PEOPLE).map(|n| Person { name: format!("p{n}"), visits: Vec::new() }).collect(),
            sessions: 0,
            texts: 0,
            said: 0,
            repeatable: Vec::new(),
            repeated: BTreeSet::new(),
            connection: 1,
            servers,
            metrics,
        };
        // Two people with one name: the second is refused wherever they come from.
        world.people[PEOPLE - 1].name = world.people[0].name.clone();
        world.chats = (0..CHATS).map(|n| world.chat(n, 1)).collect();
        world.connectors = (0..CONNECTORS).map(|n| world.connector(n, 1)).collect();
        world.plan();
        world
    }

    fn chat(&self, number: usize, run: u64) -> ChatNode {
        let id = server("chat", number).id;
        let identity =
            Identity { me: id.clone(), incarnation: Incarnation(run), servers: self.servers.clone(), is_fenced: true };
        let rooms = Rooms::new(identity, &Settings::default(), Budget::default(), self.metrics.clone());
        ChatNode { id, rooms, run, up: true, is_dead: false, sleeps_until: 0 }
    }

    fn connector(&self, number: usize, run: u64) -> ConnectorNode {
        let id = server("connector", number).id;
        let common = Common {
            me: id.clone(),
            incarnation: Incarnation(run),
            repeat_ms: 300,
            linger_ms: 1_000,
            resume_ms: 1_500,
            max_waiting: 100,
            budget: Budget::default(),
            large_members: 500,
            metrics: self.metrics.clone(),
        };
        let limits = Limits { max_in_flight: 50, request_ms: 2_000 };
        let owners = Owners::new(self.servers.clone());
        ConnectorNode {
            id,
            hub: Hub::new(common, owners, limits),
            people: HashMap::new(),
            up: true,
            run,
            is_dead: false,
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some(chat) = event.chat().filter(|chat| self.chats[*chat].sleeps_until > self.now) {
            return self.agenda.at(self.chats[chat].sleeps_until, event);
        }
        match event {
            Event::ToChat { chat, .. } if self.chats[chat].is_dead => {}
            Event::ChatDies(chat) => self.kill_chat(chat),
            Event::ChatSleeps(chat, until) => {
                let sleeps_until = &mut self.chats[chat].sleeps_until;
                *sleeps_until = until.max(*sleeps_until);
            }
            Event::Probed { chat, run, home, is_alive } => {
                if self.chats[chat].run == run {
                    let now = self.chat_now();
                    let effects = self.chats[chat].rooms.found(&home, is_alive, now);
                    self.chat_effects(chat, effects);
                }
            }
            Event::NoResponders { connector, token } if !self.connectors[connector].is_dead => {
                let now = self.hub_now();
                let effects = self.connectors[connector].hub.no_responders(token, now);
                self.connector_effects(connector, effects);
            }
            Event::ToChat { chat, .. } if !self.chats[chat].up => {}
            Event::ToConnector { connector, .. } if !self.connectors[connector].up => {}
            Event::ToConnector { connector, .. } if self.connectors[connector].is_dead => {}
            Event::NoResponders { .. } => {}
            Event::Lost { connector, .. } if self.connectors[connector].is_dead => {}
            Event::ConnectorDies { connector, back } => self.kill_connector(connector, back),
            Event::ConnectorStarts(connector) => {
                let run = self.connectors[connector].run + 1;
                self.connectors[connector] = self.connector(connector, run);
            }
            Event::Listen => self.listen(),
            Event::ChatSees(chat, servers) => {
                let now = self.chat_now();
                let effects = self.chats[chat].rooms.set_servers(servers, now);
                self.chat_effects(chat, effects);
            }
            Event::ConnectorSees(connector, servers) => {
                let now = self.hub_now();
                let effects = self.connectors[connector].hub.set_servers(servers, now);
                self.connector_effects(connector, effects);
            }
            Event::ToChat { chat, body, reply, trace } => {
                let now = self.chat_now();
                let effects = self.chats[chat].rooms.message(Question { body: &body, reply, trace }, now).unwrap();
                self.chat_effects(chat, effects);
            }
            Event::ToConnector { connector, body } => {
                let now = self.hub_now();
                let effects = self.connectors[connector].hub.message(&body, now).unwrap();
                self.connector_effects(connector, effects);
            }
            // It breaks with the connection; its outcome was told then.
            Event::Log { connection, .. } if connection != self.connection => {}
            Event::Log { chat, run, room, asker, op, answered, .. } => {
                let done = self.operate(&room, op);
                if answered {
                    let delay = self.chance.between(0, 4);
                    self.agenda.at(self.now + delay, Event::LogDone { chat, run, room, asker, done });
                }
            }
            Event::LogDone { chat, run, room, asker, done } => {
                if self.chats[chat].run == run {
                    let now = self.chat_now();
                    let effects = self.chats[chat].rooms.done(&room, asker, done, now);
                    self.chat_effects(chat, effects);
                }
            }
            Event::Person(person) => self.act(person),
            Event::Tick => self.tick(),
            Event::Heartbeat => {
                for connector in 0..CONNECTORS {
                    if self.connectors[connector].up && !self.connectors[connector].is_dead {
                        let now = self.hub_now();
                        let effects = self.connectors[connector].hub.heartbeat(now);
                        self.connector_effects(connector, effects);
                    }
                }
            }
            Event::RestartChat(chat) => {
                self.chats[chat] = ChatNode { up: self.chats[chat].up, ..self.chat(chat, self.chats[chat].run + 1) };
            }
            Event::Lost { connector, session } => {
                let now = self.hub_now();
                let effects = self.connectors[connector].hub.close(session, Ending::Lost, now);
                self.connector_effects(connector, effects);
            }
            Event::BrokerGone => self.break_connections(),
            Event::ChatUp(chat) => {
                self.chats[chat].up = true;
                let now = self.chat_now();
                let effects = self.chats[chat].rooms.start_over(now);
                self.chat_effects(chat, effects);
            }
            Event::ConnectorUp(connector) => {
                self.connectors[connector].up = true;
                let now = self.hub_now();
                let effects = self.connectors[connector].hub.reconnected(now);
                self.connector_effects(connector, effects);
            }
            Event::EmptyLog => self.log.expire(u64::MAX),
            Event::LoseLog => {
                // A log in memory ends with the processes that hold it, and with what is on its way to it.
                self.connection += 1;
                self.log = Memory::starting_at(2, &LogSettings::default());
                for chat in 0..CHATS {
                    self.chats[chat] = self.chat(chat, self.chats[chat].run + 1);
                }
            }
        }
    }

    fn hub_now(&mut self) -> HubNow {
        HubNow { ticks: self.now, chance: self.chance.any() }
    }

    fn chat_now(&self) -> Now {
        Now { ticks: self.now, wall_ms: 1_000_000 + self.now }
    }

    fn tick(&mut self) {
        for connector in 0..CONNECTORS {
            if self.connectors[connector].is_dead {
                continue;
            }
            let now = self.hub_now();
            let effects = self.connectors[connector].hub.tick(now);
            self.connector_effects(connector, effects);
        }
        for chat in 0..CHATS {
            if self.chats[chat].is_dead || self.chats[chat].sleeps_until > self.now {
                continue;
            }
            let now = self.chat_now();
            let effects = self.chats[chat].rooms.tick(now);
            self.chat_effects(chat, effects);
        }
    }

    fn listen(&mut self) {
        for chat in 0..CHATS {
            let node = &self.chats[chat];
            if node.up && !node.is_dead && node.sleeps_until <= self.now {
                let now = self.chat_now();
                let effects = self.chats[chat].rooms.listened(now);
                self.chat_effects(chat, effects);
            }
        }
    }

    fn chat_effects(&mut self, chat: usize, effects: Vec<ChatEffect>) {
        for effect in effects {
            match effect {
                ChatEffect::Send(_) if !self.chats[chat].up => {}
                ChatEffect::Send(send) => {
                    let connector = self.connectors.iter().position(|c| c.id == send.connector).unwrap();
                    for delay in self.faults().arrivals(&mut self.chance) {
                        let body = send.body.clone();
                        self.agenda.at(self.now + delay, Event::ToConnector { connector, body });
                    }
                }
                ChatEffect::Log { room, asker, op } => self.start_operation(chat, room, asker, op),
                ChatEffect::Probe(home) => self.probe(chat, home),
            }
        }
    }

    fn start_operation(&mut self, chat: usize, room: RoomId, asker: LogAsker, op: LogOp) {
        let (run, connection) = (self.chats[chat].run, self.connection);
        if !self.chats[chat].up {
            let done = failed(&op);
            return self.agenda.at(self.now, Event::LogDone { chat, run, room, asker, done });
        }
        let unclear = matches!(op, LogOp::Append { .. }) && self.chance.per_mille(self.faults().unclear);
        if !unclear {
            let delay = self.chance.between(0, 4);
            return self
                .agenda
                .at(self.now + delay, Event::Log { chat, run, room, asker, op, connection, answered: true });
        }
        // The answer is lost, or the append is, or it comes when nobody expects it any more.
        let done = failed(&op);
        self.agenda.at(self.now + 400, Event::LogDone { chat, run, room: room.clone(), asker, done });
        if !self.chance.per_mille(300) {
            let delay = self.chance.between(0, 1_500);
            self.agenda.at(self.now + delay, Event::Log { chat, run, room, asker, op, connection, answered: false });
        }
    }

    fn operate(&self, room: &RoomId, op: LogOp) -> LogDone {
        match op {
            LogOp::Last { .. } => LogDone::Last(Ok(self.log.last(room))),
            LogOp::Append { expected, record } => LogDone::Append(self.log.append(room, expected, record)),
            LogOp::Read(positions) => {
                let read = self.log.read(room, &positions);
                LogDone::Read(Ok(positions.into_iter().zip(read).collect()))
            }
        }
    }

    fn connector_effects(&mut self, connector: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Ask { .. } if !self.connectors[connector].up => {}
                Effect::Ask { chat, token, body, .. } => {
                    let chat = self.chats.iter().position(|c| c.id == chat).unwrap();
                    let reply = token.map(|token| format!("connector.{connector}.reply.{token}"));
                    // Not with a tracer on the bus, who listens to everything.
                    if let Some(token) = token.filter(|_| self.chats[chat].is_dead && self.chance.per_mille(500)) {
                        self.agenda.at(self.now + 1, Event::NoResponders { connector, token });
                    }
                    let trace = Trace::new();
                    for delay in self.faults().arrivals(&mut self.chance) {
                        let (body, reply, trace) = (body.clone(), reply.clone(), trace.clone());
                        self.agenda.at(self.now + delay, Event::ToChat { chat, body, reply, trace });
                    }
                }
                Effect::Answer { session, id, answer } => {
                    self.hear(connector, session, Heard::Answer { id, told: answer });
                }
                Effect::Push { room, to, push } => {
                    for session in to {
                        self.hear(connector, session, Heard::Push { room: room.clone(), push: push.clone() });
                    }
                }
                Effect::Entered(_) => {}
                Effect::Displaced(session) | Effect::MovedAway(session) => self.kick(connector, session),
            }
        }
    }
}

/// What a log operation ends with that nobody answered.
fn failed(op: &LogOp) -> LogDone {
    let why = || "simulated".to_owned();
    match op {
        LogOp::Last { .. } => LogDone::Last(Err(ReadError(why()))),
        LogOp::Read(_) => LogDone::Read(Err(ReadError(why()))),
        LogOp::Append { .. } => LogDone::Append(Err(AppendError::Unclear(why()))),
    }
}
