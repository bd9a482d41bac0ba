//! One HTTP request over a connection that exists. The caller sets the deadline.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

/// The reason for which a body cannot be read.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It is longer than may be.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
    /// It ended early.
    #[error("the response cannot be read: {0}")]
    Broken(String),
}

/// Sends a request, and returns what `read` makes of the response.
///
/// # Errors
/// If there is no response, and those of `read`.
pub async fn send<T, E, F>(
    request: Request<()>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    read: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, E>
where
    E: From<hyper::Error>,
    F: Future<Output = Result<T, E>>,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let response = async { read(sender.send_request(request.map(|()| Empty::<Bytes>::new())).await?).await };
    tokio::pin!(connection);
    tokio::pin!(response);
    // The connection must be polled while its response is awaited. If it ends first, the response
    // may be complete already.
    tokio::select! {
        response = &mut response => response,
        _ = &mut connection => response.await,
    }
}

/// Reads the body of a response, of `most` bytes at most.
///
/// # Errors
/// If it is longer, or ends early.
pub async fn read_body(response: Response<Incoming>, most: usize) -> Result<Bytes, BodyError> {
    let body = Limited::new(response.into_body(), most).collect().await;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() { BodyError::TooLarge(most) } else { BodyError::Broken(error.to_string()) }
    })?;
    Ok(body.to_bytes())
}
