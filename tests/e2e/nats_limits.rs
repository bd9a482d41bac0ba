//! Limits of an account at NATS, as operators and clients meet them: each is named in a short time,
//! and service comes back with more room.

use std::net::Ipv4Addr;

use client::Message;
use cluster::{Cluster, LogKind};
use model::ids::ServerId;
use serde_json::Value;
use testkit::{NatsServer, eventually, http_get};
use tokio::time::{Duration, Instant};

use crate::readiness::assert_named;
use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::{DEADLINE, code};

/// The longest until a server that cannot start must end with an error.
const SOON: Duration = Duration::from_secs(10);

/// A server's configuration with one account, whose user every client is.
fn account(lines: &str) -> String {
    format!("accounts {{ CHAT {{ users: [{{ user: u, password: p }}], {lines} }} }}\nno_auth_user: u")
}

async fn split_cluster(configuration: &str) -> SplitCluster {
    SplitCluster::on(NatsServer::start_configured(configuration).await, LogKind::JetStream)
}

/// A chat server must refuse to start, with all `wanted` in its error.
async fn assert_refused(lines: &str, wanted: &[&str]) {
    let split = split_cluster(&account(lines)).await;
    let began = Instant::now();
    let refused = split.start_error("chat-server-1").await;
    for part in wanted {
        assert!(refused.contains(part), "{part:?} in {refused}");
    }
    assert!(began.elapsed() < SOON, "{lines}: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_the_account_is_named_at_the_start() {
    assert_refused("jetstream: disabled", &["JetStream is not enabled", "for the account"]).await;
    assert_refused("jetstream: { max_file: 1MB }", &["JetStream has no 1073741824 bytes", "log.max_total_bytes"]).await;
    let payload = "jetstream: enabled, limits: { max_payload: 100KB }";
    assert_refused(payload, &["max_payload is 1048576", "the account or the user may send less"]).await;
}

/// Returns the line of one check in `/readyz` of a server.
async fn check(cluster: &Cluster, id: &str, check: &str) -> String {
    let port = cluster.servers().find(&ServerId::new(id).unwrap()).unwrap().1.port.unwrap();
    let response = http_get((Ipv4Addr::LOCALHOST, port), "/readyz", &["Host: localhost"]).await.unwrap();
    let body: Value = serde_json::from_str(&response.body).unwrap();
    body["checks"][check].as_str().unwrap().to_owned()
}

/// The account's room falls while users talk: messages are answered 507, unknown as 503, until
/// there is room again. A repeat with the same id is committed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_room_answers_507_until_it_has_some() {
    let with = |room: &str| account(&format!("jetstream: {{ max_file: {room} }}"));
    let mut split = split_cluster(&with("64MB")).await;
    split.settings.log.max_total_bytes = 32 * 1024 * 1024;
    let id = home(&split.servers, "lobby");
    let chat = split.start(&id).await;
    let connector = split.start("connector-server-1").await;
    let ann = split.join(0, "ann", "lobby").await;
    let mut bob = split.join(0, "bob", "lobby").await;
    for number in 0..20 {
        ann.send(&format!("{number:01000}")).await;
    }
    split.nats.reconfigure(&with("10KB")).await;
    let message = Message::to_all("meanwhile").with_id("m1");
    assert_eq!(code(ann.chat.send_message(&message).await), 507);
    eventually(DEADLINE, "the log to be named", async || check(&chat, &id, "log").await.contains("the log is full"))
        .await;
    split.nats.reconfigure(&with("64MB")).await;
    eventually(DEADLINE, "the room to serve", async || ann.chat.send_message(&message).await.is_ok()).await;
    ann.send("after").await;
    for number in 0..20 {
        assert_eq!(bob.next_message().await.1, format!("{number:01000}"));
    }
    for text in ["meanwhile", "after"] {
        assert_eq!(bob.next_message().await.1, text);
    }
    eventually(DEADLINE, "the log to be well", async || check(&chat, &id, "log").await == "ok").await;
    connector.stop().await;
    chat.stop().await;
}

/// A connection that has fewer subscriptions than it needs looks healthy and receives nothing, so
/// the server must not be ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_not_subscribe_again_is_not_ready() {
    let mut split = split_cluster("max_subscriptions: 10").await;
    let connector = split.start("connector-server-1").await;
    let bus = async || check(&connector, "connector-server-1", "bus").await;
    eventually(DEADLINE, "the connector to be ready", async || bus().await == "ok").await;
    split.nats.restart_configured("max_subscriptions: 1").await;
    eventually(DEADLINE, "the limit to be named", async || bus().await.contains("max_subscriptions")).await;
    assert_named(&connector, "connector-server-1", "bus").await;
    split.nats.restart_configured("max_subscriptions: 10").await;
    eventually(DEADLINE, "the connector to be ready again", async || bus().await == "ok").await;
    connector.stop().await;
}
