//! A gate on the in-process bus, with requests over the Pomelo websocket and over HTTP, and with
//! fake connectors.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "gate/answers.rs"]
mod answers;
#[path = "gate/http_requests.rs"]
mod http_requests;
#[path = "gate/logins.rs"]
mod logins;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Bus, MemoryLimits, OutgoingMessage};
use bytes::Bytes;
use frontend::routes;
use futures_util::{SinkExt, StreamExt};
use gate::Gate;
use model::ids::ServerId;
use model::placement::{CHAT, CONNECTOR, GATE};
use model::rpc;
use model::rpc::messages::Pong;
use model::rpc::report::{ChatReport, Liveness};
use model::servers::{Server, Servers};
use model::settings::Settings;
use model::subjects;
use node::Node;
use node::auth::AuthKeyReloader;
use node::payload::PayloadWatch;
use node::signing::Signing;
use node::tls::ClientTls;
use runtime::health::Health;
use runtime::lifecycle::Lifecycle;
use runtime::metrics::Metrics;
use runtime::server_list::ServerListWriter;
use runtime::shared_hold::SharedHold;
use serde_json::{Value, json};
use testkit::{HttpResponse, eventually, http_get};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use wire::{Message, Package, PackageKind, RouteRef};

/// The longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// Of `alice`: crc32 % 3 = 2.
const HOME: u16 = 3052;

/// A gate, and a node to play connectors with.
struct GateFixture {
    address: SocketAddr,
    node: Node,
}

/// A connector that responds to pings until its lifecycle is stopped.
struct FakeConnector {
    accepting: Arc<AtomicBool>,
    reports: Arc<Mutex<Vec<ChatReport>>>,
    lifecycle: Lifecycle,
}

impl FakeConnector {
    /// Reports this of the first chat server from now on.
    fn reports(&self, liveness: Liveness) {
        let chat = server(CHAT, 1).id;
        *self.reports.lock().unwrap() = vec![ChatReport { chat, liveness, incarnation: None, stats: None }];
    }
}

fn server(kind: &str, number: u16) -> Server {
    let id = ServerId::new(&format!("{kind}-server-{number}")).unwrap();
    Server { client_port: Some(3049 + number), ..Server::new(id, "127.0.0.1") }
}

