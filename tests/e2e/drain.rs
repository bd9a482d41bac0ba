//! Servers that are stopped while others go on, as in a rolling restart: clients do not wait until
//! a heartbeat is missed.

use client::{ChatClient, Entered, Event, Options, Resume};
use cluster::LogKind;
use frontend::routes;
use model::placement::CONNECTOR;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::address;

/// A chat server that ends hands its rooms over: a message that is sent meanwhile has its response
/// within a deadline in which no missed heartbeat is noticed, and no member is reported as gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_server_that_ends_hands_its_rooms_over() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    // Two missed ones take longer than a request may.
    split.settings.rpc.heartbeat_ms = 1_000;
    split.settings.rpc.request_ms = 1_500;
    split.settings.session.request_burst = 100_000;
    // With a tracer the broker cannot report that there are no responders.
    let tracer = async_nats::connect(split.nats.url()).await.unwrap();
    let _traced = tracer.subscribe(">").await.unwrap();
    let home = home(&split.servers, "lobby");
    let first = split.start(&home).await;
    let mut others = Vec::new();
    for id in ["chat-server-1", "chat-server-2", "chat-server-3"].into_iter().filter(|id| *id != home) {
        others.push(split.start(id).await);
    }
    let connectors = [split.start("connector-server-1").await, split.start("connector-server-2").await];
    let ann = split.join(0, "ann", "lobby").await;
    let mut bob = split.join(1, "bob", "lobby").await;
    let stopped = AtomicBool::new(false);
    let stop = async {
        first.stop().await;
        stopped.store(true, Ordering::Relaxed);
    };
    let talk = async {
        let mut sent = 0;
        while sent < 20 || !stopped.load(Ordering::Relaxed) {
            sent += 1;
            ann.send(&format!("{sent}")).await;
        }
        sent
    };
    let ((), sent) = tokio::join!(stop, talk);
    for number in 1..=sent {
        let Event::Chat(chat) = bob.next_event().await else { panic!("something else than a message") };
        assert_eq!(chat.msg, number.to_string());
    }
    assert!(others.iter().any(|chat| chat.metrics().activations.get() == 1), "another has the room");
    for cluster in connectors.into_iter().chain(others) {
        cluster.stop().await;
    }
}

/// A connector that ends closes its connections one by one. Clients that resume come back elsewhere
/// unnoticed, others as newcomers, and at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_that_ends_sends_its_clients_elsewhere() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    split.settings.lifecycle.drain_secs = 1;
    let chat = split.start(&home(&split.servers, "lobby")).await;
    let (first, second) = (split.start("connector-server-1").await, split.start("connector-server-2").await);
    let mut ann = split.join(0, "ann", "lobby").await;
    let old = address(&split.servers, CONNECTOR, 0);
    let (cid, mut cid_hears) = ChatClient::connect(&old, Options::default()).await.unwrap();
    let enter = json!({"username": "cid", "rid": "lobby"});
    cid.request_unchecked(routes::ENTER, &enter).await.unwrap();
    let mut bob = split.join(1, "bob", "lobby").await;
    let elsewhere = address(&split.servers, CONNECTOR, 1);
    let resumes = async {
        while ann.next_event().await != Event::Closed {}
        let (chat, _events) = ChatClient::connect(&elsewhere, Options::default()).await.unwrap();
        let Entered { token, seq, epoch, .. } = ann.entered.clone();
        chat.resume("ann", "lobby", &Resume { token, since: seq, epoch }).await.unwrap();
        chat
    };
    let comes_anew = async {
        while cid_hears.next().await.is_some_and(|event| event != Event::Closed) {}
        let (chat, _events) = ChatClient::connect(&elsewhere, Options::default()).await.unwrap();
        let entered = chat.request_unchecked(routes::ENTER, &enter).await.unwrap();
        assert_eq!(entered["code"], 200, "{entered}");
        chat
    };
    let (ann, _cid, ()) = tokio::join!(resumes, comes_anew, first.stop());
    ann.send("here again").await.unwrap();
    let received = bob.events_before("here again").await;
    assert_eq!(received, [Event::Leave("cid".to_owned()), Event::Add("cid".into())]);
    for cluster in [second, chat] {
        cluster.stop().await;
    }
}
