//! Packages on a connection: in websocket frames, or one behind the other.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message as Frame};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use wire::{WireError, whole_packages};

use crate::stream::ByteStream;
use crate::{Address, Tls};

/// Bytes of a read buffer.
const READ_BUFFER: usize = 4 * 1024;

/// Bytes that may wait to be written before a sender waits.
const WRITE_BUFFER: usize = 64 * 1024;

/// The reason why a connection failed.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    #[error(transparent)]
    Failed(#[from] io::Error),
    #[error(transparent)]
    Websocket(#[from] tungstenite::Error),
    #[error(transparent)]
    Protocol(#[from] WireError),
}

/// A connection. A stream and a sink of whole packages, one or more in each item.
#[derive(Debug)]
pub(crate) enum Socket {
    Websocket(Box<WebSocketStream<ByteStream>>),
    Tcp(PackageStream),
}

/// Packages without a websocket.
#[derive(Debug)]
pub(crate) struct PackageStream {
    stream: ByteStream,
    /// The beginning of a package.
    arrived: BytesMut,
    unsent: BytesMut,
}

impl Socket {
    /// Connects, and opens a websocket if the address has one.
    pub(crate) async fn open(address: &Address, tls: Option<&Tls>) -> Result<Self, SocketError> {
        let tcp = TcpStream::connect(address.host_port()).await?;
        // Nagle's algorithm would delay a message until the one before is acknowledged.
        tcp.set_nodelay(true)?;
        let stream = ByteStream::secure(tcp, address, tls).await?;
        if !address.transport.is_websocket() {
            return Ok(Self::Tcp(PackageStream { stream, arrived: BytesMut::new(), unsent: BytesMut::new() }));
        }
        // The library's defaults are 128 KiB for each.
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(READ_BUFFER);
        let url = format!("{}://{}/", address.transport.scheme(), address.host_port());
        let (websocket, _) = client_async_with_config(url, stream, Some(config)).await?;
        Ok(Self::Websocket(Box::new(websocket)))
    }
}

impl Stream for Socket {
    type Item = Result<Bytes, SocketError>;

    /// Ends when the server closes the connection.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let websocket = match self.get_mut() {
            Self::Tcp(packages) => return packages.poll_packages(context),
            Self::Websocket(websocket) => websocket,
        };
        loop {
            match ready!(Pin::new(&mut *websocket).poll_next(context)) {
                Some(Ok(Frame::Binary(frame))) => return Poll::Ready(Some(Ok(frame))),
                Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Text(_) | Frame::Frame(_))) => {}
                Some(Ok(Frame::Close(_))) | None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }
}

impl Sink<Bytes> for Socket {
    type Error = SocketError;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        match self.get_mut() {
            Self::Websocket(websocket) => Pin::new(websocket.as_mut()).poll_ready(context).map_err(Into::into),
            Self::Tcp(packages) if packages.unsent.len() < WRITE_BUFFER => Poll::Ready(Ok(())),
            Self::Tcp(packages) => packages.poll_flush(context),
        }
    }

    fn start_send(self: Pin<&mut Self>, packages: Bytes) -> Result<(), SocketError> {
        match self.get_mut() {
            Self::Websocket(websocket) => Ok(Pin::new(websocket.as_mut()).start_send(Frame::Binary(packages))?),
            Self::Tcp(stream) => {
                stream.unsent.extend_from_slice(&packages);
                Ok(())
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        match self.get_mut() {
            Self::Websocket(websocket) => Pin::new(websocket.as_mut()).poll_flush(context).map_err(Into::into),
            Self::Tcp(packages) => packages.poll_flush(context),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        match self.get_mut() {
            Self::Websocket(websocket) => Pin::new(websocket.as_mut()).poll_close(context).map_err(Into::into),
            Self::Tcp(packages) => {
                ready!(packages.poll_flush(context))?;
                Pin::new(&mut packages.stream).poll_shutdown(context).map_err(Into::into)
            }
        }
    }
}

impl PackageStream {
    /// Reads until there is a whole package, and returns all that are whole.
    fn poll_packages(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, SocketError>>> {
        loop {
            match whole_packages(&self.arrived, wire::MAX_BODY) {
                Ok(0) => {}
                Ok(whole) => return Poll::Ready(Some(Ok(self.arrived.split_to(whole).freeze()))),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            self.arrived.reserve(READ_BUFFER);
            let read = pin!(self.stream.read_buf(&mut self.arrived));
            match ready!(read.poll(context)) {
                Ok(0) => return Poll::Ready(None),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.unsent.advance(sent);
        }
        // TLS holds back what the network did not take.
        Pin::new(&mut self.stream).poll_flush(context).map_err(Into::into)
    }
}
