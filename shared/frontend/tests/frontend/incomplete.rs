//! Requests and messages that are begun and not completed.

use std::time::Duration;

use futures_util::SinkExt;
use testkit::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as RawFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::fixture::{DEADLINE, FrontendFixture};
use crate::socket::Socket;

/// A part of a binary message; further ones follow.
fn part(bytes: usize, is_first: bool) -> Frame {
    let kind = if is_first { Data::Binary } else { Data::Continue };
    Frame::Frame(RawFrame::message(vec![0; bytes], OpCode::Data(kind), false))
}

#[tokio::test]
async fn a_message_must_be_completed_in_time_whatever_comes_in_between() {
    let fixture = FrontendFixture::with(|options| options.frontend.message_secs = 1).await;
    let mut socket = fixture.working().await;
    socket.send_frame(part(10, true)).await;
    let pings = async {
        loop {
            socket.stream.send(Frame::Ping("still here".into())).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ended: Result<Result<(), tokio_tungstenite::tungstenite::Error>, _> =
        tokio::time::timeout(DEADLINE, pings).await;
    assert!(ended.is_ok_and(|ended| ended.is_err()), "still open");
    assert_eq!(fixture.metrics.sessions_closed_timeout.get(), 1);
}

#[tokio::test]
async fn parts_of_a_message_have_the_size_limit_of_the_whole() {
    let fixture = FrontendFixture::start().await;
    let ends = async |mut socket: Socket, parts: usize| {
        for number in 0..parts {
            socket.send_frame(part(1_000, number == 0)).await;
        }
        let before = fixture.metrics.sessions_closed_bad_input.get();
        eventually(DEADLINE, "the end", async || fixture.metrics.sessions_closed_bad_input.get() > before).await;
    };
    // 8 KiB before a session entered, 128 KiB afterwards.
    ends(fixture.working().await, 11).await;
    ends(fixture.entered().await, 140).await;
}

/// Returns the status of the response to a request with this head, which has no end if `rest` is
/// none.
async fn status(fixture: &FrontendFixture, head: &str) -> String {
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    // The server may close before it has read all.
    stream.write_all(head.as_bytes()).await.ok();
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
    assert!(read.is_ok(), "still open");
    String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_head_of_a_request_has_limits() {
    let fixture = FrontendFixture::start().await;
    let many: String = (0..100).map(|number| format!("x-{number}: 1\r\n")).collect();
    let endless = format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {}", "a".repeat(64 * 1024));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(64 * 1024));
    for head in [format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), endless, long] {
        let status = status(&fixture, &head).await;
        assert!(status.is_empty() || status.starts_with("HTTP/1.1 4"), "{status}");
    }
}
