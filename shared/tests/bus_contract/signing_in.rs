//! Every way to sign in, and TLS, against real servers: who is let in, who is not, and that no secret is told.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use shared::bus::{Bus, BusError};
use shared::config::settings::NatsSettings;
use shared::config::sign_in::SignInError;
use shared::metrics::Metrics;
use shared::testing::{Certificates, NatsServer, Scratch};

use crate::world::SOON;

const SECRET: &str = "pa55 w0rd";

fn settings(change: impl FnOnce(&mut NatsSettings)) -> NatsSettings {
    let mut settings = NatsSettings { connect_secs: 2, ..NatsSettings::default() };
    change(&mut settings);
    settings
}

async fn is_let_in(url: &str, settings: &NatsSettings) {
    let bus = Bus::nats(url, settings, "test", Metrics::new()).await.unwrap();
    bus.round_trip(SOON).await.unwrap();
}

async fn refusal(url: &str, settings: &NatsSettings) -> BusError {
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
    let missing = refusal(server.url(), &with(scratch.of("missing"))).await;
    let BusError::SignIn(SignInError::Unreadable { setting: "nats.password_file", path, .. }) = missing else {
        panic!("{missing}");
    };
    assert_eq!(path, scratch.of("missing"));
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
async fn a_credentials_file_proves_who_we_are() {
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let unlimited = json!({"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "wildcards": true});
    let lines = format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {} }}",
        jwt(&operator, &operator, json!({"type": "operator", "version": 2})),
        account.public_key(),
        jwt(&operator, &account, json!({"type": "account", "version": 2, "limits": unlimited})),
    );
    let (scratch, claims) =
        (Scratch::new(), json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}));
    let conf = scratch.file("nats.conf", &lines);
    let server = NatsServer::start_with(&["-c", &conf]).await;
    let with = |file: String| settings(|nats| nats.credentials_file = file);

    let good = scratch.file("good.creds", &credentials(&jwt(&account, &user, claims.clone()), &user));
    is_let_in(server.url(), &with(good)).await;
    let stranger = KeyPair::new_account();
    let bad = scratch.file("bad.creds", &credentials(&jwt(&stranger, &user, claims), &user));
    let refused = refusal(server.url(), &with(bad)).await;
    assert!(matches!(refused, BusError::Refused { .. }), "{refused}");
    let unfit = refusal(server.url(), &with(scratch.file("no.creds", SECRET))).await;
    assert!(matches!(unfit, BusError::SignIn(SignInError::Unfit { setting: "nats.credentials_file", .. })), "{unfit}");
}

/// A JWT as NATS has them, signed by `issuer`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "jti": "test", "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test", "nats": nats,
    });
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

async fn with_tls(certificates: &Certificates, more: &[&str]) -> NatsServer {
    let (certificate, key) = certificates.issue("server");
    let options = ["--tls", "--tlscert", &certificate, "--tlskey", &key, "--tlscacert", &certificates.authority_file()];
    NatsServer::start_with(&[&options, more].concat()).await
}

#[tokio::test]
async fn a_server_is_known_by_its_authority() {
    let (ours, other) = (Certificates::new(), Certificates::new());
    let server = with_tls(&ours, &[]).await;
    is_let_in(server.url(), &settings(|nats| nats.tls_ca_file = ours.authority_file())).await;
    refusal(server.url(), &settings(|nats| nats.tls_ca_file = other.authority_file())).await;
    refusal(server.url(), &settings(|_| {})).await;
}

#[tokio::test]
async fn we_are_known_by_our_certificate() {
    let (ours, other) = (Certificates::new(), Certificates::new());
    let server = with_tls(&ours, &["--tlsverify"]).await;
    let with = |(certificate, key)| {
        settings(|nats| {
            nats.tls_ca_file = ours.authority_file();
            (nats.tls_cert_file, nats.tls_key_file) = (certificate, key);
        })
    };
    is_let_in(server.url(), &with(ours.issue("us"))).await;
    refusal(server.url(), &with(other.issue("us"))).await;
    refusal(server.url(), &with((String::new(), String::new()))).await;
}

/// Whoever stands between us and the broker must not get the password by claiming that there is no TLS.
#[tokio::test]
async fn where_tls_is_required_nothing_is_said_without() {
    let server = NatsServer::start().await;
    refusal(server.url(), &settings(|nats| nats.tls_required = true)).await;
    refusal(server.url(), &settings(|nats| nats.tls_ca_file = Certificates::new().authority_file())).await;
    is_let_in(server.url(), &settings(|_| {})).await;
}
