//! A client that sends exactly the bytes of a test.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use frontend::routes;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};
use wire::{Message, Package, PackageKind, RouteRef};

use crate::fixture::DEADLINE;

/// A connection, with TLS or without.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(crate) type Connection = Box<dyn Stream>;

/// A websocket, and the unread packages of a frame.
pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<Connection>,
    packages: VecDeque<Package>,
}

/// The end of a connection: the close code, or none if it was cut.
pub(crate) type End = Option<u16>;

/// A package of any type, valid or not.
pub(crate) fn package(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

pub(crate) fn hello() -> Vec<u8> {
    package(1, b"{\"sys\":{}}")
}

pub(crate) fn ack() -> Vec<u8> {
    package(2, b"")
}

pub(crate) fn heartbeat() -> Vec<u8> {
    package(3, b"")
}

pub(crate) fn request(id: u32, route: &str, body: &[u8]) -> Vec<u8> {
    let (route, body) = (RouteRef::Text(route.to_owned()), Bytes::copy_from_slice(body));
    Message::Request { id, route, body }.encode_package().unwrap().to_vec()
}

pub(crate) fn notify(route: &str, body: &[u8]) -> Vec<u8> {
    let (route, body) = (RouteRef::Text(route.to_owned()), Bytes::copy_from_slice(body));
    Message::Notify { route, body }.encode_package().unwrap().to_vec()
}

impl Socket {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over(Box::new(stream), &[]).await.unwrap_or_else(|status| panic!("{status}"))
    }

    /// Connects with these bytes before the request, and these headers in it, as [`Self::over`].
    pub(crate) async fn through_proxy(address: SocketAddr, before: &[u8], headers: &[&str]) -> Result<Self, u16> {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(before).await.unwrap();
        Self::over(Box::new(stream), headers).await
    }

    /// Begins a websocket on a connection, with these `X-Forwarded-For` headers; returns the status
    /// of a refusal.
    pub(crate) async fn over(stream: Connection, headers: &[&str]) -> Result<Self, u16> {
        let mut request = "ws://127.0.0.1/any/path".into_client_request().unwrap();
        for value in headers {
            request.headers_mut().append("x-forwarded-for", value.parse().unwrap());
        }
        match client_async(request, stream).await {
            Ok((stream, _)) => Ok(Self { stream, packages: VecDeque::new() }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            // Cut without a response.
            Err(_) => Err(0),
        }
    }

    /// Sends one binary frame.
    pub(crate) async fn send(&mut self, bytes: Vec<u8>) {
        self.send_frame(Frame::Binary(bytes.into())).await;
    }

    pub(crate) async fn send_frame(&mut self, frame: Frame) {
        // A connection that the server closes meanwhile returns that when it is read.
        self.stream.send(frame).await.ok();
    }

    /// The next package, or how the connection ended.
    pub(crate) async fn next(&mut self) -> Result<Package, End> {
        tokio::time::timeout(DEADLINE, self.next_ever()).await.unwrap_or_else(|_| panic!("nothing comes"))
    }

    async fn next_ever(&mut self) -> Result<Package, End> {
        loop {
            if let Some(package) = self.packages.pop_front() {
                return Ok(package);
            }
            match self.stream.next().await {
                Some(Ok(Frame::Binary(frame))) => {
                    self.packages.extend(wire::decode_frame(&frame, wire::MAX_BODY).unwrap());
                }
                Some(Ok(Frame::Close(close))) => {
                    // Sends the response to the close, for which the server waits a little.
                    self.stream.flush().await.ok();
                    return Err(close.map(|close| close.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The next package, which must be of this kind.
    pub(crate) async fn expect(&mut self, kind: PackageKind) -> Bytes {
        match self.next().await {
            Ok(package) if package.kind == kind => package.body,
            other => panic!("{other:?} instead of {kind:?}"),
        }
    }

    /// The server's packages until it closes, heartbeats left out; and the close.
    pub(crate) async fn until_closed(&mut self) -> (Vec<Package>, End) {
        let mut sent = Vec::new();
        loop {
            match self.next().await {
                Ok(package) if package.kind == PackageKind::Heartbeat => {}
                Ok(package) => sent.push(package),
                Err(end) => return (sent, end),
            }
        }
    }

    /// Up to and with the first heartbeat.
    pub(crate) async fn shake_hands(&mut self) {
        self.send(hello()).await;
        let response: Value = serde_json::from_slice(&self.expect(PackageKind::Handshake).await).unwrap();
        self.send(ack()).await;
        if response["sys"]["heartbeat"].is_u64() {
            self.expect(PackageKind::Heartbeat).await;
        }
    }

    /// The next response: its id and body. Other packages are skipped.
    pub(crate) async fn response(&mut self) -> (u32, Value) {
        loop {
            let package = self.next().await.unwrap_or_else(|end| panic!("closed with {end:?}, wanted an answer"));
            if package.kind != PackageKind::Data {
                continue;
            }
            if let Message::Response { id, body } = Message::decode(&package.body).unwrap() {
                return (id, serde_json::from_slice(&body).unwrap());
            }
        }
    }

    /// Sends a request and returns the body of the next response, which must be its own.
    pub(crate) async fn request_json(&mut self, id: u32, route: &str, body: &[u8]) -> Value {
        self.send(request(id, route, body)).await;
        let (responded, body) = self.response().await;
        assert_eq!(responded, id);
        body
    }

    /// Sends a request and checks that the very next package is its response: nothing before it got
    /// one.
    pub(crate) async fn receives_only_the_response(&mut self, id: u32) {
        self.send(request(id, routes::ENTER, b"{}")).await;
        let message = Message::decode(&self.expect(PackageKind::Data).await).unwrap();
        assert_eq!(message, Message::Response { id, body: Bytes::from_static(b"{\"code\":200}") });
    }
}
