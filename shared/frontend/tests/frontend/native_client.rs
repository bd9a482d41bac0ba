//! A client over TCP, or TLS, without a websocket.

use std::net::SocketAddr;

use bytes::Bytes;
use frontend::routes;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::{MAX_BODY, Message, Package, PackageKind, StreamDecoder};

use crate::fixture::DEADLINE;
use crate::socket::{Connection, ack, hello, request};

/// A client that sends exactly the bytes of a test.
pub(crate) struct NativeClient {
    stream: Connection,
    arrived: StreamDecoder,
}

impl NativeClient {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(Box::new(stream))
    }

    /// A client on a connection from which nothing was read.
    pub(crate) fn over(stream: Connection) -> Self {
        Self { stream, arrived: StreamDecoder::new(MAX_BODY) }
    }

    pub(crate) async fn working(address: SocketAddr) -> Self {
        let mut client = Self::connect(address).await;
        client.shake_hands().await;
        client
    }

    /// Up to and with the first heartbeat.
    pub(crate) async fn shake_hands(&mut self) {
        self.send(&hello()).await;
        self.expect(PackageKind::Handshake).await;
        self.send(&ack()).await;
        self.expect(PackageKind::Heartbeat).await;
    }

    /// A client that entered.
    pub(crate) async fn entered(address: SocketAddr) -> Self {
        let mut client = Self::working(address).await;
        client.enter().await;
        client
    }

    pub(crate) async fn enter(&mut self) {
        self.send(&request(1, routes::ENTER, b"{}")).await;
        assert_eq!(self.response().await["code"], 200);
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The server may have closed, which the test reads.
        self.stream.write_all(bytes).await.ok();
    }

    /// The next package; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Package> {
        let next = async {
            loop {
                if let Some(package) = self.arrived.next_package().unwrap() {
                    return Some(package);
                }
                let mut chunk = [0; 1024];
                match self.stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => return None,
                    Ok(read) => self.arrived.push(&chunk[..read]),
                }
            }
        };
        timeout(DEADLINE, next).await.unwrap()
    }

    /// The next package that is no heartbeat; none at the end.
    pub(crate) async fn next_answer(&mut self) -> Option<Package> {
        loop {
            match self.next().await {
                Some(package) if package.kind == PackageKind::Heartbeat => {}
                other => return other,
            }
        }
    }

    pub(crate) async fn expect(&mut self, kind: PackageKind) -> Bytes {
        match self.next().await {
            Some(package) if package.kind == kind => package.body,
            other => panic!("{other:?} instead of {kind:?}"),
        }
    }

    /// The body of the next response or push.
    pub(crate) async fn response(&mut self) -> Value {
        let body = self.expect(PackageKind::Data).await;
        match Message::decode(&body).unwrap() {
            Message::Response { body, .. } | Message::Push { body, .. } => serde_json::from_slice(&body).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn is_closed(&mut self) -> bool {
        self.next().await.is_none()
    }
}
