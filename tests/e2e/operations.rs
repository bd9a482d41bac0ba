//! The HTTP interface for operators: liveness, readiness, metrics.

use std::net::{Ipv4Addr, SocketAddr};

use cluster::{Cluster, LogKind};
use model::ids::ServerId;
use model::settings::Secret;
use runtime::config::Servers;
use serde_json::Value;
use testkit::{TcpProxy, eventually, http_get};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, Instant};

use crate::on_both_buses;
use crate::readiness::assert_named;
use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::{DEADLINE, Setup};

/// The longest that a broken connection to the bus may go unnoticed.
const NOTICED: Duration = Duration::from_secs(2);

on_both_buses! {
    every_server_is_alive_and_ready_and_counts,
    the_gate_reports_servers_that_are_up,
}

/// Status and body of an answer, with headers of one's own.
async fn get_with(port: u16, path: &str, headers: &[&str]) -> (u16, String) {
    let headers = [&["Host: localhost"], headers].concat();
    let response = http_get((Ipv4Addr::LOCALHOST, port), path, &headers).await.unwrap();
    (response.status, response.body)
}

pub(crate) async fn get(port: u16, path: &str) -> (u16, String) {
    get_with(port, path, &[]).await
}

/// Returns the response of `/readyz`.
pub(crate) async fn readiness(port: u16) -> (u16, Value) {
    let (status, body) = get(port, "/readyz").await;
    (status, serde_json::from_str(&body).unwrap())
}

pub(crate) async fn wait_until_ready(port: u16) {
    eventually(DEADLINE, "the server to be ready", async || readiness(port).await.0 == 200).await;
}

/// Returns the port of a server for operators.
pub(crate) fn port(servers: &Servers, id: &str) -> u16 {
    servers.find(&ServerId::new(id).unwrap()).unwrap().1.port.unwrap()
}

/// Returns the metrics that do not show one user who entered a room and sent a message there.
fn missing(text: &str) -> Vec<&'static str> {
    let all = [
        r#"shaddock_requests_answered_total{route="connector.entryHandler.enter",outcome="2xx"} 1"#,
        r#"shaddock_requests_answered_total{route="chat.chatHandler.send",outcome="2xx"} 1"#,
        r#"shaddock_stage_seconds_count{stage="edge"} 2"#,
        "shaddock_members 1",
        "shaddock_rooms_followed 1",
        "shaddock_rooms_known 1",
        "shaddock_requests_in_flight 0",
        "shaddock_takeovers_total 0",
    ];
    let some = [
        r#"shaddock_stage_seconds_count{stage="log"} "#,
        r#"shaddock_stage_seconds_count{stage="room"} "#,
        r#"shaddock_stage_seconds_count{stage="bus"} "#,
        r#"shaddock_stage_seconds_count{stage="fan_out"} "#,
        "shaddock_record_entries_count ",
        "shaddock_frame_packages_count ",
        r#"shaddock_log_bytes{stream="ROOMS"} "#,
    ];
    let count = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)?.parse::<u64>().ok());
    let none = some.into_iter().filter(|start| count(start).is_none_or(|count| count == 0));
    all.into_iter().filter(|wanted| !text.lines().any(|line| line == *wanted)).chain(none).collect()
}

