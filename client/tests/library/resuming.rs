//! Resuming, repeating, and reading missed messages.

use std::collections::{BTreeMap, BTreeSet};

use client::{
    ClientError, Entered, Event, Gap, History, HistoryMessage, Message, Options, Page, Resume, Right, Sent, routes,
};
use serde_json::json;

use crate::fake::{connected, soon, text};

fn past_message(seq: u64, msg: &str) -> HistoryMessage {
    let (msg, from, target) = (msg.to_owned(), "bob".to_owned(), "*".to_owned());
    HistoryMessage { msg, from, target, seq, time: 60_000, uid: None, data: None }
}

fn body(message: &HistoryMessage) -> serde_json::Value {
    json!({"msg": message.msg, "from": message.from, "target": message.target, "seq": message.seq, "time": message.time})
}

#[tokio::test]
async fn resuming_asks_for_what_was_missed() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let resume = Resume { token: "t1".to_owned(), since: 4_000, epoch: 7 };
    let entered = ann.resume("ann", "lobby", &resume);
    let (id, route, requested) = peer.request().await;
    assert_eq!(route, text(routes::ENTER));
    assert_eq!(requested, json!({"username": "ann", "rid": "lobby", "token": "t1", "since": 4_000, "epoch": 7}));
    let missed = [past_message(8_000, "one 😀"), past_message(9_001, "two")];
    let response = json!({
        "code": 200, "users": ["ann"], "total": 1, "rid": "lobby", "seq": 9_001, "time": 5, "epoch": 7, "token": "t1",
        "missed": missed.each_ref().map(body), "recovered": true, "cursor": 8_000,
        "rights": ["enter", "read"],
    });
    peer.respond(id, &response.to_string()).await;
    let expected = Entered {
        users: vec!["ann".to_owned()],
        profiles: BTreeMap::new(),
        total: 1,
        names: true,
        seq: 9_001,
        time: 5,
        epoch: 7,
        token: "t1".to_owned(),
        rights: BTreeSet::from([Right::Enter, Right::Read]),
        missed: missed.into(),
        recovered: Some(true),
        cursor: Some(8_000),
    };
    assert_eq!(entered.await, Ok(expected));
}

#[tokio::test]
async fn what_did_not_fit_is_read_page_by_page() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let response = json!({
        "code": 200, "users": ["ann"], "epoch": 7, "missed": [body(&past_message(9_000, "four"))], "recovered": true, "cursor": 9_000,
    });
    let mut entered: Entered = serde_json::from_value(response).unwrap();
    let pages = [
        (9_000, 7_000, vec![past_message(7_000, "two"), past_message(8_000, "three")]),
        (7_000, 5_000, vec![past_message(5_000, "known"), past_message(6_000, "one")]),
    ];
    let serve = async {
        for (before, cursor, messages) in pages {
            let (id, _, requested) = peer.request().await;
            assert_eq!(requested["before"], before);
            let messages: Vec<_> = messages.iter().map(body).collect();
            peer.respond(id, &json!({"code": 200, "epoch": 7, "messages": messages, "cursor": cursor}).to_string())
                .await;
        }
    };
    let (missed, ()) = tokio::join!(ann.missed(&mut entered, 5_000), serve);
    let texts: Vec<_> = missed.unwrap().into_iter().map(|message| message.msg).collect();
    assert_eq!(texts, ["one", "two", "three", "four"]);
    assert_eq!(entered.missed, []);
}

#[tokio::test]
async fn a_page_of_another_log_is_no_page() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let mut entered: Entered = serde_json::from_value(json!({"users": [], "epoch": 7, "cursor": 9_000})).unwrap();
    let serve = async {
        let (id, ..) = peer.request().await;
        peer.respond(id, r#"{"code":200,"epoch":8,"messages":[]}"#).await;
    };
    let (missed, ()) = tokio::join!(ann.missed(&mut entered, 0), serve);
    assert!(matches!(missed, Err(ClientError::BadResponse(_))), "{missed:?}");
}

#[tokio::test]
async fn a_server_that_cannot_resume_is_understood() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let entered = ann.enter("ann", "lobby");
    let (id, _, requested) = peer.request().await;
    assert_eq!(requested, json!({"username": "ann", "rid": "lobby", "resume": true}));
    peer.respond(id, "{\"users\":[\"ann\"]}").await;
    let entered = entered.await.unwrap();
    assert_eq!((entered.token.as_str(), entered.epoch, entered.recovered, entered.cursor), ("", 0, None, None));
    assert_eq!(entered.missed, []);
}

#[tokio::test]
async fn a_message_has_an_id_only_if_one_was_set() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let cases = [
        (Message::to_all("hi"), json!({"content": "hi", "target": "*"})),
        (Message::to_all("hi").with_id("a-1"), json!({"content": "hi", "target": "*", "id": "a-1"})),
        (Message::to("bob", "psst").with_id("a-2"), json!({"content": "psst", "target": "bob", "id": "a-2"})),
    ];
    for (message, expected) in cases {
        let sent = ann.send_message(&message);
        let (id, route, requested) = peer.request().await;
        assert_eq!((route, requested), (text(routes::SEND), expected));
        peer.respond(id, "{\"code\":200,\"seq\":3000,\"time\":1}").await;
        assert_eq!(sent.await, Ok(Sent { seq: 3_000, time: 1 }));
    }
}

#[tokio::test]
async fn history_is_asked_for_in_pages() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let cases = [
        (History::Last, json!({"limit": 2})),
        (History::Before(9_000), json!({"before": 9_000, "limit": 2})),
        (History::After(0), json!({"after": 0, "limit": 2})),
    ];
    for (which, expected) in cases {
        let page = ann.history(which, 2);
        let (id, route, requested) = peer.request().await;
        assert_eq!((route, requested), (text(routes::HISTORY), expected));
        let messages = [past_message(1_000, "one"), past_message(2_000, "two")];
        let response = json!({
            "code": 200, "rid": "lobby", "epoch": 7, "messages": messages.each_ref().map(body), "cursor": 2_000,
        });
        peer.respond(id, &response.to_string()).await;
        assert_eq!(page.await, Ok(Page { messages: messages.into(), epoch: 7, cursor: Some(2_000) }));
    }
    let last = ann.history(History::After(2_000), 2);
    let (id, ..) = peer.request().await;
    peer.respond(id, "{\"code\":200,\"rid\":\"lobby\",\"epoch\":7,\"messages\":[]}").await;
    assert_eq!(last.await, Ok(Page { messages: vec![], epoch: 7, cursor: None }));
}

#[tokio::test]
async fn a_gap_is_an_event() {
    let (_ann, mut events, mut peer) = connected(Options::default()).await;
    peer.push("onGap", "{\"route\":\"onGap\",\"rid\":\"lobby\",\"from\":1000,\"to\":9000,\"epoch\":7}").await;
    let gap = Gap { rid: "lobby".to_owned(), from: 1_000, to: 9_000, epoch: 7 };
    assert_eq!(soon("the gap", events.next()).await, Some(Event::Gap(gap)));
}

#[tokio::test]
async fn a_cut_sends_what_is_queued_and_no_goodbye() {
    let (ann, mut events, mut peer) = connected(Options::default()).await;
    let pending = ann.send("last words");
    ann.cut();
    assert_eq!(peer.request().await.2["content"], "last words");
    peer.lost().await;
    assert_eq!(soon("the failure", pending).await, Err(ClientError::Closed { kick: None }));
    assert_eq!(soon("the end", events.next()).await, Some(Event::Closed));
}
