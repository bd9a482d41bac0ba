//! Messages of the application, each exactly once.

use model::act::Act;
use serde_json::{Value, json};

use crate::fake_rooms::EPOCH;
use crate::fixture::ApiFixture;

const LOBBY: &str = "POST /v1/rooms/lobby/messages";

#[tokio::test]
async fn a_repeat_with_the_key_gets_the_first_response() {
    let api = ApiFixture::start().await;
    let hello = json!({ "content": "hello" });
    let first = api.call_once("publish", LOBBY, "order-1", &hello).await;
    assert_eq!(
        (first.status, &first.body),
        (200, &json!({ "code": 200, "seq": 1000, "time": EPOCH.0 + 1000, "epoch": EPOCH.0 }))
    );
    api.call_once("publish", LOBBY, "order-2", &hello).await;
    assert_eq!(api.call_once("publish", LOBBY, "order-1", &hello).await.body, first.body);
    assert_eq!(api.rooms.texts("lobby"), ["hello"; 2]);
    // Another body, another room, another key of the API.
    let other = api.call_once("publish", LOBBY, "order-1", &json!({ "content": "other" })).await;
    assert_eq!(other.status_and_word(), (409, "key-reused"));
    assert_eq!(api.call_once("publish", "POST /v1/rooms/hall/messages", "order-1", &hello).await.body["seq"], 1000);
    assert_eq!(api.call_once("all", LOBBY, "order-1", &hello).await.body["seq"], 3000);
    // Without a key each is another one.
    api.call("publish", LOBBY, &hello).await;
    api.call("publish", LOBBY, &hello).await;
    assert_eq!(api.rooms.texts("lobby").len(), 5);
}

#[tokio::test]
async fn a_lost_outcome_is_unknown_and_can_be_repeated() {
    let api = ApiFixture::start_with(|settings| settings.rpc.request_ms = 100).await;
    let hello = json!({ "content": "hello" });
    api.rooms.state().loses_outcomes = true;
    let lost = api.call_once("publish", LOBBY, "order-1", &hello).await;
    assert_eq!(lost.status_and_word(), (503, "unknown"));
    api.rooms.state().loses_outcomes = false;
    assert_eq!(api.call_once("publish", LOBBY, "order-1", &hello).await.body["seq"], 1000);
    assert_eq!(api.rooms.texts("lobby"), ["hello"]);
    api.rooms.state().hangs = true;
    assert_eq!(api.call("publish", LOBBY, &hello).await.status_and_word(), (503, "unknown"));
}

#[tokio::test]
async fn a_message_names_its_sender_its_key_and_its_data() {
    let api = ApiFixture::start().await;
    let send = async |id: &str, body: Value| api.call(id, LOBBY, &body).await;
    assert_eq!(send("publish", json!({ "content": "1" })).await.status, 200);
    assert_eq!(send("bot", json!({ "content": "2", "data": { "b": [1], "a": "x" } })).await.status, 200);
    let ann = json!({ "content": "3", "from": "ann", "uid": "4711" });
    assert_eq!(send("publish", ann.clone()).await.status_and_word(), (403, "not-allowed"));
    assert_eq!(send("all", ann).await.status, 200);
    let as_name = json!({ "content": "4", "from": "ann" });
    assert_eq!(send("publish", as_name).await.status_and_word(), (403, "not-allowed"));
    let as_user = json!({ "content": "5", "uid": "4711" });
    assert_eq!(send("publish", as_user).await.status_and_word(), (403, "not-allowed"));
    let found: Vec<String> = api.rooms.acts("lobby").iter().map(said).collect();
    assert_eq!(found, ["system - publish -", "Robot - bot {\"a\":\"x\",\"b\":[1]}", "ann 4711 all -"]);
}

fn said(act: &Act) -> String {
    let Act::Say { from, meta, .. } = act else { panic!("{act:?}") };
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let uid = text(meta.uid.as_ref().map(|uid| uid.as_str()));
    format!("{from} {uid} {} {}", text(meta.by.as_ref().map(|by| by.as_str())), text(meta.data.as_deref()))
}

#[tokio::test]
async fn a_wrong_member_is_named() {
    let api = ApiFixture::start_with(|settings| settings.room.max_content = 100).await;
    let most = "x".repeat(100);
    for (body, status, word) in [
        (json!({}), 400, "bad-body"),
        (json!({ "content": 5 }), 400, "bad-content"),
        (json!({ "content": "a", "from": "*" }), 400, "bad-from"),
        (json!({ "content": "a", "from": "" }), 400, "bad-from"),
        (json!({ "content": "a", "uid": "a\n" }), 400, "bad-uid"),
        (json!({ "content": "a", "data": "d".repeat(4_095) }), 400, "bad-data"),
        (json!({ "content": "a", "rid": "hall" }), 400, "bad-body"),
        (json!({ "content": "a", "colour": 1 }), 400, "bad-body"),
        (json!(["content"]), 400, "bad-body"),
        (json!({ "content": format!("{most}x") }), 413, "too-long"),
        (json!({ "content": most }), 200, ""),
    ] {
        let answer = api.call("all", LOBBY, &body).await;
        assert_eq!(answer.status_and_word(), (status, word), "{body}: {}", answer.body);
        assert_eq!(answer.body["code"], status);
    }
    assert_eq!(api.rooms.texts("lobby").len(), 1);
}

#[tokio::test]
async fn a_room_is_one_segment_of_the_path() {
    let api = ApiFixture::start().await;
    let say = async |segment: &str| {
        api.call("all", &format!("POST /v1/rooms/{segment}/messages"), &json!({ "content": "x" })).await.status
    };
    assert_eq!(say("a%2Fb%20%F0%9F%98%80").await, 200);
    assert_eq!(api.rooms.texts("a/b 😀"), ["x"]);
    assert_eq!(say("..%2F..").await, 200);
    assert_eq!(api.rooms.texts("../.."), ["x"]);
    for (segment, status) in
        [("%FF", 400), ("a%00", 400), ("a*", 400), ("~all", 403), ("%7Eall", 403), ("", 400), ("a/b", 404)]
    {
        assert_eq!(say(segment).await, status, "{segment}");
    }
    assert_eq!(api.rooms.state().rooms.len(), 2);
}

#[tokio::test]
async fn an_idempotency_key_has_bounds() {
    let api = ApiFixture::start().await;
    for (key, status) in [("k".repeat(64), 200), ("k".repeat(65), 400), (String::new(), 400), ("é".to_owned(), 400)] {
        let answer = api.call_once("publish", LOBBY, &key, &json!({ "content": "x" })).await;
        assert_eq!(answer.status, status, "{key}");
    }
}