async fn every_server_is_alive_and_ready_and_counts(setup: Setup) {
    let test = setup.start().await;
    let servers = test.cluster.servers();
    let gate = servers.gate()[0].client_port.unwrap();
    for port in servers.all().map(|(_, server)| server.port.unwrap()).chain([gate]) {
        assert_eq!(get(port, "/healthz").await, (200, r#"{"alive":true}"#.to_owned()));
        wait_until_ready(port).await;
        let (status, body) = readiness(port).await;
        assert_eq!((status, &body["ready"], &body["checks"]["bus"]), (200, &true.into(), &"ok".into()), "{body}");
    }
    let chat = readiness(servers.chat()[0].port.unwrap()).await.1;
    for check in ["bus", "log", "payload", "queues", "staying", "task", "view"] {
        assert_eq!(chat["checks"][check], "ok", "{chat}");
    }
    let mut ann = test.join_at(0, "ann", "lobby").await;
    ann.send("hello").await;
    assert_eq!(ann.next_message().await.1, "hello");
    for port in [servers.connector()[0].port.unwrap(), gate] {
        let (status, text) = get(port, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("\nshaddock_requests_total 2\n"), "{text}");
    }
    for port in [servers.connector()[0].port.unwrap(), gate] {
        for (accept, kind) in [
            ("text/plain;version=0.0.4", "text/plain; version=0.0.4"),
            ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=1.0.0"),
        ] {
            let headers = ["Host: localhost", &format!("Accept: {accept}")];
            let response = http_get((Ipv4Addr::LOCALHOST, port), "/metrics", &headers).await.unwrap();
            assert!(response.head.contains(kind), "{accept}: {}", response.head);
            let is_open = response.body.ends_with("# EOF\n");
            assert_eq!(is_open, kind.contains("openmetrics"), "{accept}");
            let described =
                if is_open { "# TYPE shaddock_requests counter" } else { "# TYPE shaddock_requests_total counter" };
            assert!(response.body.lines().any(|line| line == described), "{accept}");
        }
    }
    let mut left = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < DEADLINE {
        left = missing(&get(gate, "/metrics").await.1);
        if left.is_empty() {
            break;
        }
    }
    assert!(left.is_empty(), "not shown: {left:#?}");
    // What comes through a proxy on this machine comes from elsewhere.
    assert_eq!(get_with(gate, "/metrics", &["X-Forwarded-For: 192.0.2.1"]).await.0, 404);
    test.cluster.stop().await;
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, servers.chat()[0].port.unwrap())).await.is_err());
}

