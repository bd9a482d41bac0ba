//! Every limit: a client beyond it gets a clear response or a clean close, and no other client
//! notices.

use client::{ChatClient, ClientError, Event, Options, routes};
use model::settings::Forbidden;
use serde_json::json;
use testkit::{HttpResponse, eventually, http_get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::test_cluster::{DEADLINE, Setup, code};
use crate::{on_both_buses, on_other_transports};

on_both_buses! {
    content_is_measured_as_it_is_sent,
    forbidden_words_are_masked,
    requests_have_a_rate,
    rooms_have_a_most,
    names_have_a_form,
    packages_have_a_size,
    a_client_that_reads_nothing_is_closed,
    a_client_that_sends_nothing_is_closed,
    a_client_that_enters_no_room_is_closed,
    pages_of_others_are_refused,
    the_gate_answers_over_http,
    servers_have_a_most,
}

on_other_transports! {
    requests_have_a_rate,
    rooms_have_a_most,
    a_client_that_enters_no_room_is_closed,
}

async fn content_is_measured_as_it_is_sent(setup: Setup) {
    let test = setup.start().await;
    let mut ann = test.join("ann", "lobby").await;
    // Twelve bytes each, as escapes.
    assert_eq!(code(ann.chat.send(&"😀".repeat(16 * 1024 / 12 + 1)).await), 413);
    let longest = "😀".repeat(16 * 1024 / 12);
    ann.send(&longest).await;
    assert_eq!(ann.next_message().await.1, longest);
    test.cluster.stop().await;
}

async fn forbidden_words_are_masked(setup: Setup) {
    let setup = setup.with(|settings| {
        settings.room.forbidden_words = vec!["durian".to_owned()];
        settings.room.forbidden = Forbidden::Mask;
    });
    let test = setup.start().await;
    let mut ann = test.join("ann", "lobby").await;
    ann.send("no Durian here").await;
    assert_eq!(ann.next_message().await.1, "no ****** here");
    test.cluster.stop().await;
}

async fn requests_have_a_rate(setup: Setup) {
    let setup = setup.with(|settings| {
        settings.session.requests_per_sec = 1;
        settings.session.request_burst = 10;
    });
    let test = setup.start().await;
    let ann = test.join("ann", "lobby").await;
    let responses: Vec<_> = (0..10).map(|_| ann.chat.send("again")).collect();
    let mut refused = 0;
    for response in responses {
        match response.await {
            Ok(_) => {}
            Err(ClientError::Refused { code: 429, .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((5..=6).contains(&refused), "{refused} of 10 were refused");
    test.cluster.stop().await;
}

async fn rooms_have_a_most(setup: Setup) {
    let test = setup.with(|settings| settings.room.max_members = 2).start().await;
    let _ann = test.join("ann", "lobby").await;
    let bob = test.join("bob", "lobby").await;
    let (cid, _events) = test.connect(0).await;
    assert_eq!(code(cid.enter("cid", "lobby").await), 500);
    bob.chat.leave().await.unwrap();
    cid.enter("cid", "lobby").await.unwrap();
    test.cluster.stop().await;
}

async fn names_have_a_form(setup: Setup) {
    let test = setup.start().await;
    let (ann, _events) = test.connect(0).await;
    let long = "x".repeat(65);
    for bad in ["", "*", "a*b", "line\nbreak", long.as_str()] {
        assert_eq!(code(ann.enter(bad, "lobby").await), 500, "{bad:?} as a name");
        assert_eq!(code(ann.enter("ann", bad).await), 500, "{bad:?} as a room");
    }
    for room in ["a.b", "> all", "100 %", "聊天室", "😀", "..", "a b"] {
        let entered = ann.enter("ann", room).await.unwrap();
        assert_eq!(entered.users, ["ann"], "{room}");
        ann.send("hi").await.unwrap();
    }
    test.cluster.stop().await;
}

async fn packages_have_a_size(setup: Setup) {
    let test = setup.start().await;
    let (early, mut events) = test.connect(0).await;
    early.notify(routes::SEND, &json!({ "content": "x".repeat(5_000) })).unwrap();
    assert_eq!(events.next().await, Some(Event::Closed), "more than 4 KiB before entering");
    let mut ann = test.join("ann", "lobby").await;
    ann.send(&"x".repeat(5_000)).await;
    assert_eq!(ann.next_message().await.1.len(), 5_000);
    // The client library sends no such package.
    let body = json!({ "content": "x".repeat(70_000), "target": "*" }).to_string();
    let package = wire::Message::Notify { route: wire::RouteRef::Text(routes::SEND.to_owned()), body: body.into() };
    ann.chat.send_raw(package.encode_package().unwrap()).unwrap();
    assert_eq!(ann.next_event().await, Event::Closed, "more than 64 KiB");
    assert_eq!(test.cluster.metrics().sessions_closed_bad_input.get(), 2);
    test.cluster.stop().await;
}

async fn a_client_that_reads_nothing_is_closed(setup: Setup) {
    let setup = setup.with(|settings| {
        settings.session.max_outbound_bytes = 256 * 1024;
        settings.session.requests_per_sec = 10_000;
        settings.session.request_burst = 10_000;
    });
    let test = setup.start().await;
    // The client library stops reading when its event queue is full. Here a raw socket never reads.
    let stalled = stalled_member(&test.connector(0)).await;
    let mut bob = test.join_at(0, "bob", "lobby").await;
    let text = "x".repeat(16_000);
    let metrics = test.cluster.metrics().clone();
    for round in 0..2_000 {
        bob.send(&text).await;
        bob.next_message().await;
        if metrics.sessions_closed_slow.get() > 0 {
            break;
        }
        assert!(round < 1_999, "the stalled client was never closed");
    }
    loop {
        if bob.next_event().await == Event::Leave("stalled".to_owned()) {
            break;
        }
    }
    drop(stalled);
    test.cluster.stop().await;
}

/// A member that never reads again.
async fn stalled_member(
    address: &str,
) -> tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>> {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/")).await.unwrap();
    let handshake = wire::Package::new(wire::PackageKind::Handshake, &b"{\"sys\":{}}"[..]).encode().unwrap();
    let ack = wire::Package::empty(wire::PackageKind::HandshakeAck).encode().unwrap();
    let route = wire::RouteRef::Text(routes::ENTER.to_owned());
    let body = r#"{"username":"stalled","rid":"lobby"}"#.into();
    let enter = wire::Message::Request { id: 1, route, body }.encode_package().unwrap();
    for package in [handshake, ack, enter] {
        futures_util::SinkExt::send(&mut socket, Message::Binary(package)).await.unwrap();
    }
    socket
}

async fn a_client_that_enters_no_room_is_closed(setup: Setup) {
    let test = setup.with(|settings| settings.frontend.enter_secs = 1).start().await;
    let (_chat, mut events) = test.connect(0).await;
    let mut bob = test.join("bob", "lobby").await;
    assert_eq!(tokio::time::timeout(DEADLINE, events.next()).await.unwrap(), Some(Event::Closed));
    bob.send("I am in").await;
    assert_eq!(bob.next_message().await.1, "I am in");
    test.cluster.stop().await;
}

async fn servers_have_a_most(setup: Setup) {
    let test = setup.with(|settings| settings.frontend.max_connections = 2).start().await;
    let first = test.connect(0).await;
    let _second = test.connect(0).await;
    let refused = ChatClient::connect(&test.connector(0), Options::default()).await;
    assert!(matches!(refused, Err(ClientError::Connect { .. })), "{refused:?}");
    first.0.close();
    let address = test.connector(0);
    eventually(DEADLINE, "room for another client", async || {
        ChatClient::connect(&address, Options::default()).await.is_ok()
    })
    .await;
    test.cluster.stop().await;
}

/// Neither a silent TCP connection, nor a websocket without a handshake, nor half an HTTP request
/// stays.
async fn a_client_that_sends_nothing_is_closed(setup: Setup) {
    let test = setup.with(|settings| settings.frontend.handshake_secs = 1).start().await;
    let address = test.connector(0);
    for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut silent = TcpStream::connect(&address).await.unwrap();
        silent.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(DEADLINE, silent.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "still open after {beginning:?}");
    }
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/")).await.unwrap();
    let close = tokio::time::timeout(DEADLINE, futures_util::StreamExt::next(&mut socket)).await.unwrap();
    assert!(matches!(close, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1000));
    let metrics = test.cluster.metrics();
    eventually(DEADLINE, "all to be gone", async || metrics.connections.get() == 0).await;
    test.cluster.stop().await;
}

async fn pages_of_others_are_refused(setup: Setup) {
    let test = setup.start().await;
    let connect = async |origin: &str| {
        let mut request = format!("ws://{}/", test.connector(0)).into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        tokio_tungstenite::connect_async(request).await
    };
    assert!(connect("http://localhost:8000").await.is_ok());
    let refused = connect("http://evil.example").await;
    assert!(matches!(refused, Err(tungstenite::Error::Http(response)) if response.status() == 403));
    assert_eq!(test.cluster.metrics().connections_refused.get(), 1);
    test.cluster.stop().await;
}

/// The status line and the body of an answer to a GET.
async fn get(address: &str, path: &str) -> (String, String) {
    let HttpResponse { head, body, .. } = http_get(address, path, &[&format!("Host: {address}")]).await.unwrap();
    (head.lines().next().unwrap().to_owned(), body)
}

async fn the_gate_answers_over_http(setup: Setup) {
    let test = setup.start().await;
    let (status, body) = get(&test.gate(), "/entry?uid=alice").await;
    let port: u16 = test.connector(2).rsplit_once(':').unwrap().1.parse().unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK");
    let entry: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(entry, json!({ "code": 200, "host": "127.0.0.1", "port": port }));
    for path in ["/entry", "/entry?uid="] {
        let (status, body) = get(&test.gate(), path).await;
        assert_eq!(status, "HTTP/1.1 400 Bad Request");
        assert!(body.contains("\"code\":500") && body.contains("bad-uid"), "{body}");
    }
    assert_eq!(get(&test.connector(0), "/").await.0, "HTTP/1.1 426 Upgrade Required");
    test.cluster.stop().await;
}
