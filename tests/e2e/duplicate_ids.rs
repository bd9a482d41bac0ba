//! Two processes with one id: the older one notices, and gives way until the other is gone.

use std::collections::BTreeSet;

use client::{ChatClient, Event, Options};
use cluster::{Cluster, LogKind};
use futures_util::StreamExt;
use model::placement::CONNECTOR;
use model::rpc;
use model::rpc::messages::FromConnector;
use runtime::config::Server;
use testkit::eventually;
use tokio::time::timeout;

use crate::operations::{port, readiness};
use crate::readiness::assert_named;
use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::{DEADLINE, address};

const CHATS: [&str; 3] = ["chat-server-1", "chat-server-2", "chat-server-3"];
const ROOM: &str = "lobby";

async fn split_cluster() -> SplitCluster {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    split.settings.room.lease_secs = 3;
    split
}

/// Returns true if a server is unready because another process has its id.
async fn has_noticed(cluster: &Cluster, id: &str) -> bool {
    let (status, report) = readiness(port(&cluster.servers(), id)).await;
    let identity = report["checks"]["identity"].as_str().unwrap();
    status == 503 && identity.starts_with("another process with this server's id started later")
}

/// Waits until heartbeats of so many connectors name a run of this chat server. One that was not
/// accepted everywhere would go on above a later process, instead of being the older one.
async fn wait_until_accepted(split: &SplitCluster, chat: &str, connectors: usize) {
    let client = async_nats::connect(split.nats.url()).await.unwrap();
    let mut requests = client.subscribe(format!("chat.{chat}")).await.unwrap();
    let mut named = BTreeSet::new();
    let naming = async {
        while named.len() < connectors {
            let message = requests.next().await.unwrap();
            let asked: FromConnector = rpc::decode(&message.payload).unwrap();
            named.extend(asked.known.map(|_| asked.connector));
        }
    };
    timeout(DEADLINE, naming).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_of_two_connectors_closes_its_clients_until_the_other_is_gone() {
    let mut split = split_cluster().await;
    let mut clusters = Vec::new();
    for server in CHATS.into_iter().chain(["connector-server-1", "connector-server-2"]) {
        clusters.push(split.start(server).await);
    }
    let older = address(&split.servers, CONNECTOR, 0);
    let mut ann = split.join(0, "ann", ROOM).await;
    let bob = split.join(1, "bob", ROOM).await;
    // The second process is on another machine: its port is another one.
    let entry = split.servers.connector()[0].clone();
    split.servers.replace(Server { client_port: Some(0), ..entry });
    let newer = split.start_killable_frontend("connector-server-1").await;
    while ann.next_event().await != Event::Closed {}
    let notices = async || has_noticed(&clusters[3], "connector-server-1").await;
    eventually(DEADLINE, "the older one to be unready", notices).await;
    assert_named(&clusters[3], "connector-server-1", "identity").await;
    // Clients that connect now are sent away as well; the other process serves.
    let (chat, _events) = ChatClient::connect(&older, Options::default()).await.unwrap();
    assert!(chat.enter("ann", ROOM).await.is_err());
    let ann = split.join(0, "ann", ROOM).await;
    ann.send("at the newer one").await;
    bob.send("beside them").await;
    newer.shutdown_background();
    let enters = async || {
        let Ok((chat, _events)) = ChatClient::connect(&older, Options::default()).await else { return false };
        chat.enter("carl", ROOM).await.is_ok() && chat.send("at the older one").await.is_ok()
    };
    eventually(DEADLINE, "the older one to serve again", enters).await;
    eventually(DEADLINE, "the older one to be ready", async || !notices().await).await;
    bob.send("and again").await;
    for cluster in clusters.into_iter().rev() {
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_of_two_chat_servers_is_silent_until_the_other_is_gone() {
    let mut split = split_cluster().await;
    let home = home(&split.servers, ROOM);
    let mut clusters = Vec::new();
    for server in CHATS.into_iter().chain(["connector-server-1", "connector-server-2"]) {
        clusters.push(split.start(server).await);
    }
    let (ann, mut bob) = (split.join(0, "ann", ROOM).await, split.join(1, "bob", ROOM).await);
    ann.send("before").await;
    wait_until_accepted(&split, &home, 2).await;
    let at = CHATS.iter().position(|&id| id == home).unwrap();
    let activations = |clusters: &[cluster::Cluster]| clusters[at].metrics().activations.get();
    let newer = split.start_killable(&home).await;
    let notices = async || has_noticed(&clusters[at], &home).await;
    eventually(DEADLINE, "the older one to notice", notices).await;
    assert_named(&clusters[at], &home, "identity").await;
    let talks = async || ann.chat.send("both are there").await.is_ok();
    eventually(DEADLINE, "the newer one to serve", talks).await;
    // From then on the older one reads and appends no more.
    let before = activations(&clusters);
    for number in 0..50 {
        ann.send(&number.to_string()).await;
    }
    assert_eq!(activations(&clusters), before);
    newer.shutdown_background();
    eventually(DEADLINE, "the room to be served", async || ann.chat.send("one").await.is_ok()).await;
    let serves = async || activations(&clusters) > before;
    eventually(DEADLINE, "the older one to serve again", serves).await;
    eventually(DEADLINE, "the room to be served at home", async || ann.chat.send("two").await.is_ok()).await;
    eventually(DEADLINE, "the older one to be ready", async || !notices().await).await;
    bob.events_before("one").await;
    for cluster in clusters.into_iter().rev() {
        cluster.stop().await;
    }
}
