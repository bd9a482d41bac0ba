//! Every way to sign in, against real servers: accepted and refused clients, and no secret in any
//! error.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::{Bus, BusError};
use model::settings::NatsSettings;
use nkeys::KeyPair;
use runtime::clock;
use runtime::config::sign_in::SignInError;
use runtime::metrics::Metrics;
use serde_json::{Value, json};
use testkit::{NatsServer, Scratch, eventually};

use crate::fixture::SOON;

const SECRET: &str = "pa55 w0rd";

pub(crate) fn settings(change: impl FnOnce(&mut NatsSettings)) -> NatsSettings {
    let mut settings = NatsSettings { connect_secs: 2, ..NatsSettings::default() };
    change(&mut settings);
    settings
}

pub(crate) async fn is_let_in(url: &str, settings: &NatsSettings) {
    let bus = Bus::nats(url, settings, "test", Metrics::new()).await.unwrap();
    bus.round_trip(SOON).await.unwrap();
}

pub(crate) async fn refusal(url: &str, settings: &NatsSettings) -> BusError {
    let error = Bus::nats(url, settings, "test", Metrics::new()).await.expect_err("one is let in");
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    error
}

#[tokio::test]
async fn a_password_comes_from_a_file() {
    let (server, scratch) = (NatsServer::start_with(&["--user", "ann", "--pass", SECRET]).await, Scratch::new());
    let with = |file: String| settings(|nats| (nats.user, nats.password_file) = ("ann".to_owned(), file));
    is_let_in(server.url(), &with(scratch.file("good", &format!("{SECRET}\n")))).await;
    let refused = refusal(server.url(), &with(scratch.file("bad", "guess"))).await;
    assert!(matches!(refused, BusError::Refused { .. }), "{refused}");
    let missing = refusal(server.url(), &with(scratch.path_of("missing"))).await;
    let BusError::SignIn(SignInError::Unreadable { setting: "nats.password_file", path, .. }) = missing else {
        panic!("{missing}");
    };
    assert_eq!(path, scratch.path_of("missing"));
}

#[tokio::test]
async fn a_token_comes_from_a_file_and_not_also_from_a_url() {
    let (server, scratch) = (NatsServer::start_with(&["--auth", SECRET]).await, Scratch::new());
    let settings = settings(|nats| nats.token_file = scratch.file("token", SECRET));
    is_let_in(server.url(), &settings).await;
    let twice = refusal(&format!("nats://pa55%20w0rd@{}", server.address()), &settings).await;
    assert_eq!(twice, BusError::SignIn(SignInError::Twice { setting: "nats.token_file" }));
}

#[tokio::test]
async fn a_credentials_file_proves_the_identity() {
    let fixture = Operator::start(&[]).await;
    let good = fixture.credentials_file("good.creds", &fixture.account, &[]);
    is_let_in(fixture.server.url(), &with_credentials(good)).await;
    let bad = fixture.credentials_file("bad.creds", &KeyPair::new_account(), &[]);
    let refused = refusal(fixture.server.url(), &with_credentials(bad)).await;
    assert!(matches!(refused, BusError::Refused { .. }), "{refused}");
    let unfit = refusal(fixture.server.url(), &with_credentials(fixture.scratch.file("no.creds", SECRET))).await;
    assert!(matches!(unfit, BusError::SignIn(SignInError::Unfit { setting: "nats.credentials_file", .. })), "{unfit}");
}

/// The broker ends the connection when the credentials that it was made with expire.
#[tokio::test]
async fn credentials_that_expire_are_read_again() {
    let fixture = Operator::start(&[]).await;
    let file = fixture.ending_file("user.creds", 3);
    let metrics = Metrics::new();
    let settings = NatsSettings { reconnect_max_ms: 50, ..with_credentials(file) };
    let bus = Bus::nats(fixture.server.url(), &settings, "test", metrics.clone()).await.unwrap();
    let first = bus.connection().borrow().generation;
    eventually(SOON, "the end to be shown", async || metrics.nats_credentials_expiring.get() == 1).await;
    assert!(metrics.nats_credentials_expire.get() > 0);
    fixture.ending_file("user.creds", 10 * 24 * 60 * 60);
    eventually(SOON, "another connection", async || {
        let now = *bus.connection().borrow();
        now.up && now.generation > first
    })
    .await;
    bus.round_trip(SOON).await.unwrap();
    eventually(SOON * 3, "the other end to be shown", async || metrics.nats_credentials_expiring.get() == 0).await;
    // A file that is being replaced: what was read before is as good.
    fixture.scratch.file("user.creds", "half a file");
    let first = bus.connection().borrow().generation;
    let mut server = fixture.server;
    server.restart().await;
    eventually(SOON, "a third connection", async || {
        let now = *bus.connection().borrow();
        now.up && now.generation > first
    })
    .await;
    bus.round_trip(SOON).await.unwrap();
}

/// A password that is changed at the broker and in its file.
#[tokio::test]
async fn every_file_is_read_at_each_sign_in() {
    let user = |password: &str| format!("authorization {{ users: [{{ user: ann, password: \"{password}\" }}] }}");
    let (server, scratch) = (NatsServer::start_configured(&user(SECRET)).await, Scratch::new());
    let settings = settings(|nats| {
        (nats.user, nats.password_file) = ("ann".to_owned(), scratch.file("password", SECRET));
        nats.reconnect_max_ms = 50;
    });
    let bus = Bus::nats(server.url(), &settings, "test", Metrics::new()).await.unwrap();
    scratch.file("password", "another");
    bus.round_trip(SOON).await.unwrap();
    server.reconfigure(&user("another")).await;
    let again = async || bus.connection().borrow().generation > 1 && bus.is_up();
    eventually(SOON, "the connection to come back", again).await;
    bus.round_trip(SOON).await.unwrap();
}

