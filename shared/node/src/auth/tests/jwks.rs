//! Keys of a URL: bounded requests, and keys that change.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use runtime::lifecycle::Lifecycle;
use runtime::metrics::Metrics;
use serde_json::Value;
use testkit::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// A provider that answers each request with its present response, and counts them.
struct Provider {
    address: SocketAddr,
    state: Arc<Mutex<(Vec<u8>, usize)>>,
    _task: JoinSet<()>,
}

impl Provider {
    async fn start(response: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(Mutex::new((response, 0))));
        let (shared, mut task) = (state.clone(), JoinSet::new());
        task.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let response = {
                    let mut state = shared.lock().unwrap();
                    state.1 += 1;
                    state.0.clone()
                };
                let mut request = [0; 1024];
                if stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                    // A client that has seen enough closes.
                    stream.write_all(&response).await.ok();
                }
            }
        });
        Self { address, state, _task: task }
    }

    fn respond(&self, response: Vec<u8>) {
        self.state.lock().unwrap().0 = response;
    }

    fn requests(&self) -> usize {
        self.state.lock().unwrap().1
    }

    fn settings(&self) -> AuthSettings {
        let jwks_url = format!("http://{}/jwks", self.address);
        AuthSettings { mode: AuthMode::Required, jwks_url, ..AuthSettings::default() }
    }
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of the provider.
struct Signer(&'static str, Ed25519KeyPair);

impl Signer {
    fn new(kid: &'static str) -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(kid, Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.0, "x": encode(self.1.public_key().as_ref())})
    }

    fn token(&self) -> String {
        let now = now_secs();
        let header = json!({"alg": "EdDSA", "kid": self.0}).to_string();
        let claims = json!({"sub": "ann", "iat": now, "exp": now + 60}).to_string();
        let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        format!("{message}.{}", encode(self.1.sign(message.as_bytes()).as_ref()))
    }
}

fn set(signers: &[&Signer]) -> Vec<u8> {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    response("200 OK", "Content-Type: application/json\r\n", json!({ "keys": keys }).to_string().as_bytes())
}

/// Logins by the keys of a provider, which are fetched until the lifecycle ends.
async fn logins(provider: &Provider) -> (Authenticator, Lifecycle) {
    let (_, auth) = AuthKeyReloader::start(&provider.settings()).unwrap();
    let lifecycle = Lifecycle::new();
    lifecycle.spawn(auth.fetching(Metrics::new(), lifecycle.clone()).unwrap());
    (auth, lifecycle)
}

#[tokio::test]
async fn a_new_key_is_fetched_for_its_first_token() {
    let keys = ["a", "b", "c"].map(Signer::new);
    let [first, second, third] = &keys;
    let provider = Provider::start(set(&[first])).await;
    let (auth, lifecycle) = logins(&provider).await;
    eventually(DEADLINE, "the first set", async || auth.fault().is_none()).await;
    assert!(auth.log_in(&first.token()).await.is_ok());
    assert_eq!(provider.requests(), 1);
    provider.respond(set(&[first, second]));
    let tokens = [second.token(), second.token(), second.token()];
    let logins = tokens.iter().map(|token| auth.log_in(token));
    let done = futures_util::future::join_all(logins).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert_eq!(provider.requests(), 2, "one fetch for all");
    provider.respond(set(&[first, second, third]));
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
    let provider = Provider::start(set(&[&key])).await;
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
    let provider = Provider::start(set(&[&key])).await;
    let (auth, lifecycle) = logins(&provider).await;
    eventually(DEADLINE, "the first set", async || auth.fault().is_none()).await;
    provider.respond(response("500 Internal Server Error", "", b""));
    auth.url().unwrap().forget_last_attempt();
    assert!(auth.log_in(&Signer::new("b").token()).await.is_err());
    assert_eq!(provider.requests(), 2);
    assert!(auth.fault().is_none() && auth.log_in(&key.token()).await.is_ok());
    assert!(lifecycle.stop(DEADLINE).await);
}

#[tokio::test]
async fn a_server_without_a_first_set_says_why() {
    let provider = Provider::start(response("302 Found", "Location: http://127.0.0.1:1/\r\n", b"")).await;
    let (auth, lifecycle) = logins(&provider).await;
    let says = async |what: &str| eventually(DEADLINE, what, async || auth.fault().unwrap().contains(what)).await;
    says("302").await;
    // It may be right: the client is to try again.
    assert_eq!(auth.log_in(&Signer::new("a").token()).await, Err(LoginRefusal::no_keys()));
    provider.respond(response("200 OK", "", b"<html>"));
    says("no JWK set").await;
    provider.respond(response("200 OK", "", &vec![b' '; 300 * 1024]));
    says("larger than").await;
    provider.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{".to_vec());
    says("cannot be read").await;
    provider.respond(set(&[&Signer::new("a")]));
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
