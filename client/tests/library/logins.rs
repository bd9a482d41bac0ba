//! Tokens of the application.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use client::{ChatClient, ClientError, Event, Jwt, Options};
use serde_json::json;
use testkit::eventually;
use wire::{HandshakeRequest, Package, PackageKind};

use crate::fake::{DEADLINE, FakeServer, connected, soon, text};

/// Gives `token-1`, `token-2`, ..., or nothing while it fails, which it counts.
#[derive(Clone, Default)]
struct Issuer {
    last: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
    failures: Arc<AtomicUsize>,
}

impl Issuer {
    fn options(&self) -> Options {
        let issuer = self.clone();
        let fetch = move || {
            let issuer = issuer.clone();
            async move { issuer.issue() }
        };
        Options { jwt: Some(Jwt::fetched_by(fetch)), ..Options::default() }
    }

    fn issue(&self) -> Result<String, &'static str> {
        if self.fails.load(Ordering::SeqCst) {
            self.failures.fetch_add(1, Ordering::SeqCst);
            return Err("away");
        }
        Ok(format!("token-{}", self.last.fetch_add(1, Ordering::SeqCst) + 1))
    }
}

#[tokio::test]
async fn the_token_is_in_the_handshake() {
    for (jwt, user) in [(None, None), (Some(Jwt::value("a.b.c")), Some(json!({"jwt": "a.b.c"})))] {
        let server = FakeServer::start().await;
        let address = server.address();
        let refusing = async {
            let mut peer = server.accept().await;
            let hello = HandshakeRequest::parse(&peer.package().await.body).unwrap();
            peer.send(Package::new(PackageKind::Handshake, r#"{"code":401,"reason":"token-expired: late"}"#)).await;
            hello.user
        };
        let options = Options { jwt, ..Options::default() };
        assert!(!format!("{options:?}").contains("a.b.c"), "no secret is shown");
        let (client, sent) = tokio::join!(ChatClient::connect(&address, options), refusing);
        let refused =
            ClientError::Refused { code: 401, reason: "token-expired: late".to_owned(), until: None, retry: None };
        assert_eq!((client.unwrap_err(), sent), (refused, user));
    }
}

#[tokio::test]
async fn without_a_token_there_is_no_connection() {
    let issuer = Issuer::default();
    issuer.fails.store(true, Ordering::SeqCst);
    let server = FakeServer::start().await;
    let error = ChatClient::connect(&server.address(), issuer.options()).await.unwrap_err();
    assert_eq!(error, ClientError::NoToken("away".to_owned()));
}

#[tokio::test]
async fn the_token_is_replaced_before_it_expires() {
    let issuer = Issuer::default();
    let (ann, mut events, mut peer) = connected(issuer.options()).await;
    peer.push("onExpire", r#"{"route":"onExpire","in":60}"#).await;
    let (id, route, body) = peer.request().await;
    assert_eq!((route, body), (text("connector.entryHandler.refresh"), json!({"jwt": "token-2"})));
    peer.respond(id, r#"{"code":200,"exp":1}"#).await;
    // Its id is none of another request, and the push no event.
    let response = ann.request_unchecked("a.b.c", &json!({}));
    let (next, ..) = peer.request().await;
    assert_eq!(next, id + 1);
    peer.respond(next, "{}").await;
    assert_eq!(soon("the response", response).await, Ok(json!({})));
    assert!(events.try_next().is_none());
}

#[tokio::test]
async fn a_failure_is_tried_again() {
    let issuer = Issuer::default();
    let (_ann, _events, mut peer) = connected(issuer.options()).await;
    issuer.fails.store(true, Ordering::SeqCst);
    peer.push("onExpire", r#"{"route":"onExpire","in":60}"#).await;
    eventually(DEADLINE, "a failure", async || issuer.failures.load(Ordering::SeqCst) > 0).await;
    issuer.fails.store(false, Ordering::SeqCst);
    assert_eq!(peer.request().await.2, json!({"jwt": "token-2"}));
}

#[tokio::test]
async fn a_value_is_not_replaced() {
    let options = Options { jwt: Some(Jwt::value("a.b.c")), ..Options::default() };
    let (_ann, mut events, mut peer) = connected(options).await;
    peer.push("onExpire", r#"{"route":"onExpire","in":60}"#).await;
    let body = json!({"route": "onExpire", "in": 60});
    assert_eq!(soon("the push", events.next()).await, Some(Event::Other { route: "onExpire".to_owned(), body }));
}
