//! One TCP connection: opens it, and moves its bytes. All connections of a thread read into the same buffer.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::framing::{Framing, Kind, Out};
use super::protocol::Broken;

/// Bytes that are read at once.
const READ: usize = 64 * 1024;

/// The longest answer to the request for a websocket, in bytes.
const MAX_ANSWER: usize = 16 * 1024;

thread_local! {
    // What is no whole frame is kept per connection; so connections that are silent take no memory for reading.
    static BUFFER: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(READ));
}

/// A connection.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    framing: Framing,
    /// The beginning of a piece.
    partial: Vec<u8>,
    /// Whether `partial` is more than that: what came with the answer to the request for a websocket.
    unread: bool,
    /// What is to be sent.
    pub(super) out: Out,
}

impl Line {
    /// Connects to `host:port`, from this address if there is one, and opens a websocket at `path` if that is the framing.
    pub(super) async fn open(
        address: &str,
        source: Option<Ipv4Addr>,
        framing: Framing,
        path: &str,
    ) -> Result<Self, Broken> {
        let mut stream = connect(address, source).await?;
        stream.set_nodelay(true)?;
        let partial = match framing {
            Framing::Binary | Framing::Text => upgrade(&mut stream, address, path).await?,
            Framing::Length => Vec::new(),
        };
        let unread = !partial.is_empty();
        Ok(Self { stream, framing, partial, unread, out: Out::new(framing) })
    }

    /// Reads once and hands over the frames. Pending if nothing is there to be read.
    pub(super) fn poll_frames(
        &mut self,
        context: &mut Context<'_>,
        hear: impl FnMut(&Bytes, &mut Out) -> Result<(), Broken>,
    ) -> Poll<Result<(), Broken>> {
        let bytes = BUFFER.with_borrow_mut(|buffer| self.poll_read(context, buffer));
        Poll::Ready(ready!(bytes).and_then(|bytes| self.hand_over(bytes, hear)))
    }

    /// What is there to be read, behind what was left over.
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<Result<Bytes, Broken>> {
        buffer.clear();
        buffer.reserve(READ + self.partial.len());
        buffer.extend_from_slice(&self.partial);
        if !std::mem::take(&mut self.unread) {
            let read = pin!(self.stream.read_buf(buffer));
            if ready!(read.poll(context))? == 0 {
                return Poll::Ready(Err(Broken::Closed));
            }
        }
        self.partial.clear();
        Poll::Ready(Ok(buffer.split().freeze()))
    }

    fn hand_over(
        &mut self,
        bytes: Bytes,
        mut hear: impl FnMut(&Bytes, &mut Out) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let mut start = 0;
        while let Some(piece) = self.framing.cut(&bytes[start..])? {
            let body = start + piece.body.start..start + piece.body.end;
            start = body.end;
            match piece.kind {
                Kind::Frame => hear(&bytes.slice(body), &mut self.out)?,
                Kind::Ping => self.out.pong(&bytes[body])?,
                Kind::Pong => {}
                Kind::Close => return Err(Broken::Closed),
            }
        }
        self.partial.extend_from_slice(&bytes[start..]);
        Ok(())
    }

    /// Sends what waits to be sent. Pending if the server does not read.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while !self.out.is_empty() {
            let sent = ready!(pin!(&mut self.stream).poll_write(context, self.out.bytes()))?;
            self.out.sent(sent);
        }
        Poll::Ready(Ok(()))
    }
}

async fn connect(address: &str, source: Option<Ipv4Addr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let no_address = || io::Error::new(io::ErrorKind::NotFound, "the server has no IPv4 address");
    let target = lookup_host(address).await?.find(SocketAddr::is_ipv4).ok_or_else(no_address)?;
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(target).await
}

/// Asks for a websocket; returns what came behind the answer.
async fn upgrade(stream: &mut TcpStream, address: &str, path: &str) -> Result<Vec<u8>, Broken> {
    let key = generate_key();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let end = loop {
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if answer.len() > MAX_ANSWER || stream.read_buf(&mut answer).await? == 0 {
            return Err(Broken::NoWebsocket("no answer".to_owned()));
        }
    };
    let rest = answer.split_off(end);
    accepted(&String::from_utf8_lossy(&answer), &derive_accept_key(key.as_bytes()))?;
    Ok(rest)
}

fn accepted(answer: &str, accept: &str) -> Result<(), Broken> {
    let status = answer.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        return Err(Broken::NoWebsocket(status.to_owned()));
    }
    let mut headers = answer.lines().filter_map(|line| line.split_once(':'));
    let found =
        headers.any(|(name, value)| name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == accept);
    if found { Ok(()) } else { Err(Broken::NoWebsocket("the answer is to another request".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_own_request_counts() {
        assert!(accepted("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: abc=\r\n\r\n", "abc=").is_ok());
        let other = accepted("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: xyz=\r\n\r\n", "abc=");
        assert!(matches!(other, Err(Broken::NoWebsocket(_))));
        let refused = accepted("HTTP/1.1 429 Too Many Requests\r\n\r\n", "abc=");
        assert_eq!(refused.unwrap_err().to_string(), "no websocket: HTTP/1.1 429 Too Many Requests");
    }
}
