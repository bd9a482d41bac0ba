//! The stream of a client's connection, plain or inside TLS, and its first byte, which tells the
//! protocol.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, error::Elapsed, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// The stream of a client's connection.
#[derive(Debug)]
pub(crate) enum ClientStream {
    /// Without TLS.
    Plain(TcpStream),
    /// Boxed: most servers have none, and their connections need no room for it.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The protocol that the first byte of a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstByte {
    /// A handshake package.
    Package,
    /// A request, or an empty line before it.
    Http,
    /// A TLS handshake.
    Tls,
    /// No protocol of the server.
    Other,
}

impl From<u8> for FirstByte {
    fn from(byte: u8) -> Self {
        match byte {
            0x01 => Self::Package,
            b'A'..=b'Z' | b'\r' | b'\n' => Self::Http,
            TLS_HANDSHAKE => Self::Tls,
            _ => Self::Other,
        }
    }
}

/// The reason why a connection has no TLS session.
#[derive(Debug)]
pub(crate) enum TlsFailure {
    /// The handshake was not complete in time.
    Late,
    /// The client does not speak a TLS that the server speaks, or it went.
    Refused(io::Error),
}

impl From<Elapsed> for TlsFailure {
    fn from(_: Elapsed) -> Self {
        Self::Late
    }
}

impl ClientStream {
    /// Returns the protocol of the first byte, which stays unread; `None` if the connection ends
    /// before it comes.
    ///
    /// # Errors
    /// If it does not come in time.
    pub(crate) async fn first_byte(&mut self, deadline: Instant) -> Result<Option<FirstByte>, Elapsed> {
        let first = async {
            match self {
                Self::Plain(stream) => {
                    let mut first = [0];
                    stream.peek(&mut first).await.map(|read| (read > 0).then_some(first[0]))
                }
                Self::Tls(stream) => stream.fill_buf().await.map(|read| read.first().copied()),
            }
        };
        Ok(timeout_at(deadline, first).await?.ok().flatten().map(FirstByte::from))
    }

    /// Begins TLS on a plain connection from which nothing was read.
    pub(crate) async fn begin_tls(self, config: &Arc<ServerConfig>, deadline: Instant) -> Result<Self, TlsFailure> {
        let Self::Plain(stream) = self else { return Ok(self) };
        let accepted = timeout_at(deadline, TlsAcceptor::from(config.clone()).accept(stream)).await?;
        accepted.map(|stream| Self::Tls(Box::new(stream))).map_err(TlsFailure::Refused)
    }

    /// Returns true inside TLS.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Makes the system drop what the client has not read when the connection is closed.
    pub(crate) fn set_zero_linger(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.set_zero_linger(),
            Self::Tls(stream) => stream.get_ref().0.set_zero_linger(),
        }
    }
}

/// Calls a method of the stream inside.
macro_rules! delegate {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match &mut *$self {
            Self::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Self::Tls(stream) => Pin::new(&mut **stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self.poll_read(cx, buffer))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self.poll_write_vectored(cx, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each idle client has one.
    #[test]
    fn tls_does_not_make_plain_streams_larger() {
        assert!(size_of::<ClientStream>() <= size_of::<TcpStream>() + size_of::<usize>());
    }

    #[test]
    fn one_byte_tells_the_protocol() {
        let of = |byte: u8| FirstByte::from(byte);
        assert_eq!(
            [of(1), of(b'G'), of(b'\r'), of(0x16)],
            [FirstByte::Package, FirstByte::Http, FirstByte::Http, FirstByte::Tls]
        );
        for other in [0, 2, 3, 4, 5, 0x15, 0x17, b'g', b' ', 0x80, 0xff] {
            assert_eq!(of(other), FirstByte::Other, "{other:#x}");
        }
    }
}
