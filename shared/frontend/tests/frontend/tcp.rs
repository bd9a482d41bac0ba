//! Clients over TCP without a websocket, as native Pomelo clients connect.

use frontend::{Ending, routes};
use serde_json::json;
use testkit::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::PackageKind;

use crate::fixture::{DEADLINE, FrontendFixture};
use crate::native_client::NativeClient;
use crate::socket::{ack, heartbeat, hello, package, request};

#[tokio::test]
async fn both_transports_share_a_port() {
    let fixture = FrontendFixture::start().await;
    let mut native = NativeClient::entered(fixture.address).await;
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
        let mut client = NativeClient::connect(fixture.address).await;
        let (first, rest) = all.split_at(cut);
        client.send(first).await;
        tokio::task::yield_now().await;
        client.send(rest).await;
        client.expect(PackageKind::Handshake).await;
        client.expect(PackageKind::Heartbeat).await;
        let answer = client.next_answer().await.map(|answer| answer.kind);
        assert_eq!(answer, Some(PackageKind::Data), "cut at {cut}");
    }
    let mut client = NativeClient::connect(fixture.address).await;
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
        let mut client = NativeClient::connect(fixture.address).await;
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
    let mut client = NativeClient::connect(fixture.address).await;
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
    let mut silent = NativeClient::connect(fixture.address).await;
    let mut incomplete = NativeClient::connect(fixture.address).await;
    incomplete.send(&hello()[..5]).await;
    let mut without_a_room = NativeClient::working(fixture.address).await;
    let mut in_a_package = NativeClient::entered(fixture.address).await;
    in_a_package.send(&package(4, b"0123456789")[..7]).await;
    assert!(silent.is_closed().await && incomplete.is_closed().await);
    assert!(without_a_room.is_closed().await && in_a_package.is_closed().await);
    assert_eq!(fixture.metrics.sessions_closed_timeout.get(), 4);
}

#[tokio::test]
async fn packages_have_the_size_limits_of_websockets() {
    let fixture = FrontendFixture::start().await;
    let mut client = NativeClient::connect(fixture.address).await;
    // Refused by its head.
    client.send(b"\x01\x00\x10\x01").await;
    assert!(client.is_closed().await);
    let mut client = NativeClient::entered(fixture.address).await;
    client.send(&request(2, "x.y.z", &[b'1'; 60_000])).await;
    assert_eq!(client.response().await["code"], 500);
    client.send(b"\x04\x01\x00\x01").await;
    assert!(client.is_closed().await);
    assert_eq!(fixture.metrics.sessions_closed_bad_input.size.get(), 2);
}

#[tokio::test]
async fn a_flood_is_kicked_and_then_closed() {
    let fixture = FrontendFixture::start().await;
    let mut client = NativeClient::entered(fixture.address).await;
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
    drop(NativeClient::entered(fixture.address).await);
    eventually(DEADLINE, "the end", async || !fixture.role.endings().is_empty()).await;
    assert_eq!(fixture.role.endings(), [Ending::Lost]);
}

