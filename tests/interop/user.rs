//! A user behind a proxy.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};
use tokio_tungstenite::{WebSocketStream, client_async};
use wire::{Message, Package, PackageKind, RouteRef, routes};

/// The longest that a response may take while thousands of users log in.
const DEADLINE: Duration = Duration::from_secs(60);

/// How a user's address reaches the proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    /// In an `X-Forwarded-For` of a proxy before it.
    Header,
    /// In a PROXY header of a proxy before it.
    ProxyHeader,
}

/// A session in a room.
pub(crate) struct User {
    socket: WebSocketStream<TcpStream>,
    packages: VecDeque<Package>,
    /// The messages that came in its room.
    pub(crate) messages: Vec<String>,
}

/// Opens a websocket through a proxy that learns `address` from a proxy before it.
async fn connect(proxy: SocketAddr, origin: Origin, address: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut stream = TcpStream::connect(proxy).await?;
    let mut request = format!("ws://{proxy}/").into_client_request()?;
    match origin {
        Origin::Header => {
            request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
        }
        Origin::ProxyHeader => {
            let header = format!("PROXY TCP4 {address} 127.0.0.1 40000 80\r\n");
            stream.write_all(header.as_bytes()).await?;
        }
    }
    client_async(request, stream).await.map(|(socket, _)| socket)
}

impl User {
    /// Opens a websocket from `address`; none if it is refused.
    pub(crate) async fn try_connect(proxy: SocketAddr, (origin, address): (Origin, &str)) -> Option<Self> {
        let socket = connect(proxy, origin, address).await.ok()?;
        Some(Self { socket, packages: VecDeque::new(), messages: Vec::new() })
    }

    /// Connects from `address`, and enters a room.
    pub(crate) async fn enter(proxy: SocketAddr, (origin, address): (Origin, &str), name: &str, room: &str) -> Self {
        let entering = async {
            let socket = connect(proxy, origin, address).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut user = Self { socket, packages: VecDeque::new(), messages: Vec::new() };
            user.send(PackageKind::Handshake, br#"{"sys":{"type":"test","version":"1"},"user":{}}"#).await;
            user.package(PackageKind::Handshake).await;
            user.send(PackageKind::HandshakeAck, b"").await;
            let entered = user.request(1, routes::ENTER, &json!({"username": name, "rid": room})).await;
            assert_eq!(entered["code"], 200, "{name}: {entered}");
            user
        };
        let entered = tokio::time::timeout(DEADLINE, entering).await;
        entered.unwrap_or_else(|_| panic!("{name} has not entered in {DEADLINE:?}"))
    }

    /// Sends a message to the room, and waits for the response.
    pub(crate) async fn say(&mut self, id: u32, text: &str) {
        let body = json!({"content": text, "target": "*"});
        let sent = tokio::time::timeout(DEADLINE, self.request(id, routes::SEND, &body)).await.unwrap();
        assert_eq!(sent["code"], 200, "{sent}");
    }

    /// Waits until this many messages came.
    pub(crate) async fn receive(&mut self, count: usize) {
        let receiving = async {
            while self.messages.len() < count {
                let body = self.package(PackageKind::Data).await;
                self.note(&body);
            }
        };
        tokio::time::timeout(DEADLINE, receiving).await.unwrap();
    }

    async fn send(&mut self, kind: PackageKind, body: &'static [u8]) {
        let package = Package::new(kind, Bytes::from_static(body)).encode().unwrap();
        self.socket.send(Frame::Binary(package)).await.unwrap();
    }

    async fn request(&mut self, id: u32, route: &str, body: &Value) -> Value {
        let message = Message::Request { id, route: RouteRef::Text(route.to_owned()), body: body.to_string().into() };
        self.socket.send(Frame::Binary(message.encode_package().unwrap())).await.unwrap();
        loop {
            let package = self.package(PackageKind::Data).await;
            match Message::decode(&package).unwrap() {
                Message::Response { id: of, body } if of == id => return serde_json::from_slice(&body).unwrap(),
                _ => self.note(&package),
            }
        }
    }

    fn note(&mut self, package: &Bytes) {
        if let Message::Push { body, .. } = Message::decode(package).unwrap() {
            let push: Value = serde_json::from_slice(&body).unwrap();
            self.messages.extend(push["msg"].as_str().map(str::to_owned));
        }
    }

    /// Returns the body of the next package, which must be of this kind; heartbeats are answered.
    async fn package(&mut self, kind: PackageKind) -> Bytes {
        loop {
            match self.packages.pop_front() {
                Some(package) if package.kind == PackageKind::Heartbeat => {
                    self.send(PackageKind::Heartbeat, b"").await;
                }
                Some(package) if package.kind == kind => return package.body,
                Some(other) => panic!("{other:?} instead of {kind:?}"),
                None => {
                    let frame = self.socket.next().await.unwrap().unwrap();
                    let Frame::Binary(bytes) = frame else { panic!("closed: {frame:?}") };
                    self.packages.extend(wire::decode_frame(&bytes, wire::MAX_BODY).unwrap());
                }
            }
        }
    }
}
