//! Servers that die and stay down, over NATS: rooms go on elsewhere, and member lists stay right.

use client::{ChatClient, Event, Options};
use cluster::{Cluster, LogKind};
use model::placement::CONNECTOR;
use runtime::config::Server;
use testkit::eventually;

use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::{DEADLINE, Member, address};

const CHATS: [&str; 3] = ["chat-server-1", "chat-server-2", "chat-server-3"];

/// Asserts that no join and no leave was pushed since.
async fn assert_only_messages(member: &mut Member, until: &str) {
    let received = member.events_before(until).await;
    assert!(received.iter().all(|event| matches!(event, Event::Chat(_))), "{} receives {received:?}", member.name);
}

/// Returns true if clients connect to the server: those count rooms that move.
fn is_connector(cluster: &Cluster) -> bool {
    cluster.metrics().connections.get() > 0
}

/// The home of a room dies and stays down: another server takes over its rooms, silent ones too, no
/// message is lost, and no member is reported as gone. The home has the rooms again when it is
/// back.
async fn a_room_outlives_its_home(with_a_tracer: bool) {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    let lobby_home = home(&split.servers, "lobby");
    let mut clusters = Vec::new();
    for chat in CHATS.into_iter().filter(|chat| *chat != lobby_home) {
        clusters.push(split.start(chat).await);
    }
    let killable = split.start_killable(&lobby_home).await;
    clusters.push(split.start("connector-server-1").await);
    clusters.push(split.start("connector-server-2").await);
    let tracer = async_nats::connect(split.nats.url()).await.unwrap();
    let traced = if with_a_tracer { Some(tracer.subscribe(">").await.unwrap()) } else { None };
    let ann = split.join(0, "ann", "lobby").await;
    let mut bob = split.join(1, "bob", "lobby").await;
    let before = ann.send("before").await;
    assert_only_messages(&mut bob, "before").await;
    killable.shutdown_background();
    // The deadline is 1.5 s; the failover owner is found before.
    eventually(DEADLINE, "a failover owner serves", async || ann.chat.send("meanwhile").await.is_ok()).await;
    let after = ann.send("after").await;
    assert!(after.seq > before.seq, "it is the same log");
    assert_only_messages(&mut bob, "after").await;
    let moved = async || clusters.iter().all(|c| c.metrics().rooms_moved.get() == u64::from(is_connector(c)));
    eventually(DEADLINE, "both connectors asked another server", moved).await;
    clusters.push(split.start(&lobby_home).await);
    let returned = async || clusters.iter().all(|c| c.metrics().rooms_moved.get() == 2 * u64::from(is_connector(c)));
    eventually(DEADLINE, "the home is asked again", returned).await;
    ann.send("home again").await;
    assert_only_messages(&mut bob, "home again").await;
    let cid = split.join(1, "cid", "lobby").await;
    assert_eq!(cid.users(), ["ann", "bob", "cid"].into());
    drop(traced);
    for cluster in clusters {
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_outlives_its_home_and_returns_to_it() {
    a_room_outlives_its_home(false).await;
}

/// A tracer that subscribes to everything makes the broker report responders everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_outlives_its_home_while_a_tracer_subscribes_to_everything() {
    a_room_outlives_its_home(true).await;
}

/// A connector that dies takes its members along after the lease, each reported once. Names on it
/// are free sooner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_dead_connector_leave() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    split.settings.room.lease_secs = 4;
    let chat = split.start(&home(&split.servers, "lobby")).await;
    let second = split.start("connector-server-2").await;
    let killable = split.start_killable_frontend("connector-server-1").await;
    let ann = split.join(0, "ann", "lobby").await;
    let dan = split.join(0, "dan", "lobby").await;
    let mut bob = split.join(1, "bob", "lobby").await;
    killable.shutdown_background();
    // The name of a suspected client is free for a newcomer before the lease is over.
    let address = address(&split.servers, CONNECTOR, 1);
    let (chat_client, _events) = ChatClient::connect(&address, Options::default()).await.unwrap();
    eventually(DEADLINE, "the name is free", async || chat_client.enter("ann", "lobby").await.is_ok()).await;
    assert_eq!(bob.next_event().await, Event::Leave("ann".to_owned()));
    assert_eq!(bob.next_event().await, Event::Add("ann".into()));
    assert_eq!(bob.next_event().await, Event::Leave("dan".to_owned()));
    assert_eq!(split.join(1, "cid", "lobby").await.users(), ["ann", "bob", "cid"].into());
    drop((ann, dan));
    for cluster in [second, chat] {
        cluster.stop().await;
    }
}

/// A connector that died and starts again has none of its old members: they leave at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_connector_that_starts_again_leave_at_once() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    split.settings.room.lease_secs = 3_600;
    let chat = split.start(&home(&split.servers, "lobby")).await;
    let second = split.start("connector-server-2").await;
    let killable = split.start_killable_frontend("connector-server-1").await;
    let ann = split.join(0, "ann", "lobby").await;
    let mut bob = split.join(1, "bob", "lobby").await;
    killable.shutdown_background();
    split.servers.replace(Server { client_port: Some(0), ..split.servers.connector()[0].clone() });
    let first = split.start("connector-server-1").await;
    assert_eq!(bob.next_event().await, Event::Leave("ann".to_owned()));
    drop(ann);
    for cluster in [first, second, chat] {
        cluster.stop().await;
    }
}
