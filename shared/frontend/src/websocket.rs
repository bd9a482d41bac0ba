//! The websocket of a client: its handshake, its size limits, and the bytes of a message that is
//! not complete yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Request, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use model::settings::SessionSettings;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::client_stream::ClientStream;
use super::http::Tracked;

/// Bytes of a websocket's read buffer.
// The library clears it at every read, and each connection has one, so a large one costs time and
// memory.
pub(crate) const READ_BUFFER: usize = 1024;

/// Bytes of a websocket's write buffer at which it is written.
// The buffer is flushed after each batch anyway.
const WRITE_BUFFER: usize = 16 * 1024;

/// Bytes of frame head and packages' heads that come on top of the bodies.
const HEADS: usize = 64;

/// Bytes around the payload of a control frame of a client: head and mask.
const CONTROL_FRAME: usize = 6;

/// The kind of the error of a message that is too large.
// TLS has errors of its own, of the kind that says that data is invalid.
pub(crate) const TOO_LARGE: io::ErrorKind = io::ErrorKind::QuotaExceeded;

/// A client's websocket.
pub(crate) type WebSocket = WebSocketStream<Metered<ClientStream>>;

/// Returns true if a client requests a websocket, though its request may have lost some headers on
/// the way.
pub(crate) fn is_requested(headers: &HeaderMap) -> bool {
    // `Connection: upgrade` alone proves nothing: some proxies add it to every request.
    let upgrade = headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    upgrade || headers.contains_key(header::SEC_WEBSOCKET_KEY) || headers.contains_key(header::SEC_WEBSOCKET_VERSION)
}

/// Returns the response that begins the websocket.
///
/// # Errors
/// If the request is no complete request for a websocket.
pub(crate) fn respond(request: &Request<Incoming>) -> Result<Response, tungstenite::Error> {
    let mut response = create_response_with_body(request, Body::empty)?;
    // Pomelo's websocket library accepted the first subprotocol of any name. Browsers fail a
    // connection on which none of those that they offered is accepted.
    let offered = text(request.headers(), &header::SEC_WEBSOCKET_PROTOCOL).unwrap_or_default();
    let first = offered.split(',').map(str::trim).find(|protocol| !protocol.is_empty());
    if let Some(protocol) = first.and_then(|protocol| protocol.parse().ok()) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

/// Returns a header as text; `?` for one that is none.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Returns the websocket of a connection whose request was answered.
pub(crate) async fn begin(upgraded: Upgraded, settings: &SessionSettings) -> Option<WebSocket> {
    // All connections come from `http::serve`, which gives hyper this type.
    let parts = upgraded.downcast::<TokioIo<Tracked<ClientStream, super::http::Progress>>>().ok()?;
    let stream = Metered::new(parts.io.into_inner().into_inner(), max_bytes(settings.max_package_before_enter));
    let most = max_bytes(settings.max_package);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(settings.max_outbound_bytes + most)
        .max_message_size(Some(most))
        .max_frame_size(Some(most));
    Some(WebSocketStream::from_partially_read(stream, parts.read_buf.to_vec(), Role::Server, Some(config)).await)
}

/// Returns the most bytes of a message for packages of this size.
pub(crate) fn max_bytes(max_package: usize) -> usize {
    2 * max_package + HEADS
}

/// A stream that counts the bytes of a message that is not complete, and fails above a limit.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    most: usize,
    incomplete: usize,
    since: Option<Instant>,
}

impl<S> Metered<S> {
    fn new(stream: S, most: usize) -> Self {
        Self { stream, most, incomplete: 0, since: None }
    }

    /// Returns the stream.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Sets the limit for the bytes of a message.
    pub(crate) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// Notes that a message is complete. Bytes of the next one that came with it are not counted:
    /// they are fewer than the read buffer has.
    pub(crate) fn end_message(&mut self) {
        (self.incomplete, self.since) = (0, None);
    }

    /// Notes a control frame, which may come in the middle of a message.
    // If it ended the message, a client could keep one open for ever with pings.
    pub(crate) fn end_control_frame(&mut self, payload: &Bytes) {
        self.incomplete = self.incomplete.saturating_sub(CONTROL_FRAME + payload.len());
        if self.incomplete == 0 {
            self.since = None;
        }
    }

    /// Starts the time of an incomplete message anew, because it was not read further for a while.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.since = self.since.map(|_| now);
    }

    /// Returns the time since which a message is incomplete.
    pub(crate) fn incomplete_since(&self) -> Option<Instant> {
        self.since
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.incomplete += buffer.filled().len() - before;
        if self.incomplete > 0 && self.since.is_none() {
            self.since = Some(Instant::now());
        }
        if self.incomplete > self.most + READ_BUFFER {
            let error = format!("a message of more than {} bytes", self.most);
            return Poll::Ready(Err(io::Error::new(TOO_LARGE, error)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn read(stream: &mut Metered<&[u8]>, bytes: usize) -> io::Result<usize> {
        stream.read_exact(&mut vec![0; bytes]).await
    }

    #[tokio::test]
    async fn a_message_has_a_size_limit_however_it_is_cut() {
        let input = vec![0; 10_000];
        let mut stream = Metered::new(&input[..], 2_000);
        read(&mut stream, 3_000).await.unwrap();
        stream.end_message();
        read(&mut stream, 3_000).await.unwrap();
        read(&mut stream, 100).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn control_frames_do_not_end_an_incomplete_message() {
        let input = [0; 100];
        let mut stream = Metered::new(&input[..], 2_000);
        let start = Instant::now();
        read(&mut stream, 20).await.unwrap();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        read(&mut stream, 10).await.unwrap();
        stream.end_control_frame(&Bytes::from_static(b"ping"));
        assert_eq!(stream.incomplete_since(), Some(start));
        stream.end_message();
        read(&mut stream, 10).await.unwrap();
        stream.end_control_frame(&Bytes::from_static(b"ping"));
        assert_eq!(stream.incomplete_since(), None);
    }
}
