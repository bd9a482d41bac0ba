//! Members with tokens of the application, beside anonymous ones.

use std::fs;
use std::path::Path;

use client::{ChatClient, Event, Events, Joined, Jwt, Message, Options, Profile, routes};
use model::settings::AuthMode;
use serde_json::{Value, json};
use testkit::SigningKey;

use crate::on_both_buses;
use crate::test_cluster::{DEADLINE, Setup, TestCluster, code};

on_both_buses! {
    users_are_beside_their_names,
    the_newest_session_of_a_user_has_the_name,
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

async fn start(setup: Setup, name: &str) -> TestCluster {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::write(&path, SECRET).unwrap();
    let key = path.to_str().unwrap().to_owned();
    setup.with(|settings| (settings.auth.mode, settings.auth.hmac_file) = (AuthMode::Optional, key)).start().await
}

/// Connects as a user with this id, who is called Ann.
async fn connect(test: &TestCluster, connector: usize, uid: &str) -> (ChatClient, Events) {
    let now = runtime::clock::now_ms() / 1_000;
    let claims = json!({"sub": uid, "name": "ann", "info": {"level": 3}, "iat": now, "exp": now + 3_600});
    let token = SigningKey::hmac(SECRET.as_bytes()).token(None, &claims);
    let options = Options { jwt: Some(Jwt::value(&token)), ..test.options() };
    ChatClient::connect(&test.connector(connector), options).await.unwrap()
}

fn profile() -> Profile {
    Profile { uid: Some("4711".to_owned()), info: Some(json!({"level": 3})) }
}

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(DEADLINE, events.next()).await.unwrap().unwrap()
}

fn keys(body: &Value) -> Vec<&str> {
    body.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn users_are_beside_their_names(setup: Setup) {
    let test = start(setup, "users").await;
    let mut bob = test.join_at(1, "guest-bob", "lobby").await;
    assert!(bob.entered.profiles.is_empty());
    let (ann, mut anns) = connect(&test, 0, "4711").await;
    let entered = ann.enter("ann", "lobby").await.unwrap();
    assert_eq!(entered.profiles, [("ann".to_owned(), profile())].into());
    assert_eq!(bob.next_event().await, Event::Add(Joined { user: "ann".to_owned(), profile: profile() }));
    let members = bob.chat.request(routes::MEMBERS, &json!({})).await.unwrap();
    assert_eq!(members["users"], json!(["ann", "guest-bob"]));
    assert_eq!(members["profiles"], json!({"ann": {"uid": "4711", "info": {"level": 3}}}));
    ann.send_message(&Message::to_all("hi").with_data(json!({"card": "文旦"}))).await.unwrap();
    bob.send("hello").await;
    let uid_and_data = |event| match event {
        Event::Chat(chat) => (chat.uid, chat.data),
        other => panic!("{other:?}"),
    };
    assert_eq!(uid_and_data(bob.next_event().await), (Some("4711".to_owned()), Some(json!({"card": "文旦"}))));
    for events in [&mut anns, &mut bob.events] {
        while !matches!(next(events).await, Event::Chat(chat) if (&chat.uid, &chat.data) == (&None, &None)) {}
    }
    let history = bob.chat.request(routes::HISTORY, &json!({})).await.unwrap();
    let messages = history["messages"].as_array().unwrap();
    assert_eq!((&messages[0]["uid"], &messages[0]["data"]), (&json!("4711"), &json!({"card": "文旦"})));
    assert_eq!(keys(&messages[1]), ["from", "msg", "seq", "target", "time"], "an anonymous member's");
    let too_long = Message::to_all("hi").with_data(json!("x".repeat(4_095)));
    let refused = ann.send_message(&too_long).await.unwrap_err().to_string();
    assert!(refused.contains("bad-data"), "{refused}");
    test.cluster.stop().await;
}

async fn the_newest_session_of_a_user_has_the_name(setup: Setup) {
    let test = start(setup, "newest").await;
    let (older, mut events) = connect(&test, 0, "4711").await;
    older.enter("ann", "lobby").await.unwrap();
    let (other, _events) = connect(&test, 1, "4712").await;
    assert_eq!(code(other.enter("ann", "lobby").await), 500);
    let (newer, _events) = connect(&test, 1, "4711").await;
    assert_eq!(newer.enter("ann", "lobby").await.unwrap().users, ["ann"]);
    let mut last = next(&mut events).await;
    while !matches!(last, Event::Kicked(_)) {
        last = next(&mut events).await;
    }
    assert_eq!(last, Event::Kicked("replaced".to_owned()));
    newer.send("here").await.unwrap();
    test.cluster.stop().await;
}
