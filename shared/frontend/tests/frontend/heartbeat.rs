//! Handshakes and heartbeats.

use std::time::Duration;

use frontend::routes;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Frame;
use wire::PackageKind;

use crate::fixture::FrontendFixture;
use crate::socket::{ack, heartbeat, hello, notify};

/// A tenth of the shortest time-out that can be set.
const OFTEN: Duration = Duration::from_millis(200);

#[tokio::test]
async fn the_handshake_has_interval_and_codes() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.open().await;
    socket.send(hello()).await;
    let response: Value = serde_json::from_slice(&socket.expect(PackageKind::Handshake).await).unwrap();
    assert_eq!((&response["code"], &response["sys"]["heartbeat"]), (&json!(200), &json!(30)));
    assert_eq!(response["sys"]["dict"][routes::ENTER], json!(3));
    assert_eq!(fixture.role.opened_and_closed(), (0, 0), "nothing can be sent before the ack");
}

#[tokio::test]
async fn each_heartbeat_gets_one_back() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.working().await;
    for _ in 0..3 {
        socket.send(heartbeat()).await;
    }
    for _ in 0..3 {
        socket.expect(PackageKind::Heartbeat).await;
    }
    socket.receives_only_the_response(9).await;
}

#[tokio::test]
async fn without_heartbeats_there_are_none() {
    let fixture = FrontendFixture::with(|options| options.heartbeat_secs = 0).await;
    let mut socket = fixture.open().await;
    socket.send(hello()).await;
    let response: Value = serde_json::from_slice(&socket.expect(PackageKind::Handshake).await).unwrap();
    assert!(response["sys"].is_object() && response["sys"].get("heartbeat").is_none(), "{response}");
    socket.send(ack()).await;
    socket.send(heartbeat()).await;
    socket.receives_only_the_response(9).await;
}

#[tokio::test]
async fn only_the_silent_are_closed() {
    let fixture = FrontendFixture::with(|options| options.heartbeat_secs = 1).await;
    // In this order: a session that only counted messages at the beginning would be closed before
    // the silent one.
    let mut speaks = fixture.entered().await;
    let mut pings = fixture.entered().await;
    let mut beats = fixture.entered().await;
    let mut silent = fixture.entered().await;
    let signs = async {
        let mut often = tokio::time::interval(OFTEN);
        loop {
            often.tick().await;
            speaks.send(notify("a.b.c", b"{}")).await;
            pings.send_frame(Frame::Ping("".into())).await;
            beats.send(heartbeat()).await;
        }
    };
    let end = tokio::select! {
        end = silent.until_closed() => end,
        () = signs => panic!("it never ends"),
    };
    assert_eq!(end, (Vec::new(), Some(1000)), "no kick");
    assert_eq!(fixture.metrics.sessions_closed_timeout.get(), 1);
    for (what, socket) in [("data", &mut speaks), ("pings", &mut pings), ("heartbeats", &mut beats)] {
        assert_eq!(socket.request_json(9, routes::ENTER, b"{}").await["code"], json!(200), "{what}");
    }
}
