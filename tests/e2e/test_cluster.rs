//! A cluster of a test's own, and its members.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use client::{ChatClient, ClientError, Entered, Event, Events, Options, Sent, Tls, Transport};
use cluster::{Cluster, LogKind, Plan};
use model::ids::ServerId;
use model::placement::{API, CHAT, CONNECTOR, GATE};
use model::settings::PlainClients;
use runtime::config::{Config, Server, Servers, Settings};
use testkit::{Certificates, NatsServer};

/// The longest that anything here may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The servers to start: a gate, three connectors, three chat servers on ports that the system
/// picks.
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    over_nats: bool,
    api_servers: u16,
    transport: Transport,
    certificates: Option<Certificates>,
}

/// A running cluster.
pub(crate) struct TestCluster {
    pub(crate) cluster: Cluster,
    /// Kept alive, and stopped last.
    pub(crate) nats: Option<NatsServer>,
    /// The transport of clients.
    transport: Transport,
    /// The authority of the servers' certificate, if they have one.
    certificates: Option<Certificates>,
}

/// A member of a room.
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
    fn new(over_nats: bool) -> Self {
        Self { settings: settings(), over_nats, api_servers: 0, transport: Transport::Websocket, certificates: None }
    }

    /// Clients use this transport; with TLS no other client is served.
    pub(crate) fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        if transport.is_secure() {
            let certificates = self.certificates.insert(Certificates::new());
            let tls = &mut self.settings.tls;
            (tls.cert_file, tls.key_file) = certificates.issue("servers");
            tls.plain = PlainClients::Never;
        }
        self
    }

    pub(crate) fn in_process() -> Self {
        Self::new(false)
    }

    pub(crate) fn over_nats() -> Self {
        Self::new(true)
    }

    /// So many servers of the API run, too.
    pub(crate) fn with_api_servers(self, api_servers: u16) -> Self {
        Self { api_servers, ..self }
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
        let apis = (1..=self.api_servers).map(|number| server(API, number)).collect();
        let all = servers();
        let of_types = all.types().map(|kind| (kind.to_owned(), all.of_type(kind).to_vec()));
        let servers = Servers::new(of_types.chain([(API.to_owned(), apis)]));
        let config = Config { environment: "test".to_owned(), servers, settings: self.settings };
        let cluster = Cluster::start(Plan { config, nats: url, log, only: None }).await.unwrap();
        TestCluster { cluster, nats, transport: self.transport, certificates: self.certificates }
    }
}

/// `host:port` of a running server.
pub(crate) fn address(servers: &Servers, kind: &str, index: usize) -> String {
    format!("127.0.0.1:{}", servers.of_type(kind)[index].client_port.unwrap())
}

/// The next event that a function takes something of.
pub(crate) async fn next<T>(events: &mut Events, wanted: impl Fn(&Event) -> Option<T>) -> T {
    let find = async {
        loop {
            let event = events.next().await.unwrap();
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, find).await.unwrap()
}

impl TestCluster {
    /// A cluster whose clients use websockets.
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster, nats: None, transport: Transport::Websocket, certificates: None }
    }

    /// Options of a client that trusts the servers.
    pub(crate) fn options(&self) -> Options {
        let authority = self.certificates.as_ref().map(Certificates::authority_file);
        Options { tls: authority.map(|file| Tls::trusting_file(file).unwrap()), ..Options::default() }
    }

    /// The URL of a server for clients.
    fn url(&self, address: &str) -> String {
        format!("{}://{address}", self.transport.scheme())
    }

    pub(crate) fn gate(&self) -> String {
        address(&self.cluster.servers(), GATE, 0)
    }

    pub(crate) fn connector(&self, index: usize) -> String {
        address(&self.cluster.servers(), CONNECTOR, index)
    }

    /// A connection that entered no room yet.
    pub(crate) async fn connect(&self, connector: usize) -> (ChatClient, Events) {
        ChatClient::connect(&self.url(&self.connector(connector)), self.options()).await.unwrap()
    }

    /// Enters a room through the connector that the gate names.
    pub(crate) async fn join(&self, name: &str, room: &str) -> Member {
        let (chat, events) = ChatClient::via_gate(&self.url(&self.gate()), name, self.options()).await.unwrap();
        let entered = chat.enter(name, room).await.unwrap();
        Member { name: name.to_owned(), chat, events, entered }
    }

    /// Enters a room through this connector.
    pub(crate) async fn join_at(&self, connector: usize, name: &str, room: &str) -> Member {
        let (chat, events) = self.connect(connector).await;
        let entered = chat.enter(name, room).await.unwrap();
        Member { name: name.to_owned(), chat, events, entered }
    }
}

impl Member {
    pub(crate) async fn send(&self, text: &str) -> Sent {
        self.chat.send(text).await.unwrap()
    }

    /// Returns the next event of this member.
    pub(crate) async fn next_event(&mut self) -> Event {
        let event = tokio::time::timeout(DEADLINE, self.events.next()).await;
        event.unwrap_or_else(|_| panic!("{} receives nothing", self.name)).unwrap_or(Event::Closed)
    }

    /// Returns the next message for this member: its sender and text. Joins and leaves before it
    /// are passed over.
    pub(crate) async fn next_message(&mut self) -> (String, String) {
        loop {
            match self.next_event().await {
                Event::Chat(chat) => return (chat.from, chat.msg),
                Event::Add(_) | Event::Leave(_) => {}
                other => panic!("{} receives {other:?}", self.name),
            }
        }
    }

    /// Returns every event of this member before a message with this text.
    pub(crate) async fn events_before(&mut self, text: &str) -> Vec<Event> {
        let mut before = Vec::new();
        loop {
            match self.next_event().await {
                Event::Chat(chat) if chat.msg == text => return before,
                Event::Closed => panic!("{} was closed before {text}", self.name),
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
