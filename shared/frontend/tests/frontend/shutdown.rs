//! Graceful shutdown: accepted requests get their responses, new ones are not accepted, and no
//! client delays it.

use std::time::Duration;

use frontend::routes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fixture::FrontendFixture;

/// The grace time of these tests: below the deadline of a handshake, so that a wait for that
/// deadline fails the test.
const GRACE: Duration = Duration::from_secs(6);

#[tokio::test]
async fn the_role_closes_its_clients() {
    let fixture = FrontendFixture::start().await;
    let mut socket = fixture.entered().await;
    fixture.lifecycle.begin_stop();
    let write_queue = fixture.role.write_queues().remove(0);
    write_queue.push(frontend::response(7, &serde_json::json!({ "code": 200 }))).unwrap();
    write_queue.close();
    assert_eq!(socket.response().await.0, 7);
    assert_eq!(socket.until_closed().await, (Vec::new(), Some(1000)));
    assert!(fixture.lifecycle.stop(GRACE).await);
    assert_eq!(fixture.role.opened_and_closed(), (1, 1));
}

#[tokio::test]
async fn a_server_without_promises_closes_at_once() {
    let fixture = FrontendFixture::with(|options| options.close_on_stop = true).await;
    let (mut working, mut fresh) = (fixture.working().await, fixture.open().await);
    fixture.lifecycle.begin_stop();
    assert_eq!(working.until_closed().await, (Vec::new(), Some(1000)));
    assert_eq!(fresh.until_closed().await, (Vec::new(), Some(1000)));
    assert!(fixture.lifecycle.stop(GRACE).await);
    assert!(TcpStream::connect(fixture.address).await.is_err());
}

/// A browser opens connections that it may never use, and keeps those that it used.
#[tokio::test]
async fn plain_connections_do_not_delay_shutdown() {
    let fixture = FrontendFixture::start().await;
    let mut idle = Vec::new();
    for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        idle.push(stream);
    }
    testkit::eventually(GRACE, "all to be accepted", async || fixture.metrics.connections.get() == 3).await;
    assert!(fixture.lifecycle.stop(GRACE).await);
}

#[tokio::test]
async fn the_role_sees_the_end_of_a_session_once() {
    let fixture = FrontendFixture::start().await;
    let gone = fixture.entered().await;
    let mut bad = fixture.entered().await;
    let mut leaves = fixture.entered().await;
    drop(gone);
    bad.send(vec![0]).await;
    bad.until_closed().await;
    leaves.stream.close(None).await.unwrap();
    leaves.until_closed().await;
    let mut asks = fixture.entered().await;
    assert_eq!(asks.request_json(2, routes::SEND, b"{}").await["code"], 200);
    fixture.lifecycle.begin_stop();
    fixture.role.write_queues().iter().for_each(frontend::WriteQueue::close);
    asks.until_closed().await;
    assert!(fixture.lifecycle.stop(GRACE).await);
    assert_eq!(fixture.role.opened_and_closed(), (4, 4));
}
