//! Entering, speaking, whispering, coming and going.

use client::{ChatClient, Event, Options, query_entry};
use serde_json::{Value, json};

use crate::on_both_buses;
use crate::test_cluster::{Stage, code};

on_both_buses! {
    people_talk_across_connectors,
    a_whisper_is_for_one,
    comings_and_goings_are_told,
    the_gate_knows_a_connector,
    answers_are_the_demos,
}

async fn people_talk_across_connectors(stage: Stage) {
    let play = stage.start().await;
    let mut people = Vec::new();
    for (connector, name) in ["ann", "bob", "cid"].into_iter().enumerate() {
        people.push(play.person_at(connector, name, "lobby").await);
    }
    assert_eq!(people[2].users(), ["ann", "bob", "cid"].into());
    let sent = people[0].say("hello 😀 文旦").await;
    for person in &mut people {
        let chat = loop {
            if let Event::Chat(chat) = person.hears().await {
                break chat;
            }
        };
        assert_eq!((chat.msg.as_str(), chat.from.as_str(), chat.target.as_str()), ("hello 😀 文旦", "ann", "*"));
        assert_eq!((chat.seq, chat.time, chat.rid.as_str()), (sent.seq, sent.time, "lobby"));
    }
    play.cluster.stop().await;
}

async fn a_whisper_is_for_one(stage: Stage) {
    let play = stage.start().await;
    let mut ann = play.person("ann", "lobby").await;
    let mut bob = play.person("bob", "lobby").await;
    let mut cid = play.person("cid", "lobby").await;
    ann.chat.whisper("bob", "between us").await.unwrap();
    ann.chat.whisper("ann", "to myself").await.unwrap();
    ann.say("to all").await;
    assert_eq!(bob.hears_chat().await, ("ann".to_owned(), "between us".to_owned()));
    assert_eq!(bob.hears_chat().await.1, "to all");
    assert_eq!(cid.hears_chat().await.1, "to all");
    assert_eq!(ann.hears_chat().await.1, "to myself");
    assert_eq!(ann.hears_chat().await.1, "to all");
    play.cluster.stop().await;
}

async fn comings_and_goings_are_told(stage: Stage) {
    let play = stage.start().await;
    let mut ann = play.person("ann", "lobby").await;
    let bob = play.person("bob", "lobby").await;
    assert_eq!(ann.hears().await, Event::Add("bob".to_owned()));
    bob.chat.leave().await.unwrap();
    assert_eq!(ann.hears().await, Event::Leave("bob".to_owned()));
    assert_eq!(code(bob.chat.say("anybody?").await), 500);
    let cid = play.person("cid", "lobby").await;
    assert_eq!(ann.hears().await, Event::Add("cid".to_owned()));
    cid.chat.close();
    assert_eq!(ann.hears().await, Event::Leave("cid".to_owned()));
    assert_eq!(play.person("dan", "lobby").await.users(), ["ann", "dan"].into());
    play.cluster.stop().await;
}

async fn the_gate_knows_a_connector(stage: Stage) {
    let play = stage.start().await;
    let entry = query_entry(&play.gate(), "alice", &Options::default()).await.unwrap();
    // crc32("alice") % 3 = 2.
    assert_eq!(format!("{}:{}", entry.host, entry.port), play.connector(2));
    let (gate, _events) = ChatClient::connect(&play.gate(), Options::default()).await.unwrap();
    for uid in [json!({}), json!({ "uid": 1.5 }), json!({ "uid": "" })] {
        let answer: Value = gate.request(client::routes::QUERY_ENTRY, &uid).await.unwrap();
        assert_eq!((&answer["code"], &answer["error"]), (&json!(500), &json!(true)), "{uid}");
    }
    play.cluster.stop().await;
}

/// Bodies as the demo has them; what newer clients use stands beside.
async fn answers_are_the_demos(stage: Stage) {
    let play = stage.start().await;
    let (ann, mut events) = play.stranger(0).await;
    let entered = ann.request(client::routes::ENTER, &json!({ "username": "ann", "rid": "lobby" })).await.unwrap();
    assert_eq!((&entered["users"], &entered["code"], &entered["total"]), (&json!(["ann"]), &json!(200), &json!(1)));
    assert!(entered["seq"].is_u64() && entered["time"].is_u64(), "{entered}");
    let body = json!({ "rid": "lobby", "content": "hi", "from": "somebody else", "target": "*" });
    let sent = ann.request(client::routes::SEND, &body).await.unwrap();
    assert_eq!(sent["code"], json!(200), "{sent}");
    let Some(Event::Chat(chat)) = events.next().await else { panic!("nothing was heard") };
    assert_eq!((chat.from.as_str(), chat.seq), ("ann", sent["seq"].as_u64().unwrap()));
    play.cluster.stop().await;
}
