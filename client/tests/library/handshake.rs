//! From TCP to the first request.

use std::time::Duration;

use client::{Address, ChatClient, ClientError, Options, Transport, query_entry};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use wire::{Dictionary, HandshakeRequest, Package, PackageKind, RouteRef};

use crate::fake::{DEADLINE, FakeServer, Peer, connected, connected_with, soon, text};

const HEARTBEAT: Package = Package::empty(PackageKind::Heartbeat);

/// Returns the client's error for this handshake response.
async fn refusal(response: Package) -> ClientError {
    let server = FakeServer::start().await;
    let address = server.address();
    let responding = async {
        let mut peer = server.accept().await;
        let hello = peer.package().await;
        assert_eq!(hello.kind, PackageKind::Handshake);
        peer.send(response).await;
        peer.gone().await;
    };
    let (client, ()) = tokio::join!(ChatClient::connect(&address, Options::default()), responding);
    client.unwrap_err()
}

#[tokio::test]
async fn nothing_is_sent_before_the_answer_and_the_ack() {
    let server = FakeServer::start().await;
    let address = server.address();
    let talking = async {
        let mut peer = server.accept().await;
        let hello = HandshakeRequest::parse(&peer.package().await.body).unwrap();
        assert!(hello.client_type.is_some() && hello.version.is_some());
        peer.send(Package::new(PackageKind::Handshake, "{\"code\":200,\"sys\":{}}")).await;
        assert_eq!(peer.package().await, Package::empty(PackageKind::HandshakeAck));
        let (id, route, body) = peer.request().await;
        assert_eq!(
            (route, body),
            (text("connector.entryHandler.enter"), json!({"username": "ann", "rid": "lobby", "resume": true}))
        );
        peer.respond(id, "{\"code\":200,\"users\":[\"ann\"]}").await;
        peer
    };
    let entering = async {
        let (ann, events) = ChatClient::connect(&address, Options::default()).await.unwrap();
        assert_eq!(ann.enter("ann", "lobby").await.unwrap().users, ["ann"]);
        (ann, events)
    };
    tokio::join!(talking, entering);
}

#[tokio::test]
async fn a_heartbeat_follows_the_servers_after_the_interval() {
    let (_ann, _events, mut peer) = connected_with(Options::default(), 1, None).await;
    peer.send(HEARTBEAT).await;
    for _ in 0..2 {
        let received = tokio::time::Instant::now();
        assert_eq!(peer.package().await, HEARTBEAT);
        assert!(received.elapsed() > Duration::from_millis(900), "one for each of the server's, not more");
        peer.send(HEARTBEAT).await;
    }
}

#[tokio::test]
async fn the_dictionary_abbreviates_what_it_knows() {
    let dictionary = Dictionary::new(["chat.chatHandler.send"], ["onChat"]);
    let (ann, _events, mut peer) = connected_with(Options::default(), 0, Some(&dictionary)).await;
    let (_response, _left) = (ann.send("hi"), ann.leave());
    assert_eq!(peer.request().await.1, RouteRef::Code(1));
    assert_eq!(peer.request().await.1, text("chat.chatHandler.leave"));
}

#[tokio::test]
async fn refusals_have_distinct_errors() {
    let response = |body: &'static str| Package::new(PackageKind::Handshake, body);
    assert_eq!(refusal(response("{\"code\":501}")).await, ClientError::Handshake(501));
    assert_eq!(refusal(response("{\"code\":500}")).await, ClientError::Handshake(500));
    for no_handshake in
        [response("nonsense"), response("{\"code\":200}"), HEARTBEAT, Package::new(PackageKind::Data, "x")]
    {
        let error = refusal(no_handshake.clone()).await;
        assert!(matches!(error, ClientError::Protocol(_)), "{no_handshake:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_no_server_is_an_error_in_time() {
    let impatient = || Options { connect_timeout: Duration::from_millis(200), ..Options::default() };
    let server = FakeServer::start().await;
    let address = server.address();
    let is_connect = |error: &ClientError| matches!(error, ClientError::Connect { .. });

    let silent = soon("the time-out", ChatClient::connect(&address, impatient())).await.unwrap_err();
    assert!(is_connect(&silent), "{silent:?}");
    let speaks_http = async {
        let mut tcp = server.accept_tcp().await;
        tcp.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        // The one that timed out is the first to be accepted.
        let mut tcp = server.accept_tcp().await;
        tcp.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        tcp
    };
    let (refused, _tcp) = tokio::join!(ChatClient::connect(&address, Options::default()), speaks_http);
    assert!(is_connect(&refused.unwrap_err()));
    drop(server);
    let absent = ChatClient::connect(&address, Options::default()).await.unwrap_err();
    assert!(is_connect(&absent), "{absent:?}");
}

#[tokio::test]
async fn a_gate_names_the_connector() {
    let gate = FakeServer::start().await;
    let address = gate.address();
    let options = Options::default();
    let naming = async |response: &'static str| {
        let responding = async {
            let mut peer: Peer = gate.welcome().await;
            let (id, route, body) = peer.request().await;
            assert_eq!((route, body), (text("gate.gateHandler.queryEntry"), json!({"uid": "ann"})));
            peer.respond(id, response).await;
            peer.gone().await;
        };
        tokio::join!(query_entry(&address, "ann", &options), responding).0
    };
    let named = naming("{\"code\":200,\"host\":\"10.0.0.7\",\"port\":3050}").await;
    let named_is = |transport| Ok(Address { transport, host: "10.0.0.7".to_owned(), port: 3050 });
    assert_eq!(named, named_is(Transport::Websocket));
    let named = naming("{\"code\":200,\"host\":\"10.0.0.7\",\"port\":3050,\"tls\":true}").await;
    assert_eq!(named, named_is(Transport::SecureWebsocket));
    let refused = naming("{\"code\":500}").await;
    assert_eq!(refused, Err(ClientError::Refused { code: 500, reason: String::new(), until: None, retry: None }));
    let nonsense = naming("{\"code\":200,\"host\":\"10.0.0.7\",\"port\":70000}").await;
    assert!(matches!(nonsense, Err(ClientError::BadResponse(_))), "{nonsense:?}");
}

#[tokio::test]
async fn a_client_without_heartbeats_in_its_options_sends_none() {
    let (ann, _events, mut peer) = connected(Options { heartbeats: false, ..Options::default() }).await;
    peer.send(HEARTBEAT).await;
    let response = ann.request_unchecked("a.b.c", &json!({}));
    let (id, ..) = peer.request().await;
    peer.respond(id, "{}").await;
    assert_eq!(tokio::time::timeout(DEADLINE, response).await.unwrap(), Ok(json!({})));
}
