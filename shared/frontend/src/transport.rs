//! The transport of a session: packages of a client come in, frames of packages go out. A websocket,
//! or a TCP connection without one.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::session::End;
use super::tcp::PackageStream;
use super::websocket::{self, WebSocket};

/// Time that a client has to respond to a close before its connection is cut.
const CLOSE: Duration = Duration::from_secs(2);

/// The transport of a session.
#[expect(clippy::large_enum_variant, reason = "each is in a box of its own, and most are websockets")]
#[derive(Debug)]
pub(crate) enum Transport {
    /// A frame of the client is a message of one or more packages.
    WebSocket(WebSocket),
    /// Packages follow each other.
    Tcp(PackageStream),
}

/// Input of a client.
#[derive(Debug)]
pub(crate) enum Input {
    /// Whole packages; of a websocket as far as its client keeps to the protocol.
    Packages(Bytes),
    /// A sign of life that has no package.
    SignOfLife,
}

/// A transfer that the transport completed.
#[derive(Debug)]
pub(crate) enum Done {
    Read(Result<Input, End>),
    Written(Result<(), End>),
}

impl Transport {
    /// Sets the most bytes of a package's body.
    pub(crate) fn set_max_body(&mut self, max_body: usize) {
        match self {
            Self::WebSocket(socket) => socket.get_mut().set_most(websocket::max_bytes(max_body)),
            Self::Tcp(stream) => stream.set_max_body(max_body),
        }
    }

    /// Returns the time since which a message is incomplete.
    pub(crate) fn incomplete_since(&self) -> Option<Instant> {
        match self {
            Self::WebSocket(socket) => socket.get_ref().incomplete_since(),
            Self::Tcp(stream) => stream.incomplete_since(),
        }
    }

    /// Starts the time of an incomplete message anew, because it was not read further for a while.
    pub(crate) fn restart(&mut self, now: Instant) {
        match self {
            Self::WebSocket(socket) => socket.get_mut().restart(now),
            Self::Tcp(stream) => stream.restart(now),
        }
    }

    /// Reads, or continues the write in progress; the first that completes wins.
    pub(crate) async fn transfer(&mut self, reads: bool, writes: bool) -> Done {
        poll_fn(|cx| {
            if writes && let Poll::Ready(done) = self.poll_written(cx) {
                return Poll::Ready(Done::Written(done));
            }
            if reads { self.poll_input(cx).map(Done::Read) } else { Poll::Pending }
        })
        .await
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Input, End>> {
        let socket = match self {
            Self::WebSocket(socket) => socket,
            Self::Tcp(stream) => return stream.poll_packages(cx).map_ok(Input::Packages),
        };
        loop {
            let message = match std::task::ready!(socket.poll_next_unpin(cx)) {
                None => return Poll::Ready(Err(End::Gone)),
                Some(message) => message?,
            };
            let packages = match message {
                Message::Close(_) => return Poll::Ready(Err(End::Closed)),
                // The library responds to these. They prove that the client is alive.
                Message::Ping(payload) | Message::Pong(payload) => {
                    socket.get_mut().end_control_frame(&payload);
                    return Poll::Ready(Ok(Input::SignOfLife));
                }
                Message::Binary(bytes) => bytes,
                Message::Text(text) => Bytes::from(text),
                // The library returns whole messages only.
                Message::Frame(_) => continue,
            };
            socket.get_mut().end_message();
            return Poll::Ready(Ok(Input::Packages(packages)));
        }
    }

    /// Begins to write a frame; the one before it is written.
    ///
    /// # Errors
    /// If the connection is broken.
    pub(crate) fn begin_write(&mut self, frame: Bytes) -> Result<(), End> {
        match self {
            Self::WebSocket(socket) => socket.start_send_unpin(Message::Binary(frame)).map_err(|_| End::Gone),
            Self::Tcp(stream) => {
                stream.begin_write(frame);
                Ok(())
            }
        }
    }

    /// Completes when the frame is written.
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match self {
            Self::WebSocket(socket) => socket.poll_flush_unpin(cx).map_err(|_| End::Gone),
            Self::Tcp(stream) => stream.poll_written(cx).map_err(|_| End::Gone),
        }
    }

    /// Closes, and waits for the client to close: so it receives what was written before. A client
    /// that does not respond is cut off.
    pub(crate) async fn close(&mut self) {
        let closing = async {
            match self {
                // With code 1000, as Pomelo does.
                Self::WebSocket(socket) => {
                    let close = Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }));
                    // Where the client closed first this fails, and reading on sends the response to
                    // its close.
                    socket.send(close).await.ok();
                    while let Some(Ok(_)) = socket.next().await {}
                    // Without its end of its own, TLS looks cut off to the client.
                    if socket.get_ref().stream().is_tls() {
                        socket.get_mut().shutdown().await.ok();
                    }
                }
                Self::Tcp(stream) => stream.close().await,
            }
        };
        drop(timeout(CLOSE, closing).await);
    }

    /// Makes the system give up what the client has not read, instead of keeping it for minutes.
    pub(crate) fn discard_unread(&self) -> io::Result<()> {
        match self {
            Self::WebSocket(socket) => socket.get_ref().stream().set_zero_linger(),
            Self::Tcp(stream) => stream.stream().set_zero_linger(),
        }
    }
}
