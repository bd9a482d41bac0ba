//! Limits of one session, and that the other sessions do not notice when it exceeds them.

use frontend::routes;
use serde_json::json;
use testkit::eventually;
use tokio_tungstenite::tungstenite::Message as Frame;
use wire::{Message, Package, PackageKind};

use crate::fixture::{DEADLINE, FrontendFixture};
use crate::socket::{heartbeat, notify, package, request};

fn kick(reason: &str) -> Package {
    Package::new(PackageKind::Kick, json!({ "reason": reason }).to_string())
}

#[tokio::test]
async fn more_may_be_sent_after_entering() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.entered().await;
    assert_eq!(socket.request_json(2, routes::ENTER, &[b' '; 60_000]).await["code"], json!(200));
    socket.send(package(4, &[0; 64 * 1024 + 1])).await;
    assert_eq!(socket.until_closed().await, (Vec::new(), Some(1000)));
    assert_eq!(fixture.metrics.sessions_closed_bad_input.get(), 1);
}

/// Such a frame is refused by its head already: the client may find the connection cut before it
/// reads the close.
#[tokio::test]
async fn frames_over_the_websockets_own_limit_close_and_are_counted() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.entered().await;
    socket.send(package(4, &[0; 300 * 1024])).await;
    assert_eq!(socket.until_closed().await.0, []);
    eventually(DEADLINE, "a count", async || fixture.metrics.sessions_closed_bad_input.get() == 1).await;
}

#[tokio::test]
async fn text_that_is_none_closes_and_is_counted() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.working().await;
    let frame = tokio_tungstenite::tungstenite::protocol::frame::Frame::message(
        vec![0xff, 0xfe],
        tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode::Data(
            tokio_tungstenite::tungstenite::protocol::frame::coding::Data::Text,
        ),
        true,
    );
    socket.send_frame(Frame::Frame(frame)).await;
    assert_eq!(socket.until_closed().await.0, []);
    eventually(DEADLINE, "a count", async || fixture.metrics.sessions_closed_bad_input.get() == 1).await;
}

#[tokio::test]
async fn a_plain_disconnect_is_not_counted_as_bad() {
    let fixture = FrontendFixture::start().await;
    drop(fixture.entered().await);
    eventually(DEADLINE, "the end", async || fixture.role.opened_and_closed() == (1, 1)).await;
    assert_eq!(fixture.metrics.sessions_closed_bad_input.get(), 0);
}

#[tokio::test]
async fn requests_over_the_rate_are_answered_429_and_notifies_dropped() {
    let fixture = FrontendFixture::with(|options| {
        options.session.requests_per_sec = 1;
        options.session.request_burst = 15;
    })
    .await;
    let mut socket = fixture.working().await;
    for id in 1..=3 {
        assert_eq!(socket.request_json(id, routes::ENTER, b"{}").await["code"], json!(200));
    }
    socket.send([notify(routes::ENTER, b"{}"), request(4, routes::ENTER, b"{}")].concat()).await;
    let (id, refusal) = socket.response().await;
    assert_eq!((id, &refusal["code"]), (4, &json!(429)));
    assert!(refusal["reason"].as_str().unwrap().starts_with("rate"));
    assert_eq!(fixture.role.requests().len(), 3);
    assert_eq!(fixture.metrics.requests_refused_overload.get(), 2);
}

#[tokio::test]
async fn bodies_that_wait_have_a_limit_in_bytes() {
    let fixture = FrontendFixture::with(|options| options.frontend.max_queued_bytes = 1_000).await;
    let (mut ann, mut bob) = (fixture.entered().await, fixture.entered().await);
    fixture.role.set_waiting(true);
    let body = |bytes| vec![b'x'; bytes];
    assert_eq!(ann.request_json(1, routes::ENTER, &body(600)).await["code"], 200);
    let refusal = bob.request_json(1, routes::ENTER, &body(401)).await;
    assert_eq!(refusal["code"], 429);
    assert!(refusal["reason"].as_str().unwrap().starts_with("too-many-requests"));
    bob.send(notify(routes::ENTER, &body(401))).await;
    assert_eq!(bob.request_json(2, routes::ENTER, &body(400)).await["code"], 200);
    let requests = fixture.role.requests().len();
    fixture.role.set_waiting(false);
    assert_eq!(bob.request_json(3, routes::ENTER, &body(1_000)).await["code"], 200);
    assert_eq!((requests, fixture.role.requests().len()), (4, 5), "what is refused does not reach the role");
    let refused = &fixture.metrics.requests_refused_overload;
    assert_eq!((refused.queued_bytes.get(), refused.get()), (2, 2));
}

