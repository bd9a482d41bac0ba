//! A scripted cluster: three chat servers, two connectors, their clients and a log. A script
//! decides what moves and when.

mod delivery;
mod holds;
mod log;
mod replay;
mod restart;
mod stray;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chat::log::memory::Memory;
use follower::connector_state::{ClientRequest, ConnectorState, Limits, LoginRules};
use follower::route::ClientRoute;
use model::ending::Ending;
use model::identity::{Principal, User};
use model::ids::{Incarnation, RoomId, ServerId, Uid};
use model::membership::Token;
use model::placement;
use model::record::{Position, Record};
use model::room::RoomState;
use model::settings::LogSettings;
use model::size_limits::SizeLimits;
use owner::log_operation::Tail;
use owner::rooms::{Identity, Rooms};
use runtime::config::{Servers, Settings};
use runtime::metrics::Metrics;

use super::transit::{InTransit, Selector};
use super::{ANN, BOB, CANDIDATE, HOME, LEFT, RIGHT, ROOM};
use crate::{checks, world};
use delivery::entry_text;
use replay::Copies;

const CHATS: usize = 3;
const CONNECTORS: usize = 2;

/// The incarnation of all servers in the beginning.
pub(super) const FIRST: Incarnation = Incarnation(100);

struct Chat {
    rooms: Rooms,
    run: u64,
    is_dead: bool,
    /// It hands over its rooms, and announces that.
    leaves: bool,
    /// The items that came while it is frozen.
    asleep: Option<Vec<InTransit>>,
}

struct Client {
    connector: usize,
    asked: u32,
    received: Vec<String>,
    /// With which it can come back to the room: its token, and the last `seq` that it knows.
    place: Option<(Token, u64)>,
}

pub(super) struct ScriptedCluster {
    now: u64,
    /// Milliseconds that the clocks of the chat servers are behind.
    clocks_behind: u64,
    log: Memory,
    /// The room's end as a replica of the log has it that is behind; none if all replicas have all.
    replica: Option<Tail>,
    /// No server has a connection to the broker.
    is_cut: bool,
    chats: Vec<Chat>,
    hubs: Vec<ConnectorState>,
    /// Connectors that never do anything again.
    dead_hubs: BTreeSet<usize>,
    clients: BTreeMap<u64, Client>,
    under_way: VecDeque<InTransit>,
    holds: Vec<Selector>,
    held: Vec<InTransit>,
    losses: Vec<Selector>,
    copies: Copies,
    /// Messages are signed, as long as no stray ones are in transit.
    signs: bool,
    metrics: Arc<Metrics>,
    /// The log has no records before this one any more.
    oldest: Position,
    /// Positions of messages of the room's log that are no records, or no longer.
    bad: BTreeSet<Position>,
    /// Records that the log took.
    appended: usize,
    /// Records that the room had when the script began.
    before: usize,
}

fn id(kind: &str, number: usize) -> ServerId {
    world::server(kind, number).id
}

pub(super) fn room() -> RoomId {
    RoomId::new(ROOM).unwrap()
}

/// A list of these chat servers.
pub(super) fn list(chats: &[usize]) -> Arc<Servers> {
    world::list(chats.iter().map(|number| world::server("chat", *number)).collect())
}

impl ScriptedCluster {
    /// Ann is in the room at the left connector, Bob at the right one.
    pub(super) fn with_ann_and_bob() -> Self {
        let mut cluster = Self::empty();
        let servers = list(&[0, 1, 2]);
        let order = placement::candidates(ROOM, servers.chat(), |_| false);
        assert_eq!((&order[0].id, &order[1].id), (&id("chat", HOME), &id("chat", CANDIDATE)));
        cluster.advance(1_000);
        cluster.enter(LEFT, ANN, "ann");
        cluster.settle();
        cluster.enter(RIGHT, BOB, "bob");
        cluster.settle();
        assert_eq!(cluster.received(ANN), ["entered: ann", "+bob"]);
        assert_eq!(cluster.received(BOB), ["entered: ann bob"]);
        cluster.clients.values_mut().for_each(|client| client.received.clear());
        cluster.before = cluster.records().len();
        cluster
    }

    fn empty() -> Self {
        let mut cluster = Self {
            now: 0,
            clocks_behind: 0,
            log: Memory::starting_at(1, &LogSettings::default()),
            replica: None,
            is_cut: false,
            chats: Vec::new(),
            hubs: Vec::new(),
            dead_hubs: BTreeSet::new(),
            clients: BTreeMap::new(),
            under_way: VecDeque::new(),
            holds: Vec::new(),
            held: Vec::new(),
            losses: Vec::new(),
            copies: Copies::default(),
            signs: true,
            metrics: Metrics::new(),
            oldest: Position::NONE,
            bad: BTreeSet::new(),
            appended: 0,
            before: 0,
        };
        cluster.chats = (0..CHATS).map(|number| cluster.chat(number, 1, FIRST)).collect();
        cluster.hubs = (0..CONNECTORS).map(|number| cluster.hub(number, FIRST)).collect();
        cluster
    }

