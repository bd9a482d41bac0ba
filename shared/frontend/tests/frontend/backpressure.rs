//! Backpressure: a role that accepts nothing for a while, and clients that read nothing; the other
//! direction continues.

use std::time::Duration;

use bytes::Bytes;
use frontend::{self, routes};
use serde_json::json;
use testkit::eventually;
use wire::PackageKind;

use crate::fixture::{DEADLINE, FrontendFixture};
use crate::socket::{heartbeat, request};

/// A push with this many bytes of text.
fn push(bytes: usize) -> Bytes {
    model::client_frame::push(routes::ON_CHAT, &json!({ "msg": "x".repeat(bytes) }), None).unwrap()
}

#[tokio::test]
async fn a_session_whose_requests_wait_is_written_to() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.entered().await;
    fixture.role.set_busy(true);
    socket.send([request(2, routes::ENTER, b"{}"), request(3, routes::ENTER, b"{}")].concat()).await;
    assert_eq!(socket.response().await.0, 2);
    // The third one waits behind the second. A push that is written earlier would show nothing.
    let write_queue = fixture.role.write_queues().remove(0);
    for _ in 0..3 {
        write_queue.push(push(10)).unwrap();
        socket.expect(PackageKind::Data).await;
    }
    assert_eq!(fixture.role.requests().len(), 2);
    fixture.role.set_busy(false);
    assert_eq!(socket.response().await.0, 3);
    fixture.role.set_busy(true);
    socket.send(request(4, routes::ENTER, b"{}")).await;
    assert_eq!(socket.response().await.0, 4);
    write_queue.close();
    assert_eq!(socket.until_closed().await.1, Some(1000), "it is closed, too");
}

#[tokio::test]
async fn a_session_whose_requests_wait_has_its_deadlines() {
    let fixture = FrontendFixture::with(|options| options.frontend.enter_secs = 1).await;
    fixture.role.set_busy(true);
    let mut socket = fixture.working().await;
    assert_eq!(socket.until_closed().await, (Vec::new(), Some(1000)));
    assert_eq!(fixture.metrics.sessions_closed_timeout.get(), 1);
    fixture.role.set_busy(false);
    eventually(DEADLINE, "the end", async || fixture.role.opened_and_closed() == (1, 1)).await;
}

/// Silence cannot be detected while nothing is read.
#[tokio::test]
async fn a_session_that_is_not_read_is_not_closed_for_silence() {
    let fixture = FrontendFixture::with(|options| options.heartbeat_secs = 1).await;
    let mut waiting = fixture.entered().await;
    fixture.role.set_busy(true);
    waiting.send(request(2, routes::ENTER, b"{}")).await;
    assert_eq!(waiting.response().await.0, 2);
    // Longer than the silence that closes: two heartbeats.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    fixture.role.set_busy(false);
    assert_eq!(waiting.request_json(3, routes::ENTER, b"{}").await["code"], json!(200));
    assert_eq!(fixture.metrics.sessions_closed_timeout.get(), 0);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_read() {
    let fixture = FrontendFixture::with(|options| options.session.max_outbound_bytes = 256 << 20).await;
    let mut socket = fixture.entered().await;
    let write_queue = fixture.role.write_queues().remove(0);
    // More than both kernels' buffers hold.
    for _ in 0..2_000 {
        write_queue.push(push(16_000)).unwrap();
    }
    for id in 2..20 {
        socket.send([heartbeat(), request(id, routes::ENTER, b"{}")].concat()).await;
        eventually(DEADLINE, "the request", async || fixture.role.requests().len() == id as usize).await;
    }
    assert_eq!(socket.response().await.0, 2, "all is written when the client reads");
}
