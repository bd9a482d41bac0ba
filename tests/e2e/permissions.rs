//! A cluster under `config/nats/production.conf` as it stands: each server may do what it does, and
//! nothing else.

use std::path::Path;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use client::{History, Options, query_entry};
use cluster::LogKind;
use model::placement::GATE;
use model::settings::NatsSettings;
use testkit::{Certificates, NatsServer, Scratch, eventually};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::operations::status;
use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::{DEADLINE, address};

/// All users with a password in the file, each with the variable of its password.
const USERS: [(&str, &str); 9] = [
    ("sys", "SYS_PASSWORD"),
    ("operator", "OPERATOR_PASSWORD"),
    ("gate-server-1", "GATE_SERVER_1_PASSWORD"),
    ("connector-server-1", "CONNECTOR_SERVER_1_PASSWORD"),
    ("connector-server-2", "CONNECTOR_SERVER_2_PASSWORD"),
    ("connector-server-3", "CONNECTOR_SERVER_3_PASSWORD"),
    ("chat-server-1", "CHAT_SERVER_1_PASSWORD"),
    ("chat-server-2", "CHAT_SERVER_2_PASSWORD"),
    ("chat-server-3", "CHAT_SERVER_3_PASSWORD"),
];

/// A broker with the file of the repository, and what is needed to sign in to it.
pub(crate) struct Protected {
    pub(crate) split: SplitCluster,
    certificates: Certificates,
    pub(crate) scratch: Scratch,
}

impl Protected {
    pub(crate) async fn new() -> Self {
        Self::with(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/nats/production.conf")).await
    }

    /// The same with a file made of it.
    pub(crate) async fn with(file: &Path) -> Self {
        let (certificates, scratch) = (Certificates::new(), Scratch::new());
        let (certificate, key) = certificates.issue("nats");
        let authority = certificates.authority_file();
        let passwords = USERS.map(|(user, variable)| (variable, password(user)));
        let mut environment: Vec<_> = passwords.iter().map(|(name, value)| (*name, value.as_str())).collect();
        environment.extend([("NATS_SERVER_NAME", "nats-1"), ("NATS_TLS_CA", &*authority)]);
        environment.extend([("NATS_TLS_CERT", &*certificate), ("NATS_TLS_KEY", &*key)]);
        let nats = NatsServer::start_with_file(file, &environment).await;
        Self { split: SplitCluster::on(nats, LogKind::JetStream), certificates, scratch }
    }

    /// The settings with which this server signs in.
    pub(crate) fn settings_of(&self, user: &str) -> NatsSettings {
        NatsSettings {
            user: user.to_owned(),
            password_file: self.scratch.file(user, &password(user)),
            tls_ca_file: self.certificates.authority_file(),
            ..NatsSettings::default()
        }
    }

    pub(crate) async fn start(&mut self, id: &str) -> cluster::Cluster {
        self.split.settings.nats = self.settings_of(id);
        self.split.start(id).await
    }

    /// A chat server that ends as a killed process does when it is shut down.
    async fn start_killable(&mut self, id: &str) -> Runtime {
        self.split.settings.nats = self.settings_of(id);
        self.split.start_killable(id).await
    }

    /// Waits until the gate reports this state of a server.
    async fn wait_for_state(&self, id: &str, state: &str) {
        let what = format!("{id} to be {state}");
        eventually(DEADLINE, &what, async || status(&self.split.servers, id).await["state"] == state).await;
    }

    /// A connection of this user.
    pub(crate) async fn client(&self, user: &str) -> Client {
        let options = ConnectOptions::with_user_and_password(user.to_owned(), password(user));
        let options = options.add_root_certificates(self.certificates.authority_file().into());
        options.connect(self.split.nats.url()).await.unwrap()
    }

    /// A client with a stolen password, and the refusals that the broker sends to it.
    pub(crate) async fn thief(&self, user: &str) -> Thief {
        let (sender, refusals) = mpsc::channel(64);
        let options = ConnectOptions::with_user_and_password(user.to_owned(), password(user))
            .add_root_certificates(self.certificates.authority_file().into())
            .event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    drop(sender.try_send(error.to_string()));
                }
                std::future::ready(())
            });
        Thief { user: user.to_owned(), client: options.connect(self.split.nats.url()).await.unwrap(), refusals }
    }
}

fn password(user: &str) -> String {
    format!("password-of-{user}")
}

pub(crate) struct Thief {
    user: String,
    pub(crate) client: Client,
    refusals: mpsc::Receiver<String>,
}

impl Thief {
    pub(crate) async fn may_not_publish(&mut self, subjects: &[&str]) {
        for subject in subjects {
            self.client.publish((*subject).to_owned(), "x".into()).await.unwrap();
            self.assert_refused("Publish", subject).await;
        }
    }

    pub(crate) async fn may_not_subscribe(&mut self, subjects: &[&str]) {
        for subject in subjects {
            let _subscription = self.client.subscribe((*subject).to_owned()).await.unwrap();
            self.assert_refused("Subscription", subject).await;
        }
    }

    /// The next refusal is of this; so what was tried in between was allowed.
    async fn assert_refused(&mut self, what: &str, subject: &str) {
        let refusal = tokio::time::timeout(DEADLINE, self.refusals.recv()).await;
        let refusal = refusal.unwrap_or_else(|_| panic!("{} may: {what} {subject}", self.user)).unwrap();
        let wanted = format!("permissions violation for {what} to \"{subject}\"").to_lowercase();
        assert!(refusal.to_lowercase().contains(&wanted), "{}: {refusal}, not {wanted}", self.user);
    }

