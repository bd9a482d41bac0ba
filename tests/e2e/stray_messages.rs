//! Attacks with one connector's or one gate's password beside other users, and stray messages on a
//! broker without sign-in. Sending as another connector with the same rights is left out: only a
//! signature shows the sender.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use cluster::{Cluster, LogKind};
use futures_util::StreamExt;
use model::ids::{Incarnation, RoomId, ServerId};
use model::membership::{Membership, Token};
use model::record::{Entry, Epoch, Position, Record, RecordId, VERSION};
use model::rpc;
use model::rpc::messages::{
    FromChat, FromConnector, HistoryQuery, HistoryRange, KnownIncarnation, LogPosition, Ping, RpcRequest, RpcResponse,
};
use model::subjects;
use runtime::metrics::Metrics;
use testkit::eventually;

use crate::permissions::Protected;
use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::{DEADLINE, Member};

const ROOM: &str = "lobby";

/// The connector whose password is stolen, and that of innocent users.
const STOLEN: &str = "connector-server-1";
const OTHER: &str = "connector-server-2";

const CHATS: [&str; 3] = ["chat-server-1", "chat-server-2", "chat-server-3"];

fn id(text: &str) -> ServerId {
    ServerId::new(text).unwrap()
}

fn room() -> RoomId {
    RoomId::new(ROOM).unwrap()
}

fn message(connector: &str, incarnation: u64, request: RpcRequest) -> FromConnector {
    let (v, connector, incarnation) = (rpc::VERSION, id(connector), Incarnation(incarnation));
    FromConnector { v, connector, incarnation, continues: Vec::new(), count: 0, known: None, request }
}

fn history(number: u64, viewer: Membership, session: Option<u64>) -> RpcRequest {
    let query = HistoryQuery { viewer, span: HistoryRange::Last, limit: 100 };
    RpcRequest::History { room: room(), number, session, query }
}

fn proposal(number: u64, at: LogPosition) -> RpcRequest {
    RpcRequest::Propose { room: room(), at, number, items: Vec::new(), urgent: false }
}

/// A place that no log has.
fn unknown_position() -> LogPosition {
    LogPosition { epoch: Epoch(u64::MAX), position: Position(u64::MAX), id: RecordId(u64::MAX) }
}

/// Sends this to all chat servers, with an answer wanted there.
async fn request_all(client: &Client, message: &FromConnector, reply: &str) {
    for chat in CHATS {
        let body = rpc::encode(message).unwrap();
        client.publish_with_reply(subjects::chat(&id(chat)), reply.to_owned(), body).await.unwrap();
    }
    client.flush().await.unwrap();
}

/// Ann and Bob exchange messages: each is acknowledged, and received by both.
async fn exchange_messages(members: &mut [Member; 2], what: &str) {
    for speaker in 0..2 {
        let text = format!("{what}, {speaker}");
        members[speaker].send(&text).await;
        for member in &mut *members {
            assert_eq!(member.next_message().await.1, text, "{}", member.name);
        }
    }
}

/// Three chat servers, and two connectors with Ann and Bob in a room.
struct Bystanders {
    clusters: Vec<Cluster>,
    members: [Member; 2],
}

impl Bystanders {
    async fn new(world: &mut Protected) -> Self {
        let mut clusters = Vec::new();
        for server in CHATS.into_iter().chain([OTHER, "connector-server-3"]) {
            clusters.push(world.start(server).await);
        }
        let members = [world.split.join(1, "ann", ROOM).await, world.split.join(2, "bob", ROOM).await];
        let mut bystanders = Self { clusters, members };
        exchange_messages(&mut bystanders.members, "before").await;
        bystanders
    }

    /// Waits until the servers have refused this many messages, by a counter.
    async fn wait_for_refusals(&self, count: impl Fn(&Metrics) -> u64, expected: u64) {
        let refused = || self.clusters.iter().map(|cluster| count(cluster.metrics())).sum::<u64>();
        eventually(DEADLINE, "the messages to be refused", async || refused() >= expected).await;
        assert_eq!(refused(), expected);
    }

