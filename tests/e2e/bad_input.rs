//! Bytes that are not the protocol, while a thousand others chat and notice nothing.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use wire::{Message, Package, PackageKind, RouteRef};

use crate::on_both_buses;
use crate::test_cluster::{DEADLINE, Member, Setup, TestCluster};

/// Others, in rooms of ten.
const OTHERS: usize = 1_000;

on_both_buses! {
    a_thousand_others_notice_nothing,
}

/// A connection, and the packages of a frame that were not looked at yet.
struct Socket {
    stream: WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
    packages: VecDeque<Package>,
}

/// The outcome of a row of the tables.
#[derive(Debug)]
enum Outcome {
    /// The connection is closed with code 1000, without a word.
    Closed,
    /// A handshake package with code 500, then the close.
    Refused,
    /// A kick with this reason, then the close.
    Kicked(&'static str),
    /// Nothing: what follows is answered as ever.
    Ignored,
    /// An answer with this code to the request with id 7.
    Answered(u64),
}

fn package(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

fn data(body: &[u8]) -> Vec<u8> {
    package(4, body)
}

fn request(route: &str) -> Vec<u8> {
    request_with(route, b"{}")
}

fn request_with(route: &str, body: &[u8]) -> Vec<u8> {
    let route = RouteRef::Text(route.to_owned());
    let message = Message::Request { id: 7, route, body: Bytes::copy_from_slice(body) };
    message.encode_package().unwrap().to_vec()
}

/// Rows for a connection that sent nothing yet.
fn before_the_handshake() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    vec![
        ("type 0", package(0, b""), Outcome::Closed),
        ("type 6", package(6, b""), Outcome::Closed),
        ("type 255", package(255, b""), Outcome::Closed),
        ("a kick from a client", package(5, b"{}"), Outcome::Closed),
        ("no bytes at all", Vec::new(), Outcome::Closed),
        ("half a head", vec![1, 0], Outcome::Closed),
        ("a cut body", vec![1, 0, 0, 9, b'{'], Outcome::Closed),
        ("trailing bytes", [package(3, b""), vec![3]].concat(), Outcome::Closed),
        ("16 MiB declared", vec![4, 255, 255, 255], Outcome::Closed),
        ("random bytes", vec![0xde, 0xad, 0xbe, 0xef, 1, 2, 3], Outcome::Closed),
        ("a handshake that is no JSON", package(1, b"{"), Outcome::Refused),
        ("an empty handshake", package(1, b""), Outcome::Refused),
        ("a handshake without sys", package(1, b"{\"user\":1}"), Outcome::Refused),
        ("data before the handshake", data(b"\x02\x03a.b{}"), Outcome::Ignored),
        ("a heartbeat before the handshake", package(3, b""), Outcome::Ignored),
        ("an ack before the handshake", package(2, b""), Outcome::Ignored),
    ]
}

/// Rows for a connection that is in a room.
fn in_a_room() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    vec![
        ("type 9", package(9, b""), Outcome::Closed),
        ("two packages and half a one", [package(3, b""), package(3, b""), vec![4, 0]].concat(), Outcome::Closed),
        ("an empty data package", data(b""), Outcome::Closed),
        ("a request that ends in its id", data(&[0, 0x80]), Outcome::Closed),
        ("an id of six bytes", data(&[0, 255, 255, 255, 255, 255, 1]), Outcome::Closed),
        ("a route that is cut", data(&[2, 200, b'a']), Outcome::Closed),
        ("a code that is cut", data(&[3, 0]), Outcome::Closed),
        ("constructor", request("chat.chatHandler.constructor"), Outcome::Kicked("attack")),
        ("a second handshake", package(1, b"{\"sys\":{}}"), Outcome::Ignored),
        ("a heartbeat with a body", package(3, b"hello"), Outcome::Ignored),
        ("a response from a client", data(b"\x04\x07{}"), Outcome::Ignored),
        ("message type 5", data(b"\x0a\x07{}"), Outcome::Ignored),
        ("message type 7", data(b"\x0e\x07{}"), Outcome::Ignored),
        ("an unknown code", data(&[1, 7, 99, 99, b'{', b'}']), Outcome::Ignored),
        ("a notify to nowhere", data(b"\x02\x07a.b.c.d{}"), Outcome::Ignored),
        ("a request with id 0", data(b"\x00\x00\x05a.b.c{}"), Outcome::Ignored),
        ("a push from a client", data(b"\x06\x05a.b.c{}"), Outcome::Ignored),
        ("an unknown method", request("chat.chatHandler.nothing"), Outcome::Answered(500)),
        ("an unknown handler", request("chat.nothing.send"), Outcome::Answered(500)),
        ("an unknown server type", request("area.areaHandler.walk"), Outcome::Answered(500)),
        ("two parts", request("a.b"), Outcome::Answered(500)),
        ("four parts", request("a.b.c.d"), Outcome::Answered(500)),
        ("no dot", request("noroute"), Outcome::Answered(500)),
        ("an empty route", request(""), Outcome::Answered(500)),
        ("toString", request("chat.chatHandler.toString"), Outcome::Answered(500)),
        ("no body", request_with("chat.chatHandler.send", b""), Outcome::Answered(500)),
        ("bad JSON", request_with("chat.chatHandler.send", b"{\"content"), Outcome::Answered(500)),
        ("a number as body", request_with("chat.chatHandler.send", b"7"), Outcome::Answered(500)),
        ("an array as body", request_with("chat.chatHandler.send", b"[{}]"), Outcome::Answered(500)),
        ("deep nesting", request_with("chat.chatHandler.send", &[b'['; 50_000]), Outcome::Answered(500)),
        ("not UTF-8", request_with("chat.chatHandler.send", &[0xff, 0xfe]), Outcome::Answered(500)),
        ("the gzip bit", gzip_bit(), Outcome::Answered(200)),
    ]
}

