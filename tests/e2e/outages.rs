//! Servers that are away for a while, over NATS: each server of the cluster is started alone.

use client::{Entered, Event, Options, Resume, query_entry, routes};
use cluster::LogKind;
use model::placement::{CHAT, GATE};
use serde_json::json;
use testkit::eventually;

use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::{DEADLINE, Member, address, code};

/// A log in memory ends with its chat server. Sessions of its rooms are closed plainly, as when a
/// server stops, and come back with their tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_server_restarts_and_its_log_in_memory_is_lost() {
    let mut split = SplitCluster::new(LogKind::Memory).await;
    let home = home(&split.servers, "lobby");
    let chat = split.start(&home).await;
    let first = split.start("connector-server-1").await;
    let second = split.start("connector-server-2").await;
    let mut ann = split.join(0, "ann", "lobby").await;
    let mut bob = split.join(1, "bob", "lobby").await;
    assert_eq!(ann.next_event().await, Event::Add("bob".into()));
    let before = ann.send("before").await;
    assert_eq!(bob.next_message().await.1, "before");
    chat.stop().await;
    let unknown =
        ann.chat.request_unchecked(routes::SEND, &json!({ "content": "lost?", "target": "*" })).await.unwrap();
    assert_eq!(unknown["code"], json!(503), "{unknown}");
    let chat = split.start(&home).await;
    let mut back = Vec::new();
    for (connector, member) in [(0, &mut ann), (1, &mut bob)] {
        while !matches!(member.next_event().await, Event::Closed) {}
        let (chat, events) = split.connect(connector).await;
        let Entered { token, epoch, .. } = member.entered.clone();
        let resume = Resume { token: token.clone(), since: before.seq, epoch };
        let entered = chat.resume(&member.name, "lobby", &resume).await.unwrap();
        assert_eq!((entered.recovered, &entered.token), (Some(false), &token));
        assert_ne!(entered.epoch, epoch, "another log");
        back.push(Member { name: member.name.clone(), chat, events, entered });
    }
    let [ann, bob] = &mut back[..] else { panic!("two came back") };
    assert_eq!(bob.users(), ["ann", "bob"].into());
    assert_eq!(ann.next_event().await, Event::Add("bob".into()));
    bob.send("after").await;
    assert_eq!(ann.events_before("after").await, []);
    for cluster in [first, second, chat] {
        cluster.stop().await;
    }
}

/// With the log in JetStream the end of a chat server loses nothing: messages and members stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_server_dies_and_its_log_is_still_there() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    let home = home(&split.servers, "lobby");
    let chat = split.start_killable(&home).await;
    let first = split.start("connector-server-1").await;
    let second = split.start("connector-server-2").await;
    let mut ann = split.join(0, "ann", "lobby").await;
    let mut bob = split.join(1, "bob", "lobby").await;
    let before = ann.send("before").await;
    chat.shutdown_background();
    let chat = split.start(&home).await;
    let after = bob.send("after").await;
    assert!(after.seq > before.seq, "the log goes on");
    assert_eq!(ann.next_event().await, Event::Add("bob".into()));
    for member in [&mut ann, &mut bob] {
        let [Event::Chat(received)] = &member.events_before("after").await[..] else {
            panic!("received more than was sent")
        };
        assert_eq!((received.from.as_str(), received.msg.as_str()), ("ann", "before"));
    }
    let cid = split.join(1, "cid", "lobby").await;
    assert_eq!(cid.users(), ["ann", "bob", "cid"].into());
    assert_eq!(ann.next_event().await, Event::Add("cid".into()), "no leave was pushed");
    for cluster in [first, second, chat] {
        cluster.stop().await;
    }
}

/// Anomaly 12: with no chat server up, a client that left stayed half-open for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_a_client_leaves_while_no_chat_server_is_there() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    let home = home(&split.servers, "lobby");
    let chat = split.start(&home).await;
    let connector = split.start("connector-server-1").await;
    let ann = split.join(0, "ann", "lobby").await;
    let mut bob = split.join(0, "bob", "lobby").await;
    chat.stop().await;
    ann.chat.close();
    let metrics = connector.metrics().clone();
    eventually(DEADLINE, "the connection to be gone", async || metrics.connections.get() == 1).await;
    let chat = split.start(&home).await;
    assert_eq!(bob.next_event().await, Event::Leave("ann".to_owned()));
    assert_eq!(split.join(0, "ann", "lobby").await.users(), ["ann", "bob"].into());
    connector.stop().await;
    chat.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_skips_connectors_that_do_not_answer() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    let first = split.start("connector-server-1").await;
    let third = split.start("connector-server-3").await;
    let gate = split.start("gate-server-1").await;
    let address = address(&split.servers, GATE, 0);
    let port = |index: usize| split.servers.connector()[index].client_port.unwrap();
    let entry = async |uid: &str| query_entry(&address, uid, &Options::default()).await.ok().map(|entry| entry.port);
    // crc32("user1") % 3 = 1, a connector that was never started; crc32("alice") % 3 = 2.
    eventually(DEADLINE, "the second to be skipped", async || entry("user1").await.is_some_and(|port| port != 0)).await;
    assert_eq!(entry("alice").await, Some(port(2)));
    third.stop().await;
    eventually(DEADLINE, "the third to be skipped", async || entry("alice").await == Some(port(0))).await;
    first.stop().await;
    eventually(DEADLINE, "no connector to be left", async || entry("alice").await.is_none()).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_and_comes_back() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    let home = home(&split.servers, "lobby");
    let chat = split.start(&home).await;
    let connector = split.start("connector-server-1").await;
    let ann = split.join(0, "ann", "lobby").await;
    let mut bob = split.join(0, "bob", "lobby").await;
    ann.send("before").await;
    split.nats.kill();
    let unknown =
        ann.chat.request_unchecked(routes::SEND, &json!({ "content": "meanwhile", "target": "*" })).await.unwrap();
    assert_eq!(unknown["code"], json!(503), "{unknown}");
    split.nats.restart().await;
    eventually(DEADLINE, "the room to serve again", async || ann.chat.send("again").await.is_ok()).await;
    assert_eq!(bob.next_message().await.1, "before");
    assert_eq!(bob.next_message().await.1, "meanwhile", "the head is never given up");
    assert_eq!(bob.next_message().await.1, "again");
    assert_eq!(split.servers.of_type(CHAT).len(), 3);
    connector.stop().await;
    chat.stop().await;
}

/// While a room's server is away its clients wait, each with so many requests and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_are_bounded_and_always_answered() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    split.settings.session.max_in_flight = 3;
    let home = home(&split.servers, "lobby");
    let chat = split.start(&home).await;
    let connector = split.start("connector-server-1").await;
    let ann = split.join(0, "ann", "lobby").await;
    chat.stop().await;
    let responses: Vec<_> = (0..5).map(|number| ann.chat.send(&number.to_string())).collect();
    let mut codes = Vec::new();
    for response in responses {
        codes.push(code(response.await));
    }
    assert_eq!(codes, [503, 503, 503, 429, 429]);
    connector.stop().await;
}