    async fn stop(self) {
        for cluster in self.clusters.into_iter().rev() {
            cluster.stop().await;
        }
    }
}

/// All that comes to a subscription until nothing came for a while.
async fn drain(subscription: &mut Subscriber) -> Vec<FromChat> {
    let mut all = Vec::new();
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(1), subscription.next()).await {
        all.extend(rpc::decode::<FromChat>(&message.payload).ok());
    }
    all
}

/// G1. Before, a chat server wrote its answer into the room's log, and the room was dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_go_to_no_log() {
    let mut world = Protected::new().await;
    let mut bystanders = Bystanders::new(&mut world).await;
    let thief = world.thief(STOLEN).await;
    let log = subjects::log(&room());
    let requests = [
        RpcRequest::Attach { room: room(), at: LogPosition::default() },
        RpcRequest::Heartbeat,
        history(1, Membership::default(), None),
        proposal(1, unknown_position()),
        RpcRequest::Probe,
    ];
    for request in requests {
        request_all(&thief.client, &message(STOLEN, 1, request), &log).await;
    }
    let gate = world.thief("gate-server-1").await;
    for connector in [OTHER, "connector-server-3"] {
        let ping = subjects::connector_ping(&id(connector));
        let body = rpc::encode(&Ping { v: rpc::VERSION, gate: id("gate-server-1") }).unwrap();
        gate.client.publish_with_reply(ping, log.clone(), body).await.unwrap();
    }
    gate.client.flush().await.unwrap();
    exchange_messages(&mut bystanders.members, "after").await;
    world.split.join(1, "carl", ROOM).await;
    bystanders.wait_for_refusals(|metrics| metrics.bus_refused.reply.get(), 4 * 3 + 2).await;
    // A connector does not probe.
    bystanders.wait_for_refusals(|metrics| metrics.bus_refused.sender.get(), 3).await;
    bystanders.stop().await;
}

/// G2, G5. Before, connector-server-2 was answered 503 until all chat servers were restarted, and
/// by the proposal even after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_cannot_be_disabled_by_another() {
    let mut world = Protected::new().await;
    let mut bystanders = Bystanders::new(&mut world).await;
    let thief = world.thief(STOLEN).await;
    let reply = |connector: &str| subjects::connector_reply(&id(connector), 1);
    for request in [RpcRequest::Heartbeat, proposal(u64::MAX, unknown_position()), proposal(1, LogPosition::default())]
    {
        for incarnation in [u64::MAX, u64::MAX - (1 << 20)] {
            request_all(&thief.client, &message(OTHER, incarnation, request.clone()), &reply(OTHER)).await;
        }
        for connect in ["connector-server-9", "chat-server-1", "gate-server-1"] {
            request_all(&thief.client, &message(connect, 1 << 40, request.clone()), &reply(connect)).await;
        }
    }
    exchange_messages(&mut bystanders.members, "after").await;
    bystanders.wait_for_refusals(|metrics| metrics.bus_implausible.get(), 3 * 2 * 3).await;
    bystanders.wait_for_refusals(|metrics| metrics.bus_refused.sender.get(), 3 * 3 * 3).await;
    bystanders.stop().await;
}

