//! The original Pomelo client as a value: drives `tests/original/client.mjs`, whose head describes
//! the lines.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use testkit::Process;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::layout;

/// One original client, gone when dropped.
pub(crate) struct OriginalClient {
    name: String,
    commands: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    /// Events that came while something else was waited for.
    kept: VecDeque<Value>,
    /// The gate's connection, whose close is no news.
    gate: Option<String>,
    is_secure: bool,
    requests: u64,
    _child: Child,
}

impl OriginalClient {
    /// A client that is not connected. `name` is for messages, and for [`OriginalClient::enter`].
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, None).await
    }

    /// The same client in a browser that visited a Pomelo server, whose protobuf schemas are
    /// `protos`.
    pub(crate) async fn start_with_protos(name: &str, protos: &Value) -> Self {
        Self::start_with(name, Some(protos)).await
    }

    async fn start_with(name: &str, protos: Option<&Value>) -> Self {
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/original-client");
        assert!(packages.join("pins").is_file(), "the original client is not there: run `make tools`");
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("original/client.mjs");
        let mut node = Command::new("node");
        node.arg(driver)
            .arg(packages)
            .args(protos.map(Value::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = node.spawn().unwrap_or_else(|error| panic!("node: {error}: install node >= 20"));
        let commands = child.stdin.take().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap()).lines();
        let (name, kept) = (name.to_owned(), VecDeque::new());
        let mut client =
            Self { name, commands, events, kept, gate: None, is_secure: false, requests: 0, _child: child };
        assert_eq!(client.next().await["event"], "ready");
        client
    }

    /// Starts a client, and goes through the gate into `room` as the demo's page does. Returns the
    /// answer to `enter`.
    pub(crate) async fn enter(name: &str, gate: SocketAddr, room: &str) -> (Self, Value) {
        let mut client = Self::start(name).await;
        let response = client.try_enter(gate, room).await;
        assert_eq!(response["code"], 200, "{name}: {response}");
        (client, response)
    }

    /// Enters through the gate. Returns the response, also a refusal.
    pub(crate) async fn try_enter(&mut self, gate: SocketAddr, room: &str) -> Value {
        self.secure(gate).await;
        self.gate = Some(format!("{}://{gate}", if self.is_secure { "wss" } else { "ws" }));
        let (host, port) = (gate.ip(), gate.port());
        let name = self.name.clone();
        self.send_command(&json!({"do": "enter", "host": host, "port": port, "username": name, "rid": room})).await;
        let mut entered = self.next_of_kind("entered").await;
        assert_eq!(entered["entry"]["code"], 200, "{entered}");
        entered["body"].take()
    }

    /// Connects to a connector.
    pub(crate) async fn connect(&mut self, to: SocketAddr) {
        self.secure(to).await;
        self.send_command(&json!({"do": "connect", "host": to.ip(), "port": to.port()})).await;
        self.next_of_kind("connected").await;
    }

    /// Begins to connect to a connector with a user of the application in the handshake.
    pub(crate) async fn start_login(&mut self, to: SocketAddr, user: &Value) {
        self.secure(to).await;
        self.send_command(&json!({"do": "connect", "host": to.ip(), "port": to.port(), "user": user})).await;
    }

    /// Uses TLS from now on if this server has it, as the page that a client is on would.
    async fn secure(&mut self, at: SocketAddr) {
        if let Some(authority) = layout::authority_of(at).filter(|_| !self.is_secure) {
            self.is_secure = true;
            self.send_command(&json!({"do": "secure", "ca": authority})).await;
        }
    }

    /// Asks, and does not wait for the answer. Returns the number that it will have.
    pub(crate) async fn start_request(&mut self, route: &str, msg: Value) -> u64 {
        self.requests += 1;
        self.send_command(&json!({"do": "request", "id": self.requests, "route": route, "msg": msg})).await;
        self.requests
    }

    /// The answer to a request.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        let mut event = self.find(|event| event["event"] == "response" && event["id"] == id).await;
        event["body"].take()
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn request(&mut self, route: &str, msg: Value) -> Value {
        let id = self.start_request(route, msg).await;
        self.answer(id).await
    }

    /// Sends a message to `target`, and expects it to be committed.
    pub(crate) async fn send_to(&mut self, content: &str, target: &str) {
        let message = json!({"content": content, "target": target, "from": self.name});
        let response = self.request("chat.chatHandler.send", message).await;
        assert_eq!(response["code"], 200, "{}: {response}", self.name);
    }

    /// A command without an answer.
    pub(crate) async fn command(&mut self, command: &str) {
        self.send_command(&json!({"do": command})).await;
    }

    /// A notify, which is not answered.
    pub(crate) async fn notify(&mut self, route: &str) {
        self.send_command(&json!({"do": "notify", "route": route, "msg": {}})).await;
    }

    /// The next push.
    pub(crate) async fn next_push(&mut self) -> Value {
        self.next_of_kind("push").await
    }

    /// The next event of this kind; others are kept.
    pub(crate) async fn next_of_kind(&mut self, kind: &str) -> Value {
        self.find(|event| event["event"] == kind).await
    }

    /// The next event, without a deadline. Can be dropped while waiting, without losing one.
    pub(crate) async fn next_raw_event(&mut self) -> Value {
        loop {
            let line = self.events.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("{}: the driver ended: {:?}", self.name, self.kept));
            let event: Value = serde_json::from_str(&line).unwrap();
            assert_ne!(event["event"], "crash", "{}: {event}", self.name);
            // The end of the gate's connection is no news.
            if !self.gate.as_ref().is_some_and(|gate| event["url"] == gate.as_str()) {
                return event;
            }
        }
    }

    /// The next event that came or comes.
    pub(crate) async fn next_event(&mut self) -> Value {
        self.find(|_| true).await
    }

    async fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return self.kept.remove(at).unwrap();
        }
        loop {
            let event = self.next().await;
            if wanted(&event) {
                return event;
            }
            self.kept.push_back(event);
        }
    }

    async fn next(&mut self) -> Value {
        let event = tokio::time::timeout(Process::DEADLINE, self.next_raw_event()).await;
        event.unwrap_or_else(|_| panic!("{} receives nothing; before: {:?}", self.name, self.kept))
    }

    async fn send_command(&mut self, command: &Value) {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    }
}
