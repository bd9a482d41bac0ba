//! A broker whose `max_payload` falls and rises while servers run.

use std::net::Ipv4Addr;
use std::time::Duration;

use client::{ClientError, Event, Message};
use cluster::{Cluster, LogKind};
use futures_util::future::join_all;
use model::ids::ServerId;
use testkit::{Arrival, NatsServer, Witness, eventually, http_get};

use crate::readiness::assert_named;
use crate::split_cluster::SplitCluster;
use crate::test_cluster::{DEADLINE, Member};

const USUAL: &str = "max_payload: 1MB";
const SMALL: &str = "max_payload: 32KB";

/// Messages of a burst; together far more than a small broker takes in one.
const BURST: u64 = 60;

const ROOM: &str = "lobby";
const CHATS: [&str; 2] = ["chat-server-1", "chat-server-2"];

async fn split_cluster(max_package: usize) -> SplitCluster {
    let mut split = SplitCluster::on(NatsServer::start_configured(USUAL).await, LogKind::JetStream);
    split.settings.session.max_package = max_package;
    split.settings.session.requests_per_sec = 10_000;
    split.settings.session.request_burst = 10_000;
    split.settings.rpc.request_ms = 5_000;
    split
}

async fn started(split: &mut SplitCluster) -> Vec<Cluster> {
    let mut servers = Vec::new();
    for id in CHATS.into_iter().chain(["connector-server-1", "connector-server-2"]) {
        servers.push(split.start(id).await);
    }
    servers
}

async fn stop(servers: Vec<Cluster>) {
    for server in servers.into_iter().rev() {
        server.stop().await;
    }
}

/// Returns the response of `/readyz` of a running server.
async fn readiness(server: &Cluster, id: &str) -> (u16, String) {
    let port = server.servers().find(&ServerId::new(id).unwrap()).unwrap().1.port.unwrap();
    let response = http_get((Ipv4Addr::LOCALHOST, port), "/readyz", &["Host: localhost"]).await.unwrap();
    (response.status, response.body)
}

fn text(number: u64) -> String {
    format!("{number:04} {}", "x".repeat(7_500))
}

/// Sends this many long texts at once. After a 503 a text is sent again with the same id, as
/// clients do.
async fn burst(member: &Member, from: u64) {
    let sends = (from..from + BURST).map(async |number| {
        for _ in 0..5 {
            match member.chat.send_message(&Message::to_all(&text(number)).with_id(&format!("id-{number}"))).await {
                Ok(_) => return,
                Err(ClientError::Refused { code: 503, .. }) => {}
                Err(other) => panic!("{number}: {other:?}"),
            }
        }
        panic!("{number} stays unknown");
    });
    join_all(sends).await;
}

/// Receives every text once.
async fn receive_burst(member: &mut Member, from: u64) {
    let (mut witness, mut count) = (Witness::default(), 0);
    while count < BURST {
        match member.next_event().await {
            Event::Chat(chat) if chat.msg.len() > 7_000 => {
                let arrival = witness.receive((), chat.msg[..4].parse().unwrap());
                assert_ne!(arrival, Arrival::Doubled, "{} at {}", &chat.msg[..4], member.name);
                count += 1;
            }
            Event::Gap(gap) => panic!("{} gets a gap: {gap:?}", member.name),
            Event::Closed => panic!("{} is closed", member.name),
            _ => {}
        }
    }
    assert_eq!(witness.lost(&(), from..from + BURST), [0; 0], "{}", member.name);
}

/// Proposals of the usual size kill the connection of their sender, so they must not be sent for
/// ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_after_max_payload_fell_is_committed_in_smaller_proposals() {
    let mut split = split_cluster(12 * 1024).await;
    let servers = started(&mut split).await;
    let (ann, mut bob) = (split.join(0, "ann", ROOM).await, split.join(1, "bob", ROOM).await);
    burst(&ann, 0).await;
    receive_burst(&mut bob, 0).await;
    for (fall, from) in [(SMALL, 100), (USUAL, 200), (SMALL, 300)] {
        split.nats.reconfigure(fall).await;
        burst(&ann, from).await;
        receive_burst(&mut bob, from).await;
        for (server, id) in servers.iter().zip(CHATS) {
            eventually(DEADLINE, "the settings fit, so servers are ready", async || {
                readiness(server, id).await.0 == 200
            })
            .await;
        }
    }
    stop(servers).await;
}

/// The client library of the broker keeps the limit that it got when the connection was made.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_do_not_fit_any_more_are_named_until_they_do() {
    let mut split = split_cluster(64 * 1024).await;
    let servers = started(&mut split).await;
    let ann = split.join(0, "ann", ROOM).await;
    split.nats.reconfigure(SMALL).await;
    // Each server learns the limit with a new connection.
    split.nats.restart().await;
    let ids = CHATS.into_iter().chain(["connector-server-1"]);
    for (server, id) in servers.iter().zip(ids.clone()) {
        eventually(DEADLINE, "the server not to be ready", async || {
            let (status, body) = readiness(server, id).await;
            status == 503 && body.contains("session.max_package = 65536") && body.contains("max_payload is 32768")
        })
        .await;
    }
    assert_named(&servers[0], CHATS[0], "payload").await;
    // A message that fits is committed all the same; one that cannot fit is refused, at once and
    // clearly.
    let fits = async || ann.chat.send("short").await.is_ok();
    eventually(DEADLINE, "a short message is committed", fits).await;
    let refused = tokio::time::timeout(Duration::from_secs(3), ann.chat.send(&"y".repeat(14_500))).await.unwrap();
    assert!(matches!(refused, Err(ClientError::Refused { code: 413, .. })), "{refused:?}");
    ann.chat.send("short again").await.unwrap();
    split.nats.reconfigure(USUAL).await;
    split.nats.restart().await;
    for (server, id) in servers.iter().zip(ids) {
        eventually(DEADLINE, "the server to be ready again", async || readiness(server, id).await.0 == 200).await;
    }
    stop(servers).await;
}
