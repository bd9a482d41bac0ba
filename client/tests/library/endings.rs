//! Ends of connections, and the errors that callers get.

use std::time::Duration;

use client::{ClientError, Event, Options};
use tokio_tungstenite::tungstenite::Message as Frame;
use wire::{Kick, Package, PackageKind};

use crate::fake::{Peer, connected, connected_with, soon};

const CLOSED: ClientError = ClientError::Closed { kick: None };

#[tokio::test]
async fn a_kick_is_an_event_and_the_reason_of_what_fails() {
    let (ann, mut events, mut peer) = connected(Options::default()).await;
    let waiting = ann.send("hi");
    peer.request().await;
    peer.send(Kick { reason: "slow 😀".to_owned() }.to_package().unwrap()).await;
    drop(peer);
    let kicked = ClientError::Closed { kick: Some("slow 😀".to_owned()) };
    assert_eq!(soon("the failure", waiting).await, Err(kicked.clone()));
    assert_eq!(events.next().await, Some(Event::Kicked("slow 😀".to_owned())));
    assert_eq!(soon("the end", events.next()).await, Some(Event::Closed));
    assert_eq!(events.next().await, None);
    assert_eq!(ann.send("again").await, Err(kicked));
}

async fn ends_when(what: &str, end: impl AsyncFnOnce(Peer)) {
    let (ann, mut events, mut peer) = connected(Options::default()).await;
    let waiting = [ann.send("one"), ann.send("two")];
    peer.request().await;
    end(peer).await;
    for response in waiting {
        assert_eq!(soon(what, response).await, Err(CLOSED), "{what}");
    }
    assert_eq!(soon(what, events.next()).await, Some(Event::Closed), "{what}");
    assert_eq!(ann.send("after the end").await, Err(CLOSED), "{what}");
}

#[tokio::test]
async fn the_end_of_the_connection_fails_what_waits() {
    ends_when("the server closes", async |mut peer| {
        peer.send_frame(Frame::Close(None)).await.unwrap();
        peer.gone().await;
    })
    .await;
    ends_when("the socket is gone", async |peer| drop(peer)).await;
}

#[tokio::test]
async fn bytes_that_are_no_protocol_end_the_connection() {
    let message = |body: &'static [u8]| Package::new(PackageKind::Data, body).encode().unwrap().to_vec();
    let cases: [(&str, Vec<u8>); 11] = [
        ("no bytes", vec![]),
        ("half a head", vec![4, 0]),
        ("a cut body", vec![4, 0, 0, 9, b'{']),
        ("16 MiB declared", vec![4, 255, 255, 255]),
        ("type 9", vec![9, 0, 0, 0]),
        ("random bytes", vec![0xde, 0xad, 0xbe, 0xef, 1, 2, 3]),
        ("an empty message", message(b"")),
        ("an answer that ends in its id", message(&[4, 0x80])),
        ("a push with a cut route", message(&[6, 200, b'a'])),
        ("a push with a code and no dictionary", message(&[7, 0, 1, b'{', b'}'])),
        ("a kick without a reason", Package::empty(PackageKind::Kick).encode().unwrap().to_vec()),
    ];
    for (what, bytes) in cases {
        ends_when(what, async |mut peer| {
            peer.send_raw(bytes).await;
            peer.gone().await;
        })
        .await;
    }
}

#[tokio::test]
async fn frames_that_never_end_are_not_waited_for() {
    ends_when("a frame larger than any", async |mut peer| {
        // The client may close before all is written.
        peer.send_frame(Frame::Binary(vec![0; 20 << 20].into())).await.ok();
        peer.gone().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stops_its_heartbeats_is_given_up() {
    let (ann, mut events, mut peer) = connected_with(Options::default(), 1, None).await;
    let waiting = ann.send("hi");
    peer.send(Package::empty(PackageKind::Heartbeat)).await;
    let silence = tokio::time::Instant::now();
    assert_eq!(soon("the end", waiting).await, Err(CLOSED));
    assert!(silence.elapsed() >= Duration::from_secs(2), "two intervals are fine");
    assert_eq!(soon("the end", events.next()).await, Some(Event::Closed));
}

#[tokio::test]
async fn a_server_that_stops_reading_is_given_up() {
    let timeout = Duration::from_millis(300);
    let options = Options { request_timeout: timeout, max_body: usize::MAX, ..Options::default() };
    let (ann, mut events, _peer) = connected(options).await;
    // More than sockets buffer.
    let responses: Vec<_> = (0..16).map(|_| ann.send(&"x".repeat(1024 * 1024))).collect();
    for response in responses {
        let response = soon("a failure", response).await;
        assert!(matches!(response, Err(ClientError::TimedOut | ClientError::Closed { .. })), "{response:?}");
    }
    assert_eq!(soon("the end", events.next()).await, Some(Event::Closed));
}

#[tokio::test]
async fn closing_sends_what_is_queued_first() {
    let (ann, mut events, mut peer) = connected(Options::default()).await;
    let pending = ann.send("last words");
    ann.close();
    assert_eq!(peer.request().await.2["content"], "last words");
    peer.gone().await;
    assert_eq!(soon("the failure", pending).await, Err(CLOSED));
    assert_eq!(soon("the end", events.next()).await, Some(Event::Closed));
}

#[tokio::test]
async fn the_last_handle_ends_the_connection() {
    let (ann, mut events, mut peer) = connected(Options::default()).await;
    let again = ann.clone();
    drop(ann);
    let waiting = again.send("still open");
    let (id, ..) = peer.request().await;
    peer.respond(id, "{\"seq\":1,\"time\":1}").await;
    waiting.await.unwrap();
    drop(again);
    peer.gone().await;
    assert!(matches!(soon("the end", events.next()).await, None | Some(Event::Closed)));
}
