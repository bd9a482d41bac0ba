//! Tokens in handshakes.

use std::path::PathBuf;

use frontend::Options;
use model::act::{RuleKind, Target};
use model::global_rules::GlobalRules;
use model::ids::{Actor, Uid};
use model::record::{Entry, Position};
use model::room::Moderation;
use model::settings::{AuthMode, AuthSettings};
use node::auth::{AuthKeyReloader, TokenRequest, issue};
use serde_json::{Value, json};
use wire::PackageKind;

use crate::fixture::FrontendFixture;
use crate::socket::{Socket, ack, package};

/// Settings with a key in a file of this test's own.
fn settings(test: &str) -> AuthSettings {
    let key: PathBuf = format!("{}/{test}-{}.key", env!("CARGO_TARGET_TMPDIR"), std::process::id()).into();
    std::fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
    AuthSettings { mode: AuthMode::Required, hmac_file: key.to_str().unwrap().to_owned(), ..AuthSettings::default() }
}

fn reading(settings: &AuthSettings) -> impl FnOnce(&mut Options) {
    let (_, auth) = AuthKeyReloader::start(settings).unwrap();
    |options| options.auth = auth
}

async fn hello(socket: &mut Socket, user: &Value) -> Value {
    let hello = json!({"sys": {"type": "test", "version": "1"}, "user": user}).to_string();
    socket.send(package(1, hello.as_bytes())).await;
    serde_json::from_slice(&socket.expect(PackageKind::Handshake).await).unwrap()
}

#[tokio::test]
async fn a_good_token_opens_the_session_of_its_user() {
    let settings = settings("good");
    let fixture = FrontendFixture::with(reading(&settings)).await;
    let token = issue(&settings, &TokenRequest { sub: "ann", name: None, secs: 60, roles: &[] }).unwrap();
    for member in ["jwt", "token"] {
        let mut socket = fixture.open().await;
        let response = hello(&mut socket, &json!({ member: token })).await;
        assert_eq!((&response["code"], &response["user"]["uid"]), (&json!(200), &json!("ann")), "{response}");
        socket.send(ack()).await;
        socket.expect(PackageKind::Heartbeat).await;
    }
    let uids: Vec<_> = fixture.role.users().into_iter().map(|user| user.uid.as_str().to_owned()).collect();
    assert_eq!(uids, ["ann", "ann"]);
}

#[tokio::test]
async fn a_banned_user_is_refused_with_the_handshake() {
    let settings = settings("banned");
    let (_, auth) = AuthKeyReloader::start(&settings).unwrap();
    let auth = auth.with_global_rules();
    let of_server = auth.clone();
    let fixture = FrontendFixture::with(|options| options.auth = of_server).await;
    let token = |sub: &str| issue(&settings, &TokenRequest { sub, name: None, secs: 60, roles: &[] }).unwrap();
    let mut waiting = fixture.open().await;
    let hello_of_bob = async { hello(&mut waiting, &json!({"jwt": token("bob")})).await };
    let rules = async {
        let (uid, by) = (Uid::new("ann").unwrap(), Actor::new("key-1").unwrap());
        let mut moderation = Moderation::default();
        let ban = Entry::Rule { target: Target::Uid(uid), kind: RuleKind::Ban, until: 0, by };
        moderation.apply(Position(1), &ban);
        auth.set_global_rules(GlobalRules::new(&moderation));
    };
    let (bob, ()) = tokio::join!(hello_of_bob, rules);
    assert_eq!(bob["code"], 200, "a login waits until the rules are known: {bob}");
    let response = hello(&mut fixture.open().await, &json!({"jwt": token("ann")})).await;
    assert!(response["code"] == 403 && response["reason"].as_str().unwrap().starts_with("banned: "), "{response}");
}

#[tokio::test]
async fn a_bad_token_gets_a_reason_and_no_session() {
    let settings = settings("bad");
    let fixture = FrontendFixture::with(reading(&settings)).await;
    let other = issue(&settings, &TokenRequest { sub: "ann", name: None, secs: 60, roles: &[] }).unwrap();
    for (bad, word) in
        [(json!("x"), "token-bad: "), (json!(7), "token-bad: "), (json!(format!("{other}x")), "token-bad: ")]
    {
        let mut socket = fixture.open().await;
        let response = hello(&mut socket, &json!({ "jwt": bad })).await;
        let reason = response["reason"].as_str().unwrap_or_default();
        assert!(response["code"] == 401 && reason.starts_with(word), "{bad}: {response}");
        // An acknowledgement does not help.
        assert!(socket.until_closed().await.0.is_empty());
    }
    assert_eq!(fixture.role.opened_and_closed(), (0, 0));
}

#[tokio::test]
async fn without_a_token_the_session_is_of_no_user() {
    let settings = settings("none");
    let fixture = FrontendFixture::with(reading(&settings)).await;
    let mut socket = fixture.open().await;
    let response = hello(&mut socket, &Value::Null).await;
    assert!(response["code"] == 200 && response.get("user").is_none(), "{response}");
    socket.send(ack()).await;
    socket.expect(PackageKind::Heartbeat).await;
    assert!(fixture.role.users().is_empty());
}
