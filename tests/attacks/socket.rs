//! A connection as an attacker makes it: HTTP and websocket frames by hand, from an address of its
//! choice.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use testkit::{TlsClient, TlsConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// The trusted proxy, and a program on this machine that is none.
pub(crate) const PROXY: &str = "127.0.0.9";
pub(crate) const STRANGER: &str = "127.0.0.2";

/// Frames of a whole message, by their first byte.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// The longest that a server may take for a response where it is under attack.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The way on which the proxy names its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Via {
    ProxyHeader,
    ForwardedFor,
}

/// A connection.
pub(crate) struct Socket {
    stream: Stream,
    input: BytesMut,
}

/// A connection's bytes.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsConnection>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Returns a masked frame. The mask is zero, so the payload stays as it is.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut frame = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..126), _) => frame.push(0x80 | short),
        (_, Ok(medium)) => {
            frame.push(0x80 | 126);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Returns the PROXY header for a client.
pub(crate) fn proxy_header(client: IpAddr) -> String {
    match client {
        IpAddr::V4(client) => format!("PROXY TCP4 {client} 127.0.0.1 40000 80\r\n"),
        IpAddr::V6(client) => format!("PROXY TCP6 {client} ::1 40000 80\r\n"),
    }
}

impl Socket {
    /// Connects from a local address, and sends nothing.
    pub(crate) async fn bare(at: SocketAddr, local: &str) -> io::Result<Self> {
        Self::bare_with(at, local, None).await
    }

    /// Connects like [`Socket::bare`], with a small buffer for what the server sends.
    pub(crate) async fn bare_with(at: SocketAddr, local: &str, receive_buffer: Option<u32>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let local: IpAddr = local.parse().map_err(io::Error::other)?;
        socket.bind(SocketAddr::new(local, 0))?;
        let stream = timeout(DEADLINE, socket.connect(at)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Stream::Plain(stream), input: BytesMut::new() })
    }

    /// Connects through the proxy, which names this client, and shakes hands for TLS.
    pub(crate) async fn secure(at: SocketAddr, client: IpAddr, tls: &TlsClient) -> io::Result<Self> {
        let mut socket = Self::bare(at, PROXY).await?;
        socket.write(proxy_header(client).as_bytes()).await?;
        socket.begin_tls(tls).await
    }

    /// Shakes hands for TLS on a connection without it.
    pub(crate) async fn begin_tls(self, tls: &TlsClient) -> io::Result<Self> {
        let Stream::Plain(stream) = self.stream else { return Ok(self) };
        let stream = timeout(DEADLINE, tls.secure(stream)).await??;
        Ok(Self { stream: Stream::Tls(Box::new(stream)), input: self.input })
    }

    /// Writes all bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(DEADLINE, writing).await?
    }

    /// Requests a websocket with further lines of headers; returns the head of the response.
    pub(crate) async fn upgrade(&mut self, headers: &str) -> io::Result<String> {
        let request = format!(
            "GET /any HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        );
        self.write(request.as_bytes()).await?;
        self.head().await
    }

    /// Reads the head of a response.
    pub(crate) async fn head(&mut self) -> io::Result<String> {
        let reading = async {
            loop {
                if let Some(end) = self.input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                    let head = self.input.split_to(end + 4);
                    return Ok(String::from_utf8_lossy(&head).into_owned());
                }
                self.fill().await?;
            }
        };
        timeout(DEADLINE, reading).await?
    }

    /// Reads until the server closes, at most for a while; returns all bytes, and whether it closed.
    pub(crate) async fn read_to_end(&mut self, most: Duration) -> (Vec<u8>, bool) {
        let reading = async { while self.fill().await.is_ok() {} };
        let is_closed = timeout(most, reading).await.is_ok();
        (self.input.split().to_vec(), is_closed)
    }

    /// Reads the next frame: its first byte and its payload. Cancel safe.
    pub(crate) async fn next_frame(&mut self) -> io::Result<(u8, Bytes)> {
        loop {
            if let Some(frame) = self.buffered_frame() {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    fn buffered_frame(&mut self) -> Option<(u8, Bytes)> {
        let (&[first, length], mut head) = (self.input.first_chunk()?, 2);
        let length = match length {
            126 => {
                head += 2;
                usize::from(u16::from_be_bytes(*self.input.get(2..)?.first_chunk()?))
            }
            127 => {
                head += 8;
                usize::try_from(u64::from_be_bytes(*self.input.get(2..)?.first_chunk()?)).ok()?
            }
            short => usize::from(short),
        };
        if self.input.len() < head + length {
            return None;
        }
        self.input.advance(head);
        Some((first, self.input.split_to(length).freeze()))
    }

    /// Drops what the server has sent until now, without a look at it.
    pub(crate) fn discard(&mut self) -> io::Result<()> {
        self.input.clear();
        let mut dropped = [0; 16 * 1024];
        loop {
            match self.stream.tcp().try_read(&mut dropped) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes the connection break when it is dropped, instead of being closed.
    pub(crate) fn reset(&self) -> io::Result<()> {
        self.stream.tcp().set_zero_linger()
    }

    /// Reads the next package of a connection without a websocket.
    pub(crate) async fn next_package(&mut self) -> io::Result<wire::Package> {
        loop {
            let whole = wire::whole_packages(&self.input, wire::MAX_BODY).map_err(io::Error::other)?;
            if whole > 0 {
                let head = u32::from_be_bytes([0, self.input[1], self.input[2], self.input[3]]);
                let first = self.input.split_to(4 + head as usize).freeze();
                let mut packages = wire::decode_frame(&first, wire::MAX_BODY).map_err(io::Error::other)?;
                return packages.next().ok_or_else(|| io::ErrorKind::InvalidData.into());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Returns the status of a response's head.
pub(crate) fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}
