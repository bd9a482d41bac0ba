//! The same commands over the bus.

use std::time::Duration;

use bus::{Headers, OutgoingMessage};
use model::subjects;
use serde_json::{Value, json};

use crate::fixture::ApiFixture;
use crate::permissions::{Row, members_of, table};

/// Sends a command with a key, and perhaps an idempotency key.
async fn command(api: &ApiFixture, key: Option<&str>, name: &str, once: Option<&str>, members: &Value) -> Value {
    let mut headers = Headers::new();
    if let Some(key) = key {
        let header = api.header(key);
        headers.insert("Authorization", header.split_once(": ").unwrap().1);
    }
    if let Some(once) = once {
        headers.insert("Idempotency-Key", once);
    }
    let payload = if members.is_null() { String::new() } else { members.to_string() };
    let message = OutgoingMessage {
        subject: subjects::api_command(name),
        headers,
        payload: payload.into(),
        ..OutgoingMessage::default()
    };
    let response = api.bus.request(message, Duration::from_secs(20)).await.unwrap();
    serde_json::from_slice(&response.payload).unwrap()
}

#[tokio::test]
async fn commands_have_the_same_responses_as_over_http() {
    let api = ApiFixture::start().await;
    let hello = json!({ "rid": "lobby", "content": "hello" });
    let first = command(&api, Some("publish"), "publish", Some("o1"), &hello).await;
    assert_eq!(first["code"], 200);
    let line = "POST /v1/rooms/lobby/messages";
    let repeat = api.call_once("publish", line, "o1", &json!({ "content": "hello" })).await;
    assert_eq!(repeat.body, first, "the same act by either way");
    assert_eq!(api.rooms.texts("lobby"), ["hello"]);
    let read = command(&api, Some("read"), "history", None, &json!({ "rid": "lobby", "limit": 5 })).await;
    assert_eq!(read, api.call("read", "GET /v1/rooms/lobby/messages?limit=5", &Value::Null).await.body);
    let commands = json!({ "commands": [{ "command": "publish", "rid": "lobby", "content": "more" }] });
    assert_eq!(command(&api, Some("publish"), "batch", None, &commands).await["results"][0]["code"], 200);
    let code =
        async |name: &str, members: Value| command(&api, Some("all"), name, None, &members).await["code"].clone();
    assert_eq!(code("fly", json!({})).await, 404);
    assert_eq!(code("publish", json!([])).await, 400);
    assert_eq!(code("publish", json!({ "rid": "~all", "content": "x" })).await, 403);
    assert_eq!(code("servers", Value::Null).await, 200);
    let long = command(&api, Some("publish"), "publish", Some(&"k".repeat(65)), &hello).await;
    assert_eq!(long["code"], 400);
}

#[tokio::test]
async fn each_key_has_the_rights_of_the_table() {
    let api = ApiFixture::start().await;
    for Row { command: name, codes, .. } in table() {
        let Some(members) = members_of(name) else { continue };
        for (identity, code) in codes.into_iter().filter(|(identity, _)| *identity != "token") {
            api.rooms.enter("lobby", "ann", None);
            let key = (identity != "none").then_some(identity);
            let answer = command(&api, key, name, None, &members).await;
            assert_eq!(answer["code"], code, "{name} by {identity}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_response_goes_to_no_subject_of_the_servers() {
    let api = ApiFixture::start().await;
    let mut chat = api.bus.subscribe("chat.*", 16).await.unwrap();
    let mut own = api.bus.subscribe("app.*", 16).await.unwrap();
    for reply in ["chat.chat-server-1", "app.1"] {
        let reply = Some(reply.to_owned());
        let subject = subjects::api_command("servers");
        api.bus.publish(OutgoingMessage { subject, reply, ..OutgoingMessage::default() }).unwrap();
    }
    let answered = tokio::time::timeout(Duration::from_secs(20), own.next()).await.unwrap().unwrap();
    assert_eq!(answered.subject, "app.1");
    let nothing = tokio::time::timeout(Duration::from_millis(200), chat.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}
