//! A cluster under `config/nats/compose.conf` with the users that `shaddock setup` writes, as in
//! docker-compose.yml.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use async_nats::{Client, ConnectOptions, Event};
use bus::{Bus, OutgoingMessage};
use cluster::{Cluster, LogKind};
use futures_util::StreamExt;
use model::ids::ServerId;
use model::placement::CHAT;
use model::rpc;
use model::rpc::header;
use model::rpc::messages::{FromChat, FromConnector};
use model::settings::{NatsSettings, Signatures};
use model::subjects;
use node::signing::{KeyFiles, PublicKey, Seed, Signed};
use runtime::clock;
use runtime::config::{Server, Servers};
use runtime::metrics::Metrics;
use testkit::{NatsServer, SERVERS, Scratch, eventually, shaddock};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::operations::status;
use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::DEADLINE;

/// Directories beside each other, as compose mounts them for NATS: `nats` and `secrets/nats`.
struct Directories {
    scratch: Scratch,
}

impl Directories {
    /// The files of the repository, with listeners and a store of the test's own.
    fn new() -> Self {
        let (scratch, config) = (Scratch::new(), Path::new(env!("CARGO_MANIFEST_DIR")).join("../config"));
        fs::create_dir(scratch.path().join("nats")).unwrap();
        let broker = fs::read_to_string(config.join("nats/compose.conf")).unwrap();
        let own = broker.replace("0.0.0.0", "127.0.0.1").replace("store_dir: /data", "store_dir: $NATS_STORE_DIR");
        assert_eq!((own.matches("127.0.0.1").count(), own.matches("$NATS_STORE_DIR").count()), (2, 1), "{own}");
        scratch.file("nats/compose.conf", &own);
        scratch.file("servers.json", &fs::read_to_string(config.join("servers.json")).unwrap());
        Self { scratch }
    }

    fn secrets(&self) -> PathBuf {
        self.scratch.path().join("secrets")
    }

    fn password(&self, user: &str) -> String {
        let read = |part: &str| fs::read_to_string(self.secrets().join(part).join(user)).ok();
        read("passwords").or_else(|| read("nats")).unwrap().trim().to_owned()
    }

    /// Runs `shaddock setup` and returns what it prints.
    async fn set_up(&self, options: &[&str]) -> String {
        let output = self.command(options).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(shaddock());
        command.env_clear().args(["--env", "production", "--config"]).arg(self.scratch.path());
        command.arg("setup").arg(self.secrets()).args(options);
        command
    }

    /// Adds an entry, as the README shows.
    fn add_chat_server(&self, id: &str) {
        let path = self.scratch.path().join("servers.json");
        let mut servers: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let chats = servers["production"]["chat"].as_array_mut().unwrap();
        chats.push(serde_json::json!({ "id": id, "host": "127.0.0.1", "port": 6053 }));
        fs::write(path, servers.to_string()).unwrap();
    }

    /// All the chat servers answer one that asks whether they live, though they signed in before it
    /// had a user.
    async fn assert_answers_to(&self, id: &str, split: &SplitCluster) {
        let files = KeyFiles::within(&self.secrets().join("keys"));
        let seed = Seed::parse(fs::read_to_string(files.seed(&ServerId::new(id).unwrap())).unwrap().trim()).unwrap();
        let keys: BTreeMap<String, String> = serde_json::from_str(&fs::read_to_string(files.keys()).unwrap()).unwrap();
        let id = ServerId::new(id).unwrap();
        let settings = split.settings.nats.for_server(id.as_str());
        let bus = Bus::nats(split.nats.url(), &settings, id.as_str(), Metrics::new()).await.unwrap();
        for chat in &split.servers.chat()[..3] {
            let payload = rpc::encode(&FromConnector::probe(id.clone(), clock::incarnation())).unwrap();
            let pair = seed.pair(&id, &chat.id, &PublicKey::parse(&keys[chat.id.as_str()]).unwrap());
            let probe = |reply: String| {
                let subject = subjects::chat(&chat.id);
                let signature = pair.sign(&Signed::new(&id, (&subject, Some(&reply)), &payload, None));
                let mut probe = OutgoingMessage { subject, payload, reply: Some(reply), ..OutgoingMessage::default() };
                probe.headers.insert(header::SIGNATURE, signature);
                probe
            };
            let response = bus.request_with(probe, DEADLINE).await.unwrap();
            assert_eq!(rpc::decode::<FromChat>(&response.payload).unwrap().chat, chat.id);
        }
        bus.drain(DEADLINE).await.unwrap();
    }

    async fn nats(&self) -> NatsServer {
        // Names a variable so that the store's directory comes as one, too.
        NatsServer::start_with_file(&self.scratch.path().join("nats/compose.conf"), &[("UNUSED", "")]).await
    }
}

async fn start_all(split: &mut SplitCluster, ids: &[&str]) -> Vec<Cluster> {
    let mut clusters = Vec::new();
    for id in ids {
        clusters.push(split.start(id).await);
    }
    clusters
}

/// Signs in as this user; what the broker refuses comes out of the receiver.
async fn sign_in(url: &str, user: &str, password: &str) -> (Client, mpsc::Receiver<String>) {
    let (sender, refusals) = mpsc::channel(64);
    let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    let options = options.event_callback(move |event| {
        if let Event::ServerError(error) = event {
            drop(sender.try_send(error.to_string()));
        }
        std::future::ready(())
    });
    (options.connect(url).await.unwrap(), refusals)
}

async fn wait_for_state(split: &SplitCluster, id: &str, state: &str) {
    let what = format!("{id} to be {state}");
    eventually(DEADLINE, &what, async || status(&split.servers, id).await["state"] == state).await;
}

