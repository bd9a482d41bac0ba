//! Many rooms at one connector, and an owner that accepts everything or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::backoff;
use model::ids::{Incarnation, Name, RoomId, ServerId, SessionId};
use model::lineage::Lineage;
use model::placement::CHAT;
use model::record::{Entry, Epoch, Position, Record, RecordId, VERSION};
use model::room::RoomState;
use model::rpc;
use model::rpc::messages::{
    CatchUp, ChatStats, FromChat, FromConnector, LogPosition, LogShortage, LogShortages, RpcRequest, RpcResponse,
};
use model::servers::{Server, Servers};
use model::settings::NameSettings;
use model::size_limits::SizeLimits;

use super::*;
use crate::route::ClientRoute;

mod logins;
mod permissions;
mod quotas;
mod requests;
mod senders;

/// Milliseconds between two ticks.
const TICK_MS: u64 = 50;

/// Attaches per tick.
const ATTACHES: usize = 512;

fn chat() -> ServerId {
    ServerId::new("chat-server-1").unwrap()
}

fn room(number: usize) -> RoomId {
    RoomId::new(&format!("room-{number}")).unwrap()
}

/// A connector whose rooms all have one chat server.
struct TestConnector {
    state: ConnectorState,
    now: u64,
    inputs: u64,
    /// Messages of the chat server so far.
    sent: u64,
    /// The shortage that the chat server reports.
    log_shortage: Option<LogShortage>,
    /// The state of every room before its first record.
    initial: RoomState,
}

impl TestConnector {
    /// Returns a connector without rooms.
    fn new() -> Self {
        Self::with(Self::common())
    }

    fn common() -> Common {
        Common {
            me: ServerId::new("connector-server-1").unwrap(),
            lineage: Lineage::new(Incarnation(1)),
            repeat_ms: 1_000,
            linger_ms: 5_000,
            resume_ms: 0,
            max_waiting: 100,
            size_limits: SizeLimits::default(),
            large_members: 500,
        }
    }

    fn with(common: Common) -> Self {
        let servers = Servers::new([(CHAT.to_owned(), vec![Server::new(chat(), "127.0.0.1")])]);
        let quotas = QuotaLimits {
            pressure_bytes_per_min: 16_384,
            max_content: 16_384,
            // Most tests have one client with many rooms.
            new_rooms_per_min: 1_000_000,
        };
        let limits = Limits {
            max_in_flight: 50,
            request_ms: 60_000,
            attaches_per_tick: ATTACHES,
            members_per_address: 3,
            quotas,
            names: NamePolicy::new(&NameSettings::default()),
            logins: LoginRules::off(),
            permissions: Permissions::default(),
        };
        Self {
            state: ConnectorState::new(common, ChatServers::new(Arc::new(servers), 10_000), limits),
            now: 0,
            inputs: 0,
            sent: 0,
            log_shortage: None,
            initial: RoomState::default(),
        }
    }

