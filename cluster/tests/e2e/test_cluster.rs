//! A cluster of a test's own, and the people on it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use client::{ChatClient, ClientError, Entered, Event, Events, Options, Sent};
use cluster::{Cluster, LogKind, Plan};
use model::ids::ServerId;
use model::placement::{CHAT, CONNECTOR, GATE};
use runtime::config::{Config, Server, Servers, Settings};
use testkit::NatsServer;

/// The longest that anything here may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// What is to be started: a gate, three connectors, three chat servers on ports that the system picks.
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    over_nats: bool,
}

/// What was started.
pub(crate) struct TestCluster {
    pub(crate) cluster: Cluster,
    /// Kept alive, and stopped last.
    pub(crate) nats: Option<NatsServer>,
}

/// Somebody in a room.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) chat: ChatClient,
    pub(crate) events: Events,
    pub(crate) entered: Entered,
}

fn server(kind: &str, number: u16) -> Server {
    let id = ServerId::new(&format!("{kind}-server-{number}")).unwrap();
    let client_port = (kind != CHAT).then_some(0);
    Server { port: Some(0), client_port, frontend: kind != CHAT, ..Server::new(id, "127.0.0.1") }
}

/// A gate, three connectors, three chat servers.
pub(crate) fn servers() -> Servers {
    let list = |kind: &str, count| (kind.to_owned(), (1..=count).map(|n| server(kind, n)).collect());
    Servers::new([list(GATE, 1), list(CONNECTOR, 3), list(CHAT, 3)])
}

/// Settings for tests: the defaults, on loopback only.
pub(crate) fn settings() -> Settings {
    Settings { bind: IpAddr::V4(Ipv4Addr::LOCALHOST), ..Settings::default() }
}

impl Setup {
    pub(crate) fn in_process() -> Self {
        Self { settings: settings(), over_nats: false }
    }

    pub(crate) fn over_nats() -> Self {
        Self { settings: settings(), over_nats: true }
    }

    /// Changes settings.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Starts all servers; over NATS with the log in JetStream.
    pub(crate) async fn start(self) -> TestCluster {
        let nats = if self.over_nats { Some(NatsServer::start_with_jetstream().await) } else { None };
        let url = nats.as_ref().map(|nats| nats.url().to_owned());
        let log = if self.over_nats { LogKind::JetStream } else { LogKind::Memory };
        let config = Config { environment: "test".to_owned(), servers: servers(), settings: self.settings };
        let cluster = Cluster::start(Plan { config, nats: url, log, only: None }).await.unwrap();
        TestCluster { cluster, nats: nats }
    }
}

/// `host:port` of a running server.
pub(crate) fn address(servers: &Servers, kind: &str, index: usize) -> String {
    format!("127.0.0.1:{}", servers.of_type(kind)[index].client_port.unwrap())
}

impl TestCluster {
    pub(crate) fn gate(&self) -> String {
        address(&self.cluster.servers(), GATE, 0)
    }

    pub(crate) fn connector(&self, index: usize) -> String {
        address(&self.cluster.servers(), CONNECTOR, index)
    }

    /// A connection that entered no room yet.
    pub(crate) async fn connect(&self, connector: usize) -> (ChatClient, Events) {
        ChatClient::connect(&self.connector(connector), Options::default()).await.unwrap()
    }

    /// Somebody who found a connector through the gate and entered a room.
    pub(crate) async fn join(&self, name: &str, room: &str) -> Member {
        let (chat, events) = ChatClient::via_gate(&self.gate(), name, Options::default()).await.unwrap();
        let entered = chat.enter(name, room).await.unwrap();
        Member { name: name.to_owned(), chat, events, entered }
    }

    /// Somebody who entered a room through this connector.
    pub(crate) async fn join_at(&self, connector: usize, name: &str, room: &str) -> Member {
        let (chat, events) = self.connect(connector).await;
        let entered = chat.enter(name, room).await.unwrap();
        Member { name: name.to_owned(), chat, events, entered }
    }
}

impl Member {
    pub(crate) async fn send(&self, text: &str) -> Sent {
        self.chat.say(text).await.unwrap()
    }

    /// The next thing that this person is told.
    pub(crate) async fn next_event(&mut self) -> Event {
        let event = tokio::time::timeout(DEADLINE, self.events.next()).await;
        event.unwrap_or_else(|_| panic!("{} hears nothing", self.name)).unwrap_or(Event::Closed)
    }

    /// The next message that this person is told: its sender and text. Comings and goings before it are passed over.
    pub(crate) async fn next_message(&mut self) -> (String, String) {
        loop {
            match self.next_event().await {
                Event::Chat(chat) => return (chat.from, chat.msg),
                Event::Add(_) | Event::Leave(_) => {}
                other => panic!("{} hears {other:?}", self.name),
            }
        }
    }

    /// Everything that this person was told before hearing this text from somebody.
    pub(crate) async fn events_before(&mut self, text: &str) -> Vec<Event> {
        let mut before = Vec::new();
        loop {
            match self.next_event().await {
                Event::Chat(chat) if chat.msg == text => return before,
                Event::Closed => panic!("{} was closed before hearing {text}", self.name),
                other => before.push(other),
            }
        }
    }

    pub(crate) fn users(&self) -> BTreeSet<&str> {
        self.entered.users.iter().map(String::as_str).collect()
    }
}

/// The code of a refusal.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> u64 {
    match result {
        Err(ClientError::Refused { code, .. }) => code,
        other => panic!("not refused: {other:?}"),
    }
}