/// Times at which NATS reads its users again in the test below.
const RELOADS: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_runs_as_compose_sets_it_up_and_grows_under_load() {
    let directories = Directories::new();
    let first = directories.set_up(&[]).await;
    assert!(first.starts_with("10 users, new: sys, operator, tracer, gate-server-1, "), "{first}");
    let nats = directories.nats().await;
    let url = nats.url().to_owned();
    assert!(async_nats::connect(&url).await.is_err(), "a client that does not sign in is refused");
    let mut split = SplitCluster::on(nats, LogKind::JetStream);
    let password_file = directories.secrets().join("passwords/{id}").to_string_lossy().into_owned();
    split.settings.nats = NatsSettings { user: "{id}".to_owned(), password_file, ..NatsSettings::default() };
    split.settings.rpc.signatures = Signatures::Require;
    split.settings.rpc.key_dir = directories.secrets().join("keys").to_string_lossy().into_owned();
    let mut clusters = start_all(&mut split, &SERVERS).await;
    let ann = split.join(0, "ann", "lobby").await;
    let mut bob = split.join(1, "bob", "lobby").await;
    ann.send("hello").await;
    assert_eq!(bob.next_message().await.1, "hello");
    for id in SERVERS {
        wait_for_state(&split, id, "up").await;
    }

    // The recipe: an entry, and one command.
    directories.add_chat_server("chat-server-4");
    let second = directories.set_up(&["--nats", &url]).await;
    assert_eq!(second, "11 users, new: chat-server-4; 8 keys, new: chat-server-4; NATS has reloaded them\n");
    let third = directories.set_up(&["--nats", &url]).await;
    assert_eq!(third, "11 users, none of them new; 8 keys, none of them new; NATS has reloaded them\n");
    split.servers = with_chat_server(&split.servers, "chat-server-4");
    for cluster in &mut clusters {
        cluster.reload_keys().unwrap().unwrap();
        cluster.apply_servers(split.servers.clone()).await.unwrap();
    }
    directories.assert_answers_to("chat-server-4", &split).await;
    clusters.push(split.start("chat-server-4").await);
    assert_eq!(home(&split.servers, "lobby"), "chat-server-4");
    let fourth = clusters[7].metrics().clone();
    eventually(DEADLINE, "the room to move", async || {
        ann.chat.send("moving").await.is_ok() && fourth.records_committed.get() > 0
    })
    .await;
    wait_for_state(&split, "chat-server-4", "up").await;
    for cluster in clusters.into_iter().rev() {
        assert_eq!(cluster.metrics().bus_reconnects.get(), 0, "no connection was closed");
        cluster.stop().await;
    }
    // NATS forgets with each reload which requests a server may answer: the pings of gates that were
    // under way then have no answer, and the gates ask again.
    let (lost, others): (Vec<_>, Vec<_>) = split
        .nats
        .violations()
        .into_iter()
        .partition(|line| line.contains("Publish Violation - Subject \"_INBOX.gate-"));
    assert_eq!(others, [""; 0]);
    assert!(lost.len() <= RELOADS * SERVERS.len(), "{lost:?}");
}

fn with_chat_server(servers: &Servers, id: &str) -> Servers {
    let new = Server { port: Some(0), ..Server::new(ServerId::new(id).unwrap(), "127.0.0.1") };
    let list = |kind: &str| servers.of_type(kind).iter().cloned().chain((kind == CHAT).then(|| new.clone())).collect();
    Servers::new(servers.types().map(|kind| (kind.to_owned(), list(kind))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracer_receives_everything_and_publishes_nothing() {
    let directories = Directories::new();
    directories.set_up(&[]).await;
    let printed = directories.set_up(&["tracer"]).await;
    let password = directories.password("tracer");
    assert_eq!(printed, format!("--user tracer --password {password}\n"));
    let nats = directories.nats().await;
    let (tracer, mut refusals) = sign_in(nats.url(), "tracer", &password).await;
    let mut all = tracer.subscribe(">").await.unwrap();
    tracer.flush().await.unwrap();
    let (operator, _) = sign_in(nats.url(), "operator", &directories.password("operator")).await;
    for subject in ["chat.chat-server-1", "connector.connector-server-1.push", "log.51.lobby"] {
        operator.publish(subject, "x".into()).await.unwrap();
        let received = tokio::time::timeout(DEADLINE, all.next()).await.unwrap().unwrap();
        assert_eq!(received.subject.as_str(), subject);
    }
    for subject in ["chat.chat-server-1", "log.51.lobby", "$JS.API.STREAM.INFO.ROOMS", "_INBOX.tracer.1"] {
        tracer.publish(subject, "x".into()).await.unwrap();
        let refusal = tokio::time::timeout(DEADLINE, refusals.recv()).await.unwrap().unwrap().to_lowercase();
        let wanted = format!("permissions violation for publish to \"{subject}\"").to_lowercase();
        assert!(refusal.contains(&wanted), "{refusal}");
    }
    eventually(DEADLINE, "the broker's log to name each", async || nats.violations().len() == 4).await;
}

/// NATS reads the users when it starts; one that has other users is not taken for one that has
/// these.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_cannot_reload_is_reported() {
    let directories = Directories::new();
    let silent = directories.set_up(&["--nats", "nats://127.0.0.1:1"]).await;
    assert!(silent.ends_with("; NATS does not run yet at 127.0.0.1:1\n"), "{silent}");
    let open = NatsServer::start().await;
    let without = directories.set_up(&["--nats", open.url()]).await;
    assert!(without.ends_with("; NATS runs without users: restart it\n"), "{without}");
    let nats = directories.nats().await;
    let others = Directories::new();
    let output = others.command(&["--nats", nats.url()]).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("NATS has other users than those of this directory"), "{said}");
}