    fn chat(&self, number: usize, run: u64, incarnation: Incarnation) -> Chat {
        let (me, servers) = (id("chat", number), list(&[0, 1, 2]));
        let identity = Identity { me, incarnation, servers, is_fenced: true };
        let rooms = Rooms::new(identity, &Settings::default(), SizeLimits::default());
        Chat { rooms, run, is_dead: false, leaves: false, asleep: None }
    }

    fn hub(&self, number: usize, incarnation: Incarnation) -> ConnectorState {
        // Scripts are about one room: the connectors follow no room for its rules.
        let limits = Limits { logins: LoginRules::off(), ..world::connector_limits() };
        world::hub(&id("connector", number), incarnation, list(&[0, 1, 2]), limits)
    }

    /// The clocks of the chat servers are set back.
    pub(super) fn set_clocks_back(&mut self, ms: u64) {
        self.clocks_behind = ms;
    }

    /// The broker is away: no server has a connection, and nothing arrives.
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// All connections to the broker are made anew.
    pub(super) fn reconnect(&mut self) {
        self.is_cut = false;
        self.reconnect_chats();
        for connector in 0..CONNECTORS {
            let now = self.hub_now();
            let effects = self.hubs[connector].on_reconnected(now);
            self.hub_effects(connector, effects);
        }
    }

    fn reconnect_chats(&mut self) {
        (0..CHATS).for_each(|chat| self.reconnect_chat(chat));
    }

    /// The connection of a chat server is made anew.
    pub(super) fn reconnect_chat(&mut self, chat: usize) {
        let now = self.chat_now();
        let effects = self.chats[chat].rooms.start_over(now);
        self.chat_effects(chat, effects);
    }

    /// It never does anything again; what it sent is under way.
    pub(super) fn kill(&mut self, chat: usize) {
        self.chats[chat].is_dead = true;
    }

    pub(super) fn kill_connector(&mut self, connector: usize) {
        self.dead_hubs.insert(connector);
    }

    /// It is asked to end, and hands over what it has.
    pub(super) fn stop(&mut self, chat: usize) {
        self.chats[chat].leaves = true;
        let effects = self.chats[chat].rooms.hand_over();
        self.chat_effects(chat, effects);
        self.settle();
    }

    /// Returns true if a chat server that was asked to end may do so.
    pub(super) fn has_left(&self, chat: usize) -> bool {
        self.chats[chat].rooms.is_handed_over()
    }

    /// A connector is asked to end, and is about to send its clients elsewhere.
    pub(super) fn drain(&mut self, connector: usize) {
        self.hubs[connector].drain();
    }

    pub(super) fn sleep(&mut self, chat: usize) {
        self.chats[chat].asleep = Some(Vec::new());
    }

    pub(super) fn wake(&mut self, chat: usize) {
        self.under_way.extend(self.chats[chat].asleep.take().unwrap());
        self.settle();
    }

    /// A chat server sees that the list is another.
    pub(super) fn change_chat_view(&mut self, chat: usize, chats: &[usize]) {
        let now = self.chat_now();
        let effects = self.chats[chat].rooms.set_servers(list(chats), now);
        self.chat_effects(chat, effects);
        self.settle();
    }

    pub(super) fn change_connector_view(&mut self, connector: usize, chats: &[usize]) {
        let now = self.hub_now();
        let effects = self.hubs[connector].set_servers(list(chats), now);
        self.hub_effects(connector, effects);
        self.settle();
    }

