//! A client's TCP connection without a websocket: packages follow each other, as native Pomelo
//! clients send them. Also the first byte, which tells it from HTTP.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use wire::whole_packages;

use super::session::End;

/// Bytes that are read at once.
const READ_BUFFER: usize = 4 * 1024;

/// The protocol that the first byte of a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstByte {
    /// A handshake package.
    Package,
    /// A request, or an empty line before it.
    Http,
    /// No protocol of the server.
    Other,
}

impl From<u8> for FirstByte {
    fn from(byte: u8) -> Self {
        match byte {
            0x01 => Self::Package,
            b'A'..=b'Z' | b'\r' | b'\n' => Self::Http,
            _ => Self::Other,
        }
    }
}

/// Returns the protocol of a connection's first byte, which stays unread; `None` if the connection
/// ends before it comes, or it does not come in time.
pub(crate) async fn first_byte(stream: &TcpStream, deadline: Instant) -> Option<FirstByte> {
    let mut first = [0];
    match timeout_at(deadline, stream.peek(&mut first)).await {
        Ok(Ok(1)) => Some(first[0].into()),
        _ => None,
    }
}

/// The packages of a TCP connection.
#[derive(Debug)]
pub(crate) struct PackageStream {
    stream: TcpStream,
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
    pub(crate) fn new(stream: TcpStream, max_body: usize) -> Self {
        Self { stream, arrived: BytesMut::new(), max_body, incomplete_since: None, unwritten: Bytes::new() }
    }

    /// Returns the stream.
    pub(crate) fn stream(&self) -> &TcpStream {
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
                let packages = self.arrived.split_to(whole).freeze();
                if self.arrived.is_empty() {
                    self.arrived = BytesMut::new();
                }
                self.incomplete_since = (!self.arrived.is_empty()).then(Instant::now);
                return Poll::Ready(Ok(packages));
            }
            // Nothing is allocated before there is something to read.
            ready!(self.stream.poll_read_ready(cx)).map_err(|_| End::Gone)?;
            self.arrived.reserve(READ_BUFFER);
            match self.stream.try_read_buf(&mut self.arrived) {
                // There is no close handshake: a client that ends and one that breaks look the same.
                Ok(0) => return Poll::Ready(Err(End::Gone)),
                Ok(_) => self.incomplete_since = self.incomplete_since.or_else(|| Some(Instant::now())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.arrived.is_empty() {
                        self.arrived = BytesMut::new();
                    }
                }
                Err(_) => return Poll::Ready(Err(End::Gone)),
            }
        }
    }

    /// Begins to write a frame; the one before it is written.
    pub(crate) fn begin_write(&mut self, frame: Bytes) {
        debug_assert!(self.unwritten.is_empty(), "a frame is being written");
        self.unwritten = frame;
    }

    /// Completes when the frame is written.
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unwritten.is_empty() {
            match self.stream.try_write(&self.unwritten) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => drop(self.unwritten.split_to(written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.stream.poll_write_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        // An empty slice would keep its frame.
        self.unwritten = Bytes::new();
        Poll::Ready(Ok(()))
    }

    /// Closes for writing, and reads until the client closes, too.
    pub(crate) async fn close(&mut self) {
        self.stream.shutdown().await.ok();
        let mut ignored = [0; 1024];
        while self.stream.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
    }
}