    async fn may_publish(&mut self, subject: &str) {
        self.client.publish(subject.to_owned(), "x".into()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_needs_no_more_than_the_example_allows() {
    let mut world = Protected::new().await;
    let mut clusters = Vec::new();
    let lobby = home(&world.split.servers, "lobby");
    let killable = world.start_killable(&lobby).await;
    for chat in ["chat-server-1", "chat-server-2", "chat-server-3"].into_iter().filter(|chat| *chat != lobby) {
        clusters.push(world.start(chat).await);
    }
    for connector in ["connector-server-1", "connector-server-2", "connector-server-3"] {
        clusters.push(world.start(connector).await);
    }
    clusters.push(world.start("gate-server-1").await);
    let ann = world.split.join(0, "ann", "lobby").await;
    let mut bob = world.split.join(1, "bob", "lobby").await;
    for number in 0..20 {
        ann.send(&number.to_string()).await;
        assert_eq!(bob.next_message().await.1, number.to_string());
    }
    assert_eq!(bob.chat.history(History::Last, 10).await.unwrap().messages.len(), 10);
    // A gate that receives nothing from connectors sends clients to none.
    let gate = address(&world.split.servers, GATE, 0);
    assert_ne!(query_entry(&gate, "ann", &Options::default()).await.unwrap().port, 0);

    for (user, _) in &USERS[2..] {
        world.wait_for_state(user, "up").await;
    }

    // The home is killed, so the failover owner takes over, after a probe of the home.
    killable.shutdown_background();
    world.wait_for_state(&lobby, "away").await;
    eventually(DEADLINE, "the room to be served elsewhere", async || ann.chat.send("again").await.is_ok()).await;
    assert_eq!(bob.next_message().await.1, "again");
    clusters.insert(0, world.start(&lobby).await);
    world.wait_for_state(&lobby, "up").await;
    eventually(DEADLINE, "the room to be served at home", async || ann.chat.send("at home").await.is_ok()).await;
    assert_eq!(bob.next_message().await.1, "at home");
    for cluster in clusters.into_iter().rev() {
        assert_eq!(cluster.metrics().bus_bad_messages.get(), 0);
        cluster.stop().await;
    }
    assert_eq!(world.split.nats.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_connectors_password_gives_a_connectors_rights_only() {
    let world = Protected::new().await;
    let mut thief = world.thief("connector-server-1").await;
    thief.may_publish("chat.chat-server-1").await;
    let others = [
        "connector.connector-server-2.push",
        "connector.connector-server-2.reply.1",
        "connector.connector-server-2.ping",
    ];
    thief.may_not_publish(&others).await;
    thief.may_not_publish(&["connector.connector-server-1.push", "log.51.lobby", "_INBOX.chat-server-1.x.1"]).await;
    thief.may_not_publish(&["$JS.API.INFO", "$JS.API.STREAM.INFO.ROOMS", "$JS.API.STREAM.PURGE.ROOMS"]).await;
    thief
        .may_not_subscribe(&["connector.>", "connector.connector-server-2.>", "chat.*", "log.*.*", "_INBOX.>", ">"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_gates_password_gives_pings_only() {
    let world = Protected::new().await;
    let mut thief = world.thief("gate-server-1").await;
    thief.may_publish("connector.connector-server-1.ping").await;
    thief.may_not_publish(&["connector.connector-server-1.push", "chat.chat-server-1", "log.51.lobby"]).await;
    thief.may_not_publish(&["$JS.API.STREAM.INFO.ROOMS", "_INBOX.connector-server-1.x.1"]).await;
    thief.may_not_subscribe(&["connector.>", "chat.*", "log.*.*", "_INBOX.>"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_server_cannot_destroy_the_log() {
    let world = Protected::new().await;
    let mut thief = world.thief("chat-server-1").await;
    for allowed in ["log.51.lobby", "connector.connector-server-1.push", "chat.chat-server-2"] {
        thief.may_publish(allowed).await;
    }
    let stream = ["DELETE.ROOMS", "PURGE.ROOMS", "UPDATE.ROOMS", "MSG.DELETE.ROOMS", "CREATE.OTHER", "INFO.OTHER"];
    let api: Vec<_> = stream.iter().map(|what| format!("$JS.API.STREAM.{what}")).collect();
    thief.may_not_publish(&api.iter().map(String::as_str).collect::<Vec<_>>()).await;
    thief.may_not_publish(&["$JS.API.CONSUMER.CREATE.ROOMS", "connector.connector-server-1.ping"]).await;
    thief.may_not_subscribe(&["log.*.*", "connector.>", "chat.*", "chat.chat-server-2", "_INBOX.>"]).await;
}

/// With the password of another server no server starts: the responses would go to that other
/// server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_anothers_password_does_not_start() {
    let mut world = Protected::new().await;
    world.split.settings.nats = NatsSettings { connect_secs: 1, ..world.settings_of("connector-server-2") };
    let before = tokio::time::Instant::now();
    let refused = world.split.start_error("connector-server-1").await;
    assert!(refused.contains("permissions of the NATS server"), "{refused}");
    assert!(before.elapsed() < Duration::from_secs(10));
}