    /// A client comes to a connector if it is not there, and asks to enter the room.
    pub(super) fn enter(&mut self, connector: usize, session: u64, name: &str) {
        self.open(connector, session);
        self.request(
            session,
            ClientRequest::new(ClientRoute::Enter, format!(r#"{{"username":"{name}","rid":"{ROOM}"}}"#).into()),
        );
    }

    /// A client whose connection broke comes back as another session.
    pub(super) fn resume(&mut self, connector: usize, before: u64, session: u64, name: &str) {
        let (token, since) = self.clients[&before].place.unwrap();
        self.open(connector, session);
        let place = format!(r#""token":"{token}","since":{since},"epoch":1"#);
        self.request(
            session,
            ClientRequest::new(ClientRoute::Enter, format!(r#"{{"username":"{name}","rid":"{ROOM}",{place}}}"#).into()),
        );
    }

    /// A client connects with a token of the application.
    pub(super) fn log_in(&mut self, connector: usize, session: u64, uid: &str) {
        self.open(connector, session);
        let uid = Uid::new(uid).unwrap();
        let principal = Principal { uid, name: None, info: None, grants: None, issued_at: 0, expires_at: u64::MAX };
        let effects = self.hubs[connector].log_in(session, User { principal, since: 0, until: u64::MAX });
        self.hub_effects(connector, effects);
    }

    fn open(&mut self, connector: usize, session: u64) {
        if !self.clients.contains_key(&session) {
            self.hubs[connector].open(session, None);
            let client = Client { connector, asked: 0, received: Vec::new(), place: None };
            self.clients.insert(session, client);
        }
    }

    pub(super) fn send(&mut self, session: u64, text: &str) {
        self.request(
            session,
            ClientRequest::new(ClientRoute::Send, format!(r#"{{"content":"{text}","target":"*"}}"#).into()),
        );
    }

    pub(super) fn send_with_id(&mut self, session: u64, text: &str, id: &str) {
        self.request(
            session,
            ClientRequest::new(ClientRoute::Send, format!(r#"{{"content":"{text}","target":"*","id":"{id}"}}"#).into()),
        );
    }

    pub(super) fn whisper(&mut self, session: u64, to: &str, text: &str) {
        self.request(
            session,
            ClientRequest::new(ClientRoute::Send, format!(r#"{{"content":"{text}","target":"{to}"}}"#).into()),
        );
    }

    pub(super) fn leave(&mut self, session: u64) {
        self.request(session, ClientRequest::new(ClientRoute::Leave, "".into()));
    }

    pub(super) fn close(&mut self, session: u64) {
        self.end(session, Ending::Closed);
    }

    /// A client's connection breaks.
    pub(super) fn disconnect(&mut self, session: u64) {
        self.end(session, Ending::Lost);
    }

    fn end(&mut self, session: u64, ending: Ending) {
        let (connector, now) = (self.clients[&session].connector, self.hub_now());
        let effects = self.hubs[connector].close(session, ending, now);
        self.hub_effects(connector, effects);
    }

    fn request(&mut self, session: u64, request: ClientRequest) {
        let now = self.hub_now();
        let client = self.clients.get_mut(&session).unwrap();
        client.asked += 1;
        let (connector, id) = (client.connector, client.asked);
        let effects = self.hubs[connector].handle_request(session, Some(id), request, now);
        self.hub_effects(connector, effects);
    }

    /// A connector takes several requests before it proposes anything.
    pub(super) fn gather(&mut self, connector: usize) {
        self.hubs[connector].begin_batch();
    }

    pub(super) fn propose(&mut self, connector: usize) {
        let now = self.hub_now();
        let effects = self.hubs[connector].propose_batch(now);
        self.hub_effects(connector, effects);
    }

    /// Returns what a client received since Ann and Bob are in the room.
    pub(super) fn received(&self, session: u64) -> &[String] {
        &self.clients[&session].received
    }

    /// Takes what a client received since it was taken last.
    pub(super) fn take_received(&mut self, session: u64) -> Vec<String> {
        self.clients.get_mut(&session).map(|client| std::mem::take(&mut client.received)).unwrap_or_default()
    }

    /// Returns the entries of the room since then.
    pub(super) fn log(&self) -> Vec<String> {
        let entries = self.records().into_iter().flat_map(|record| record.entries);
        entries.filter_map(|entry| entry_text(&entry)).collect()
    }

    /// Time of each record since then.
    pub(super) fn times(&self) -> Vec<u64> {
        self.records().iter().map(|record| record.time).collect()
    }

    /// Returns the author of each record since then.
    pub(super) fn appenders(&self) -> Vec<usize> {
        let number = |owner: &ServerId| (0..CHATS).find(|number| id("chat", *number) == *owner).unwrap();
        self.records().iter().map(|record| number(&record.owner)).collect()
    }

    pub(super) fn activations(&self) -> u64 {
        self.metrics.activations.get()
    }

    /// Returns true if every request is answered, and nothing is held.
    pub(super) fn is_settled(&self) -> bool {
        self.hubs.iter().all(|hub| hub.is_settled() && hub.requests_waiting() == 0) && self.held.is_empty()
    }

    /// The room as its whole log has it.
    fn state(&self) -> RoomState {
        let mut state = RoomState::default();
        checks::records(&self.log, &room(), &self.bad)
            .iter()
            .rev()
            .for_each(|(position, record)| state.fold(*position, record));
        state
    }

    /// The room's records since Ann and Bob are in it.
    fn records(&self) -> Vec<Record> {
        let records = checks::records(&self.log, &room(), &self.bad);
        assert_eq!(records.len(), self.appended, "the room has one chain, and all is in it");
        records.into_iter().rev().map(|(_, record)| record).skip(self.before).collect()
    }
}
