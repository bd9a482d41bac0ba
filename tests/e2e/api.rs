//! The server API over a whole cluster: what back ends do, and what clients see of it.

use std::fs;
use std::path::Path;

use client::{ChatClient, ClientError, Event, Events, Jwt, Options};
use data_encoding::HEXLOWER;
use model::placement::API;
use model::settings::AuthMode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testkit::{SigningKey, http_send};

use crate::on_both_buses;
use crate::test_cluster::{Setup, TestCluster, address, next};

on_both_buses! {
    a_back_end_speaks_once_through_any_server,
    a_back_end_reads_and_moderates_a_room,
    a_user_is_banned_on_every_connector,
    keys_are_for_their_scopes_and_rooms,
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A key for all that there is, and one to read a room.
const KEY: &str = "all-0123456789abcdef0123456789abcdef";
const READER: &str = "reader-0123456789abcdef0123456789abc";

fn file(name: &str, content: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn start(setup: Setup, name: &str) -> TestCluster {
    let digest = |key: &str| HEXLOWER.encode(&Sha256::digest(key));
    let keys = json!([
        {"id": "shop", "sha256": digest(KEY), "scopes": ["publish", "read", "moderate", "users", "admin"], "rooms": ["*"], "name": "Shop"},
        {"id": "reader", "sha256": digest(READER), "scopes": ["read"], "rooms": ["lobby"]},
    ]);
    let (keys, key) = (file(&format!("api-keys-{name}"), &keys.to_string()), file(&format!("api-{name}"), SECRET));
    let setup = setup.with(|settings| {
        (settings.auth.mode, settings.auth.hmac_file) = (AuthMode::Optional, key);
        settings.auth.anonymous_prefix = String::new();
        settings.api.keys_file = keys;
    });
    setup.with_api_servers(2).start().await
}

/// The body of the response to a command; its `code` is the status.
async fn call(
    test: &TestCluster,
    (server, key): (usize, &str),
    (method, path): (&str, &str),
    body: Value,
    idempotency_key: Option<&str>,
) -> Value {
    let authorization = format!("Authorization: Bearer {key}");
    let once = idempotency_key.map(|key| format!("Idempotency-Key: {key}"));
    let mut headers = vec!["Host: localhost", &authorization, "Content-Type: application/json"];
    headers.extend(once.as_deref());
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let at = address(&test.cluster.servers(), API, server);
    let response = http_send(&at, (method, &format!("/v1{path}")), &headers, &body).await.unwrap();
    let json: Value = serde_json::from_str(&response.body).unwrap_or_else(|_| panic!("{response:?}"));
    assert_eq!(json["code"], response.status, "{json}");
    json
}

async fn log_in(test: &TestCluster, connector: usize, uid: &str) -> Result<(ChatClient, Events), ClientError> {
    let now = runtime::clock::now_ms() / 1_000;
    let claims = json!({"sub": uid, "iat": now, "exp": now + 3_600});
    let token = SigningKey::hmac(SECRET.as_bytes()).token(None, &claims);
    let options = Options { jwt: Some(Jwt::value(&token)), ..test.options() };
    ChatClient::connect(&test.connector(connector), options).await
}

async fn a_back_end_speaks_once_through_any_server(setup: Setup) {
    let test = start(setup, "speaks").await;
    let mut ann = test.join_at(0, "ann", "lobby").await;
    let mut bob = test.join_at(2, "bob", "lobby").await;
    let message = || json!({"content": "sale", "data": {"percent": 5}});
    let publish = ("POST", "/rooms/lobby/messages");
    let first = call(&test, (0, KEY), publish, message(), Some("sale-1")).await;
    assert_eq!(first["code"], 200, "{first}");
    let again = call(&test, (1, KEY), publish, message(), Some("sale-1")).await;
    assert_eq!(again, first, "another server has the same answer");
    let other = call(&test, (1, KEY), publish, json!({"content": "other"}), Some("sale-1")).await;
    assert!(other["code"] == 409 && other["reason"].as_str().unwrap().starts_with("key-reused"), "{other}");
    ann.send("thanks").await;
    for member in [&mut ann, &mut bob] {
        let chats = [next_chat(&mut member.events).await, next_chat(&mut member.events).await];
        assert_eq!((chats[0].from.as_str(), chats[0].msg.as_str()), ("Shop", "sale"));
        assert_eq!((chats[0].seq, &chats[0].data), (first["seq"].as_u64().unwrap(), &Some(json!({"percent": 5}))));
        assert_eq!(chats[1].msg, "thanks", "it came once");
    }
    test.cluster.stop().await;
}

async fn next_chat(events: &mut Events) -> client::Chat {
    next(events, |event| if let Event::Chat(chat) = event { Some(chat.clone()) } else { None }).await
}

async fn a_back_end_reads_and_moderates_a_room(setup: Setup) {
    let test = start(setup, "reads").await;
    let mut ann = test.join_at(0, "ann", "lobby").await;
    let bob = test.join_at(1, "bob", "lobby").await;
    ann.send("hello").await;
    let get = async |path: &str| call(&test, (1, KEY), ("GET", path), Value::Null, None).await;
    let info = get("/rooms/lobby").await;
    assert_eq!((&info["members"], &info["code"]), (&json!(2), &json!(200)), "{info}");
    let members = get("/rooms/lobby/members?limit=1").await;
    assert_eq!((&members["members"][0]["name"], &members["cursor"]), (&json!("ann"), &json!("ann")), "{members}");
    let messages = get("/rooms/lobby/messages").await;
    assert_eq!(messages["messages"][0]["content"], "hello", "{messages}");
    assert_eq!(get("/rooms?prefix=lob").await["rooms"], json!(["lobby"]));
    let mute = call(
        &test,
        (0, KEY),
        ("PUT", "/rooms/lobby/rules/bob"),
        json!({"kind": "mute", "by": "name", "secs": 600}),
        None,
    )
    .await;
    assert_eq!(mute["code"], 200, "{mute}");
    let refused = bob.chat.send("hi").await.unwrap_err();
    assert!(
        matches!(&refused, ClientError::Refused { code: 403, until: Some(until), .. } if *until > 0),
        "{refused:?}"
    );
    let rules = get("/rooms/lobby/rules").await;
    assert_eq!(
        (&rules["rules"][0]["target"], &rules["rules"][0]["author"]),
        (&json!("bob"), &json!("shop")),
        "{rules}"
    );
    let expel = call(&test, (0, KEY), ("DELETE", "/rooms/lobby/members/bob"), Value::Null, None).await;
    assert_eq!(expel["code"], 200, "{expel}");
    next(&mut ann.events, |event| matches!(event, Event::Leave(name) if name == "bob").then_some(())).await;
    let gone = call(&test, (0, KEY), ("DELETE", "/rooms/lobby/members/bob"), Value::Null, None).await;
    assert_eq!(gone["code"], 404, "{gone}");
    test.cluster.stop().await;
}

async fn a_user_is_banned_on_every_connector(setup: Setup) {
    let test = start(setup, "banned").await;
    let mut sessions = Vec::new();
    for connector in 0..3 {
        let (chat, events) = log_in(&test, connector, "ann").await.unwrap();
        chat.enter("ann", &format!("room-{connector}")).await.unwrap();
        sessions.push((chat, events));
    }
    let ban = |method| ((0, KEY), (method, "/users/ann/ban"));
    let (by, path) = ban("PUT");
    let banned = call(&test, by, path, json!({"secs": 600}), None).await;
    assert_eq!(banned["code"], 200, "{banned}");
    for (_chat, events) in &mut sessions {
        let kick = next(events, |event| if let Event::Kicked(reason) = event { Some(reason.clone()) } else { None });
        assert_eq!(kick.await, "banned");
    }
    for connector in 0..3 {
        let refused = log_in(&test, connector, "ann").await.map(|_| ());
        assert!(
            matches!(&refused, Err(ClientError::Refused { code: 403, reason, .. }) if reason.starts_with("banned")),
            "{refused:?}"
        );
    }
    let (by, path) = ban("DELETE");
    assert_eq!(call(&test, by, path, Value::Null, None).await["code"], 200);
    let (_chat, mut events) = loop {
        // A connector applies the end of a ban when the record arrives.
        if let Ok(session) = log_in(&test, 0, "ann").await {
            break session;
        }
    };
    let later = runtime::clock::now_ms() / 1_000 + 60;
    let revoked = call(&test, (1, KEY), ("POST", "/users/ann/revoke"), json!({"before": later}), None).await;
    assert_eq!(revoked["code"], 200, "{revoked}");
    let kick = next(&mut events, |event| if let Event::Kicked(reason) = event { Some(reason.clone()) } else { None });
    assert_eq!(kick.await, "revoked");
    test.cluster.stop().await;
}

async fn keys_are_for_their_scopes_and_rooms(setup: Setup) {
    let test = start(setup, "scopes").await;
    let code = async |key: &str, method: &str, path: &str, body: Value| {
        call(&test, (0, key), (method, path), body, None).await["code"].as_u64().unwrap()
    };
    assert_eq!(code(READER, "GET", "/rooms/lobby", Value::Null).await, 200);
    assert_eq!(code(READER, "GET", "/rooms/other", Value::Null).await, 403);
    assert_eq!(code(READER, "POST", "/rooms/lobby/messages", json!({"content": "x"})).await, 403);
    assert_eq!(code("wrong-0123456789abcdef0123456789abcd", "GET", "/rooms/lobby", Value::Null).await, 401);
    assert_eq!(code(KEY, "GET", "/rooms/~all", Value::Null).await, 403);
    let servers = call(&test, (0, KEY), ("GET", "/servers"), Value::Null, None).await;
    assert_eq!(servers["servers"].as_array().unwrap().len(), 9, "{servers}");
    test.cluster.stop().await;
}
