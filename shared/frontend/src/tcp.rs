//! A client's connection without a websocket: packages follow each other, as native Pomelo clients
//! send them.

use std::future::poll_fn;
use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;
use wire::whole_packages;

use super::client_stream::ClientStream;
use super::session::End;

/// Bytes that are read at once.
const READ_BUFFER: usize = 4 * 1024;

/// The packages of a connection.
#[derive(Debug)]
pub(crate) struct PackageStream {
    stream: ClientStream,
    /// Bytes that are not a whole package yet. Empty without an allocation while the client is idle.
    arrived: BytesMut,
    max_body: usize,
    /// Time since which a package is incomplete.
    incomplete_since: Option<Instant>,
    /// The rest of the frame that is being written.
    unwritten: Bytes,
}

impl PackageStream {
    /// Creates the stream of a connection from which nothing was read.
    pub(crate) fn new(stream: ClientStream, max_body: usize) -> Self {
        Self { stream, arrived: BytesMut::new(), max_body, incomplete_since: None, unwritten: Bytes::new() }
    }

    /// Returns the stream.
    pub(crate) fn stream(&self) -> &ClientStream {
        &self.stream
    }

    /// Sets the most bytes of a package's body.
    pub(crate) fn set_max_body(&mut self, max_body: usize) {
        self.max_body = max_body;
    }

    /// Returns the time since which a package is incomplete.
    pub(crate) fn incomplete_since(&self) -> Option<Instant> {
        self.incomplete_since
    }

    /// Starts the time of an incomplete package anew, because it was not read further for a while.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.incomplete_since = self.incomplete_since.map(|_| now);
    }

    /// Returns the whole packages that have arrived, at least one.
    pub(crate) fn poll_packages(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
        loop {
            let whole = whole_packages(&self.arrived, self.max_body)?;
            if whole > 0 {
                return Poll::Ready(Ok(self.take(whole)));
            }
            // On the stack: a client that sends nothing has no buffer, and what arrives has one of
            // its own size.
            let mut bytes = [MaybeUninit::uninit(); READ_BUFFER];
            let mut bytes = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut bytes)).map_err(End::of_read)?;
            if bytes.filled().is_empty() {
                // There is no close handshake: a client that ends and one that breaks look the same.
                return Poll::Ready(Err(End::Gone));
            }
            self.arrived.extend_from_slice(bytes.filled());
            self.incomplete_since = self.incomplete_since.or_else(|| Some(Instant::now()));
        }
    }

    /// Takes the first bytes of those that have arrived.
    fn take(&mut self, whole: usize) -> Bytes {
        // The rest, less than was read at once, gets a buffer of its own: bodies would keep this one
        // for as long as the rest needs it, and the other way round.
        let rest = BytesMut::from(&self.arrived[whole..]);
        let mut packages = mem::replace(&mut self.arrived, rest);
        packages.truncate(whole);
        self.incomplete_since = (!self.arrived.is_empty()).then(Instant::now);
        packages.freeze()
    }

    /// Begins to write a frame; the one before it is written.
    pub(crate) fn begin_write(&mut self, frame: Bytes) {
        debug_assert!(self.unwritten.is_empty(), "a frame is being written");
        self.unwritten = frame;
    }

    /// Completes when the frame is written.
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unwritten.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unwritten))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            drop(self.unwritten.split_to(written));
        }
        // An empty slice would keep its frame.
        self.unwritten = Bytes::new();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Closes for writing, and reads until the client closes, too.
    pub(crate) async fn close(&mut self) {
        self.stream.shutdown().await.ok();
        // On the stack as well: each session's task would have room for it.
        poll_fn(|cx| {
            loop {
                let mut ignored = [MaybeUninit::uninit(); READ_BUFFER];
                let mut ignored = ReadBuf::uninit(&mut ignored);
                match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut ignored)) {
                    Ok(()) if !ignored.filled().is_empty() => {}
                    _ => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}
