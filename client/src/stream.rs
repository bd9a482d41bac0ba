//! The bytes of a connection, with TLS and without.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::{Address, Tls};

/// A connection's bytes.
#[derive(Debug)]
pub enum ByteStream {
    /// As the network carries them.
    Plain(TcpStream),
    /// Inside TLS.
    // Boxed: it is a kilobyte, and most connections have none.
    Tls(Box<TlsStream<TcpStream>>),
}

impl ByteStream {
    /// Shakes hands if the address requires TLS, with the platform's authorities unless there are
    /// others.
    ///
    /// # Errors
    ///
    /// If the server has no certificate that is trusted, or speaks no TLS.
    pub async fn secure(tcp: TcpStream, address: &Address, tls: Option<&Tls>) -> io::Result<Self> {
        if !address.transport.is_secure() {
            return Ok(Self::Plain(tcp));
        }
        let tls = match tls {
            Some(tls) => tls.clone(),
            None => Tls::platform().map_err(io::Error::other)?,
        };
        tls.connect(&address.host, tcp).await
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
