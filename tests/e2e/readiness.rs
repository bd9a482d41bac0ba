//! Failures of a server in `/readyz`, and in `shaddock ready`.

use std::process::Stdio;

use client::Message;
use cluster::{Cluster, LogKind};
use runtime::config::Server;
use serde_json::{Map, Value, json};
use testkit::{NatsServer, Scratch, eventually, shaddock};
use tokio::process::Command;
use tokio::time::{Duration, Instant, sleep};

use crate::operations::{get, port, readiness, wait_until_ready};
use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::{DEADLINE, Setup};

/// Time for which a state is looked at that must not change: longer than between two looks at the
/// log, and than until a server tries it by itself.
const WHILE: Duration = Duration::from_secs(8);

/// A `servers.json` with the servers of a cluster; of those that do not run here the ports are made
/// up.
fn servers_json(cluster: &Cluster) -> String {
    let servers = cluster.servers();
    let mut made_up = 1;
    let mut port = |port: Option<u16>| {
        made_up += 1;
        port.map(|port| if port == 0 { made_up } else { port })
    };
    let mut entry = |server: &Server| {
        let (port, client_port) = (port(server.port), port(server.client_port));
        json!({ "id": server.id.as_str(), "host": "127.0.0.1", "port": port, "clientPort": client_port, "frontend": server.frontend })
    };
    let mut without_null = |server: &Server| {
        let mut entry = entry(server);
        entry.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        entry
    };
    let types = servers.types().map(|kind| {
        let list: Vec<Value> = servers.of_type(kind).iter().map(&mut without_null).collect();
        (kind.to_owned(), Value::Array(list))
    });
    json!({ "test": types.collect::<Map<_, _>>() }).to_string()
}

/// The verdict of `shaddock ready` on a server, and its output.
async fn ready(cluster: &Cluster, id: &str) -> (bool, String) {
    let directory = Scratch::new();
    directory.file("servers.json", &servers_json(cluster));
    // On another thread: the servers of the test run on this one, and the program may not be built yet.
    let program = tokio::task::spawn_blocking(shaddock).await.unwrap();
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true).args(["--env", "test", "--only", id, "ready"]);
    let output = command.arg("--config").arg(directory.path()).output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// Both ways of asking name this check.
pub(crate) async fn assert_named(cluster: &Cluster, id: &str, check: &str) {
    let (status, body) = readiness(port(&cluster.servers(), id)).await;
    assert!(status == 503 && body["ready"] == false && body["checks"][check] != "ok", "{check} in {body}");
    let (is_ready, text) = ready(cluster, id).await;
    assert!(!is_ready && text.contains(&format!("{check}: ")), "{check} in {text}");
}

/// Both ways of asking report that the server is ready.
pub(crate) async fn assert_ready(cluster: &Cluster, id: &str) {
    wait_until_ready(port(&cluster.servers(), id)).await;
    let (is_ready, text) = ready(cluster, id).await;
    assert!(is_ready && text.contains("ready"), "{text}");
}

