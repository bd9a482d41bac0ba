//! `nats.prefix`: clusters on one NATS server that do not notice each other, and the permissions
//! that a prefix needs.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use async_nats::Subscriber;
use client::History;
use cluster::{Cluster, LogKind, Plan};
use futures_util::StreamExt;
use runtime::config::Config;
use testkit::{NatsServer, Scratch, eventually};

use crate::permissions::Protected;
use crate::test_cluster::{DEADLINE, Setup, TestCluster, servers, settings};

/// A cluster whose servers are called like those of any other.
async fn cluster(nats: &NatsServer, prefix: &str) -> TestCluster {
    let mut settings = settings();
    settings.nats.prefix = prefix.to_owned();
    let config = Config { environment: "test".to_owned(), servers: servers(), settings };
    let plan = Plan { config, nats: Some(nats.url().to_owned()), log: LogKind::JetStream, only: None };
    TestCluster::new(Cluster::start(plan).await.unwrap())
}

/// Subjects and reply subjects of all that is on the server, until one is published to `last`.
async fn subjects(mut all: Subscriber, last: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    loop {
        let message = tokio::time::timeout(DEADLINE, all.next()).await.unwrap().unwrap();
        if message.subject.as_str() == last {
            return seen;
        }
        seen.extend([Some(message.subject), message.reply].into_iter().flatten().map(|subject| subject.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clusters_with_the_same_names_do_not_notice_each_other() {
    let nats = NatsServer::start_with_jetstream().await;
    let tracer = async_nats::connect(nats.url()).await.unwrap();
    let all = tracer.subscribe(">").await.unwrap();
    tracer.flush().await.unwrap();

    let staging = cluster(&nats, "staging").await;
    let mut ann = staging.join_at(0, "ann", "lobby").await;
    let staged = staging.join_at(1, "bob", "lobby").await;
    staged.send("staged").await;
    assert_eq!(ann.next_message().await.1, "staged");
    tracer.publish("that.was.all", "".into()).await.unwrap();
    let seen = subjects(all, "that.was.all").await;
    let is_ours = |subject: &&String| subject.starts_with("staging.") || subject.starts_with("$JS.");
    assert_eq!(seen.iter().find(|subject| !is_ours(subject)), None);
    for wanted in [
        "staging.log.51.lobby",
        "$JS.API.STREAM.CREATE.STAGING_ROOMS",
        "$JS.API.DIRECT.GET.STAGING_ROOMS.staging.log.51.lobby",
    ] {
        assert!(seen.contains(wanted), "{wanted}: {seen:?}");
    }

    let production = cluster(&nats, "").await;
    let mut other_ann = production.join_at(0, "ann", "lobby").await;
    let produced = production.join_at(1, "bob", "lobby").await;
    assert_eq!(produced.users(), ["ann", "bob"].into());
    for number in 0..20 {
        staged.send(&format!("staged {number}")).await;
        produced.send(&format!("produced {number}")).await;
    }
    for number in 0..20 {
        assert_eq!(ann.next_message().await.1, format!("staged {number}"));
        assert_eq!(other_ann.next_message().await.1, format!("produced {number}"));
    }
    let page = other_ann.chat.history(History::Last, 50).await.unwrap();
    assert!(page.messages.iter().all(|message| message.msg.starts_with("produced ")), "{page:?}");

    // One goes, and the other has all that it had.
    staged.send("the end").await;
    assert_eq!(ann.next_message().await.1, "the end");
    staging.cluster.stop().await;
    produced.send("goes on").await;
    assert_eq!(other_ann.next_message().await.1, "goes on");
    let metrics = production.cluster.metrics();
    assert_eq!((metrics.takeovers.get(), metrics.bus_bad_messages.get(), metrics.bus_implausible.get()), (0, 0, 0));
    production.cluster.stop().await;
}

/// The first line of `docs/how-to/nats.md` that begins so, as a reader copies it.
fn documented(begin: &str) -> String {
    let text = std::fs::read_to_string(root().join("docs/how-to/nats.md")).unwrap();
    text.lines().find(|line| line.starts_with(begin)).unwrap().to_owned()
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The command of docs/how-to/nats.md gives the example a prefix; a cluster with it needs no more, and one
/// without it gets nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_with_a_prefix_is_enough() {
    let scratch = Scratch::new();
    let made = Command::new("sh").args(["-c", &documented("sed ")]).current_dir(root()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let file = scratch.file("staging.conf", std::str::from_utf8(&made.stdout).unwrap());
    let mut world = Protected::with(Path::new(&file)).await;
    let mut clusters = Vec::new();
    for id in
        ["chat-server-1", "chat-server-2", "chat-server-3", "connector-server-1", "connector-server-2", "gate-server-1"]
    {
        world.split.settings.nats = world.settings_of(id);
        world.split.settings.nats.prefix = "staging".to_owned();
        clusters.push(world.split.start(id).await);
    }
    let ann = world.split.join(0, "ann", "lobby").await;
    let mut bob = world.split.join(1, "bob", "lobby").await;
    eventually(DEADLINE, "the room to serve", async || ann.chat.send("hello").await.is_ok()).await;
    assert_eq!(bob.next_message().await.1, "hello");
    assert_eq!(bob.chat.history(History::Last, 10).await.unwrap().messages.len(), 1);
    let mut thief = world.thief("chat-server-1").await;
    thief.may_not_publish(&["chat.chat-server-2", "log.51.lobby", "$JS.API.STREAM.INFO.ROOMS"]).await;
    thief.may_not_subscribe(&["chat.chat-server-1", "_INBOX.chat-server-1.>", "staging.>"]).await;
    world.split.settings.nats = world.settings_of("connector-server-3");
    world.split.settings.nats.connect_secs = 1;
    let refused = world.split.start_error("connector-server-3").await;
    assert!(refused.contains("permissions of the NATS server"), "{refused}");
    for cluster in clusters.into_iter().rev() {
        cluster.stop().await;
    }
}

/// Without NATS there is nothing to keep apart, so one settings.toml serves both ways of running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_nats_a_prefix_is_ignored() {
    let test = Setup::in_process().with(|settings| settings.nats.prefix = "staging".to_owned()).start().await;
    let mut ann = test.join("ann", "lobby").await;
    ann.send("hello").await;
    assert_eq!(ann.next_message().await.1, "hello");
    test.cluster.stop().await;
}