impl GateFixture {
    /// A gate with a short heartbeat interval, in front of three connectors that do not run.
    async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_in("test", change).await
    }

    /// The same in an environment.
    async fn start_in(environment: &str, change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_before(environment, (1..=3).map(|number| server(CONNECTOR, number)).collect(), change).await
    }

    /// The same in front of other connectors.
    async fn start_before(environment: &str, connectors: Vec<Server>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.rpc.heartbeat_ms = 50;
        // The name of these tests, which a page in a private network may not choose.
        settings.frontend.hosts = vec!["game.example".to_owned()];
        change(&mut settings);
        let list = |kind: &str, servers| (kind.to_owned(), servers);
        let (gates, chats) = (vec![server(GATE, 1)], vec![server(CHAT, 1)]);
        let servers = Servers::new([list(GATE, gates), list(CONNECTOR, connectors), list(CHAT, chats)]);
        let metrics = Metrics::new();
        let bus = Bus::memory(MemoryLimits::default(), metrics.clone());
        let (_, server_list) = ServerListWriter::new(servers);
        let (settings, lifecycle) = (Arc::new(settings), Lifecycle::new());
        let (environment, health) = (environment.into(), Health::default());
        let payload = PayloadWatch::default();
        let (signing, tls) = (Signing::off(), ClientTls::off());
        let (_, auth) = AuthKeyReloader::start(&settings.auth).unwrap();
        let hold = SharedHold::start(settings.rpc.gather(), tokio::time::Instant::now()).unwrap();
        let node = Node {
            environment,
            server_list,
            settings,
            bus,
            signing,
            tls,
            auth,
            metrics,
            payload,
            lifecycle,
            health,
            hold,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Gate::start(server(GATE, 1), node.clone(), listener);
        Self { address, node }
    }

    /// Responds to the gate's requests to this connector.
    async fn start_connector(&self, number: u16) -> FakeConnector {
        let (accepting, lifecycle) = (Arc::new(AtomicBool::new(true)), Lifecycle::new());
        let connector = server(CONNECTOR, number).id;
        let subject = subjects::connector_ping(&connector);
        let mut pings = self.node.bus.subscribe(&subject, 16).await.unwrap();
        let (bus, says, stopping) = (self.node.bus.clone(), accepting.clone(), lifecycle.stopping());
        let reports = Arc::new(Mutex::new(Vec::new()));
        let reported = reports.clone();
        lifecycle.spawn(async move {
            tokio::pin!(stopping);
            loop {
                let ping = tokio::select! {
                    () = &mut stopping => return,
                    ping = pings.next() => ping,
                };
                let Some(reply) = ping.and_then(|ping| ping.reply) else { return };
                let (connector, accepting) = (connector.clone(), says.load(Ordering::Relaxed));
                let chats = reported.lock().unwrap().clone();
                let pong = Pong {
                    v: rpc::VERSION,
                    connector,
                    accepting,
                    incarnation: None,
                    stats: None,
                    chats,
                    client_port: None,
                };
                let payload = rpc::encode(&pong).unwrap();
                bus.publish(OutgoingMessage { subject: reply, payload, ..OutgoingMessage::default() }).ok();
            }
        });
        FakeConnector { accepting, reports, lifecycle }
    }

    async fn start_connectors(&self) -> [FakeConnector; 3] {
        [self.start_connector(1).await, self.start_connector(2).await, self.start_connector(3).await]
    }

    /// The status, the head and the body of a response.
    async fn get(&self, path: &str, origin: Option<&str>) -> (u16, String, String) {
        let origin = origin.map(|origin| format!("Origin: {origin}"));
        let headers: Vec<&str> = ["Host: game.example"].into_iter().chain(origin.as_deref()).collect();
        let HttpResponse { status, head, body } = http_get(self.address, path, &headers).await.unwrap();
        (status, head.to_ascii_lowercase(), body)
    }

    /// The port for alice over HTTP, or the status.
    async fn port_of_alice(&self) -> Result<u16, u16> {
        let (status, _, body) = self.get("/entry?uid=alice", None).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        if status == 200 { Ok(u16::try_from(body["port"].as_u64().unwrap()).unwrap()) } else { Err(status) }
    }

    /// The state of the first chat server in `/status`.
    async fn chat_state(&self) -> String {
        let status: Value = serde_json::from_str(&self.get("/status", None).await.2).unwrap();
        let chat = status["servers"].as_array().unwrap().iter().find(|line| line["type"] == CHAT).unwrap().clone();
        chat["state"].as_str().unwrap().to_owned()
    }

    async fn wait_until_chat_is(&self, state: &str) {
        let what = format!("the chat server to be {state}");
        eventually(DEADLINE, &what, async || self.chat_state().await == state).await;
    }

    async fn wait_until_alice_gets(&self, what: Result<u16, u16>) {
        let what_for = format!("alice to get {what:?}");
        eventually(DEADLINE, &what_for, async || self.port_of_alice().await == what).await;
    }
}

