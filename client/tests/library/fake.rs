//! A server at the other end of a real socket, played by the test line by line.

use std::time::Duration;

use bytes::Bytes;
use client::{ChatClient, Events, Options};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};
use tokio_tungstenite::{WebSocketStream, accept_async};
use wire::{Dictionary, HandshakeAccept, HandshakeRequest, Message, Package, PackageKind, RouteRef, decode_frame};

/// The longest that anything here may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub(crate) fn text(route: &str) -> RouteRef {
    RouteRef::Text(route.to_owned())
}

/// A push as a package.
pub(crate) fn push(route: RouteRef, body: &str) -> Bytes {
    Message::Push { route, body: Bytes::copy_from_slice(body.as_bytes()) }.encode_package().unwrap()
}

pub(crate) fn chat(seq: u64, from: &str, msg: &str) -> String {
    serde_json::json!({"msg": msg, "from": from, "target": "*", "rid": "lobby", "seq": seq, "time": 60_000}).to_string()
}

/// A listener for clients.
pub(crate) struct FakeServer {
    listener: TcpListener,
}

impl FakeServer {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        soon("a connection", self.listener.accept()).await.unwrap().0
    }

    pub(crate) async fn accept(&self) -> Peer {
        Peer { socket: accept_async(self.accept_tcp().await).await.unwrap() }
    }

    /// Accepts a client, without heartbeats and dictionary.
    pub(crate) async fn welcome(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.welcome(0, None).await;
        peer
    }
}

/// A client that is through the handshake, and the server's end of its connection.
pub(crate) async fn connected(options: Options) -> (ChatClient, Events, Peer) {
    connected_with(options, 0, None).await
}

pub(crate) async fn connected_with(
    options: Options,
    heartbeat_secs: u32,
    dictionary: Option<&Dictionary>,
) -> (ChatClient, Events, Peer) {
    let server = FakeServer::start().await;
    let address = server.address();
    let welcoming = async {
        let mut peer = server.accept().await;
        peer.welcome(heartbeat_secs, dictionary).await;
        peer
    };
    let (client, peer) = tokio::join!(ChatClient::connect(&address, options), welcoming);
    let (client, events) = client.unwrap();
    (client, events, peer)
}

/// The server's end of a connection.
pub(crate) struct Peer {
    socket: WebSocketStream<TcpStream>,
}

impl Peer {
    /// The next package; a client sends one in a frame.
    pub(crate) async fn package(&mut self) -> Package {
        loop {
            match soon("a frame", self.socket.next()).await {
                Some(Ok(Frame::Binary(frame))) => {
                    let mut packages = decode_frame(&frame, wire::MAX_BODY).unwrap();
                    let package = packages.next().unwrap();
                    assert_eq!(packages.next(), None, "stock servers take one package per frame");
                    return package;
                }
                Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => {}
                other => panic!("no package but {other:?}"),
            }
        }
    }

    /// Shakes hands.
    pub(crate) async fn welcome(&mut self, heartbeat_secs: u32, dictionary: Option<&Dictionary>) {
        let hello = self.package().await;
        assert_eq!(hello.kind, PackageKind::Handshake);
        let request = HandshakeRequest::parse(&hello.body).unwrap();
        let accept = HandshakeAccept { heartbeat_secs, dictionary, user: None };
        self.send(Package::new(PackageKind::Handshake, accept.encode(&request).unwrap())).await;
        assert_eq!(self.package().await, Package::empty(PackageKind::HandshakeAck));
    }

    /// The next request: its id, route and body.
    pub(crate) async fn request(&mut self) -> (u32, RouteRef, Value) {
        let package = self.package().await;
        match Message::decode(&package.body) {
            Ok(Message::Request { id, route, body }) => (id, route, serde_json::from_slice(&body).unwrap()),
            other => panic!("no request but {other:?} in {package:?}"),
        }
    }

    pub(crate) async fn respond(&mut self, id: u32, body: &str) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.send_raw(Message::Response { id, body }.encode_package().unwrap()).await;
    }

    pub(crate) async fn push(&mut self, route: &str, body: &str) {
        self.send_raw(push(text(route), body)).await;
    }

    pub(crate) async fn send(&mut self, package: Package) {
        self.send_raw(package.encode().unwrap()).await;
    }

    pub(crate) async fn send_raw(&mut self, frame: impl Into<Bytes>) {
        self.send_frame(Frame::Binary(frame.into())).await.unwrap();
    }

    pub(crate) async fn send_frame(&mut self, frame: Frame) -> Result<(), Error> {
        soon("a write", self.socket.send(frame)).await
    }

    /// Reads until the client has closed.
    pub(crate) async fn gone(&mut self) {
        soon("the client's end", async { while let Some(Ok(_)) = self.socket.next().await {} }).await;
    }

    /// Waits for the end of a connection that the client does not close.
    pub(crate) async fn lost(&mut self) {
        match soon("the connection's end", self.socket.next()).await {
            None | Some(Err(_)) => {}
            Some(Ok(frame)) => panic!("no end but {frame:?}"),
        }
    }
}
