//! An API server on a port of its own, and requests to it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::Api;
use api::keys::{KeyRing, Keys, NewKey, Scope};
use bus::{Bus, MemoryLimits};
use model::ids::ServerId;
use model::servers::{Server, Servers};
use model::settings::{AuthMode, Settings};
use node::Node;
use node::auth::Authenticator;
use node::payload::PayloadWatch;
use node::signing::Signing;
use node::tls::ClientTls;
use runtime::health::Health;
use runtime::lifecycle::Lifecycle;
use runtime::metrics::Metrics;
use runtime::server_list::ServerListWriter;
use runtime::shared_hold::SharedHold;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::fake_rooms::FakeRooms;

/// The longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server, and the rooms behind it.
pub(crate) struct ApiFixture {
    pub(crate) address: SocketAddr,
    pub(crate) rooms: FakeRooms,
    pub(crate) bus: Bus,
    keys: Vec<(String, String)>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In small letters.
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Answer {
    /// The word of the reason.
    pub(crate) fn word(&self) -> &str {
        self.body["reason"].as_str().and_then(|reason| reason.split(':').next()).unwrap_or_default()
    }

    pub(crate) fn status_and_word(&self) -> (u16, &str) {
        (self.status, self.word())
    }
}

/// A key with these scopes, for these rooms.
pub(crate) fn key(id: &str, scopes: &[Scope], rooms: &[&str]) -> (String, Value) {
    let mut random = [0; 32];
    id.bytes().zip(&mut random).for_each(|(byte, place)| *place = byte);
    let rooms: Vec<String> = rooms.iter().map(|&room| room.to_owned()).collect();
    let NewKey { key, entry } =
        NewKey::new(random, id, &scopes.iter().copied().collect::<BTreeSet<_>>(), &rooms).unwrap();
    (key, serde_json::from_str(&entry).unwrap())
}

impl ApiFixture {
    /// A server with a key for each scope, named as it is, one for all (`all`), one for all in rooms
    /// that begin with `shop-` (`shop`), and one with a name and a rate (`bot`).
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same with other settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.auth.mode = AuthMode::Optional;
        settings.rpc.request_ms = 1_000;
        change(&mut settings);
        let mut keys: Vec<(String, Value)> =
            Scope::ALL.iter().map(|scope| key(scope.name(), &[*scope], &["*"])).collect();
        keys.push(key("all", &Scope::ALL, &["*"]));
        keys.push(key("shop", &Scope::ALL, &["shop-*"]));
        let mut bot = key("bot", &[Scope::Publish], &["*"]);
        (bot.1["name"], bot.1["rate"]) = (json!("Robot"), json!(1));
        keys.push(bot);
        let entries: Vec<&Value> = keys.iter().map(|(_, entry)| entry).collect();
        let ring = KeyRing::parse(&serde_json::to_string(&entries).unwrap()).unwrap();
        let node = node(settings);
        let (rooms, way) = FakeRooms::start(&node.lifecycle);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(ServerId::new("api-server-1").unwrap(), "127.0.0.1");
        let bus = node.bus.clone();
        Api::serve(&server, &node, listener, (Keys::new(ring), way)).await.unwrap();
        let keys = keys.into_iter().map(|(key, entry)| (entry["id"].as_str().unwrap().to_owned(), key)).collect();
        Self { address, rooms, bus, keys }
    }

    /// The header with the key of this id.
    pub(crate) fn header(&self, id: &str) -> String {
        let (_, key) = self.keys.iter().find(|(known, _)| known == id).unwrap();
        format!("Authorization: Bearer {key}")
    }

    /// Sends a request with lines of headers, and a body if it is one.
    pub(crate) async fn request(&self, line: &str, headers: &[&str], body: &Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let typed = if body.is_null() { "" } else { "Content-Type: application/json\r\n" };
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = text.len();
        let head = format!("{line} HTTP/1.1\r\nConnection: close\r\n{headers}{typed}Content-Length: {length}\r\n\r\n");
        self.raw(format!("{head}{text}").as_bytes()).await
    }

    /// Sends a request with the key of this id.
    pub(crate) async fn call(&self, id: &str, line: &str, body: &Value) -> Answer {
        self.request(line, &[&self.header(id)], body).await
    }

    /// The same with an idempotency key.
    pub(crate) async fn call_once(&self, id: &str, line: &str, idempotency_key: &str, body: &Value) -> Answer {
        let once = format!("Idempotency-Key: {idempotency_key}");
        self.request(line, &[&self.header(id), &once], body).await
    }

    /// Sends these bytes, and reads the response up to the end of the connection.
    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        read(stream).await
    }
}

/// Reads a response up to the end of the connection.
pub(crate) async fn read(stream: TcpStream) -> Answer {
    read_half(stream).await
}

/// The same of the reading half of a connection.
pub(crate) async fn read_half(mut stream: impl AsyncRead + Unpin) -> Answer {
    let mut bytes = Vec::new();
    // A server that refuses a body may reset the connection behind its response.
    timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.unwrap().ok();
    let text = String::from_utf8(bytes).unwrap();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { panic!("no response: {text:?}") };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    Answer { status, head: head.to_ascii_lowercase(), body }
}

fn node(settings: Settings) -> Node {
    let metrics = Metrics::new();
    let bus = Bus::memory(MemoryLimits::default(), metrics.clone());
    let (_, server_list) = ServerListWriter::new(Servers::new([]));
    Node {
        environment: "test".into(),
        server_list,
        hold: SharedHold::start(settings.rpc.gather(), tokio::time::Instant::now()).unwrap(),
        settings: Arc::new(settings),
        bus,
        signing: Signing::off(),
        tls: ClientTls::off(),
        auth: Authenticator::off(),
        metrics,
        payload: PayloadWatch::default(),
        lifecycle: Lifecycle::new(),
        health: Health::default(),
    }
}