#[tokio::test]
async fn an_nkey_comes_from_a_file() {
    let (user, stranger, scratch) = (KeyPair::new_user(), KeyPair::new_user(), Scratch::new());
    let lines = format!("authorization {{ users: [{{ nkey: {} }}] }}", user.public_key());
    let server = NatsServer::start_configured(&lines).await;
    let with = |file: String| settings(|nats| nats.nkey_file = file);
    is_let_in(server.url(), &with(scratch.file("good", &format!("{}\n", user.seed().unwrap())))).await;
    let refused = refusal(server.url(), &with(scratch.file("other", &stranger.seed().unwrap()))).await;
    assert!(matches!(refused, BusError::Refused { .. }), "{refused}");
    // A typing error, which only the checksum shows.
    let seed = user.seed().unwrap();
    let wrong = if seed.ends_with('A') { 'B' } else { 'A' };
    for unfit in [format!("{}{wrong}", &seed[..57]), SECRET.to_owned(), KeyPair::new_account().seed().unwrap()] {
        let refused = refusal(server.url(), &with(scratch.file("unfit", &unfit))).await;
        let is_named = matches!(refused, BusError::SignIn(SignInError::Unfit { setting: "nats.nkey_file", .. }));
        assert!(is_named && !refused.to_string().contains(&unfit), "{refused}");
    }
}

/// A user that the server does not let in for a while, because its configuration was changed and
/// corrected.
#[tokio::test]
async fn a_user_that_is_let_in_again_has_service_again() {
    let user = |password: &str| format!("authorization {{ users: [{{ user: ann, password: \"{password}\" }}] }}");
    let (server, scratch) = (NatsServer::start_configured(&user(SECRET)).await, Scratch::new());
    let settings = settings(|nats| {
        (nats.user, nats.password_file) = ("ann".to_owned(), scratch.file("password", SECRET));
        nats.reconnect_max_ms = 50;
    });
    let bus = Bus::nats(server.url(), &settings, "test", Metrics::new()).await.unwrap();
    server.reconfigure(&user("another")).await;
    eventually(SOON, "the connection to end", async || !bus.is_up()).await;
    assert_eq!(bus.round_trip(SOON).await, Err(BusError::Disconnected));
    server.reconfigure(&user(SECRET)).await;
    eventually(SOON, "the connection to come back", async || bus.is_up()).await;
    bus.round_trip(SOON).await.unwrap();
}

pub(crate) fn with_credentials(file: String) -> NatsSettings {
    settings(|nats| nats.credentials_file = file)
}

/// A server in operator mode with one account, and the keys to make users of it.
pub(crate) struct Operator {
    pub(crate) server: NatsServer,
    pub(crate) account: KeyPair,
    pub(crate) scratch: Scratch,
}

impl Operator {
    /// The account has these limits, and no others.
    pub(crate) async fn start(limits: &[(&str, i64)]) -> Self {
        let (operator, account, scratch) = (KeyPair::new_operator(), KeyPair::new_account(), Scratch::new());
        let mut all = json!({"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "wildcards": true});
        limits.iter().for_each(|(name, most)| all[*name] = json!(most));
        let lines = format!(
            "operator: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {} }}",
            jwt(&operator, &operator, json!({"type": "operator", "version": 2})),
            account.public_key(),
            jwt(&operator, &account, json!({"type": "account", "version": 2, "limits": all})),
        );
        let server = NatsServer::start_with(&["-c", &scratch.file("nats.conf", &lines)]).await;
        Self { server, account, scratch }
    }

    /// The file of a new user with these limits, signed by `account`.
    pub(crate) fn credentials_file(&self, name: &str, account: &KeyPair, limits: &[(&str, i64)]) -> String {
        let user = KeyPair::new_user();
        let mut claims = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
        limits.iter().for_each(|(name, most)| claims[*name] = json!(most));
        self.scratch.file(name, &credentials(&jwt(account, &user, claims), &user))
    }

    /// The credentials file of a new user that expires in this many seconds.
    fn ending_file(&self, name: &str, secs: u64) -> String {
        let user = KeyPair::new_user();
        let claims = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
        let jwt = ending_jwt(&self.account, &user, claims, Some(clock::now_ms() / 1_000 + secs));
        self.scratch.file(name, &credentials(&jwt, &user))
    }
}

/// A JWT as NATS has them, signed by `issuer`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    ending_jwt(issuer, subject, nats, None)
}

/// The same; it ends at this Unix time in seconds.
fn ending_jwt(issuer: &KeyPair, subject: &KeyPair, nats: Value, exp: Option<u64>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut claims = json!({
        "jti": "test", "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test", "nats": nats,
    });
    if let Some(exp) = exp {
        claims["exp"] = json!(exp);
    }
    let text = format!("{}.{}", part(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

fn credentials(jwt: &str, user: &KeyPair) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{}\n\
         ------END USER NKEY SEED------\n",
        user.seed().unwrap()
    )
}