/// A plain message with the bit set that Pomelo parses and ignores.
fn gzip_bit() -> Vec<u8> {
    let mut package = request_with("chat.chatHandler.send", b"{\"content\":\"hi\",\"target\":\"*\"}");
    package[4] |= 0x10;
    package
}

async fn a_thousand_others_notice_nothing(setup: Setup) {
    let setup = setup.with(|settings| settings.frontend.heartbeat_secs = 60);
    let test = setup.start().await;
    let mut others = Vec::new();
    for number in 0..OTHERS {
        others.push(test.join_at(0, &format!("p{number}"), &format!("room-{}", number / 10)).await);
    }
    for (what, bytes, then) in before_the_handshake() {
        let socket = open(&test).await;
        check(socket, what, bytes, then, handshake()).await;
    }
    for (number, (what, bytes, then)) in in_a_room().into_iter().enumerate() {
        let socket = enter(&test, number).await;
        check(socket, what, bytes, then, Vec::new()).await;
    }
    all_others_receive(&mut others).await;
    test.cluster.stop().await;
}

async fn open(test: &TestCluster) -> Socket {
    let (stream, _) = tokio_tungstenite::connect_async(format!("ws://{}/any/path", test.connector(0))).await.unwrap();
    Socket { stream, packages: VecDeque::new() }
}

fn handshake() -> Vec<u8> {
    package(1, b"{\"sys\":{}}")
}

async fn send(socket: &mut Socket, bytes: Vec<u8>) {
    // The server may close the connection meanwhile. The next read shows that.
    socket.stream.send(Frame::Binary(bytes.into())).await.ok();
}

/// In a room of its own, with the answers read.
async fn enter(test: &TestCluster, number: usize) -> Socket {
    let mut socket = open(test).await;
    for bytes in [handshake(), package(2, b"")] {
        send(&mut socket, bytes).await;
    }
    let body = json!({ "username": "tester", "rid": format!("test-{number}") }).to_string();
    send(&mut socket, request_with("connector.entryHandler.enter", body.as_bytes())).await;
    assert_eq!(answer(&mut socket).await["code"], json!(200));
    socket
}

