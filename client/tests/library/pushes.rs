//! Pushes of a server.

use std::collections::BTreeMap;

use client::{Event, Joined, Message, Options, Profile};
use serde_json::{Value, json};
use wire::{Dictionary, RouteRef};

use crate::fake::{chat, connected, connected_with, push, soon, text};

#[tokio::test]
async fn events_come_in_order_also_from_one_frame_and_by_code() {
    let dictionary = Dictionary::new([], ["onChat", "onAdd"]);
    let (_ann, mut events, mut peer) = connected_with(Options::default(), 0, Some(&dictionary)).await;
    let first = push(RouteRef::Code(1), &chat(1000, "bob", "hi 😀"));
    let second = push(text("onAdd"), "{\"route\":\"onAdd\",\"user\":\"cat\"}");
    let third = push(RouteRef::Code(2), "{\"user\":\"dan\"}");
    peer.send_raw([first, second, third].concat()).await;
    peer.push("onLeave", "{\"user\":\"bob\"}").await;
    let Some(Event::Chat(chat)) = soon("a chat", events.next()).await else { panic!("no chat") };
    assert_eq!((chat.from.as_str(), chat.msg.as_str(), chat.seq, chat.time), ("bob", "hi 😀", 1000, 60_000));
    assert_eq!(events.next().await, Some(Event::Add("cat".into())));
    assert_eq!(events.next().await, Some(Event::Add("dan".into())));
    assert_eq!(events.next().await, Some(Event::Leave("bob".to_owned())));
    assert_eq!(events.try_next(), None);
}

#[tokio::test]
async fn users_are_beside_their_names() {
    let (ann, mut events, mut peer) = connected(Options::default()).await;
    let profile = || Profile { uid: Some("4711".to_owned()), info: Some(json!({"level": 3})) };
    peer.push("onAdd", &json!({"user": "bob", "uid": "4711", "info": {"level": 3}}).to_string()).await;
    let joined = Joined { user: "bob".to_owned(), profile: profile() };
    assert_eq!(soon("an event", events.next()).await, Some(Event::Add(joined)));
    let body = json!({"msg": "hi", "from": "bob", "target": "*", "uid": "4711", "data": [1]});
    peer.push("onChat", &body.to_string()).await;
    let Some(Event::Chat(chat)) = soon("a chat", events.next()).await else { panic!("no chat") };
    assert_eq!((chat.uid.as_deref(), chat.data), (Some("4711"), Some(json!([1]))));
    let members = ann.members(None, 2);
    let (id, ..) = peer.request().await;
    let users = json!({"code": 200, "users": ["ann", "bob"], "profiles": {"bob": {"uid": "4711", "info": {"level": 3}}},
        "total": 2, "seq": 9, "time": 1});
    peer.respond(id, &users.to_string()).await;
    assert_eq!(members.await.unwrap().profiles, BTreeMap::from([("bob".to_owned(), profile())]));
    let _sent = ann.send_message(&Message::to_all("hi").with_data(json!({"card": 7})));
    assert_eq!(peer.request().await.2, json!({"content": "hi", "target": "*", "data": {"card": 7}}));
}

#[tokio::test]
async fn a_large_room_tells_how_many_are_in_it() {
    let (_ann, mut events, mut peer) = connected(Options::default()).await;
    for names in [false, true] {
        let body = json!({"route": "onMembers", "rid": "lobby", "total": 501, "names": names});
        peer.push("onMembers", &body.to_string()).await;
        assert_eq!(soon("an event", events.next()).await, Some(Event::Members { total: 501, names }));
    }
}

#[tokio::test]
async fn what_is_unknown_or_unreadable_is_still_an_event() {
    let (_ann, mut events, mut peer) = connected(Options::default()).await;
    let cases = [
        ("onWhatever", "{\"total\":9}", json!({"total": 9})),
        ("onMembers", "{\"total\":9}", json!({"total": 9})),
        ("onChat", "{\"msg\":\"no sender\"}", json!({"msg": "no sender"})),
        ("onAdd", "{\"user\":7}", json!({"user": 7})),
        ("onLeave", "[]", json!([])),
        ("onChat", "nonsense", Value::Null),
    ];
    for (route, sent, body) in cases {
        peer.push(route, sent).await;
        let route = route.to_owned();
        assert_eq!(soon("an event", events.next()).await, Some(Event::Other { route, body }));
    }
}

#[tokio::test]
async fn what_came_before_an_answer_is_there_with_it() {
    let (ann, mut events, mut peer) = connected(Options::default()).await;
    let left = ann.leave();
    let (id, ..) = peer.request().await;
    peer.push("onChat", &chat(1, "bob", "bye")).await;
    peer.respond(id, "{}").await;
    left.await.unwrap();
    assert!(matches!(events.try_next(), Some(Event::Chat(_))));
}

#[tokio::test]
async fn a_reader_that_lags_loses_the_connection_and_gets_the_end() {
    let (ann, mut events, mut peer) = connected(Options { event_queue: 4, ..Options::default() }).await;
    for seq in 0..4 {
        peer.push("onChat", &chat(seq, "bob", "fits")).await;
    }
    let response = ann.leave();
    let (id, ..) = peer.request().await;
    peer.respond(id, "{}").await;
    response.await.unwrap();
    peer.push("onChat", &chat(4, "bob", "one too many")).await;
    peer.gone().await;
    for seq in 0..4 {
        let event = soon("an event", events.next()).await;
        assert!(matches!(&event, Some(Event::Chat(chat)) if chat.seq == seq), "{event:?}");
    }
    assert_eq!(soon("the end", events.next()).await, Some(Event::Closed));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_full_queue_has_room_for_the_end() {
    let (_ann, mut events, mut peer) = connected(Options { event_queue: 1, ..Options::default() }).await;
    peer.push("onAdd", "{\"user\":\"bob\"}").await;
    drop(peer);
    assert_eq!(soon("an event", events.next()).await, Some(Event::Add("bob".into())));
    assert_eq!(soon("the end", events.next()).await, Some(Event::Closed));
}

#[tokio::test]
async fn dropped_events_do_not_end_the_connection() {
    let (ann, events, mut peer) = connected(Options { event_queue: 1, ..Options::default() }).await;
    drop(events);
    for seq in 0..100 {
        peer.push("onChat", &chat(seq, "bob", "unheard")).await;
    }
    let response = ann.leave();
    let (id, ..) = peer.request().await;
    peer.respond(id, "{}").await;
    assert_eq!(soon("the answer", response).await, Ok(()));
}
