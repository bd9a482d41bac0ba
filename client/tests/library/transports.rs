//! TLS, and TCP without a websocket.

use std::time::Duration;

use bytes::Bytes;
use client::{ChatClient, ClientError, Event, Events, Options, Tls, TlsError};
use serde_json::json;
use testkit::{Certificates, TlsProxy, free_addresses};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::{HandshakeAccept, HandshakeRequest, Message, Package, PackageKind, decode_frame};

use crate::fake::{FakeServer, chat, push, soon, text};

fn trusting(authority: &Certificates) -> Options {
    let tls = Tls::trusting_file(authority.authority_file()).unwrap();
    Options { tls: Some(tls), ..Options::default() }
}

/// A server's end of a connection without a websocket.
struct NativePeer(TcpStream);

impl NativePeer {
    async fn accept(server: &FakeServer) -> Self {
        let mut peer = Self(server.accept_tcp().await);
        let hello = peer.package().await;
        assert_eq!(hello.kind, PackageKind::Handshake);
        let request = HandshakeRequest::parse(&hello.body).unwrap();
        let accept = HandshakeAccept { heartbeat_secs: 0, dictionary: None, user: None };
        peer.send(&Package::new(PackageKind::Handshake, accept.encode(&request).unwrap()).encode().unwrap()).await;
        assert_eq!(peer.package().await, Package::empty(PackageKind::HandshakeAck));
        peer
    }

    async fn package(&mut self) -> Package {
        let mut head = [0; 4];
        soon("a head", self.0.read_exact(&mut head)).await.unwrap();
        let mut package = head.to_vec();
        package.resize(4 + u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize, 0);
        soon("a body", self.0.read_exact(&mut package[4..])).await.unwrap();
        decode_frame(&package.into(), wire::MAX_BODY).unwrap().next().unwrap()
    }

    async fn send(&mut self, bytes: &[u8]) {
        soon("a write", self.0.write_all(bytes)).await.unwrap();
    }
}

/// Sends a request and receives two pushes in pieces: over TCP nothing keeps packages together.
async fn talk((ann, mut events): (ChatClient, Events), mut peer: NativePeer) {
    let response = ann.request_unchecked("a.b.c", &json!({"n": 1}));
    let Ok(Message::Request { id, route, .. }) = Message::decode(&peer.package().await.body) else {
        panic!("no request")
    };
    assert_eq!(route, text("a.b.c"));
    let mut bytes =
        Message::Response { id, body: Bytes::from_static(b"{\"code\":200}") }.encode_package().unwrap().to_vec();
    for seq in [1, 2] {
        bytes.extend_from_slice(&push(text("onChat"), &chat(seq, "bob", "hi")));
    }
    for piece in bytes.chunks(bytes.len() / 7) {
        peer.send(piece).await;
    }
    assert_eq!(soon("the response", response).await, Ok(json!({"code": 200})));
    for seq in [1, 2] {
        let event = soon("a push", events.next()).await;
        assert!(matches!(&event, Some(Event::Chat(chat)) if chat.seq == seq), "{event:?}");
    }
    ann.close();
    let mut rest = Vec::new();
    soon("the client's end", peer.0.read_to_end(&mut rest)).await.unwrap();
    assert_eq!((rest, soon("the end", events.next()).await), (Vec::new(), Some(Event::Closed)));
}

#[tokio::test]
async fn packages_need_no_websocket() {
    let server = FakeServer::start().await;
    let address = format!("tcp://{}", server.address());
    let (client, peer) = tokio::join!(ChatClient::connect(&address, Options::default()), NativePeer::accept(&server));
    talk(client.unwrap(), peer).await;
}

#[tokio::test]
async fn packages_without_a_websocket_go_through_tls() {
    let (server, authority) = (FakeServer::start().await, Certificates::new());
    let proxy = TlsProxy::start(&server.address(), &authority).await;
    let address = format!("tls://{}", proxy.address());
    let (client, peer) = tokio::join!(ChatClient::connect(&address, trusting(&authority)), NativePeer::accept(&server));
    talk(client.unwrap(), peer).await;
}

#[tokio::test]
async fn a_websocket_goes_through_tls() {
    let (server, authority) = (FakeServer::start().await, Certificates::new());
    let proxy = TlsProxy::start(&server.address(), &authority).await;
    let address = format!("wss://{}", proxy.address());
    let (client, mut peer) = tokio::join!(ChatClient::connect(&address, trusting(&authority)), server.welcome());
    let (ann, _events) = client.unwrap();
    let response = ann.request_unchecked("a.b.c", &json!({}));
    let (id, ..) = peer.request().await;
    peer.respond(id, "{\"code\":200}").await;
    assert_eq!(soon("the response", response).await, Ok(json!({"code": 200})));
    ann.close();
    peer.gone().await;
}

#[tokio::test]
async fn a_server_is_refused_whose_certificate_is_not_trusted() {
    let (server, authority, other) = (FakeServer::start().await, Certificates::new(), Certificates::new());
    let proxy = TlsProxy::start(&server.address(), &authority).await;
    for scheme in ["wss", "tls"] {
        // Neither does the platform trust it, nor the authority of another.
        for options in [trusting(&other), Options::default()] {
            let refused = ChatClient::connect(&format!("{scheme}://{}", proxy.address()), options).await;
            assert!(matches!(refused, Err(ClientError::Connect { .. })), "{scheme}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_an_error_in_time() {
    let server = FakeServer::start().await;
    let options = Options { connect_timeout: Duration::from_millis(200), ..trusting(&Certificates::new()) };
    let silent = ChatClient::connect(&format!("tls://{}", server.address()), options).await;
    assert!(matches!(silent, Err(ClientError::Connect { .. })), "{silent:?}");
    let options = trusting(&Certificates::new());
    let answering = async {
        let mut tcp = server.accept_tcp().await;
        // The one that timed out is the first to be accepted.
        drop(tcp);
        tcp = server.accept_tcp().await;
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        tcp
    };
    let address = format!("wss://{}", server.address());
    let (refused, _tcp) = tokio::join!(ChatClient::connect(&address, options), answering);
    assert!(matches!(refused, Err(ClientError::Connect { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_server_of_another_protocol_is_an_error() {
    let server = FakeServer::start().await;
    let address = format!("tcp://{}", server.address());
    let answering = async {
        let mut tcp = server.accept_tcp().await;
        tcp.write_all(b"220 mail.example.org ready\r\n").await.unwrap();
        tcp
    };
    let (refused, _tcp) = tokio::join!(ChatClient::connect(&address, Options::default()), answering);
    assert!(matches!(refused, Err(ClientError::Protocol(_))), "{refused:?}");
}

#[test]
fn files_without_a_certificate_are_refused() {
    let (_certificate, key) = Certificates::new().issue("ann");
    for file in ["/does/not/exist.pem", &key] {
        assert!(matches!(Tls::trusting_file(file), Err(TlsError::File { .. })), "{file}");
    }
}

#[tokio::test]
async fn an_absent_server_is_an_error_with_tls_as_well() {
    let address = format!("wss://{}", free_addresses(1)[0]);
    let absent = ChatClient::connect(&address, Options::default()).await;
    assert!(matches!(absent, Err(ClientError::Connect { .. })), "{absent:?}");
}