/// A client over the websocket.
struct WebsocketClient(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl WebsocketClient {
    async fn connect(fixture: &GateFixture) -> (Self, Value) {
        Self::connect_with(fixture, &json!({"sys": {}})).await
    }

    async fn connect_with(fixture: &GateFixture, handshake: &Value) -> (Self, Value) {
        let mut client = Self(connect_async(format!("ws://{}/", fixture.address)).await.unwrap().0);
        client.send(Package::new(PackageKind::Handshake, handshake.to_string()).encode().unwrap()).await;
        let response = client.next().await.unwrap();
        assert_eq!(response.kind, PackageKind::Handshake);
        client.send(Package::empty(PackageKind::HandshakeAck).encode().unwrap()).await;
        (client, serde_json::from_slice(&response.body).unwrap())
    }

    async fn send(&mut self, bytes: Bytes) {
        self.0.send(Frame::Binary(bytes)).await.unwrap();
    }

    /// The next package; none when the gate closes.
    async fn next(&mut self) -> Option<Package> {
        match tokio::time::timeout(DEADLINE, self.0.next()).await.unwrap() {
            Some(Ok(Frame::Binary(frame))) => wire::decode_frame(&frame, wire::MAX_BODY).unwrap().next(),
            _ => None,
        }
    }

    async fn request(&mut self, route: &str, body: &[u8]) -> Value {
        let (route, body) = (RouteRef::Text(route.to_owned()), Bytes::copy_from_slice(body));
        self.send(Message::Request { id: 1, route, body }.encode_package().unwrap()).await;
        let package = self.next().await.unwrap();
        match Message::decode(&package.body).unwrap() {
            Message::Response { id: 1, body } => serde_json::from_slice(&body).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn both_ways_of_asking_get_the_same() {
    let fixture = GateFixture::start(|_| {}).await;
    let _connectors = fixture.start_connectors().await;
    fixture.wait_until_alice_gets(Ok(HOME)).await;
    let (mut client, handshake) = WebsocketClient::connect(&fixture).await;
    assert!(handshake["sys"].get("heartbeat").is_none(), "a gate has none: {handshake}");
    let entry = json!({ "code": 200, "host": "127.0.0.1", "port": HOME });
    assert_eq!(client.request(routes::QUERY_ENTRY, br#"{"uid":"alice"}"#).await, entry);
    let (status, _, body) = fixture.get("/entry?uid=alice", None).await;
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (200, entry));
}

#[tokio::test]
async fn without_a_uid_the_answer_is_500() {
    let fixture = GateFixture::start(|_| {}).await;
    let _connectors = fixture.start_connectors().await;
    fixture.wait_until_alice_gets(Ok(HOME)).await;
    let (mut client, _) = WebsocketClient::connect(&fixture).await;
    let long = json!({ "uid": "x".repeat(257) }).to_string();
    for body in [&b""[..], b"{}", b"[1]", b"{\"uid\":1.5}", b"{\"uid\":\"\"}", b"{\"uid\":null}", long.as_bytes()] {
        let response = client.request(routes::QUERY_ENTRY, body).await;
        assert_eq!((&response["code"], &response["error"]), (&json!(500), &json!(true)), "{body:?}");
    }
    assert_eq!(client.request(routes::ENTER, b"{}").await["code"], json!(500), "not a gate's route");
    for path in ["/entry", "/entry?uid=", "/entry?name=alice"] {
        assert_eq!(fixture.get(path, None).await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn a_connector_that_is_down_or_full_is_skipped() {
    let fixture = GateFixture::start(|_| {}).await;
    let [_first, _second, home] = fixture.start_connectors().await;
    fixture.wait_until_alice_gets(Ok(HOME)).await;
    home.accepting.store(false, Ordering::Relaxed);
    // crc32("alice") % 2 = 1 over those that are left.
    fixture.wait_until_alice_gets(Ok(3051)).await;
    home.accepting.store(true, Ordering::Relaxed);
    fixture.wait_until_alice_gets(Ok(HOME)).await;
    home.lifecycle.stop(DEADLINE).await;
    fixture.wait_until_alice_gets(Ok(3051)).await;
    let _again = fixture.start_connector(3).await;
    fixture.wait_until_alice_gets(Ok(HOME)).await;
}

/// A connector that hangs has a subscription, so only the deadline detects it.
#[tokio::test]
async fn a_connector_that_hangs_is_skipped_and_delays_no_other() {
    let fixture = GateFixture::start(|_| {}).await;
    let _others = (fixture.start_connector(1).await, fixture.start_connector(2).await);
    let ping = subjects::connector_ping(&server(CONNECTOR, 3).id);
    let _hangs = fixture.node.bus.subscribe(&ping, 16).await.unwrap();
    fixture.wait_until_alice_gets(Ok(3051)).await;
}

#[tokio::test]
async fn without_connectors_users_get_an_error() {
    let fixture = GateFixture::start(|_| {}).await;
    fixture.wait_until_alice_gets(Err(503)).await;
    let (mut client, _) = WebsocketClient::connect(&fixture).await;
    let response = client.request(routes::QUERY_ENTRY, br#"{"uid":"alice"}"#).await;
    assert_eq!((&response["code"], &response["error"]), (&json!(500), &json!(true)));
}

/// Over more rounds of probes than it takes to change a server's status.
#[tokio::test]
async fn a_gate_without_a_bus_keeps_what_it_knows() {
    let fixture = GateFixture::start(|_| {}).await;
    let _others = (fixture.start_connector(1).await, fixture.start_connector(2).await);
    fixture.wait_until_alice_gets(Ok(3051)).await;
    fixture.node.bus.set_connected(false);
    let mut rounds = tokio::time::interval(fixture.node.settings.rpc.heartbeat());
    for _ in 0..4 {
        rounds.tick().await;
        assert_eq!(fixture.port_of_alice().await, Ok(3051));
    }
}

/// A gate has no permission to send them requests.
#[tokio::test]
async fn chat_servers_are_as_connectors_report_them_and_get_no_requests() {
    let fixture = GateFixture::start(|_| {}).await;
    let mut requests = fixture.node.bus.subscribe(&subjects::chat(&server(CHAT, 1).id), 16).await.unwrap();
    let [first, second, third] = fixture.start_connectors().await;
    fixture.wait_until_alice_gets(Ok(HOME)).await;
    assert_eq!(fixture.chat_state().await, "unknown", "connectors of an earlier program report nothing");
    first.reports(Liveness::Down);
    fixture.wait_until_chat_is("away").await;
    second.reports(Liveness::Up);
    fixture.wait_until_chat_is("up").await;
    second.reports(Liveness::Leaving);
    fixture.wait_until_chat_is("closed").await;
    second.lifecycle.stop(DEADLINE).await;
    fixture.wait_until_chat_is("away").await;
    first.lifecycle.stop(DEADLINE).await;
    third.lifecycle.stop(DEADLINE).await;
    fixture.wait_until_chat_is("unknown").await;
    assert_eq!(requests.try_next(), None);
}

#[tokio::test]
async fn pages_may_ask_that_may_connect() {
    let fixture =
        GateFixture::start(|settings| settings.frontend.allowed_origins = vec!["https://shop.example".to_owned()])
            .await;
    let _connectors = fixture.start_connectors().await;
    fixture.wait_until_alice_gets(Ok(HOME)).await;
    for origin in ["https://shop.example", "http://game.example:8080"] {
        let (status, head, _) = fixture.get("/entry?uid=alice", Some(origin)).await;
        assert_eq!(status, 200);
        assert!(head.contains(&format!("access-control-allow-origin: {origin}\r\n")), "{head}");
        assert!(head.contains("vary: origin"), "{head}");
    }
    let (status, head, _) = fixture.get("/entry?uid=alice", Some("http://evil.example")).await;
    assert_eq!(status, 403);
    assert!(!head.contains("access-control"), "{head}");
}

/// Every file that the page loads exists, and nothing on it may come from elsewhere.
#[tokio::test]
async fn a_browser_gets_the_page() {
    let fixture = GateFixture::start(|_| {}).await;
    let (status, head, page) = fixture.get("/", None).await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    let attributes = page.split(['"', ' ']).zip(page.split(['"', ' ']).skip(1));
    let loads: Vec<&str> =
        attributes.filter(|(name, _)| ["src=", "href="].contains(name)).map(|(_, path)| path).collect();
    assert!(loads.contains(&"chat.js"), "{loads:?}");
    let modules = ["pomelo-client.js", "members.js", "moderation.js", "permission.js", "texts.js", "timeline.js"];
    let others = modules.into_iter().chain(["favicon.ico"]);
    for path in loads.into_iter().chain(others) {
        let (status, head, _) = fixture.get(&format!("/{path}"), None).await;
        assert_eq!(status, 200, "{path}");
        for header in ["content-security-policy: default-src 'none'; ", "x-content-type-options: nosniff", "etag: \""] {
            assert!(head.contains(header), "{header} of {path}: {head}");
        }
    }
}

#[tokio::test]
async fn without_the_page_a_browser_gets_a_description() {
    let fixture = GateFixture::start(|settings| settings.gate.demo_page = false).await;
    let (status, _, body) = fixture.get("/", None).await;
    assert!(status == 200 && body.contains("/entry?uid="), "{body}");
    assert_eq!(fixture.get("/nothing", None).await.0, 404);
}

#[tokio::test]
async fn no_session_stays_at_the_gate() {
    let fixture = GateFixture::start(|settings| settings.frontend.enter_secs = 1).await;
    let (mut client, _) = WebsocketClient::connect(&fixture).await;
    assert_eq!(client.next().await, None);
    eventually(DEADLINE, "the end", async || fixture.node.metrics.connections.get() == 0).await;
}

#[tokio::test]
async fn a_gate_stops_at_once() {
    let fixture = GateFixture::start(|_| {}).await;
    let (mut client, _) = WebsocketClient::connect(&fixture).await;
    let _idle = TcpStream::connect(fixture.address).await.unwrap();
    eventually(DEADLINE, "both", async || fixture.node.metrics.connections.get() == 2).await;
    fixture.node.lifecycle.begin_stop();
    assert_eq!(client.next().await, None);
    assert!(fixture.node.lifecycle.stop(Duration::from_secs(5)).await);
}

/// A gate has no other port in Pomelo's files.
#[tokio::test]
async fn a_gate_serves_readiness_on_its_client_port() {
    let fixture = GateFixture::start(|_| {}).await;
    let _connectors = fixture.start_connectors().await;
    let readiness = async || {
        let (status, _, body) = fixture.get("/readyz", None).await;
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    eventually(DEADLINE, "the gate to have heard connectors", async || readiness().await.0 == 200).await;
    assert_eq!(fixture.get("/metrics", None).await.0, 200);
    fixture.node.bus.set_connected(false);
    let (status, body) = readiness().await;
    assert_eq!((status, &body["ready"]), (503, &json!(false)));
    assert_ne!(body["checks"]["bus"], "ok");
    assert_eq!(fixture.get("/healthz", None).await.0, 200);
    fixture.node.bus.set_connected(true);
    assert_eq!(readiness().await.0, 200);
    fixture.node.lifecycle.stop(DEADLINE).await;
}
