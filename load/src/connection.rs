//! One connection, with TLS or without: opens it, and moves its bytes. All connections of a thread read into the
//! same buffer.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use client::{Address, ByteStream, Tls};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::framing::{FrameKind, Framing, OutBuffer};
use super::protocol::SessionError;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// The longest response to the websocket request, in bytes.
// A server that speaks another protocol may send bytes without an end of headers.
const MAX_UPGRADE_RESPONSE: usize = 16 * 1024;

thread_local! {
    // An incomplete frame is kept per connection. A read buffer per connection would cost 64 KiB
    // for each silent user.
    static BUFFER: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(READ_BYTES));
}

/// The server of a connection, and the way to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'t> {
    pub(super) address: &'t Address,
    /// The authorities that are trusted; those of the platform if `None`.
    pub(super) tls: Option<&'t Tls>,
    /// The address to connect from.
    pub(super) source: Option<Ipv4Addr>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: ByteStream,
    framing: Framing,
    /// The beginning of a frame.
    partial: Vec<u8>,
    /// True if `partial` holds unparsed frames: bytes that followed the websocket response.
    unread: bool,
    /// Bytes to send.
    pub(super) out: OutBuffer,
}

impl Connection {
    /// Connects, and opens a websocket at `path` if that is the framing.
    pub(super) async fn open(target: Target<'_>, framing: Framing, path: &str) -> Result<Self, SessionError> {
        let host_port = target.address.host_port();
        let stream = connect(&host_port, target.source).await?;
        // Nagle's algorithm would delay a message until the one before is acknowledged.
        stream.set_nodelay(true)?;
        let mut stream = ByteStream::secure(stream, target.address, target.tls).await?;
        let partial = match framing {
            Framing::Binary | Framing::Text => upgrade(&mut stream, &host_port, path).await?,
            Framing::Packages => Vec::new(),
        };
        let unread = !partial.is_empty();
        Ok(Self { stream, framing, partial, unread, out: OutBuffer::new(framing) })
    }

    /// Reads once and hands over the frames. Pending if nothing is there to be read.
    pub(super) fn poll_frames(
        &mut self,
        context: &mut Context<'_>,
        on_frame: impl FnMut(&Bytes, &mut OutBuffer) -> Result<(), SessionError>,
    ) -> Poll<Result<(), SessionError>> {
        let bytes = BUFFER.with_borrow_mut(|buffer| self.poll_read(context, buffer));
        Poll::Ready(ready!(bytes).and_then(|bytes| self.dispatch_frames(bytes, on_frame)))
    }

    /// Reads the bytes that are available, behind those left over.
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<Result<Bytes, SessionError>> {
        buffer.clear();
        buffer.reserve(READ_BYTES + self.partial.len());
        buffer.extend_from_slice(&self.partial);
        if !std::mem::take(&mut self.unread) {
            // A read holds no state between polls, so each poll may make a new one, and no
            // connection keeps one of its own.
            let read = pin!(self.stream.read_buf(buffer));
            if ready!(read.poll(context))? == 0 {
                return Poll::Ready(Err(SessionError::Closed));
            }
        }
        self.partial.clear();
        Poll::Ready(Ok(buffer.split().freeze()))
    }

    fn dispatch_frames(
        &mut self,
        bytes: Bytes,
        mut on_frame: impl FnMut(&Bytes, &mut OutBuffer) -> Result<(), SessionError>,
    ) -> Result<(), SessionError> {
        let mut start = 0;
        while let Some(frame) = self.framing.parse_frame(&bytes[start..])? {
            let body = start + frame.body.start..start + frame.body.end;
            start = body.end;
            match frame.kind {
                FrameKind::Data => on_frame(&bytes.slice(body), &mut self.out)?,
                FrameKind::Ping => self.out.pong(&bytes[body])?,
                FrameKind::Pong => {}
                FrameKind::Close => return Err(SessionError::Closed),
            }
        }
        // Copied: a slice would keep the whole read in memory for the beginning of one frame.
        self.partial.extend_from_slice(&bytes[start..]);
        Ok(())
    }

    /// Sends what waits to be sent. Pending if the server does not read.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        while !self.out.is_empty() {
            let sent = ready!(pin!(&mut self.stream).poll_write(context, self.out.bytes()))?;
            self.out.advance(sent);
        }
        // TLS holds back what the network did not take.
        Pin::new(&mut self.stream).poll_flush(context).map_err(Into::into)
    }

    /// Sends what waits to be sent, and ends the stream where that is the transport's way to close.
    pub(super) fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        ready!(self.poll_flush(context))?;
        match (self.framing, &self.stream) {
            // The close frame is enough, and the server ends the stream.
            (Framing::Binary | Framing::Text, ByteStream::Plain(_)) => Poll::Ready(Ok(())),
            _ => Pin::new(&mut self.stream).poll_shutdown(context).map_err(Into::into),
        }
    }
}

async fn connect(address: &str, source: Option<Ipv4Addr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    // Sources are IPv4 addresses, from which no IPv6 address can be reached.
    let no_address = || io::Error::new(io::ErrorKind::NotFound, "the server has no IPv4 address");
    let target = lookup_host(address).await?.find(SocketAddr::is_ipv4).ok_or_else(no_address)?;
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(target).await
}

/// Requests a websocket; returns the bytes behind the response.
async fn upgrade(stream: &mut ByteStream, address: &str, path: &str) -> Result<Vec<u8>, SessionError> {
    let key = generate_key();
    // Written by hand: tungstenite's client would own the stream, and a read buffer for each
    // connection.
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut response = Vec::new();
    let end = loop {
        if let Some(end) = response.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if response.len() > MAX_UPGRADE_RESPONSE || stream.read_buf(&mut response).await? == 0 {
            return Err(SessionError::NoWebsocket("no response".to_owned()));
        }
    };
    let rest = response.split_off(end);
    check_upgrade(&String::from_utf8_lossy(&response), &derive_accept_key(key.as_bytes()))?;
    Ok(rest)
}

fn check_upgrade(response: &str, accept: &str) -> Result<(), SessionError> {
    let status = response.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        return Err(SessionError::NoWebsocket(status.to_owned()));
    }
    let mut headers = response.lines().filter_map(|line| line.split_once(':'));
    let found =
        headers.any(|(name, value)| name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == accept);
    if found { Ok(()) } else { Err(SessionError::NoWebsocket("the response is to another request".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_response_to_the_own_request_counts() {
        assert!(
            check_upgrade("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: abc=\r\n\r\n", "abc=").is_ok()
        );
        let other = check_upgrade("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: xyz=\r\n\r\n", "abc=");
        assert!(matches!(other, Err(SessionError::NoWebsocket(_))));
        let refused = check_upgrade("HTTP/1.1 429 Too Many Requests\r\n\r\n", "abc=");
        assert_eq!(refused.unwrap_err().to_string(), "no websocket: HTTP/1.1 429 Too Many Requests");
    }
}
