//! Servers that are away for a while, over NATS: each server of the cluster is started alone.

use client::{Event, Options, query_entry, routes};
use cluster::LogKind;
use serde_json::json;
use shared::dispatcher::{CHAT, GATE};
use shared::testing::eventually;

use crate::parts::{Parts, home};
use crate::stage::{DEADLINE, address, code};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_server_restarts_and_nobody_is_told_that_anybody_went() {
    let mut parts = Parts::new(LogKind::Memory).await;
    let home = home(&parts.servers, "lobby");
    let chat = parts.start(&home).await;
    let first = parts.start("connector-server-1").await;
    let second = parts.start("connector-server-2").await;
    let mut ann = parts.person(0, "ann", "lobby").await;
    let mut bob = parts.person(1, "bob", "lobby").await;
    assert_eq!(ann.hears().await, Event::Add("bob".to_owned()));
    ann.say("before").await;
    assert_eq!(bob.hears_chat().await.1, "before");
    chat.stop().await;
    let unknown = ann.chat.request(routes::SEND, &json!({ "content": "lost?", "target": "*" })).await.unwrap();
    assert_eq!(unknown["code"], json!(503), "{unknown}");
    let chat = parts.start(&home).await;
    bob.say("after").await;
    let mut heard = ann.hears_until("after").await;
    // What was answered 503 may have been said after all, once.
    heard.retain(|event| !matches!(event, Event::Chat(chat) if chat.msg == "lost?" || chat.msg == "before"));
    let [Event::Gap(gap)] = &heard[..] else { panic!("{heard:?}") };
    assert!(gap.epoch > ann.entered.epoch && gap.to == 0, "another log, of which all will be told: {gap:?}");
    let cid = parts.person(0, "cid", "lobby").await;
    assert_eq!(cid.users(), ["ann", "bob", "cid"].into());
    let told = loop {
        match ann.hears().await {
            // It may also be said only now.
            Event::Chat(chat) => assert_eq!(chat.msg, "lost?"),
            other => break other,
        }
    };
    assert_eq!(told, Event::Add("cid".to_owned()));
    for cluster in [first, second, chat] {
        cluster.stop().await;
    }
}

/// With the log in JetStream a chat server's end is nobody's matter: what was said stays, and who is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_server_dies_and_its_log_is_still_there() {
    let mut parts = Parts::new(LogKind::JetStream).await;
    let home = home(&parts.servers, "lobby");
    let chat = parts.start_mortal(&home).await;
    let first = parts.start("connector-server-1").await;
    let second = parts.start("connector-server-2").await;
    let mut ann = parts.person(0, "ann", "lobby").await;
    let mut bob = parts.person(1, "bob", "lobby").await;
    let before = ann.say("before").await;
    chat.shutdown_background();
    let chat = parts.start(&home).await;
    let after = bob.say("after").await;
    assert!(after.seq > before.seq, "the log goes on");
    assert_eq!(ann.hears().await, Event::Add("bob".to_owned()));
    for person in [&mut ann, &mut bob] {
        let [Event::Chat(heard)] = &person.hears_until("after").await[..] else { panic!("told more than was said") };
        assert_eq!((heard.from.as_str(), heard.msg.as_str()), ("ann", "before"));
    }
    let cid = parts.person(1, "cid", "lobby").await;
    assert_eq!(cid.users(), ["ann", "bob", "cid"].into());
    assert_eq!(ann.hears().await, Event::Add("cid".to_owned()), "nobody was told that anybody went");
    for cluster in [first, second, chat] {
        cluster.stop().await;
    }
}

/// Anomaly 12: with no chat server up, a client that left stayed half-open for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_a_client_leaves_while_no_chat_server_is_there() {
    let mut parts = Parts::new(LogKind::Memory).await;
    let home = home(&parts.servers, "lobby");
    let chat = parts.start(&home).await;
    let connector = parts.start("connector-server-1").await;
    let ann = parts.person(0, "ann", "lobby").await;
    let mut bob = parts.person(0, "bob", "lobby").await;
    chat.stop().await;
    ann.chat.close();
    let metrics = connector.metrics().clone();
    eventually(DEADLINE, "the connection to be gone", async || metrics.connections.get() == 1).await;
    let chat = parts.start(&home).await;
    // In the new log nobody ever was ann; that she went is told when the others are back.
    assert!(matches!(bob.hears().await, Event::Gap(_)));
    assert_eq!(bob.hears().await, Event::Leave("ann".to_owned()));
    assert_eq!(parts.person(0, "ann", "lobby").await.users(), ["ann", "bob"].into());
    connector.stop().await;
    chat.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_skips_connectors_that_do_not_answer() {
    let mut parts = Parts::new(LogKind::JetStream).await;
    let first = parts.start("connector-server-1").await;
    let third = parts.start("connector-server-3").await;
    let gate = parts.start("gate-server-1").await;
    let address = address(&parts.servers, GATE, 0);
    let port = |index: usize| parts.servers.connector()[index].client_port.unwrap();
    let entry = async |uid: &str| query_entry(&address, uid, &Options::default()).await.ok().map(|entry| entry.port);
    // crc32("user1") % 3 = 1, a connector that was never started; crc32("alice") % 3 = 2.
    eventually(DEADLINE, "the second to be skipped", async || entry("user1").await.is_some_and(|port| port != 0)).await;
    assert_eq!(entry("alice").await, Some(port(2)));
    third.stop().await;
    eventually(DEADLINE, "the third to be skipped", async || entry("alice").await == Some(port(0))).await;
    first.stop().await;
    eventually(DEADLINE, "nobody to be left", async || entry("alice").await.is_none()).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_and_comes_back() {
    let mut parts = Parts::new(LogKind::JetStream).await;
    let home = home(&parts.servers, "lobby");
    let chat = parts.start(&home).await;
    let connector = parts.start("connector-server-1").await;
    let ann = parts.person(0, "ann", "lobby").await;
    let mut bob = parts.person(0, "bob", "lobby").await;
    ann.say("before").await;
    parts.nats.kill();
    let unknown = ann.chat.request(routes::SEND, &json!({ "content": "meanwhile", "target": "*" })).await.unwrap();
    assert_eq!(unknown["code"], json!(503), "{unknown}");
    parts.nats.restart().await;
    eventually(DEADLINE, "the room to serve again", async || ann.chat.say("again").await.is_ok()).await;
    assert_eq!(bob.hears_chat().await.1, "before");
    assert_eq!(bob.hears_chat().await.1, "meanwhile", "the head is never given up");
    assert_eq!(bob.hears_chat().await.1, "again");
    assert_eq!(parts.servers.of_type(CHAT).len(), 3);
    connector.stop().await;
    chat.stop().await;
}

/// While a room's server is away its clients wait, each with so many requests and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_are_bounded_and_always_answered() {
    let mut parts = Parts::new(LogKind::JetStream).await;
    parts.settings.session.max_in_flight = 3;
    let home = home(&parts.servers, "lobby");
    let chat = parts.start(&home).await;
    let connector = parts.start("connector-server-1").await;
    let ann = parts.person(0, "ann", "lobby").await;
    chat.stop().await;
    let answers: Vec<_> = (0..5).map(|number| ann.chat.say(&number.to_string())).collect();
    let mut codes = Vec::new();
    for answer in answers {
        codes.push(code(answer.await));
    }
    assert_eq!(codes, [503, 503, 503, 429, 429]);
    connector.stop().await;
}