/// G3. Before, a whisper of users elsewhere was in the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whispers_of_users_elsewhere_are_not_shown() {
    let mut world = Protected::new().await;
    let mut bystanders = Bystanders::new(&mut world).await;
    bystanders.members[0].chat.whisper("bob", "secret").await.unwrap();
    let token = Token::parse(&bystanders.members[0].entered.token).unwrap();
    let thief = world.thief(STOLEN).await;
    let mut responses = thief.client.subscribe(subjects::connector_all(&id(STOLEN))).await.unwrap();
    let reply = subjects::connector_reply(&id(STOLEN), 1);
    for (number, session) in [None, Some(0), Some(1), Some(2)].into_iter().enumerate() {
        let request = history(number as u64, token.membership(), session);
        request_all(&thief.client, &message(STOLEN, 1 << 40, request), &reply).await;
    }
    let responses = drain(&mut responses).await;
    let is_page = |said: &FromChat| matches!(said.response, RpcResponse::History { .. });
    assert!(!responses.iter().any(is_page), "{responses:?}");
    // By the room's home alone, each once.
    bystanders.wait_for_refusals(|metrics| metrics.bus_refused.viewer.get(), 4).await;
    bystanders.members[1].events_before("secret").await;
    while bystanders.members[0].events.try_next().is_some() {}
    let own = bystanders.members[0].chat.history(client::History::Last, 100).await.unwrap();
    assert!(own.messages.iter().any(|said| said.msg == "secret"), "it is hers");
    bystanders.stop().await;
}

/// A record that follows none.
fn record() -> Record {
    Record {
        v: VERSION,
        prev: Position(u64::MAX),
        prev_id: RecordId(1),
        id: RecordId(2),
        links: Vec::new(),
        time: u64::MAX,
        owner: id("chat-server-1"),
        proposals: Vec::new(),
        acts: Vec::new(),
        lasting: None,
        entries: vec![Entry::Open],
        notify_connectors: Vec::new(),
        checkpoint: None,
        part: None,
    }
}

/// Messages of a chat server to a connector, with values as high as they go.
fn answers() -> Vec<RpcResponse> {
    let known = |live| RpcResponse::Stale(KnownIncarnation { incarnation: Incarnation(u64::MAX), live });
    let (epoch, position) = (Epoch(u64::MAX), Position(u64::MAX));
    vec![
        RpcResponse::Alive,
        RpcResponse::Leaving,
        RpcResponse::NotOwner { room: room() },
        known(false),
        known(true),
        RpcResponse::Record { room: room(), epoch, position, record: Arc::new(record()).into() },
    ]
}

/// G5, on a broker that takes all messages from all clients. Before, `leaving` alone made all
/// answer 503 until a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stray_message_outlives_itself() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    let mut clusters = Vec::new();
    for server in CHATS.into_iter().chain([STOLEN, OTHER]) {
        clusters.push(split.start(server).await);
    }
    let mut members = [split.join(0, "ann", ROOM).await, split.join(1, "bob", ROOM).await];
    exchange_messages(&mut members, "before").await;
    let stray = async_nats::connect(split.nats.url()).await.unwrap();
    // The runs of servers are there for all to read.
    let mut pushes = stray.subscribe("connector.*.reply.*").await.unwrap();
    let home = home(&split.servers, ROOM);
    let run = loop {
        let message = pushes.next().await.unwrap();
        let said: FromChat = rpc::decode(&message.payload).unwrap();
        if said.chat.as_str() == home {
            break said.incarnation;
        }
    };
    for (chat, incarnation) in [("chat-server-9", run), (STOLEN, run), (&*home, Incarnation(u64::MAX)), (&*home, run)] {
        for (at, response) in answers().into_iter().enumerate() {
            for (connector, number) in [(STOLEN, u64::MAX), (STOLEN, 1 << 19), (OTHER, u64::MAX), (OTHER, 1 << 19)] {
                let (v, chat, response) = (rpc::VERSION, id(chat), response.clone());
                let said = FromChat { v, chat, incarnation, number, stats: None, response };
                let push = subjects::connector_push(&id(connector));
                stray.publish(push, rpc::encode(&said).unwrap()).await.unwrap();
            }
            stray.flush().await.unwrap();
            let before = tokio::time::Instant::now();
            while members[0].chat.send("is it well").await.is_err() {
                assert!(before.elapsed() < Duration::from_secs(15), "{chat} {incarnation:?}: answer {at}");
            }
            assert_eq!(members[1].next_message().await.1, "is it well");
            while members[0].events.try_next().is_some() {}
        }
    }
    for cluster in clusters.into_iter().rev() {
        cluster.stop().await;
    }
}