/// The next package, or the code of the close.
async fn next(socket: &mut Socket) -> Result<Package, Option<u16>> {
    loop {
        if let Some(package) = socket.packages.pop_front() {
            return Ok(package);
        }
        match socket.stream.next().await {
            Some(Ok(Frame::Binary(frame))) => {
                socket.packages.extend(wire::decode_frame(&frame, wire::MAX_BODY).unwrap());
            }
            Some(Ok(Frame::Close(close))) => return Err(close.map(|close| close.code.into())),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(None),
        }
    }
}

/// The next package of a kind; others are passed over.
async fn next_of(socket: &mut Socket, kind: PackageKind) -> Package {
    loop {
        match next(socket).await {
            Ok(package) if package.kind == kind => return package,
            Ok(_) => {}
            Err(code) => panic!("closed with {code:?}, wanted {kind:?}"),
        }
    }
}

/// The next answer.
async fn answer(socket: &mut Socket) -> Value {
    loop {
        let package = next_of(socket, PackageKind::Data).await;
        if let Message::Response { body, .. } = Message::decode(&package.body).unwrap() {
            return serde_json::from_slice(&body).unwrap();
        }
    }
}

async fn closed(socket: &mut Socket, what: &str) {
    loop {
        match next(socket).await {
            Ok(package) => {
                assert_eq!(package.kind, PackageKind::Heartbeat, "{what}: received {package:?} instead of a close")
            }
            Err(code) => return assert_eq!(code, Some(1000), "{what}"),
        }
    }
}

/// Sends the bytes, and sees that what should follow does; `and_then` is what a connection that
/// ignored them answers to.
async fn check(socket: Socket, what: &str, bytes: Vec<u8>, then: Outcome, and_then: Vec<u8>) {
    let done = tokio::time::timeout(DEADLINE, check_row(socket, what, bytes, then, and_then)).await;
    assert!(done.is_ok(), "{what}: nothing happens");
}

async fn check_row(mut socket: Socket, what: &str, bytes: Vec<u8>, then: Outcome, and_then: Vec<u8>) {
    send(&mut socket, bytes).await;
    match then {
        Outcome::Closed => closed(&mut socket, what).await,
        Outcome::Refused => {
            let package = next_of(&mut socket, PackageKind::Handshake).await;
            assert_eq!(&package.body[..], b"{\"code\":500}", "{what}");
            closed(&mut socket, what).await;
        }
        Outcome::Kicked(reason) => {
            let package = next_of(&mut socket, PackageKind::Kick).await;
            assert_eq!(wire::Kick::parse(&package.body).unwrap().reason, reason, "{what}");
            closed(&mut socket, what).await;
        }
        Outcome::Answered(code) => {
            let response = answer(&mut socket).await;
            assert_eq!(response["code"], json!(code), "{what}: {response}");
        }
        Outcome::Ignored if and_then.is_empty() => {
            send(&mut socket, request_with("chat.chatHandler.send", br#"{"content":"x","target":"*"}"#)).await;
            assert_eq!(answer(&mut socket).await["code"], json!(200), "{what}");
        }
        Outcome::Ignored => {
            send(&mut socket, and_then).await;
            let package = next_of(&mut socket, PackageKind::Handshake).await;
            assert!(package.body.starts_with(b"{\"code\":200"), "{what}");
        }
    }
}

/// The first member of each room sends a message, and all ten receive it, and nothing else but
/// those who joined after them.
async fn all_others_receive(others: &mut [Member]) {
    for room in others.chunks_mut(10) {
        room[0].send("end").await;
        for member in room {
            let received = tokio::time::timeout(Duration::from_secs(60), member.events_before("end")).await.unwrap();
            assert!(received.iter().all(|event| matches!(event, client::Event::Add(_))), "{received:?}");
        }
    }
}
