//! Every row of the tables of bad packages, states and routes that is the front's business.

use frontend::routes;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message as Frame;
use wire::{Package, PackageKind};

use crate::fixture::FrontendFixture;
use crate::socket::{Socket, ack, heartbeat, hello, notify, package, request};

/// The connection is closed with code 1000, without a word, and counted.
async fn closes(fixture: &FrontendFixture, mut socket: Socket, what: &str, bytes: Vec<u8>) {
    let before = fixture.metrics.sessions_closed_bad_input.get();
    socket.send(bytes).await;
    assert_eq!(socket.until_closed().await, (Vec::new(), Some(1000)), "{what}");
    assert_eq!(fixture.metrics.sessions_closed_bad_input.get(), before + 1, "{what}");
}

#[tokio::test]
async fn malformed_packages_close_in_every_state() {
    let rows = [
        ("type 0", package(0, b"")),
        ("type 6", package(6, b"")),
        ("type 255", package(255, b"")),
        ("a kick", package(5, b"{}")),
        ("no bytes", Vec::new()),
        ("half a head", vec![3, 0]),
        ("a cut body", vec![4, 0, 0, 9, 0]),
        ("trailing bytes", [heartbeat(), vec![3]].concat()),
        ("16 MiB declared", vec![4, 255, 255, 255]),
        ("one more byte than before entering", package(4, &[0; 4 * 1024 + 1])),
    ];
    let fixture = FrontendFixture::start().await;
    for (what, bytes) in rows {
        closes(&fixture, fixture.open().await, what, bytes.clone()).await;
        let mut waiting = fixture.open().await;
        waiting.send(hello()).await;
        waiting.expect(PackageKind::Handshake).await;
        closes(&fixture, waiting, what, bytes.clone()).await;
        closes(&fixture, fixture.working().await, what, bytes).await;
    }
    assert_eq!(fixture.role.requests(), []);
}

#[tokio::test]
async fn data_that_is_no_message_closes() {
    let fixture = FrontendFixture::start().await;
    let rows: [(&str, &[u8]); 5] = [
        ("nothing", b""),
        ("an id without an end", b"\x00\x80"),
        ("an id of six bytes", b"\x00\xff\xff\xff\xff\xff\x01"),
        ("a cut route", b"\x02\xc8a"),
        ("a cut code", b"\x03\x00"),
    ];
    for (what, body) in rows {
        closes(&fixture, fixture.working().await, what, package(4, body)).await;
    }
}

#[tokio::test]
async fn nothing_of_a_bad_frame_is_done() {
    let fixture = FrontendFixture::start().await;
    let frame = [request(7, routes::SEND, b"{}"), vec![4, 0]].concat();
    closes(&fixture, fixture.working().await, "a request and half a package", frame).await;
    assert_eq!(fixture.role.requests(), []);
}

#[tokio::test]
async fn a_bad_handshake_is_answered_500_and_closed() {
    let fixture = FrontendFixture::start().await;
    for body in [&b"{"[..], b"", b"{\"user\":{}}", b"[]", b"{\"sys\":7}", b"\xff\xfe"] {
        let mut socket = fixture.open().await;
        socket.send(package(1, body)).await;
        let refusal = Package::new(PackageKind::Handshake, &b"{\"code\":500}"[..]);
        assert_eq!(socket.until_closed().await, (vec![refusal], Some(1000)), "{body:?}");
    }
}

#[tokio::test]
async fn packages_before_the_handshake_are_ignored() {
    let fixture = FrontendFixture::start().await;
    for early in [notify(routes::SEND, b"{}"), heartbeat(), ack()] {
        let mut socket = fixture.open().await;
        socket.send(early).await;
        socket.shake_hands().await;
        assert_eq!(socket.request_json(9, routes::ENTER, b"{}").await, json!({ "code": 200 }));
    }
    assert_eq!(fixture.role.requests(), vec![(Some(9), routes::ENTER.to_owned()); 3]);
}