    /// A client connects and asks to enter a room.
    fn enter(&mut self, session: u64, room: &RoomId) -> Vec<Effect> {
        self.state.open(session, None);
        let body = format!(r#"{{"username":"ann","rid":"{}"}}"#, room.as_str());
        let now = self.now();
        self.state.handle_request(session, Some(1), ClientRequest::new(ClientRoute::Enter, body.into()), now)
    }

    fn now(&mut self) -> Now {
        self.inputs += 1;
        let chance = u128::from(backoff::draw(1, self.inputs)) << 64;
        Now { ticks: self.now, chance }
    }

    fn tick(&mut self) -> Vec<Effect> {
        self.now += TICK_MS;
        let now = self.now();
        self.state.tick(now)
    }

    /// Returns the rooms that these effects attach.
    fn attaches_in(effects: &[Effect]) -> Vec<(RoomId, LogPosition)> {
        let attach = |effect: &Effect| match effect {
            Effect::SendToChat { body, .. } => match rpc::decode::<FromConnector>(body).unwrap().request {
                RpcRequest::Attach { room, at } => Some((room, at)),
                _ => None,
            },
            _ => None,
        };
        effects.iter().filter_map(attach).collect()
    }

    fn receive(&mut self, response: RpcResponse) -> Vec<Effect> {
        self.sent += 1;
        let (v, incarnation, number) = (rpc::VERSION, Incarnation(1), self.sent);
        let mut log_shortages = LogShortages::NONE;
        self.log_shortage.into_iter().for_each(|shortage| log_shortages.add(0..=63, shortage));
        let stats = Some(ChatStats { log_shortages, ..ChatStats::default() });
        let body: Bytes = rpc::encode(&FromChat { v, chat: chat(), incarnation, number, stats, response }).unwrap();
        let now = self.now();
        self.state.receive(&body, false, now).unwrap()
    }

    /// The chat server answers attaches: its log has no records.
    fn agree(&mut self, attaches: Vec<(RoomId, LogPosition)>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (room, requested) in attaches {
            let now = LogPosition { epoch: Epoch(1), ..LogPosition::default() };
            let is_known = requested.epoch == now.epoch;
            let catch_up = if is_known {
                CatchUp::Since { records: Vec::new(), more: false }
            } else {
                CatchUp::State(Box::new((&self.initial).into()))
            };
            effects.extend(self.receive(RpcResponse::Attached { room, requested, now, catch_up }));
        }
        effects
    }

    fn refuse(&mut self, attaches: Vec<(RoomId, LogPosition)>) {
        for (room, _) in attaches {
            self.receive(RpcResponse::NotOwner { room });
        }
    }
}

/// Returns a connector with so many attached rooms; their clients wait for their joins.
fn followed(rooms: usize) -> TestConnector {
    let mut connector = TestConnector::new();
    for number in 0..rooms {
        let attaches = TestConnector::attaches_in(&connector.enter(number as u64, &room(number)));
        connector.agree(attaches);
        if number % ATTACHES == ATTACHES - 1 {
            connector.tick();
        }
    }
    connector.tick();
    connector
}

#[test]
fn attaches_after_a_reconnect_are_spread_over_a_time_that_grows_with_the_rooms() {
    const ROOMS: usize = 20_000;
    let mut connector = followed(ROOMS);
    let now = connector.now();
    let mut effects = connector.state.on_reconnected(now);
    let (mut attached, mut ticks) = (BTreeSet::new(), 0);
    loop {
        let attaches = TestConnector::attaches_in(&effects);
        assert!(attaches.len() <= ATTACHES, "{} attaches in one tick", attaches.len());
        attached.extend(attaches.iter().map(|(room, _)| room.clone()));
        let more = connector.agree(attaches);
        assert!(TestConnector::attaches_in(&more).is_empty(), "an answer brings no attach of another room");
        if attached.len() == ROOMS {
            break;
        }
        effects = connector.tick();
        ticks += 1;
        assert!(ticks <= 2 * ROOMS / ATTACHES, "{} rooms after {ticks} ticks", attached.len());
    }
    assert!(ticks >= ROOMS / ATTACHES - 1, "{ticks}");
}

#[test]
fn a_room_among_few_is_attached_at_once() {
    let mut connector = followed(20);
    let now = connector.now();
    let effects = connector.state.on_reconnected(now);
    assert_eq!(TestConnector::attaches_in(&effects).len(), 20);
}

/// While thousands of silent rooms attach again, a client that enters another one does not wait for
/// all of them.
#[test]
fn a_room_that_a_client_waits_for_comes_first() {
    let mut connector = followed(5_000);
    // All requests are answered at their deadline, so no client waits in these rooms.
    connector.now += 120_000;
    connector.tick();
    let now = connector.now();
    connector.state.on_reconnected(now);
    let effects = connector.enter(9_999, &RoomId::new("zoo").unwrap());
    assert_eq!(TestConnector::attaches_in(&effects).len(), 1);
}

/// Returns the times of each room's attaches to a chat server that does not own it.
fn tries(connector: &mut TestConnector, lasting_ms: u64) -> BTreeMap<RoomId, Vec<u64>> {
    let mut tries: BTreeMap<RoomId, Vec<u64>> = BTreeMap::new();
    let now = connector.now();
    let mut effects = connector.state.on_reconnected(now);
    let end = connector.now + lasting_ms;
    while connector.now < end {
        let attaches = TestConnector::attaches_in(&effects);
        for (room, _) in &attaches {
            tries.entry(room.clone()).or_default().push(connector.now);
        }
        connector.refuse(attaches);
        effects = connector.tick();
    }
    tries
}

/// Repeats come out of one tick for all rooms, with the same random bits: each room draws its own
/// from them.
#[test]
fn rooms_that_are_not_answered_are_not_repeated_together() {
    let mut connector = followed(300);
    let now = connector.now();
    let mut effects = connector.state.on_reconnected(now);
    let mut last: BTreeMap<RoomId, u64> = BTreeMap::new();
    while connector.now < 20_000 {
        last.extend(TestConnector::attaches_in(&effects).into_iter().map(|(room, _)| (room, connector.now)));
        effects = connector.tick();
    }
    let times: BTreeSet<u64> = last.into_values().collect();
    assert!(times.len() > 10, "300 rooms were asked for last at {times:?}");
}

#[test]
fn rooms_that_are_refused_back_off_each_with_jitter_of_its_own() {
    let mut connector = followed(300);
    let tries = tries(&mut connector, 20_000);
    let mut last = BTreeSet::new();
    for times in tries.values() {
        let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[0] <= 100 + 50 + TICK_MS, "the first retry is soon: {gaps:?}");
        assert!(gaps.iter().all(|gap| *gap <= 600 + TICK_MS), "{gaps:?}");
        assert!(gaps[2..].iter().all(|gap| *gap >= 400), "delays grow: {gaps:?}");
        last.insert(times[times.len() - 1]);
    }
    assert!(last.len() > 8, "rooms are asked for at {} different times", last.len());
}

#[test]
fn rooms_that_are_never_answered_are_all_attached_in_turn() {
    let mut connector = followed(20_000);
    let now = connector.now();
    let mut effects = connector.state.on_reconnected(now);
    let mut asked = BTreeSet::new();
    for tick in 0.. {
        asked.extend(TestConnector::attaches_in(&effects).into_iter().map(|(room, _)| room));
        if asked.len() == 20_000 {
            break;
        }
        assert!(tick < 200, "{} rooms were asked for", asked.len());
        effects = connector.tick();
    }
}

/// The draws of many rooms from one input are repeatable, or no simulated run were.
#[test]
fn the_same_inputs_have_the_same_effects() {
    let run = || tries(&mut followed(50), 5_000);
    assert_eq!(run(), run());
}
