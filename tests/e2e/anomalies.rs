//! Anomalies of Pomelo's demo, and the behaviour here instead. Numbers are those of the list of its
//! anomalies.

use client::{Event, routes};
use serde_json::json;

use crate::on_both_buses;
use crate::test_cluster::{Setup, code};

on_both_buses! {
    a1_whisper_to_an_absent_member,
    a2_send_before_enter,
    a3_the_same_name_twice,
    a4_entering_another_room,
    a5_entering_without_a_room,
    a6_send_without_content,
    a7_emoji_of_old_browsers,
    a_refused_enter_changes_nothing,
    another_name_in_the_same_room,
}

/// 1: a whisper to an absent member crashed the handler.
async fn a1_whisper_to_an_absent_member(setup: Setup) {
    let test = setup.start().await;
    let mut ann = test.join("ann", "lobby").await;
    assert_eq!(code(ann.chat.whisper("absent", "psst").await), 500);
    let response =
        ann.chat.request_unchecked(routes::SEND, &json!({ "content": "psst", "target": "absent" })).await.unwrap();
    assert!(response["reason"].as_str().unwrap().starts_with("no-such-member"), "{response}");
    ann.send("still here").await;
    assert_eq!(ann.next_message().await.1, "still here");
    test.cluster.stop().await;
}

/// 2: sending before entering threw in the router.
async fn a2_send_before_enter(setup: Setup) {
    let test = setup.start().await;
    let (ann, _events) = test.connect(0).await;
    assert_eq!(code(ann.send("hello?").await), 500);
    assert_eq!(code(ann.leave().await), 500);
    ann.enter("ann", "lobby").await.unwrap();
    ann.send("hello").await.unwrap();
    test.cluster.stop().await;
}

/// 3: the same user through another connector was let in, and stale members stayed.
async fn a3_the_same_name_twice(setup: Setup) {
    let test = setup.start().await;
    let mut ann = test.join_at(0, "ann", "lobby").await;
    let mut bob = test.join_at(1, "bob", "lobby").await;
    for connector in 0..3 {
        let (second, _events) = test.connect(connector).await;
        let body = json!({ "username": "ann", "rid": "lobby" });
        let response = second.request_unchecked(routes::ENTER, &body).await.unwrap();
        assert_eq!((&response["code"], &response["error"]), (&json!(500), &json!(true)), "{response}");
        // It stays connected, and may come under another name.
        second.enter(&format!("ann{connector}"), "lobby").await.unwrap();
        assert_eq!(bob.next_event().await, Event::Add(format!("ann{connector}").as_str().into()));
        second.close();
        assert_eq!(bob.next_event().await, Event::Leave(format!("ann{connector}")));
    }
    bob.chat.whisper("ann", "you are the one").await.unwrap();
    assert_eq!(ann.next_message().await.1, "you are the one");
    ann.chat.close();
    assert_eq!(bob.next_event().await, Event::Leave("ann".to_owned()));
    assert_eq!(test.join_at(2, "ann", "lobby").await.users(), ["ann", "bob"].into());
    test.cluster.stop().await;
}

/// 4: a second room left a stale member that received the messages of the first and sent to the
/// second.
async fn a4_entering_another_room(setup: Setup) {
    let test = setup.start().await;
    let mut ann = test.join("ann", "lobby").await;
    let mut bob = test.join("bob", "lobby").await;
    let mut cid = test.join("cid", "attic").await;
    assert_eq!(ann.next_event().await, Event::Add("bob".into()));
    bob.chat.enter("bob", "attic").await.unwrap();
    assert_eq!(ann.next_event().await, Event::Leave("bob".to_owned()));
    assert_eq!(cid.next_event().await, Event::Add("bob".into()));
    ann.send("in the lobby").await;
    bob.send("in the attic").await;
    assert_eq!(bob.next_message().await.1, "in the attic");
    assert_eq!(cid.next_message().await.1, "in the attic");
    assert_eq!(ann.next_message().await.1, "in the lobby");
    test.cluster.stop().await;
}