fn few(options: &mut frontend::Options) {
    options.session.requests_per_sec = 1;
    options.session.request_burst = 1;
}

#[tokio::test]
async fn a_flood_is_kicked_and_counted_once() {
    let fixture = FrontendFixture::with(few).await;
    let mut socket = fixture.working().await;
    socket.send(heartbeat().repeat(1_000)).await;
    assert_eq!(socket.until_closed().await, (vec![kick("flood")], Some(1000)));
    assert_eq!(fixture.metrics.sessions_closed_bad_input.get(), 1);
}

#[tokio::test]
async fn pings_can_be_a_flood_too() {
    let fixture = FrontendFixture::with(few).await;
    let mut socket = fixture.working().await;
    for _ in 0..100 {
        socket.send_frame(Frame::Ping("x".into())).await;
    }
    assert_eq!(socket.until_closed().await, (vec![kick("flood")], Some(1000)));
    assert_eq!(fixture.metrics.sessions_closed_bad_input.get(), 1);
}

#[tokio::test]
async fn no_client_is_kicked_before_the_handshake() {
    let fixture = FrontendFixture::with(few).await;
    let mut socket = fixture.open().await;
    socket.send(heartbeat().repeat(100)).await;
    assert_eq!(socket.until_closed().await, (Vec::new(), Some(1000)));
    assert_eq!(fixture.metrics.sessions_closed_bad_input.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_consumer_is_closed_and_the_others_receive_all() {
    let fixture = FrontendFixture::with(|options| {
        options.session.max_outbound_bytes = 256 * 1024;
        options.session.requests_per_sec = 100_000;
        options.session.request_burst = 100_000;
    })
    .await;
    let deaf = fixture.entered().await;
    let mut speaks = fixture.entered().await;
    let text = vec![b'x'; 16_000];
    let mut sent = 0;
    // The system's own buffers fill first: some megabytes.
    while fixture.metrics.sessions_closed_slow.get() == 0 {
        sent += 1;
        assert!(sent < 5_000, "the deaf client was never closed");
        speaks.send(request(sent, routes::SEND, &text)).await;
        let received = Message::decode(&speaks.expect(PackageKind::Data).await).unwrap();
        assert!(matches!(received, Message::Push { .. }), "{received:?}");
        assert_eq!(speaks.response().await.0, sent);
    }
    assert_eq!(fixture.metrics.sessions_closed_slow.get(), 1);
    assert_eq!(speaks.request_json(9, routes::ENTER, b"{}").await["code"], json!(200));
    drop(deaf);
    eventually(DEADLINE, "the end of the deaf", async || fixture.role.opened_and_closed() == (2, 1)).await;
    // Its name is held, so that it can come back by its token.
    assert_eq!(fixture.role.endings(), [frontend::Ending::Lost]);
}

/// A quiet client is written to at once. One to whom much is written gets it in order, in fewer
/// frames than there are packages, and what waits goes out before the close.
#[tokio::test]
async fn writes_are_held_where_there_are_many() {
    const PACKAGES: u64 = 60;
    let fixture = FrontendFixture::with(|options| options.frontend.write_gap_ms = 100).await;
    let mut socket = fixture.entered().await;
    let write_queue = fixture.role.write_queues().remove(0);
    let before = fixture.metrics.frames_sent.get();
    for number in 0..PACKAGES {
        write_queue.push(package(4, &number.to_be_bytes()).into()).unwrap();
        // Its own task writes what may be written.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    write_queue.close();
    let (packages, code) = socket.until_closed().await;
    let numbers: Vec<u64> = packages.iter().map(|p| u64::from_be_bytes(p.body[..].try_into().unwrap())).collect();
    assert_eq!((numbers, code), ((0..PACKAGES).collect(), Some(1000)));
    let frames = fixture.metrics.frames_sent.get() - before;
    assert!((2..PACKAGES / 2).contains(&frames), "{frames} frames");
}
