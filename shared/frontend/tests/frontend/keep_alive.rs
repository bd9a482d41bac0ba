//! HTTP connections that clients keep, as load balancers do: closed when they are idle, never in
//! the middle of a request.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use frontend::admin;
use node::tls::ClientTls;
use runtime::lifecycle::Lifecycle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::fixture::{DEADLINE, FrontendFixture};

/// Bytes of the large response: more than the buffers of both kernels.
const LARGE: usize = 32 << 20;

async fn large() -> Vec<u8> {
    vec![b'x'; LARGE]
}

fn router() -> Router {
    Router::new().route("/small", get(async || "yes")).route("/large", get(large))
}

/// Seconds for a head, and between requests.
async fn fixture(handshake: u32, keep_alive: u32) -> FrontendFixture {
    FrontendFixture::with(|options| {
        options.frontend.handshake_secs = handshake;
        options.frontend.keep_alive_secs = keep_alive;
        options.http = Some(router());
    })
    .await
}

const ASK: &[u8] = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n";

/// Reads a response that ends with `yes`.
async fn response(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\nyes") {
        let read = timeout(DEADLINE, stream.read_buf(&mut bytes)).await;
        let read = read.unwrap_or_else(|_| panic!("no answer")).unwrap();
        assert!(read > 0, "closed behind {:?}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8(bytes).unwrap()
}

/// Waits for the close, which must be one in order: a reset is an error.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    assert_eq!(read.unwrap_or_else(|_| panic!("still open")).unwrap(), 0, "{rest:?}");
}

#[tokio::test]
async fn a_connection_outlives_the_deadline_of_a_handshake() {
    let fixture = fixture(1, 60).await;
    let mut kept = TcpStream::connect(fixture.address).await.unwrap();
    for _ in 0..3 {
        kept.write_all(ASK).await.unwrap();
        assert!(!response(&mut kept).await.to_lowercase().contains("connection: close"));
        sleep(Duration::from_millis(1_200)).await;
    }
    assert_eq!(fixture.metrics.sessions_closed_timeout.get(), 0);
    // And ends when the server does.
    fixture.lifecycle.begin_stop();
    closed(&mut kept).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_order() {
    let fixture = fixture(60, 1).await;
    let mut kept = TcpStream::connect(fixture.address).await.unwrap();
    kept.write_all(ASK).await.unwrap();
    response(&mut kept).await;
    let idle = Instant::now();
    closed(&mut kept).await;
    assert!(idle.elapsed() > Duration::from_millis(800), "{:?}", idle.elapsed());
    assert_eq!(fixture.metrics.sessions_closed_timeout.get(), 0);
}

/// The head of the second request begins before the connection was idle for too long, and ends
/// after that.
#[tokio::test]
async fn a_request_that_has_begun_gets_its_response() {
    let fixture = fixture(60, 1).await;
    let mut kept = TcpStream::connect(fixture.address).await.unwrap();
    kept.write_all(ASK).await.unwrap();
    response(&mut kept).await;
    kept.write_all(&ASK[..5]).await.unwrap();
    sleep(Duration::from_millis(1_500)).await;
    kept.write_all(&ASK[5..]).await.unwrap();
    response(&mut kept).await;
    closed(&mut kept).await;
}

#[tokio::test]
async fn a_large_response_may_be_read_slowly() {
    let fixture = fixture(1, 1).await;
    let mut kept = TcpStream::connect(fixture.address).await.unwrap();
    kept.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    for _ in 0..8 {
        sleep(Duration::from_millis(400)).await;
        (&mut kept).take((LARGE / 10) as u64).read_to_end(&mut bytes).await.unwrap();
    }
    timeout(DEADLINE, kept.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes.len() > LARGE, "{}", bytes.len());
    // A client that does not read at all is cut off.
    let mut deaf = TcpStream::connect(fixture.address).await.unwrap();
    deaf.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let counted = async || fixture.metrics.sessions_closed_timeout.get() == 1;
    testkit::eventually(DEADLINE, "the end of one that reads nothing", counted).await;
}

#[tokio::test]
async fn operators_may_keep_connections_while_there_are_few() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, lifecycle) = (listener.local_addr().unwrap(), Lifecycle::new());
    let served = lifecycle.clone();
    lifecycle.spawn(async move { admin::serve(&listener, ClientTls::off(), router(), served).await });
    let mut kept = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(ASK).await.unwrap();
        if !response(&mut stream).await.to_lowercase().contains("connection: close") {
            stream.write_all(ASK).await.unwrap();
            response(&mut stream).await;
            kept.push(stream);
        }
    }
    assert!((10..=16).contains(&kept.len()), "{} connections are kept", kept.len());
    assert!(lifecycle.stop(DEADLINE).await);
}

#[tokio::test]
async fn refused_and_malformed_requests_are_counted() {
    let fixture = fixture(60, 60).await;
    for (request, count) in [
        ("GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 0),
        ("GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 1),
        ("GET /small HTTP/1.1\r\nHost x\r\n\r\n", 2),
    ] {
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        let counted = async || fixture.metrics.http_refused.get() == count;
        testkit::eventually(DEADLINE, request, counted).await;
    }
}
