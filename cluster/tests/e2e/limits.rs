//! Every limit: who passes it gets a clear answer or a clean close, and nobody else notices.

use client::{ChatClient, ClientError, Event, Options, routes};
use serde_json::json;
use shared::config::settings::Forbidden;
use shared::testing::{HttpAnswer, eventually, http_get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::on_both_buses;
use crate::test_cluster::{DEADLINE, Stage, code};

on_both_buses! {
    content_is_measured_as_it_is_sent,
    forbidden_words_are_masked,
    requests_have_a_rate,
    rooms_have_a_most,
    names_have_a_form,
    packages_have_a_size,
    who_reads_nothing_is_closed,
    who_says_nothing_is_closed,
    who_enters_nothing_is_closed,
    pages_of_others_are_refused,
    the_gate_answers_over_http,
    servers_have_a_most,
}

async fn content_is_measured_as_it_is_sent(stage: Stage) {
    let play = stage.start().await;
    let mut ann = play.person("ann", "lobby").await;
    // Twelve bytes each, as escapes.
    assert_eq!(code(ann.chat.say(&"😀".repeat(16 * 1024 / 12 + 1)).await), 413);
    let longest = "😀".repeat(16 * 1024 / 12);
    ann.say(&longest).await;
    assert_eq!(ann.hears_chat().await.1, longest);
    play.cluster.stop().await;
}

async fn forbidden_words_are_masked(stage: Stage) {
    let stage = stage.with(|settings| {
        settings.room.forbidden_words = vec!["durian".to_owned()];
        settings.room.forbidden = Forbidden::Mask;
    });
    let play = stage.start().await;
    let mut ann = play.person("ann", "lobby").await;
    ann.say("no Durian here").await;
    assert_eq!(ann.hears_chat().await.1, "no ****** here");
    play.cluster.stop().await;
}

async fn requests_have_a_rate(stage: Stage) {
    let stage = stage.with(|settings| {
        settings.session.requests_per_sec = 1;
        settings.session.request_burst = 5;
    });
    let play = stage.start().await;
    let ann = play.person("ann", "lobby").await;
    let answers: Vec<_> = (0..10).map(|_| ann.chat.say("again")).collect();
    let mut refused = 0;
    for answer in answers {
        match answer.await {
            Ok(_) => {}
            Err(ClientError::Refused { code: 429, .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((5..=6).contains(&refused), "{refused} of 10 were refused");
    play.cluster.stop().await;
}

async fn rooms_have_a_most(stage: Stage) {
    let play = stage.with(|settings| settings.room.max_members = 2).start().await;
    let _ann = play.person("ann", "lobby").await;
    let bob = play.person("bob", "lobby").await;
    let (cid, _events) = play.stranger(0).await;
    assert_eq!(code(cid.enter("cid", "lobby").await), 500);
    bob.chat.leave().await.unwrap();
    cid.enter("cid", "lobby").await.unwrap();
    play.cluster.stop().await;
}

async fn names_have_a_form(stage: Stage) {
    let play = stage.start().await;
    let (ann, _events) = play.stranger(0).await;
    let long = "x".repeat(65);
    for bad in ["", "*", "a*b", "line\nbreak", long.as_str()] {
        assert_eq!(code(ann.enter(bad, "lobby").await), 500, "{bad:?} as a name");
        assert_eq!(code(ann.enter("ann", bad).await), 500, "{bad:?} as a room");
    }
    for room in ["a.b", "> all", "100 %", "聊天室", "😀", "..", "a b"] {
        let entered = ann.enter("ann", room).await.unwrap();
        assert_eq!(entered.users, ["ann"], "{room}");
        ann.say("hi").await.unwrap();
    }
    play.cluster.stop().await;
}

async fn packages_have_a_size(stage: Stage) {
    let play = stage.start().await;
    let (early, mut events) = play.stranger(0).await;
    early.notify(routes::SEND, &json!({ "content": "x".repeat(5_000) })).unwrap();
    assert_eq!(events.next().await, Some(Event::Closed), "more than 4 KiB before entering");
    let mut ann = play.person("ann", "lobby").await;
    ann.say(&"x".repeat(5_000)).await;
    assert_eq!(ann.hears_chat().await.1.len(), 5_000);
    // The client library sends no such package.
    let body = json!({ "content": "x".repeat(70_000), "target": "*" }).to_string();
    let package = wire::Message::Notify { route: wire::RouteRef::Text(routes::SEND.to_owned()), body: body.into() };
    ann.chat.send_raw(package.encode_package().unwrap()).unwrap();
    assert_eq!(ann.hears().await, Event::Closed, "more than 64 KiB");
    assert_eq!(play.cluster.metrics().sessions_closed_bad_input.get(), 2);
    play.cluster.stop().await;
}

async fn who_reads_nothing_is_closed(stage: Stage) {
    let stage = stage.with(|settings| {
        settings.session.max_outbound_bytes = 256 * 1024;
        settings.session.requests_per_sec = 10_000;
        settings.session.request_burst = 10_000;
    });
    let play = stage.start().await;
    // A client whose events nobody takes stops reading when its queue is full: here a raw socket that never reads.
    let deaf = deaf_member(&play.connector(0)).await;
    let mut bob = play.person_at(0, "bob", "lobby").await;
    let text = "x".repeat(16_000);
    let metrics = play.cluster.metrics().clone();
    for round in 0..2_000 {
        bob.say(&text).await;
        bob.hears_chat().await;
        if metrics.sessions_closed_slow.get() > 0 {
            break;
        }
        assert!(round < 1_999, "the deaf client was never closed");
    }
    loop {
        if bob.hears().await == Event::Leave("deaf".to_owned()) {
            break;
        }
    }
    drop(deaf);
    play.cluster.stop().await;
}

/// A member that never reads again.
async fn deaf_member(
    address: &str,
) -> tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>> {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/")).await.unwrap();
    let handshake = wire::Package::new(wire::PackageKind::Handshake, &b"{\"sys\":{}}"[..]).encode().unwrap();
    let ack = wire::Package::empty(wire::PackageKind::HandshakeAck).encode().unwrap();
    let route = wire::RouteRef::Text(routes::ENTER.to_owned());
    let body = r#"{"username":"deaf","rid":"lobby"}"#.into();
    let enter = wire::Message::Request { id: 1, route, body }.encode_package().unwrap();
    for package in [handshake, ack, enter] {
        futures_util::SinkExt::send(&mut socket, Message::Binary(package)).await.unwrap();
    }
    socket
}

async fn who_enters_nothing_is_closed(stage: Stage) {
    let play = stage.with(|settings| settings.frontend.enter_secs = 1).start().await;
    let (_chat, mut events) = play.stranger(0).await;
    let mut bob = play.person("bob", "lobby").await;
    assert_eq!(tokio::time::timeout(DEADLINE, events.next()).await.unwrap(), Some(Event::Closed));
    bob.say("I am in").await;
    assert_eq!(bob.hears_chat().await.1, "I am in");
    play.cluster.stop().await;
}

async fn servers_have_a_most(stage: Stage) {
    let play = stage.with(|settings| settings.frontend.max_connections = 2).start().await;
    let first = play.stranger(0).await;
    let _second = play.stranger(0).await;
    let refused = ChatClient::connect(&play.connector(0), Options::default()).await;
    assert!(matches!(refused, Err(ClientError::Connect { .. })), "{refused:?}");
    first.0.close();
    let address = play.connector(0);
    eventually(DEADLINE, "room for another client", async || {
        ChatClient::connect(&address, Options::default()).await.is_ok()
    })
    .await;
    play.cluster.stop().await;
}

/// Neither a silent TCP connection, nor a websocket without a handshake, nor half an HTTP request stays.
async fn who_says_nothing_is_closed(stage: Stage) {
    let play = stage.with(|settings| settings.frontend.handshake_secs = 1).start().await;
    let address = play.connector(0);
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
    let metrics = play.cluster.metrics();
    eventually(DEADLINE, "all to be gone", async || metrics.connections.get() == 0).await;
    play.cluster.stop().await;
}

async fn pages_of_others_are_refused(stage: Stage) {
    let play = stage.start().await;
    let connect = async |origin: &str| {
        let mut request = format!("ws://{}/", play.connector(0)).into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        tokio_tungstenite::connect_async(request).await
    };
    assert!(connect("http://localhost:8000").await.is_ok());
    let refused = connect("http://evil.example").await;
    assert!(matches!(refused, Err(tungstenite::Error::Http(response)) if response.status() == 403));
    assert_eq!(play.cluster.metrics().connections_refused.get(), 1);
    play.cluster.stop().await;
}

/// The status line and the body of an answer to a GET.
async fn get(address: &str, path: &str) -> (String, String) {
    let HttpAnswer { head, body, .. } = http_get(address, path, &[&format!("Host: {address}")]).await.unwrap();
    (head.lines().next().unwrap().to_owned(), body)
}

async fn the_gate_answers_over_http(stage: Stage) {
    let play = stage.start().await;
    let (status, body) = get(&play.gate(), "/entry?uid=alice").await;
    let port: u16 = play.connector(2).rsplit_once(':').unwrap().1.parse().unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK");
    let entry: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(entry, json!({ "code": 200, "host": "127.0.0.1", "port": port }));
    for path in ["/entry", "/entry?uid="] {
        let (status, body) = get(&play.gate(), path).await;
        assert_eq!(status, "HTTP/1.1 400 Bad Request");
        assert!(body.contains("\"code\":500") && body.contains("bad-uid"), "{body}");
    }
    assert_eq!(get(&play.connector(0), "/").await.0, "HTTP/1.1 426 Upgrade Required");
    play.cluster.stop().await;
}
