//! Clients over TCP without a websocket, as native Pomelo clients connect.

use std::net::SocketAddr;

use bytes::Bytes;
use frontend::{Ending, routes};
use serde_json::{Value, json};
use testkit::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::{MAX_BODY, Message, Package, PackageKind, StreamDecoder};

use crate::fixture::{DEADLINE, FrontendFixture};
use crate::socket::{ack, heartbeat, hello, package, request};

/// A client that sends exactly the bytes of a test.
struct Client {
    stream: TcpStream,
    arrived: StreamDecoder,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, arrived: StreamDecoder::new(MAX_BODY) }
    }

    async fn working(address: SocketAddr) -> Self {
        let mut client = Self::connect(address).await;
        client.send(&hello()).await;
        client.expect(PackageKind::Handshake).await;
        client.send(&ack()).await;
        client.expect(PackageKind::Heartbeat).await;
        client
    }

    async fn entered(address: SocketAddr) -> Self {
        let mut client = Self::working(address).await;
        client.send(&request(1, routes::ENTER, b"{}")).await;
        assert_eq!(client.response().await["code"], 200);
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The server may have closed, which the test reads.
        self.stream.write_all(bytes).await.ok();
    }

    /// The next package; none at the end.
    async fn next(&mut self) -> Option<Package> {
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
        timeout(DEADLINE, next).await.expect("nothing comes")
    }

    async fn expect(&mut self, kind: PackageKind) -> Bytes {
        match self.next().await {
            Some(package) if package.kind == kind => package.body,
            other => panic!("{other:?} instead of {kind:?}"),
        }
    }

    /// The body of the next response or push.
    async fn response(&mut self) -> Value {
        let body = self.expect(PackageKind::Data).await;
        match Message::decode(&body).unwrap() {
            Message::Response { body, .. } | Message::Push { body, .. } => serde_json::from_slice(&body).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn is_closed(&mut self) -> bool {
        self.next().await.is_none()
    }
}

#[tokio::test]
async fn both_transports_share_a_port() {
    let fixture = FrontendFixture::start().await;
    let mut native = Client::entered(fixture.address).await;
    let mut browser = fixture.entered().await;
    browser.send(request(2, routes::SEND, b"from the browser")).await;
    assert_eq!(native.response().await, json!({ "msg": "from the browser" }));
    native.send(&request(2, routes::SEND, b"from the native client")).await;
    assert_eq!(native.response().await, json!({ "msg": "from the native client" }));
    assert_eq!(native.response().await, json!({ "code": 200 }));
    for _ in 0..2 {
        browser.expect(PackageKind::Data).await;
    }
    let pushed = browser.expect(PackageKind::Data).await;
    assert!(String::from_utf8_lossy(&pushed).contains("from the native client"), "{pushed:?}");
}

#[tokio::test]
async fn packages_may_be_cut_and_joined_anywhere() {
    let fixture = FrontendFixture::start().await;
    let all = [hello(), ack(), heartbeat(), request(1, routes::ENTER, b"{}"), request(2, "x.y.z", b"{}")].concat();
    for cut in 0..=all.len() {
        let mut client = Client::connect(fixture.address).await;
        let (first, rest) = all.split_at(cut);
        client.send(first).await;
        tokio::task::yield_now().await;
        client.send(rest).await;
        client.expect(PackageKind::Handshake).await;
        client.expect(PackageKind::Heartbeat).await;
        let answered = async {
            loop {
                match client.next().await {
                    Some(package) if package.kind == PackageKind::Heartbeat => {}
                    Some(package) => return package,
                    None => panic!("closed after a cut at {cut}"),
                }
            }
        };
        assert_eq!(answered.await.kind, PackageKind::Data, "cut at {cut}");
    }
    let mut client = Client::connect(fixture.address).await;
    for byte in &all {
        client.send(&[*byte]).await;
    }
    client.expect(PackageKind::Handshake).await;
}

#[tokio::test]
async fn the_first_byte_selects_the_protocol() {
    let fixture = FrontendFixture::start().await;
    for first in [0x00, 0x02, 0x04, 0x16, b'g', 0x80, 0xff] {
        let before = fixture.metrics.connections_refused.protocol.get();
        let mut client = Client::connect(fixture.address).await;
        client.send(&[first, 0, 0, 0]).await;
        assert!(client.is_closed().await, "{first:#x}");
        assert_eq!(fixture.metrics.connections_refused.protocol.get(), before + 1, "{first:#x}");
    }
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 426"), "{response}");
}

#[tokio::test]
async fn packages_without_a_websocket_can_be_turned_off() {
    let fixture = FrontendFixture::with(|options| options.frontend.tcp = false).await;
    let mut client = Client::connect(fixture.address).await;
    client.send(&hello()).await;
    assert!(client.is_closed().await);
    fixture.entered().await;
}

#[tokio::test]
async fn each_stage_has_its_deadline() {
    let fixture = FrontendFixture::with(|options| {
        options.frontend.handshake_secs = 1;
        options.frontend.enter_secs = 1;
        options.frontend.message_secs = 1;
    })
    .await;
    let mut silent = Client::connect(fixture.address).await;
    let mut incomplete = Client::connect(fixture.address).await;
    incomplete.send(&hello()[..5]).await;
    let mut without_a_room = Client::working(fixture.address).await;
    let mut in_a_package = Client::entered(fixture.address).await;
    in_a_package.send(&package(4, b"0123456789")[..7]).await;
    assert!(silent.is_closed().await && incomplete.is_closed().await);
    assert!(without_a_room.is_closed().await && in_a_package.is_closed().await);
    assert_eq!(fixture.metrics.sessions_closed_timeout.get(), 4);
}

#[tokio::test]
async fn packages_have_the_size_limits_of_websockets() {
    let fixture = FrontendFixture::start().await;
    let mut client = Client::connect(fixture.address).await;
    // Refused by its head.
    client.send(b"\x01\x00\x10\x01").await;
    assert!(client.is_closed().await);
    let mut client = Client::entered(fixture.address).await;
    client.send(&request(2, "x.y.z", &[b'1'; 60_000])).await;
    assert_eq!(client.response().await["code"], 500);
    client.send(b"\x04\x01\x00\x01").await;
    assert!(client.is_closed().await);
    assert_eq!(fixture.metrics.sessions_closed_bad_input.size.get(), 2);
}

#[tokio::test]
async fn a_flood_is_kicked_and_then_closed() {
    let fixture = FrontendFixture::start().await;
    let mut client = Client::entered(fixture.address).await;
    client.send(&heartbeat().repeat(5_000)).await;
    let mut kicked = false;
    while let Some(package) = client.next().await {
        kicked |= package.kind == PackageKind::Kick;
    }
    assert!(kicked);
}

#[tokio::test]
async fn a_client_that_ends_may_come_back() {
    let fixture = FrontendFixture::start().await;
    drop(Client::entered(fixture.address).await);
    eventually(DEADLINE, "the end", async || !fixture.role.endings().is_empty()).await;
    assert_eq!(fixture.role.endings(), [Ending::Lost]);
}

#[tokio::test]
async fn a_server_that_stops_answers_first() {
    let fixture = FrontendFixture::with(|options| options.close_on_stop = true).await;
    let mut client = Client::entered(fixture.address).await;
    fixture.lifecycle.begin_stop();
    while client.next().await.is_some() {}
}
