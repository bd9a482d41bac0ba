//! Entering, sending, whispering, joins and leaves.

use client::{ChatClient, Event, Options, query_entry};
use serde_json::{Value, json};

use crate::test_cluster::{Setup, code};
use crate::{on_both_buses, on_other_transports};

on_both_buses! {
    messages_cross_connectors,
    a_whisper_is_for_one,
    joins_and_leaves_are_pushed,
    the_gate_knows_a_connector,
    answers_are_the_demos,
}

on_other_transports! {
    messages_cross_connectors,
    a_whisper_is_for_one,
    joins_and_leaves_are_pushed,
    answers_are_the_demos,
}

async fn messages_cross_connectors(setup: Setup) {
    let test = setup.start().await;
    let mut members = Vec::new();
    for (connector, name) in ["ann", "bob", "cid"].into_iter().enumerate() {
        members.push(test.join_at(connector, name, "lobby").await);
    }
    assert_eq!(members[2].users(), ["ann", "bob", "cid"].into());
    let sent = members[0].send("hello 😀 文旦").await;
    for member in &mut members {
        let chat = loop {
            if let Event::Chat(chat) = member.next_event().await {
                break chat;
            }
        };
        assert_eq!((chat.msg.as_str(), chat.from.as_str(), chat.target.as_str()), ("hello 😀 文旦", "ann", "*"));
        assert_eq!((chat.seq, chat.time, chat.rid.as_str()), (sent.seq, sent.time, "lobby"));
    }
    test.cluster.stop().await;
}

async fn a_whisper_is_for_one(setup: Setup) {
    let test = setup.start().await;
    let mut ann = test.join("ann", "lobby").await;
    let mut bob = test.join("bob", "lobby").await;
    let mut cid = test.join("cid", "lobby").await;
    ann.chat.whisper("bob", "between us").await.unwrap();
    ann.chat.whisper("ann", "to myself").await.unwrap();
    ann.send("to all").await;
    assert_eq!(bob.next_message().await, ("ann".to_owned(), "between us".to_owned()));
    assert_eq!(bob.next_message().await.1, "to all");
    assert_eq!(cid.next_message().await.1, "to all");
    assert_eq!(ann.next_message().await.1, "to myself");
    assert_eq!(ann.next_message().await.1, "to all");
    test.cluster.stop().await;
}

async fn joins_and_leaves_are_pushed(setup: Setup) {
    let test = setup.start().await;
    let mut ann = test.join("ann", "lobby").await;
    let bob = test.join("bob", "lobby").await;
    assert_eq!(ann.next_event().await, Event::Add("bob".into()));
    bob.chat.leave().await.unwrap();
    assert_eq!(ann.next_event().await, Event::Leave("bob".to_owned()));
    assert_eq!(code(bob.chat.send("anybody?").await), 500);
    let cid = test.join("cid", "lobby").await;
    assert_eq!(ann.next_event().await, Event::Add("cid".into()));
    cid.chat.close();
    assert_eq!(ann.next_event().await, Event::Leave("cid".to_owned()));
    assert_eq!(test.join("dan", "lobby").await.users(), ["ann", "dan"].into());
    test.cluster.stop().await;
}

async fn the_gate_knows_a_connector(setup: Setup) {
    let test = setup.start().await;
    let entry = query_entry(&test.gate(), "alice", &Options::default()).await.unwrap();
    // crc32("alice") % 3 = 2.
    assert_eq!(format!("{}:{}", entry.host, entry.port), test.connector(2));
    let (gate, _events) = ChatClient::connect(&test.gate(), Options::default()).await.unwrap();
    for uid in [json!({}), json!({ "uid": 1.5 }), json!({ "uid": "" })] {
        let response: Value = gate.request_unchecked(client::routes::QUERY_ENTRY, &uid).await.unwrap();
        assert_eq!((&response["code"], &response["error"]), (&json!(500), &json!(true)), "{uid}");
    }
    test.cluster.stop().await;
}

/// Bodies as the demo has them; what newer clients use stands beside.
async fn answers_are_the_demos(setup: Setup) {
    let test = setup.start().await;
    let (ann, mut events) = test.connect(0).await;
    let entered =
        ann.request_unchecked(client::routes::ENTER, &json!({ "username": "ann", "rid": "lobby" })).await.unwrap();
    assert_eq!((&entered["users"], &entered["code"], &entered["total"]), (&json!(["ann"]), &json!(200), &json!(1)));
    assert!(entered["seq"].is_u64() && entered["time"].is_u64(), "{entered}");
    let body = json!({ "rid": "lobby", "content": "hi", "from": "somebody else", "target": "*" });
    let sent = ann.request_unchecked(client::routes::SEND, &body).await.unwrap();
    assert_eq!(sent["code"], json!(200), "{sent}");
    let Some(Event::Chat(chat)) = events.next().await else { panic!("nothing was received") };
    assert_eq!((chat.from.as_str(), chat.seq), ("ann", sent["seq"].as_u64().unwrap()));
    test.cluster.stop().await;
}
