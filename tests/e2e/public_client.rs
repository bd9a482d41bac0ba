//! A client with a public address, which a proxy names in a PROXY header.

use std::collections::VecDeque;
use std::net::IpAddr;

use bytes::Bytes;
use client::routes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{WebSocketStream, client_async};
use wire::{Message, Package, PackageKind, RouteRef};

use crate::test_cluster::{DEADLINE, Setup};

/// A session.
pub(crate) struct PublicClient {
    socket: WebSocketStream<TcpStream>,
    packages: VecDeque<Package>,
    requests: u32,
}

/// A response: its code, and the first word of its reason.
pub(crate) type Answer = (u64, String);

/// Lets clients of this machine name any address.
pub(crate) fn behind_a_proxy(setup: Setup) -> Setup {
    setup.with(|settings| {
        settings.frontend.trusted_proxies = vec!["127.0.0.1".to_owned()].try_into().unwrap();
        settings.frontend.proxy_protocol = true;
    })
}

/// Returns the answer of a request that was done.
pub(crate) fn done() -> Answer {
    (200, String::new())
}

/// Returns the answer of a request that was refused.
pub(crate) fn refused(code: u64, reason: &str) -> Answer {
    (code, reason.to_owned())
}

impl PublicClient {
    /// Connects to a connector as the client at an address.
    pub(crate) async fn connect(connector: &str, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        let mut stream = TcpStream::connect(connector).await.unwrap();
        stream.write_all(format!("PROXY TCP4 {address} 127.0.0.1 40000 80\r\n").as_bytes()).await.unwrap();
        let (socket, _) = client_async(format!("ws://{connector}/"), stream).await.unwrap();
        let mut client = Self { socket, packages: VecDeque::new(), requests: 0 };
        client.write(PackageKind::Handshake, br#"{"sys":{"type":"test","version":"1"}}"#).await;
        while client.next_package().await.kind != PackageKind::Handshake {}
        client.write(PackageKind::HandshakeAck, b"").await;
        client
    }

    /// Enters a room.
    pub(crate) async fn enter(&mut self, name: &str, room: &str) -> Answer {
        self.request(routes::ENTER, &json!({"username": name, "rid": room})).await
    }

    /// Sends a message to the room.
    pub(crate) async fn send(&mut self, content: &str) -> Answer {
        self.request(routes::SEND, &json!({"content": content, "target": "*"})).await
    }

    /// Reads the member list.
    pub(crate) async fn members(&mut self) -> Answer {
        self.request(routes::MEMBERS, &json!({})).await
    }

    /// Leaves the room.
    pub(crate) async fn leave(&mut self) -> Answer {
        self.request(routes::LEAVE, &json!({})).await
    }

    async fn request(&mut self, route: &str, body: &Value) -> Answer {
        self.requests += 1;
        let (id, route, body) = (self.requests, RouteRef::Text(route.to_owned()), body.to_string().into());
        let package = Message::Request { id, route, body }.encode_package().unwrap();
        self.socket.send(Frame::Binary(package)).await.unwrap();
        let response = async {
            loop {
                let package = self.next_package().await;
                if package.kind == PackageKind::Data
                    && let Message::Response { id: of, body } = Message::decode(&package.body).unwrap()
                    && of == id
                {
                    return serde_json::from_slice::<Value>(&body).unwrap();
                }
            }
        };
        let response = tokio::time::timeout(DEADLINE, response).await.unwrap();
        let reason = response["reason"].as_str().unwrap_or_default();
        (response["code"].as_u64().unwrap(), reason.split(':').next().unwrap_or_default().to_owned())
    }

    async fn write(&mut self, kind: PackageKind, body: &'static [u8]) {
        let package = Package::new(kind, Bytes::from_static(body)).encode().unwrap();
        self.socket.send(Frame::Binary(package)).await.unwrap();
    }

    async fn next_package(&mut self) -> Package {
        loop {
            match self.packages.pop_front() {
                Some(package) if package.kind == PackageKind::Heartbeat => {
                    self.write(PackageKind::Heartbeat, b"").await;
                }
                Some(package) => return package,
                None => {
                    let frame = self.socket.next().await.unwrap().unwrap();
                    let Frame::Binary(bytes) = frame else { panic!("closed: {frame:?}") };
                    self.packages.extend(wire::decode_frame(&bytes, wire::MAX_BODY).unwrap());
                }
            }
        }
    }
}
