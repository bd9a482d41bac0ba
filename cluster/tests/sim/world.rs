//! A cluster in one thread: who is there, what moves between them, and the people who use it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chat::log::memory::Memory;
use chat::log::{AppendError, ReadError};
use chat::owner::{LogDone, LogOp, Now};
use chat::rooms::{Effect as ChatEffect, Heard as Question, Identity, LogAsker, Rooms};
use connector::hub::{Effect, Hub, Limits, Now as HubNow, Request};
use connector::owners::Owners;
use connector::room::Common;
use shared::config::settings::{LogSettings, RoomSettings};
use shared::config::{Server, Servers};
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
        let rooms = Rooms::new(identity, &RoomSettings::default(), self.metrics.clone());
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

    fn plan(&mut self) {
        for time in (0..END_MS).step_by(50) {
            self.agenda.at(time, Event::Tick);
        }
        for time in (0..END_MS).step_by(500) {
            self.agenda.at(time, Event::Heartbeat);
        }
        for time in (0..END_MS).step_by(1_000) {
            self.agenda.at(time, Event::Listen);
        }
        for person in 0..PEOPLE {
            let mut time = self.chance.between(0, 500);
            while time < BUSY_MS {
                self.agenda.at(time, Event::Person(person));
                time += self.chance.between(1, 600);
            }
        }
        if matches!(self.scenario, Scenario::Restarts | Scenario::LostLog) {
            for _ in 0..3 {
                let (time, chat) = (self.chance.between(500, BUSY_MS), self.chance.index(CHATS));
                self.agenda.at(time, Event::RestartChat(chat));
            }
        }
        if matches!(self.scenario, Scenario::BadBroker | Scenario::LostEnd) {
            for _ in 0..2 {
                let time = self.chance.between(1_000, BUSY_MS);
                self.agenda.at(time, Event::BrokerGone);
            }
        }
        if self.scenario == Scenario::Deaths {
            for _ in 0..4 {
                let (time, chat) = (self.chance.between(500, BUSY_MS), self.chance.index(CHATS));
                self.agenda.at(time, Event::ChatDies(chat));
            }
        }
        if self.scenario == Scenario::ConnectorDeaths {
            for _ in 0..3 {
                let (time, connector) = (self.chance.between(500, BUSY_MS), self.chance.index(CONNECTORS));
                let back = self.chance.per_mille(700).then(|| time + self.chance.between(50, 9_000));
                self.agenda.at(time, Event::ConnectorDies { connector, back });
            }
        }
        if self.scenario == Scenario::Changes {
            self.plan_changes();
        }
        if self.scenario == Scenario::Sleeps {
            for _ in 0..5 {
                let (time, chat) = (self.chance.between(500, BUSY_MS), self.chance.index(CHATS));
                let until = time + self.chance.between(200, 5_000);
                self.agenda.at(time, Event::ChatSleeps(chat, until));
            }
        }
        if self.scenario == Scenario::Emptied {
            for _ in 0..3 {
                let time = self.chance.between(1_000, BUSY_MS);
                self.agenda.at(time, Event::EmptyLog);
            }
        }
        if self.scenario == Scenario::LostLog {
            let time = self.chance.between(2_000, BUSY_MS);
            self.agenda.at(time, Event::LoseLog);
        }
    }

    /// Each server sees each change, in the order of the changes.
    fn plan_changes(&mut self) {
        let mut time = 1_000;
        while time < BUSY_MS {
            let view = self.view();
            for chat in 0..CHATS {
                let seen = time + self.chance.between(0, 1_200);
                self.agenda.at(seen, Event::ChatSees(chat, view.clone()));
            }
            for connector in 0..CONNECTORS {
                let seen = time + self.chance.between(0, 1_200);
                self.agenda.at(seen, Event::ConnectorSees(connector, view.clone()));
            }
            time += self.chance.between(1_300, 4_000);
        }
    }

    /// Some of the chat servers, at least one, in some order.
    fn view(&mut self) -> Arc<Servers> {
        let mut rest: Vec<Server> = (0..CHATS).map(|number| server("chat", number)).collect();
        let count = 1 + self.chance.index(CHATS);
        let list = (0..count).map(|_| rest.remove(self.chance.index(rest.len()))).collect();
        Arc::new(Servers::new([(CHAT.to_owned(), list)]))
    }

    /// Faults of this moment.
    fn faults(&self) -> Faults {
        let bad_bus = Faults { lost: 60, doubled: 60, late: 60, unclear: 0 };
        match self.scenario {
            _ if self.now > BUSY_MS => Faults::default(),
            Scenario::Calm => Faults::default(),
            Scenario::BadBus => bad_bus,
            Scenario::BadLog => Faults { unclear: 150, ..Faults::default() },
            Scenario::Restarts | Scenario::LostLog | Scenario::Emptied => Faults { unclear: 50, lost: 20, ..bad_bus },
            Scenario::Deaths | Scenario::Sleeps | Scenario::ConnectorDeaths | Scenario::Changes => {
                Faults { unclear: 20, lost: 20, doubled: 20, late: 20 }
            }
            Scenario::BadBroker | Scenario::LostEnd => Faults { unclear: 30, late: 20, ..Faults::default() },
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

    /// Everybody's connection breaks, with all that is on its way; servers find the broker again one by one.
    fn break_connections(&mut self) {
        self.connection += 1;
        for (chat, operation) in self.agenda.take_operations() {
            // What was asked of the log may have been done; that nobody knows.
            let (run, room, asker, op) = operation;
            let failed = match &op {
                LogOp::Last { .. } => LogDone::Last(Err(ReadError("the connection broke".to_owned()))),
                LogOp::Read(_) => LogDone::Read(Err(ReadError("the connection broke".to_owned()))),
                LogOp::Append { .. } => LogDone::Append(Err(AppendError::Unclear("the connection broke".to_owned()))),
            };
            if self.chance.per_mille(500) {
                self.operate(&room, op);
            }
            self.agenda.at(self.now, Event::LogDone { chat, run, room, asker, done: failed });
        }
        if self.scenario == Scenario::LostEnd {
            self.lose_end();
        }
        for chat in 0..CHATS {
            self.chats[chat].up = false;
            let back = self.now + self.chance.between(1, 900);
            self.agenda.at(back, Event::ChatUp(chat));
        }
        for connector in 0..CONNECTORS {
            self.connectors[connector].up = false;
            let back = self.now + self.chance.between(1, 900);
            self.agenda.at(back, Event::ConnectorUp(connector));
        }
    }

    /// The log goes on without its last records, and gives their positions again.
    fn lose_end(&mut self) {
        let lost = self.chance.between(0, 12);
        let mut records: Vec<_> = ROOMS
            .iter()
            .map(|name| RoomId::new(name).unwrap())
            .flat_map(|room| {
                let records = checks::records(&self.log, &room);
                records.into_iter().map(move |(position, bytes)| (position, room.clone(), bytes)).collect::<Vec<_>>()
            })
            .collect();
        records.sort_by_key(|(position, ..)| *position);
        let kept = records.len().saturating_sub(lost as usize);
        self.log = Memory::starting_at(1, &LogSettings::default());
        for (position, room, bytes) in records.drain(..kept) {
            let last = self.log.last(&room).last.map_or(Position::NONE, |(position, _)| position);
            assert_eq!(self.log.append(&room, last, bytes), Ok(position));
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

    /// Its clients find their connections broken, and what it was about to do is not done.
    fn kill_connector(&mut self, connector: usize, back: Option<u64>) {
        if self.connectors[connector].is_dead || (back.is_none() && self.connectors.iter().any(|c| c.is_dead)) {
            return;
        }
        self.connectors[connector].is_dead = true;
        for person in std::mem::take(&mut self.connectors[connector].people).into_values().collect::<BTreeSet<_>>() {
            if let Some(visit) = self.people[person].visit() {
                visit.closed = true;
            }
        }
        if let Some(back) = back {
            self.agenda.at(back, Event::ConnectorStarts(connector));
        }
    }

    /// It comes back as another run, after a while.
    fn kill_chat(&mut self, chat: usize) {
        if !self.chats[chat].is_dead {
            self.chats[chat] = ChatNode { is_dead: true, ..self.chat(chat, self.chats[chat].run + 1) };
            let back = self.now + self.chance.between(100, 6_000);
            self.agenda.at(back, Event::RestartChat(chat));
        }
    }

    /// Whether a chat server is there, as another one finds that asks it; a lost answer looks as if not.
    fn probe(&mut self, chat: usize, home: ServerId) {
        let asked = self.chats.iter().position(|c| c.id == home).unwrap();
        let node = &self.chats[asked];
        let lost = self.chance.per_mille(2 * self.faults().lost);
        let is_alive = !node.is_dead && node.up && node.sleeps_until <= self.now && self.chats[chat].up && !lost;
        let (run, delay) = (self.chats[chat].run, if is_alive { 2 } else { 500 });
        self.agenda.at(self.now + delay, Event::Probed { chat, run, home, is_alive });
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
            let away = || ReadError("no connection".to_owned());
            let done = match op {
                LogOp::Last { .. } => LogDone::Last(Err(away())),
                LogOp::Read(_) => LogDone::Read(Err(away())),
                LogOp::Append { .. } => LogDone::Append(Err(AppendError::Unclear("no connection".to_owned()))),
            };
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
        let done = LogDone::Append(Err(AppendError::Unclear("simulated".to_owned())));
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

    /// A session is sent away; its client may have gone without a word.
    fn kick(&mut self, connector: usize, session: u64) {
        match self.connectors[connector].people.get(&session).copied() {
            Some(person) => {
                self.people[person].visit().unwrap().displaced = true;
                self.close(person, Ending::Closed);
            }
            None => {
                let now = self.hub_now();
                let effects = self.connectors[connector].hub.close(session, Ending::Closed, now);
                self.connector_effects(connector, effects);
            }
        }
    }

    fn hear(&mut self, connector: usize, session: u64, heard: Heard) {
        let Some(person) = self.connectors[connector].people.get(&session) else { return };
        let visits = &mut self.people[*person].visits;
        let visit = visits.iter_mut().find(|v| v.session == session && v.connector == connector).unwrap();
        assert!(!visit.closed, "something was told to a session that is gone");
        visit.heard.push(heard);
    }

    fn act(&mut self, person: usize) {
        if self.people[person].visit().is_none() {
            return self.open(person);
        }
        match self.chance.between(0, 100) {
            0..=1 => self.close(person, Ending::Closed),
            2 => self.close(person, Ending::Lost),
            3 => self.vanish(person),
            4..=5 => self.ask(person, Asked::History, Request::History("{}".into())),
            6..=8 => self.repeat(person),
            9..=14 => self.enter(person),
            15..=18 => self.ask(person, Asked::Leave, Request::Leave),
            19..=30 => self.whisper(person),
            31..=35 => (0..self.chance.between(2, 20)).for_each(|_| self.say(person)),
            _ => self.say(person),
        }
    }

    fn open(&mut self, person: usize) {
        let before = self.people[person].place();
        self.sessions += 1;
        let connector = self.chance.index(CONNECTORS);
        if self.connectors[connector].is_dead {
            return;
        }
        let session = self.sessions;
        self.people[person].visits.push(Visit { connector, session, ..Visit::default() });
        self.connectors[connector].people.insert(session, person);
        self.connectors[connector].hub.open(session);
        match before {
            Some(place) if self.chance.per_mille(800) => self.come_back(person, place),
            _ => self.enter(person),
        }
    }

    fn come_back(&mut self, person: usize, place: Place) {
        let name = &self.people[person].name;
        let Place { room, token, epoch: Epoch(epoch), seq } = &place;
        let body = format!(r#"{{"username":"{name}","rid":"{room}","token":"{token}","since":{seq},"epoch":{epoch}}}"#);
        self.ask(person, Asked::ComeBack(place), Request::Enter(body.into()));
    }

    /// The client is gone, and its connector learns of it later.
    fn vanish(&mut self, person: usize) {
        let Some(visit) = self.people[person].visit() else { return };
        visit.closed = true;
        let (connector, session) = (visit.connector, visit.session);
        self.connectors[connector].people.remove(&session);
        let noticed = self.now + self.chance.between(0, 2_000);
        self.agenda.at(noticed, Event::Lost { connector, session });
    }

    fn close(&mut self, person: usize, ending: Ending) {
        let Some(visit) = self.people[person].visit() else { return };
        visit.closed = true;
        let (connector, session) = (visit.connector, visit.session);
        let now = self.hub_now();
        let effects = self.connectors[connector].hub.close(session, ending, now);
        self.connectors[connector].people.remove(&session);
        self.connector_effects(connector, effects);
    }

    fn enter(&mut self, person: usize) {
        let room = RoomId::new(ROOMS[self.chance.index(ROOMS.len())]).unwrap();
        let name = &self.people[person].name;
        let body = format!(r#"{{"username":"{name}","rid":"{room}"}}"#);
        self.ask(person, Asked::Enter, Request::Enter(body.into()));
    }

    fn say(&mut self, person: usize) {
        self.texts += 1;
        let text = format!("text {}", self.texts);
        if let Some(place) = self.people[person].settled_place() {
            self.repeatable.push((place.token, place.room, text.clone()));
        }
        self.say_text(person, text);
    }

    fn say_text(&mut self, person: usize, text: String) {
        let body = format!(r#"{{"content":"{text}","target":"*","id":"{text}"}}"#);
        self.ask(person, Asked::Say(text), Request::Send(body.into()));
    }

    /// Says again what this membership said before, perhaps on another session, and knows the outcome of or not.
    fn repeat(&mut self, person: usize) {
        let Some(place) = self.people[person].settled_place() else { return };
        let mine = |(token, room, _): &&(Token, RoomId, String)| (*token, room) == (place.token, &place.room);
        let texts: Vec<&String> = self.repeatable.iter().rev().filter(mine).map(|(.., text)| text).take(5).collect();
        if !texts.is_empty() {
            let text = texts[self.chance.index(texts.len())].clone();
            self.repeated.insert(text.clone());
            self.say_text(person, text);
        }
    }

    fn whisper(&mut self, person: usize) {
        self.texts += 1;
        let text = format!("text {}", self.texts);
        let to = format!("p{}", self.chance.index(PEOPLE));
        let body = format!(r#"{{"content":"{text}","target":"{to}"}}"#);
        self.ask(person, Asked::Whisper(text), Request::Send(body.into()));
    }

    fn ask(&mut self, person: usize, asked: Asked, request: Request) {
        let Some(visit) = self.people[person].visit() else { return };
        let (connector, session, id) = (visit.connector, visit.session, visit.ask(asked));
        let now = self.hub_now();
        let effects = self.connectors[connector].hub.request(session, Some(id), request, now);
        self.connector_effects(connector, effects);
    }
}
