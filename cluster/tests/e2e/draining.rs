//! Servers that are stopped while others go on, as in a rolling restart: nobody waits for a heartbeat to be missed.

use client::{ChatClient, Entered, Event, Options, Resume};
use cluster::LogKind;
use serde_json::json;
use shared::frontend::routes;
use shared::placement::CONNECTOR;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::parts::{Parts, home};
use crate::stage::address;

/// A chat server that ends hands its rooms over: what is sent meanwhile has its answer within a deadline in which no missed
/// heartbeat is noticed, and nobody is told that anybody went.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_server_that_ends_hands_its_rooms_over() {
    let mut parts = Parts::new(LogKind::JetStream).await;
    // Two missed ones take longer than a request may.
    parts.settings.rpc.heartbeat_ms = 1_000;
    parts.settings.rpc.request_ms = 1_500;
    parts.settings.session.request_burst = 100_000;
    // The broker cannot say that nobody listens.
    let tracer = async_nats::connect(parts.nats.url()).await.unwrap();
    let _traced = tracer.subscribe(">").await.unwrap();
    let home = home(&parts.servers, "lobby");
    let first = parts.start(&home).await;
    let mut others = Vec::new();
    for id in ["chat-server-1", "chat-server-2", "chat-server-3"].into_iter().filter(|id| *id != home) {
        others.push(parts.start(id).await);
    }
    let connectors = [parts.start("connector-server-1").await, parts.start("connector-server-2").await];
    let ann = parts.person(0, "ann", "lobby").await;
    let mut bob = parts.person(1, "bob", "lobby").await;
    let stopped = AtomicBool::new(false);
    let stop = async {
        first.stop().await;
        stopped.store(true, Ordering::Relaxed);
    };
    let talk = async {
        let mut said = 0;
        while said < 20 || !stopped.load(Ordering::Relaxed) {
            said += 1;
            ann.say(&format!("{said}")).await;
        }
        said
    };
    let ((), said) = tokio::join!(stop, talk);
    for number in 1..=said {
        let Event::Chat(chat) = bob.hears().await else { panic!("something else than a message") };
        assert_eq!(chat.msg, number.to_string());
    }
    assert!(others.iter().any(|chat| chat.metrics().activations.get() == 1), "another has the room");
    for cluster in connectors.into_iter().chain(others) {
        cluster.stop().await;
    }
}

/// A connector that ends closes its connections one by one. Clients that resume come back elsewhere unnoticed, others as
/// newcomers, and at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_that_ends_sends_its_clients_elsewhere() {
    let mut parts = Parts::new(LogKind::JetStream).await;
    parts.settings.lifecycle.drain_secs = 1;
    let chat = parts.start(&home(&parts.servers, "lobby")).await;
    let (first, second) = (parts.start("connector-server-1").await, parts.start("connector-server-2").await);
    let mut ann = parts.person(0, "ann", "lobby").await;
    let old = address(&parts.servers, CONNECTOR, 0);
    let (cid, mut cid_hears) = ChatClient::connect(&old, Options::default()).await.unwrap();
    let enter = json!({"username": "cid", "rid": "lobby"});
    cid.request(routes::ENTER, &enter).await.unwrap();
    let mut bob = parts.person(1, "bob", "lobby").await;
    let elsewhere = address(&parts.servers, CONNECTOR, 1);
    let resumes = async {
        while ann.hears().await != Event::Closed {}
        let (chat, _events) = ChatClient::connect(&elsewhere, Options::default()).await.unwrap();
        let Entered { token, seq, epoch, .. } = ann.entered.clone();
        chat.resume("ann", "lobby", &Resume { token, since: seq, epoch }).await.unwrap();
        chat
    };
    let comes_anew = async {
        while cid_hears.next().await.is_some_and(|event| event != Event::Closed) {}
        let (chat, _events) = ChatClient::connect(&elsewhere, Options::default()).await.unwrap();
        chat.request(routes::ENTER, &enter).await.unwrap();
        chat
    };
    let (ann, _cid, ()) = tokio::join!(resumes, comes_anew, first.stop());
    ann.say("here again").await.unwrap();
    let told = bob.hears_until("here again").await;
    assert_eq!(told, [Event::Leave("cid".to_owned()), Event::Add("cid".to_owned())]);
    for cluster in [second, chat] {
        cluster.stop().await;
    }
}