/// The log refuses every record, or gives no answer to any, while it can be looked at; from the
/// first on the server is not ready until one is committed, though no client speaks any more.
async fn is_unready_until_a_commit(good: &str, bad: &str) {
    let mut split = SplitCluster::on(NatsServer::start_configured(good).await, LogKind::JetStream);
    split.settings.log.max_total_bytes = 32 * 1024 * 1024;
    let id = home(&split.servers, "lobby");
    let chat = split.start(&id).await;
    let connector = split.start("connector-server-1").await;
    let ann = split.join(0, "ann", "lobby").await;
    for number in 0..20 {
        ann.send(&format!("{number:01000}")).await;
    }
    assert_ready(&chat, &id).await;
    split.nats.reconfigure(bad).await;
    let message = Message::to_all("meanwhile").with_id("m1");
    assert!(ann.chat.send_message(&message).await.is_err());
    let log = async || readiness(port(&chat.servers(), &id)).await.1["checks"]["log"].as_str().unwrap().to_owned();
    eventually(DEADLINE, "the log to be named", async || log().await != "ok").await;
    let began = Instant::now();
    let mut looks = 0;
    while began.elapsed() < WHILE {
        assert_ne!(log().await, "ok", "after {looks} looks in {:?}", began.elapsed());
        looks += 1;
        // Half of the time no client speaks.
        if began.elapsed() < WHILE / 2 {
            drop(ann.chat.send_message(&message).await);
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_named(&chat, &id, "log").await;
    split.nats.reconfigure(good).await;
    assert_ready(&chat, &id).await;
    eventually(DEADLINE, "the room to serve", async || ann.chat.send_message(&message).await.is_ok()).await;
    connector.stop().await;
    chat.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_space_is_not_ready_until_it_commits() {
    let with = |space: &str| {
        let account = format!("users: [{{ user: u, password: p }}], jetstream: {{ max_file: {space} }}");
        format!("accounts {{ CHAT {{ {account} }} }}\nno_auth_user: u")
    };
    is_unready_until_a_commit(&with("64MB"), &with("10KB")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_answers_no_append_is_not_ready_until_it_commits() {
    let with = |permissions: &str| {
        let user = format!("user: u, password: p, permissions: {{ {permissions} }}");
        format!("accounts {{ CHAT {{ users: [{{ {user} }}], jetstream: enabled }} }}\nno_auth_user: u")
    };
    let good = with("publish: { allow: \">\" }");
    is_unready_until_a_commit(&good, &with("publish: { deny: \"log.>\" }")).await;
}

/// Servers of two accounts of NATS do not reach each other, and look healthy otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_in_another_account_are_not_ready() {
    let users = "users: [{ user: a, password: p }], jetstream: enabled";
    let accounts =
        format!("accounts {{ A {{ {users} }}, B {{ users: [{{ user: b, password: p }}] }} }}\nno_auth_user: a");
    let mut split = SplitCluster::on(NatsServer::start_configured(&accounts).await, LogKind::JetStream);
    let chat = split.start("chat-server-1").await;
    let elsewhere = format!("nats://b:p@{}", split.nats.address());
    let connector = split.start_at("connector-server-1", elsewhere).await;
    let gate = split.start("gate-server-1").await;
    let began = Instant::now();
    while began.elapsed() < WHILE / 4 {
        assert_named(&connector, "connector-server-1", "peers").await;
        assert_named(&gate, "gate-server-1", "peers").await;
    }
    connector.stop().await;
    let connector = split.start("connector-server-1").await;
    assert_ready(&connector, "connector-server-1").await;
    assert_ready(&gate, "gate-server-1").await;
    // That it was there once is enough: a gate goes on where connectors come and go.
    connector.stop().await;
    assert_ready(&gate, "gate-server-1").await;
    gate.stop().await;
    chat.stop().await;
}

/// A panic in one of its tasks: no server of the process is alive, and supervisors start it again.
/// A release has no such fault point, so there all go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_a_failed_task_is_not_alive() {
    let test = Setup::in_process().start().await;
    let servers = test.cluster.servers();
    let ports: Vec<u16> = servers.all().map(|(_, server)| server.port.unwrap()).collect();
    let (ann, _events) = test.connect(0).await;
    let entered = ann.enter("ann", "panic-in-connector-server-1").await;
    let alive = if cfg!(debug_assertions) {
        assert!(entered.is_err(), "{entered:?}");
        tokio::time::timeout(DEADLINE, test.cluster.failed()).await.unwrap();
        assert_named(&test.cluster, "connector-server-1", "staying").await;
        assert_named(&test.cluster, "chat-server-1", "staying").await;
        (503, r#"{"alive":false}"#.to_owned())
    } else {
        entered.unwrap();
        (200, r#"{"alive":true}"#.to_owned())
    };
    for port in ports {
        assert_eq!(get(port, "/healthz").await, alive);
    }
    let began = Instant::now();
    test.cluster.stop().await;
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
}