/// Each server names the failed check within two seconds, stays alive, and is ready again without
/// help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_is_cut_off_is_named() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    let proxy = TcpProxy::start(split.nats.address()).await;
    let ids = [home(&split.servers, "lobby"), "connector-server-1".to_owned(), "gate-server-1".to_owned()];
    let mut clusters = Vec::new();
    for id in &ids {
        clusters.push(split.start_behind(id, &proxy).await);
    }
    let ports: Vec<u16> = clusters.iter().zip(&ids).map(|(cluster, id)| port(&cluster.servers(), id)).collect();
    for &port in &ports {
        wait_until_ready(port).await;
    }
    proxy.cut();
    for &port in &ports {
        eventually(NOTICED, "the bus to be named", async || {
            let (status, body) = readiness(port).await;
            let bus = body["checks"]["bus"].as_str().unwrap();
            status == 503 && body["ready"] == false && bus.starts_with("the connection to the bus is away, for ")
        })
        .await;
        assert_eq!(get(port, "/healthz").await.0, 200);
        assert_shown(port, &[r#"shaddock_check_failing{check="bus"} 1"#, "shaddock_bus_connected 0"]).await;
    }
    for (cluster, id) in clusters.iter().zip(&ids) {
        assert_named(cluster, id, "bus").await;
    }
    proxy.heal();
    for &port in &ports {
        wait_until_ready(port).await;
        assert_shown(port, &[r#"shaddock_check_failing{check="bus"} 0"#, "shaddock_bus_connected 1"]).await;
    }
    for cluster in clusters.into_iter().rev() {
        cluster.stop().await;
    }
}

/// Asserts that `/metrics` has these lines.
async fn assert_shown(port: u16, lines: &[&str]) {
    let text = get(port, "/metrics").await.1;
    for line in lines {
        assert!(text.lines().any(|shown| shown == *line), "{line} is not in\n{text}");
    }
}

/// The check that fails at this port, waited for.
async fn wait_until_failing(port: u16, check: &str) {
    eventually(DEADLINE, check, async || {
        let (status, body) = readiness(port).await;
        status == 503 && body["checks"][check] != "ok"
    })
    .await;
    assert_shown(port, &[&format!(r#"shaddock_check_failing{{check="{check}"}} 1"#)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_about_to_end_is_alive_and_not_ready() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    split.settings.lifecycle.drain_secs = 2;
    let chat = split.start("chat-server-1").await;
    let connector = split.start("connector-server-1").await;
    let port = port(&connector.servers(), "connector-server-1");
    wait_until_ready(port).await;
    let member = split.connect(0).await;
    let watch = async {
        wait_until_failing(port, "staying").await;
        assert_eq!(get(port, "/healthz").await.0, 200);
    };
    tokio::join!(connector.stop(), watch);
    drop(member);
    chat.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_an_entry_is_not_ready() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    let mut chat: Cluster = split.start("chat-server-3").await;
    let port = port(&chat.servers(), "chat-server-3");
    wait_until_ready(port).await;
    let types = split.servers.types().map(str::to_owned);
    let left = types.map(|kind| {
        let list = split.servers.of_type(&kind).iter().filter(|server| server.id.as_str() != "chat-server-3");
        (kind.clone(), list.cloned().collect())
    });
    chat.apply_servers(Servers::new(left)).await.unwrap();
    wait_until_failing(port, "view").await;
    chat.apply_servers(split.servers.clone()).await.unwrap();
    wait_until_ready(port).await;
    chat.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address: SocketAddr = taken.local_addr().unwrap();
    let mut chat = split.servers.chat()[0].clone();
    chat.port = Some(address.port());
    split.servers.replace(chat);
    let refused = split.start_error("chat-server-1").await;
    for part in ["chat-server-1", &address.to_string(), "the port is taken", "change port of chat-server-1"] {
        assert!(refused.contains(part), "{part:?} in {refused}");
    }
}

/// Returns a server's line in the status of a gate.
fn line(status: &str, id: &str) -> Value {
    let status: Value = serde_json::from_str(status).unwrap();
    let line = status["servers"].as_array().unwrap().iter().find(|line| line["id"] == id);
    line.unwrap_or_else(|| panic!("{id} is not in {status}")).clone()
}

/// Returns a server's line in the status of the first gate.
pub(crate) async fn status(servers: &Servers, id: &str) -> Value {
    line(&get(servers.gate()[0].client_port.unwrap(), "/status").await.1, id)
}

fn sum_over_chat_servers(status: &str, figure: &str) -> u64 {
    (1..=3).filter_map(|number| line(status, &format!("chat-server-{number}"))[figure].as_u64()).sum()
}

async fn the_gate_reports_servers_that_are_up(setup: Setup) {
    let test = setup.with(|settings| settings.admin.token = Secret::new("secret".to_owned())).start().await;
    let _ann = test.join_at(0, "ann", "lobby").await;
    let gate = test.cluster.servers().gate()[0].client_port.unwrap();
    assert_eq!(get(gate, "/status").await.0, 401);
    eventually(DEADLINE, "all to be known", async || {
        let (status, body) = get_with(gate, "/status", &["Authorization: Bearer secret"]).await;
        assert_eq!(status, 200);
        let (connector, chat) = (line(&body, "connector-server-1"), line(&body, "chat-server-3"));
        assert_eq!(line(&body, "gate-server-1")["state"], "up");
        // Unknown until its first response, or until a connector has reported it.
        for server in [&connector, &chat] {
            assert!(["unknown", "up"].contains(&server["state"].as_str().unwrap()), "{body}");
        }
        chat["state"] == "up"
            && connector["state"] == "up"
            && connector["connections"] == 1
            && connector["rooms"] == 1
            && connector["version"] == env!("CARGO_PKG_VERSION")
            && connector["uptime_ms"].as_u64() > Some(0)
            && chat["incarnation"].as_str() > Some("1")
            && chat["version"] == env!("CARGO_PKG_VERSION")
            && chat["uptime_ms"].as_u64() > Some(0)
            && sum_over_chat_servers(&body, "rooms") == 1
            && sum_over_chat_servers(&body, "records") >= 1
    })
    .await;
    test.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gate_reports_since_when_a_server_is_away() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    let chat = split.start("chat-server-1").await;
    let connector = split.start("connector-server-1").await;
    let gate = split.start("gate-server-1").await;
    let port = split.servers.gate()[0].client_port.unwrap();
    let status = async || get(port, "/status").await.1;
    let state = async |id: &str| line(&status().await, id)["state"].clone();
    eventually(DEADLINE, "the second to be away", async || state("chat-server-2").await == "away").await;
    assert_eq!(state("chat-server-1").await, "up");
    let before = runtime::clock::now_ms();
    let until_away = async |id: &str| {
        eventually(DEADLINE, "the first to be away", async || state(id).await == "away").await;
        let since = line(&status().await, id)["unreachable_since_ms"].as_u64().unwrap();
        assert!((before..=runtime::clock::now_ms()).contains(&since), "{since}, after {before}");
    };
    chat.stop().await;
    until_away("chat-server-1").await;
    connector.stop().await;
    until_away("connector-server-1").await;
    // No connector is left to report it.
    eventually(DEADLINE, "nothing to be known", async || state("chat-server-1").await == "unknown").await;
    gate.stop().await;
}
