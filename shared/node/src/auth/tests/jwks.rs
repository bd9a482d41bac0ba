//! Keys of a URL: bounded requests, and keys that change.

use std::time::Duration;

use runtime::lifecycle::Lifecycle;
use runtime::metrics::Metrics;
use serde_json::Value;
use testkit::{KeyProvider, SigningKey, eventually};
use tokio::net::TcpListener;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// A key of the provider, and its name.
struct Signer(&'static str, SigningKey);

impl Signer {
    fn new(kid: &'static str) -> Self {
        Self(kid, SigningKey::ed25519([kid.as_bytes()[0]; 32]))
    }

    fn token(&self) -> String {
        let now = now_secs();
        self.1.token(Some(self.0), &json!({"sub": "ann", "iat": now, "exp": now + 60}))
    }
}

fn keys(signers: &[&Signer]) -> Vec<Value> {
    signers.iter().map(|Signer(kid, key)| key.jwk(kid)).collect()
}

fn settings(provider: &KeyProvider) -> AuthSettings {
    AuthSettings { mode: AuthMode::Required, jwks_url: provider.url(), ..AuthSettings::default() }
}

/// Logins by the keys of a provider, which are fetched until the lifecycle ends.
async fn logins(provider: &KeyProvider) -> (Authenticator, Lifecycle) {
    let (_, auth) = AuthKeyReloader::start(&settings(provider)).unwrap();
    let lifecycle = Lifecycle::new();
    lifecycle.spawn(auth.fetching(Metrics::new(), lifecycle.clone()).unwrap());
    (auth, lifecycle)
}

#[tokio::test]
async fn a_new_key_is_fetched_for_its_first_token() {
    let signers = ["a", "b", "c"].map(Signer::new);
    let [first, second, third] = &signers;
    let provider = KeyProvider::start(&keys(&[first])).await;
    let (auth, lifecycle) = logins(&provider).await;
    eventually(DEADLINE, "the first set", async || auth.fault().is_none()).await;
    assert!(auth.log_in(&first.token()).await.is_ok());
    assert_eq!(provider.requests(), 1);
    provider.serve(&keys(&[first, second]));
    let tokens = [second.token(), second.token(), second.token()];
    let logins = tokens.iter().map(|token| auth.log_in(token));
    let done = futures_util::future::join_all(logins).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert_eq!(provider.requests(), 2, "one fetch for all");
    provider.serve(&keys(&[first, second, third]));
    // A token made the servers fetch the set within the last 30 s: no other does so before.
    for _ in 0..100 {
        assert!(auth.log_in(&third.token()).await.is_err());
    }
    assert_eq!(provider.requests(), 2);
    auth.url().unwrap().forget_last_attempt();
    assert!(auth.log_in(&third.token()).await.is_ok());
    assert_eq!(provider.requests(), 3);
    assert!(lifecycle.stop(DEADLINE).await);
}

/// The provider is away for an hour.
#[tokio::test]
async fn tokens_with_known_keys_need_no_provider() {
    let key = Signer::new("a");
    let provider = KeyProvider::start(&keys(&[&key])).await;
    let (auth, lifecycle) = logins(&provider).await;
    eventually(DEADLINE, "the first set", async || auth.fault().is_none()).await;
    drop(provider);
    tokio::time::pause();
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(auth.log_in(&key.token()).await.is_ok() && auth.fault().is_none());
    }
    assert!(lifecycle.stop(DEADLINE).await);
}

#[tokio::test]
async fn a_failure_keeps_the_keys_of_before() {
    let key = Signer::new("a");
    let provider = KeyProvider::start(&keys(&[&key])).await;
    let (auth, lifecycle) = logins(&provider).await;
    eventually(DEADLINE, "the first set", async || auth.fault().is_none()).await;
    provider.respond("500 Internal Server Error", "", b"");
    auth.url().unwrap().forget_last_attempt();
    assert!(auth.log_in(&Signer::new("b").token()).await.is_err());
    assert_eq!(provider.requests(), 2);
    assert!(auth.fault().is_none() && auth.log_in(&key.token()).await.is_ok());
    assert!(lifecycle.stop(DEADLINE).await);
}

#[tokio::test]
async fn a_server_without_a_first_set_says_why() {
    let provider = KeyProvider::start(&[]).await;
    provider.respond("302 Found", "Location: http://127.0.0.1:1/\r\n", b"");
    let (auth, lifecycle) = logins(&provider).await;
    let says = async |what: &str| eventually(DEADLINE, what, async || auth.fault().unwrap().contains(what)).await;
    says("302").await;
    // It may be right: the client is to try again.
    assert_eq!(auth.log_in(&Signer::new("a").token()).await, Err(LoginRefusal::no_keys()));
    provider.respond("200 OK", "", b"<html>");
    says("no JWK set").await;
    provider.respond("200 OK", "", &vec![b' '; 300 * 1024]);
    says("larger than").await;
    provider.respond_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{".to_vec());
    says("cannot be read").await;
    provider.serve(&keys(&[&Signer::new("a")]));
    eventually(DEADLINE, "the first set", async || auth.fault().is_none()).await;
    assert!(lifecycle.stop(DEADLINE).await);
}

#[tokio::test]
async fn a_provider_that_hangs_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let url_settings = AuthSettings { jwks_url: "http://127.0.0.1/".to_owned(), ..AuthSettings::default() };
    let tls = JwksUrl::new(&url_settings).unwrap().unwrap();
    let fetched = super::super::fetch::fetch(&url, tls.tls()).await;
    assert!(matches!(fetched, Err(super::super::fetch::FetchError::Late)), "{fetched:?}");
}
