//! Permissions of rooms, and moderators, as clients see them.

use std::fs;
use std::path::Path;

use client::{ChatClient, ClientError, Event, Events, Jwt, Options, Right, RuleKind, routes};
use model::permissions::Level;
use model::settings::{AuthMode, NamespaceSettings, RoleSettings};
use serde_json::{Value, json};
use testkit::SigningKey;

use crate::on_both_buses;
use crate::test_cluster::{Setup, TestCluster, next};

on_both_buses! {
    rooms_are_for_those_whom_the_settings_name,
    a_muted_member_sends_nothing_behind_the_mute,
    a_banned_user_is_out_on_every_connector,
    a_newer_token_changes_what_a_member_may_do,
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

async fn start(setup: Setup, name: &str) -> TestCluster {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::write(&path, SECRET).unwrap();
    let key = path.to_str().unwrap().to_owned();
    let space = |rooms: &str| NamespaceSettings { rooms: rooms.to_owned(), ..NamespaceSettings::default() };
    let news = NamespaceSettings { send: Level::Grant, list: Level::None, read: Level::User, ..space("news-*") };
    let slow = NamespaceSettings { slow_secs: 3_600, ..space("slow") };
    let guild = NamespaceSettings { enter: Level::Grant, ..space("guild-*") };
    let moderator = RoleSettings { allow: vec!["*".to_owned()], ..RoleSettings::default() };
    let setup = setup.with(|settings| {
        (settings.auth.mode, settings.auth.hmac_file) = (AuthMode::Optional, key);
        settings.namespaces = vec![news, slow, guild];
        settings.roles.insert("moderator".to_owned(), moderator);
    });
    setup.start().await
}

fn token(uid: &str, more: Value) -> String {
    let now = runtime::clock::now_ms() / 1_000;
    let mut claims = json!({"sub": uid, "iat": now, "exp": now + 3_600});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    SigningKey::hmac(SECRET.as_bytes()).token(None, &claims)
}

/// A user with these claims in a room.
async fn join(
    test: &TestCluster,
    (connector, uid, room): (usize, &str, &str),
    claims: Value,
) -> Result<(ChatClient, Events), ClientError> {
    let options = Options { jwt: Some(Jwt::value(&token(uid, claims))), ..test.options() };
    let (chat, events) = ChatClient::connect(&test.connector(connector), options).await.unwrap();
    chat.enter(uid, room).await.map(|_| (chat, events))
}

fn moderator() -> Value {
    json!({"roles": ["moderator"]})
}

/// The code and the first word of an error.
fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (u64, String) {
    match result {
        Err(ClientError::Refused { code, reason, .. }) => {
            (code, reason.split(':').next().unwrap_or_default().to_owned())
        }
        other => panic!("{other:?}"),
    }
}

async fn kick(events: &mut Events) -> String {
    next(events, |event| if let Event::Kicked(reason) = event { Some(reason.clone()) } else { None }).await
}

async fn rooms_are_for_those_whom_the_settings_name(setup: Setup) {
    let test = start(setup, "spaces").await;
    let reader = test.join_at(0, "guest-1", "news-1").await;
    assert_eq!(reader.entered.users, [""; 0], "names are hidden");
    let (writer, _events) =
        join(&test, (1, "ann", "news-1"), json!({"rooms": [{"match": "news-?", "allow": ["send"]}]})).await.unwrap();
    writer.send("news").await.unwrap();
    assert_eq!(refusal(reader.chat.send("hi").await), (403, "not-allowed".to_owned()));
    for route in [routes::MEMBERS, routes::HISTORY] {
        assert_eq!(refusal(reader.chat.request(route, &json!({})).await), (403, "not-allowed".to_owned()), "{route}");
    }
    let history = writer.request(routes::HISTORY, &json!({})).await.unwrap();
    assert_eq!(history["messages"].as_array().unwrap().len(), 1, "{history}");
    for (connector, claims) in [(0, json!({})), (1, json!({"rooms": [{"match": "guild-2", "allow": ["enter"]}]}))] {
        let refused = join(&test, (connector, "bob", "guild-1"), claims).await.map(|_| ());
        assert_eq!(refusal(refused), (403, "not-allowed".to_owned()));
    }
    join(&test, (2, "carl", "guild-1"), json!({"rooms": [{"match": "guild-*", "allow": ["enter"]}]})).await.unwrap();
    let slow = test.join_at(2, "guest-2", "slow").await;
    slow.send("one").await;
    assert_eq!(refusal(slow.chat.send("two").await), (429, "slow".to_owned()));
    test.cluster.stop().await;
}

async fn a_muted_member_sends_nothing_behind_the_mute(setup: Setup) {
    let test = start(setup, "mutes").await;
    let (ann, mut anns) = join(&test, (0, "ann", "lobby"), moderator()).await.unwrap();
    let (bob, mut bobs) = join(&test, (1, "bob", "lobby"), json!({})).await.unwrap();
    assert_eq!(refusal(bob.request(routes::MUTE, &json!({"name": "ann"})).await), (403, "not-allowed".to_owned()));
    // Sixty-four messages under way, and the mute between them.
    let sends = async {
        let mut sent = Vec::new();
        for number in 0..64 {
            sent.push(bob.send(&number.to_string()));
        }
        futures_util::future::join_all(sent).await
    };
    let (results, muted) = tokio::join!(sends, ann.request(routes::MUTE, &json!({"name": "bob", "secs": 3_600})));
    let mute = muted.unwrap()["seq"].as_u64().unwrap();
    let mut last = 0;
    for result in results {
        match result {
            Ok(sent) => last = last.max(sent.seq),
            refused => assert_eq!(refusal(refused), (403, "muted".to_owned())),
        }
    }
    assert!(last < mute, "a message at {last} is behind the mute at {mute}");
    let told = next(&mut bobs, |event| match event {
        Event::Rule(rule) => Some(rule.clone()),
        _ => None,
    });
    let told = told.await;
    assert!(told.kind == RuleKind::Mute && told.rid == "lobby" && !told.has_ended(), "{told:?}");
    assert_eq!(refusal(bob.send("more").await), (403, "muted".to_owned()));
    // Also for one that comes back elsewhere.
    let (again, _events) = join(&test, (2, "bob", "lobby"), json!({})).await.unwrap();
    assert_eq!(refusal(again.send("more").await), (403, "muted".to_owned()));
    ann.request(routes::UNMUTE, &json!({"uid": "bob"})).await.unwrap();
    again.send("back").await.unwrap();
    next(&mut anns, |event| matches!(event, Event::Chat(chat) if chat.msg == "back").then_some(())).await;
    test.cluster.stop().await;
}

async fn a_banned_user_is_out_on_every_connector(setup: Setup) {
    let test = start(setup, "bans").await;
    let (ann, mut anns) = join(&test, (0, "ann", "lobby"), moderator()).await.unwrap();
    let (_bob, mut bobs) = join(&test, (1, "bob", "lobby"), json!({})).await.unwrap();
    let (_eve, _eves) = join(&test, (2, "eve", "lobby"), moderator()).await.unwrap();
    assert_eq!(refusal(ann.request(routes::BAN, &json!({"uid": "eve"})).await), (403, "not-allowed".to_owned()));
    let none = ann.request(routes::EXPEL, &json!({"name": "nobody"})).await;
    assert_eq!(refusal(none), (500, "no-such-member".to_owned()));
    ann.request(routes::BAN, &json!({"name": "bob", "reason": "enough"})).await.unwrap();
    let reason = next(&mut bobs, |event| match event {
        Event::Expelled(reason) => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.await, "enough");
    assert_eq!(kick(&mut bobs).await, "expelled");
    next(&mut anns, |event| matches!(event, Event::Leave(name) if name == "bob").then_some(())).await;
    for connector in 0..3 {
        let refused = join(&test, (connector, "bob", "lobby"), json!({})).await.map(|_| ());
        assert_eq!(refusal(refused), (403, "banned".to_owned()), "{connector}");
    }
    join(&test, (1, "bob", "other"), json!({})).await.unwrap();
    ann.request(routes::UNBAN, &json!({"uid": "bob"})).await.unwrap();
    join(&test, (2, "bob", "lobby"), json!({})).await.unwrap();
    test.cluster.stop().await;
}

async fn a_newer_token_changes_what_a_member_may_do(setup: Setup) {
    let test = start(setup, "refresh").await;
    let (ann, mut events) = join(&test, (0, "ann", "lobby"), json!({})).await.unwrap();
    let (_bob, _bobs) = join(&test, (1, "bob", "lobby"), json!({})).await.unwrap();
    let refresh = async |claims| ann.request(routes::REFRESH, &json!({"jwt": token("ann", claims)})).await.unwrap();
    refresh(moderator()).await;
    let rights = next(&mut events, |event| match event {
        Event::Rights(rights) => Some(rights.clone()),
        _ => None,
    });
    assert!(rights.await.contains(&Right::Moderate));
    ann.request(routes::MUTE, &json!({"name": "bob"})).await.unwrap();
    refresh(json!({})).await;
    assert_eq!(refusal(ann.request(routes::UNMUTE, &json!({"name": "bob"})).await), (403, "not-allowed".to_owned()));
    test.cluster.stop().await;
}