#[tokio::test]
async fn packages_before_the_ack_are_dropped_not_queued() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.open().await;
    socket.send(ack()).await;
    socket.send(hello()).await;
    socket.expect(PackageKind::Handshake).await;
    // The ack before the handshake does not count: this session is not open yet.
    for early in [request(7, routes::SEND, b"{}"), heartbeat(), hello()] {
        socket.send(early).await;
    }
    socket.send(ack()).await;
    // The next package: nothing before it got a response.
    socket.expect(PackageKind::Heartbeat).await;
    socket.receives_only_the_response(8).await;
    assert_eq!(fixture.role.requests(), [(Some(8), routes::ENTER.to_owned())]);
}

#[tokio::test]
async fn messages_without_a_response_are_ignored() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.working().await;
    let rows: [&[u8]; 6] =
        [b"\x04\x07{}", b"\x08\x07{}", b"\x0a\x07{}", b"\x0c\x07{}", b"\x0e\x07{}", b"\x01\x07\x63\x63{}"];
    for body in rows {
        socket.send(package(4, body)).await;
    }
    socket.send(hello()).await;
    socket.send(ack()).await;
    socket.receives_only_the_response(9).await;
    assert_eq!(fixture.role.requests(), [(Some(9), routes::ENTER.to_owned())]);
}

#[tokio::test]
async fn notifies_pushes_and_id_0_are_done_and_not_answered() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.working().await;
    let enter = [&[28][..], routes::ENTER.as_bytes(), b"{}"].concat();
    let unknown = notify("chat.chatHandler.nothing", b"{}");
    for bytes in [package(4, &[&[2], &enter[..]].concat()), package(4, &[&[6], &enter[..]].concat()), unknown] {
        socket.send(bytes).await;
    }
    socket.send(request(0, routes::ENTER, b"{}")).await;
    socket.receives_only_the_response(9).await;
    let requests: Vec<_> = fixture.role.requests().into_iter().map(|(id, _)| id).collect();
    assert_eq!(requests, [None, None, None, None, Some(9)]);
}

#[tokio::test]
async fn unknown_routes_are_answered_500() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.working().await;
    let unknown =
        ["chat.chatHandler.nothing", "chat.no.send", "area.a.b", "a.b", "a.b.c.d", "noroute", "", "a.b.toString"];
    for (id, route) in (1..).zip(unknown) {
        assert_eq!(socket.request_json(id, route, b"{}").await["code"], json!(500), "{route}");
    }
    socket.send(request(99, "chat.chatHandler.constructor", b"{}")).await;
    let kick = Package::new(PackageKind::Kick, &b"{\"reason\":\"attack\"}"[..]);
    assert_eq!(socket.until_closed().await, (vec![kick], Some(1000)));
}

#[tokio::test]
async fn codes_and_unused_bits_are_understood() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.working().await;
    // `connector.entryHandler.enter` by its code, then with the bit for gzip, which no server ever
    // supported.
    for (id, body) in [(5, &b"\x01\x05\x00\x03{}"[..]), (6, b"\x11\x06\x00\x03{}")] {
        socket.send(package(4, body)).await;
        assert_eq!(socket.response().await, (id, json!({ "code": 200 })));
    }
}

#[tokio::test]
async fn a_frame_may_carry_several_packages() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.open().await;
    socket.send([hello(), ack(), request(4, routes::ENTER, b"{}"), request(5, routes::SEND, b"{}")].concat()).await;
    assert_eq!(socket.response().await.0, 4);
    assert_eq!(socket.response().await.0, 5);
}

#[tokio::test]
async fn a_text_frame_is_taken_for_its_bytes() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.open().await;
    socket.send_frame(Frame::Text(String::from_utf8(hello()).unwrap().into())).await;
    socket.expect(PackageKind::Handshake).await;
}
