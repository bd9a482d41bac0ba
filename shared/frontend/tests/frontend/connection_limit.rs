//! Admission: the connection limits, and the deadline of each stage.

use std::time::Duration;

use frontend::routes;
use testkit::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::fixture::{DEADLINE, FrontendFixture};

/// Far below the deadline of a handshake, far above what answering takes.
const SOON: Duration = Duration::from_secs(5);

async fn status_of(fixture: &FrontendFixture, origin: Option<&str>) -> u16 {
    let mut request = format!("ws://{}/", fixture.address).into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    match connect_async(request).await {
        Ok(_) => 101,
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
    }
}

/// Everything that the server sends until it closes.
async fn read_all(stream: &mut TcpStream, within: Duration) -> String {
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(within, stream.read_to_end(&mut bytes)).await;
    assert!(ended.is_ok(), "still open after {within:?}");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn the_server_has_a_most() {
    let fixture = FrontendFixture::with(|options| options.frontend.max_connections = 1).await;
    let first = fixture.entered().await;
    assert_eq!(status_of(&fixture, None).await, 503);
    assert_eq!(fixture.metrics.connections_refused.get(), 1);
    drop(first);
    eventually(DEADLINE, "room again", async || status_of(&fixture, None).await == 101).await;
}

#[tokio::test]
async fn each_address_has_a_most() {
    let fixture = FrontendFixture::with(|options| options.frontend.max_connections_per_address = 1).await;
    let _first = fixture.entered().await;
    assert_eq!(status_of(&fixture, None).await, 429);
}

/// Else a crowd that is refused holds more sockets than the limit that refuses it.
#[tokio::test]
async fn a_refused_client_does_not_stay() {
    let fixture = FrontendFixture::with(|options| options.frontend.max_connections = 1).await;
    let _first = fixture.entered().await;
    let mut silent = TcpStream::connect(fixture.address).await.unwrap();
    read_all(&mut silent, SOON).await;
    let mut keeps = TcpStream::connect(fixture.address).await.unwrap();
    keeps.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(read_all(&mut keeps, SOON).await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn pages_of_others_are_refused() {
    let fixture =
        FrontendFixture::with(|options| options.frontend.allowed_origins = vec!["https://shop.example".to_owned()])
            .await;
    for (origin, status) in [
        (None, 101),
        (Some("http://localhost:8000"), 101),
        (Some("https://shop.example"), 101),
        (Some("http://evil.example"), 403),
        (Some("null"), 403),
    ] {
        assert_eq!(status_of(&fixture, origin).await, status, "{origin:?}");
    }
    assert_eq!(fixture.metrics.connections_refused.get(), 2);
}

#[tokio::test]
async fn pages_of_web_views_and_below_a_domain_are_let_in_where_they_are_listed() {
    let listed = ["null", "file://", "https://*.shop.example"].map(str::to_owned);
    let fixture = FrontendFixture::with(|options| options.frontend.allowed_origins = listed.to_vec()).await;
    for (origin, status) in [
        ("null", 101),
        ("file://", 101),
        ("https://a.shop.example", 101),
        ("https://shop.example", 403),
        ("http://a.shop.example", 403),
        ("app://null", 403),
    ] {
        assert_eq!(status_of(&fixture, Some(origin)).await, status, "{origin}");
    }
}

/// Pomelo's websocket library accepted the first one. Browsers fail a connection that accepts none.
#[tokio::test]
async fn the_first_subprotocol_that_is_offered_is_accepted() {
    let fixture = FrontendFixture::with(|_| {}).await;
    for (offered, accepted) in [("pomelo", "pomelo"), ("a.b, pomelo", "a.b"), (" , x,y", "x")] {
        let mut request = format!("ws://{}/", fixture.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", offered.parse().unwrap());
        let (_socket, response) = connect_async(request).await.unwrap();
        assert_eq!(response.headers().get("sec-websocket-protocol").unwrap(), accepted, "{offered}");
    }
}

#[tokio::test]
async fn plain_http_gets_a_hint() {
    let fixture = FrontendFixture::start().await;
    for method in ["GET", "POST", "OPTIONS"] {
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        let request = format!("{method} /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let response = read_all(&mut stream, SOON).await;
        assert!(response.starts_with("HTTP/1.1 426") && response.contains("websocket"), "{response}");
    }
}

#[tokio::test]
async fn each_stage_has_a_deadline() {
    let fixture = FrontendFixture::with(|options| options.frontend.handshake_secs = 1).await;
    let mut streams = Vec::new();
    for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    let (mut nothing, mut no_ack) = (fixture.open().await, fixture.open().await);
    no_ack.send(crate::socket::hello()).await;
    assert_eq!(nothing.until_closed().await, (Vec::new(), Some(1000)));
    let (sent, end) = no_ack.until_closed().await;
    assert_eq!((sent.len(), end), (1, Some(1000)), "the handshake's answer, then the close");
    for stream in &mut streams {
        read_all(stream, SOON).await;
    }
    eventually(DEADLINE, "all to be gone", async || fixture.metrics.connections.get() == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_enter_is_closed() {
    let fixture = FrontendFixture::with(|options| options.frontend.enter_secs = 1).await;
    let mut entered = fixture.entered().await;
    let mut idle = fixture.working().await;
    assert_eq!(idle.until_closed().await, (Vec::new(), Some(1000)));
    assert_eq!(entered.request_json(9, routes::SEND, b"{}").await["code"], 200);
    assert_eq!(fixture.metrics.sessions_closed_timeout.get(), 1);
}