#[tokio::test]
async fn a_server_that_stops_answers_first() {
    let fixture = FrontendFixture::with(|options| options.close_on_stop = true).await;
    let mut client = NativeClient::entered(fixture.address).await;
    fixture.lifecycle.begin_stop();
    while client.next().await.is_some() {}
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_closed_and_may_come_back() {
    let fixture = FrontendFixture::with(|options| options.session.max_outbound_bytes = 256 * 1024).await;
    let mut client = NativeClient::entered(fixture.address).await;
    let write_queue = fixture.role.write_queues().remove(0);
    let push = model::client_frame::push(routes::ON_CHAT, &json!({ "msg": "x".repeat(15_000) }), None).unwrap();
    while write_queue.push(push.clone()).is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!((fixture.metrics.sessions_closed_slow.get(), fixture.metrics.sessions_kicked.slow.get()), (1, 1));
    while client.next().await.is_some() {}
    eventually(DEADLINE, "the end", async || !fixture.role.endings().is_empty()).await;
    assert_eq!(fixture.role.endings(), [Ending::Lost]);
}

#[tokio::test]
async fn bytes_have_the_rate_of_websockets() {
    let fixture = FrontendFixture::with(|options| {
        options.session.bytes_per_sec = 1;
        options.session.byte_burst = 1_000;
        options.session.requests_per_sec = 1;
    })
    .await;
    let mut client = NativeClient::entered(fixture.address).await;
    let mut codes = Vec::new();
    for id in [2, 3] {
        client.send(&request(id, routes::SEND, &[b'x'; 15_000])).await;
        let mut response = client.response().await;
        if response["msg"].is_string() {
            response = client.response().await;
        }
        codes.push(response["code"].clone());
    }
    assert_eq!(codes, [200, 429]);
    assert_eq!(fixture.metrics.requests_refused_overload.bytes.get(), 1);
}

#[tokio::test]
async fn bodies_that_wait_are_counted_and_keep_nothing_else() {
    let fixture = FrontendFixture::with(|options| options.frontend.max_queued_bytes = 1_000).await;
    let mut client = NativeClient::entered(fixture.address).await;
    fixture.role.set_waiting(true);
    let mut codes = Vec::new();
    for (id, bytes) in [(2, 600), (3, 401), (4, 400)] {
        client.send(&request(id, routes::ENTER, &vec![b'x'; bytes])).await;
        codes.push(client.response().await["code"].clone());
    }
    assert_eq!(codes, [200, 429, 200]);
}

/// Of an address that has its connections nothing is answered: there is no package for it.
#[tokio::test]
async fn connections_over_a_limit_are_closed() {
    let fixture = FrontendFixture::with(|options| options.frontend.max_connections_per_address = 1).await;
    let _first = NativeClient::entered(fixture.address).await;
    let mut second = NativeClient::connect(fixture.address).await;
    second.send(&hello()).await;
    assert!(second.is_closed().await);
    assert_eq!(fixture.metrics.connections_refused.address.get(), 1);
}

/// A drain closes sessions behind their responses, without a kick.
#[tokio::test]
async fn the_role_closes_its_clients() {
    let fixture = FrontendFixture::start().await;
    let mut client = NativeClient::entered(fixture.address).await;
    fixture.lifecycle.begin_stop();
    let write_queue = fixture.role.write_queues().remove(0);
    write_queue.push(frontend::response(7, &json!({ "code": 200 }))).unwrap();
    write_queue.close();
    assert_eq!(client.response().await, json!({ "code": 200 }));
    assert!(client.is_closed().await);
    assert!(fixture.lifecycle.stop(DEADLINE).await);
    assert_eq!(fixture.role.opened_and_closed(), (1, 1));
}

/// Neither a client that sends nothing nor one in the middle of its first package delays the end.
#[tokio::test]
async fn idle_connections_do_not_delay_shutdown() {
    let fixture = FrontendFixture::start().await;
    let mut silent = NativeClient::connect(fixture.address).await;
    let mut incomplete = NativeClient::connect(fixture.address).await;
    incomplete.send(&hello()[..3]).await;
    eventually(DEADLINE, "both", async || fixture.metrics.connections.get() == 2).await;
    assert!(fixture.lifecycle.stop(std::time::Duration::from_secs(5)).await);
    assert!(silent.is_closed().await && incomplete.is_closed().await);
}

/// As a load balancer checks that the port is open.
#[tokio::test]
async fn a_connection_that_ends_without_a_byte_is_counted_nowhere() {
    let fixture = FrontendFixture::start().await;
    drop(TcpStream::connect(fixture.address).await.unwrap());
    // The next one is accepted behind it.
    NativeClient::entered(fixture.address).await;
    eventually(DEADLINE, "the end", async || fixture.metrics.connections.get() == 0).await;
    let metrics = &fixture.metrics;
    assert_eq!((metrics.sessions_closed_timeout.get(), metrics.connections_refused.get()), (0, 0));
}