/// 5: entering without a room was never answered, and blocked the name.
async fn a5_entering_without_a_room(setup: Setup) {
    let test = setup.start().await;
    for body in [json!({ "username": "ann" }), json!({ "rid": "lobby" }), json!({ "username": "ann", "rid": "" })] {
        let (ann, _events) = test.connect(0).await;
        let response = ann.request_unchecked(routes::ENTER, &body).await.unwrap();
        assert_eq!((&response["code"], &response["error"]), (&json!(500), &json!(true)), "{body}");
        ann.enter("ann", "lobby").await.unwrap();
        ann.leave().await.unwrap();
    }
    test.cluster.stop().await;
}

/// 6: a message without content reached all members as an empty body.
async fn a6_send_without_content(setup: Setup) {
    let test = setup.start().await;
    let mut ann = test.join("ann", "lobby").await;
    let bodies = [
        json!({ "target": "*" }),
        json!({ "content": { "text": "x" }, "target": "*" }),
        json!({ "content": null, "target": "*" }),
        json!({ "content": "x" }),
        json!({ "content": "x", "target": 7 }),
        json!({ "content": "x", "target": "*", "rid": "attic" }),
        json!([1]),
        json!(7),
    ];
    for body in bodies {
        let response = ann.chat.request_unchecked(routes::SEND, &body).await.unwrap();
        assert_eq!(response["code"], json!(500), "{body}");
        assert!(response["reason"].is_string(), "{body}");
    }
    ann.send("end").await;
    assert_eq!(ann.events_before("end").await, []);
    test.cluster.stop().await;
}

/// 7: an emoji typed in a browser became six replacement characters.
async fn a7_emoji_of_old_browsers(setup: Setup) {
    let test = setup.start().await;
    let ann = test.join("ann", "lobby").await;
    let mut bob = test.join("bob", "lobby").await;
    // U+1F600 as Pomelo's browser client writes it: each half of the surrogate pair on its own.
    let mut body = br#"{"content":"a"#.to_vec();
    body.extend_from_slice(&[0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]);
    body.extend_from_slice(br#"b","target":"*"}"#);
    let route = wire::RouteRef::Text(routes::SEND.to_owned());
    let message = wire::Message::Notify { route, body: body.into() };
    ann.chat.send_raw(message.encode_package().unwrap()).unwrap();
    assert_eq!(bob.next_message().await.1, "a😀b");
    test.cluster.stop().await;
}

async fn a_refused_enter_changes_nothing(setup: Setup) {
    let test = setup.start().await;
    let mut ann = test.join("ann", "lobby").await;
    let bob = test.join("bob", "lobby").await;
    let _other_bob = test.join_at(0, "bob", "attic").await;
    assert_eq!(code(bob.chat.enter("bob", "attic").await), 500);
    bob.send("still in the lobby").await;
    assert_eq!(ann.next_event().await, Event::Add("bob".into()));
    assert_eq!(ann.next_message().await.1, "still in the lobby");
    test.cluster.stop().await;
}

async fn another_name_in_the_same_room(setup: Setup) {
    let test = setup.start().await;
    let mut ann = test.join("ann", "lobby").await;
    let bob = test.join("bob", "lobby").await;
    assert_eq!(ann.next_event().await, Event::Add("bob".into()));
    assert_eq!(bob.chat.enter("bob", "lobby").await.unwrap().users, ["ann", "bob"]);
    assert_eq!(code(bob.chat.enter("ann", "lobby").await), 500);
    assert_eq!(bob.chat.enter("robert", "lobby").await.unwrap().users, ["ann", "robert"]);
    assert_eq!(ann.next_event().await, Event::Leave("bob".to_owned()));
    assert_eq!(ann.next_event().await, Event::Add("robert".into()));
    bob.send("me again").await;
    assert_eq!(ann.next_message().await, ("robert".to_owned(), "me again".to_owned()));
    test.cluster.stop().await;
}
