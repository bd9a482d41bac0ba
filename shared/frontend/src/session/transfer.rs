//! Reads, writes and the close of one websocket.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;

/// Time that a client has to respond to a close before its connection is cut.
const CLOSE: Duration = Duration::from_secs(2);

/// A transfer that the socket completed.
pub(super) enum Done {
    Read(Option<Result<Message, axum::Error>>),
    Written(Result<(), axum::Error>),
}

/// Closes with code 1000, as Pomelo does, and waits for the client's response.
pub(super) async fn send_close(socket: &mut WebSocket) {
    // The wait lets the client receive what was written before.
    let close = Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }));
    let closing = async {
        // Where the client closed first this fails, and reading on sends the response to its close.
        socket.send(close).await.ok();
        while let Some(Ok(_)) = socket.recv().await {}
    };
    // A client that does not respond is cut off.
    drop(timeout(CLOSE, closing).await);
}

/// Reads a frame, or continues the write in progress; the first that completes wins.
pub(super) async fn transfer(socket: &mut WebSocket, reads: bool, writes: bool) -> Done {
    poll_fn(|cx| {
        if writes && let Poll::Ready(done) = socket.poll_flush_unpin(cx) {
            return Poll::Ready(Done::Written(done));
        }
        if reads { socket.poll_next_unpin(cx).map(Done::Read) } else { Poll::Pending }
    })
    .await
}
