//! Errors of the client library.

use thiserror::Error;
use wire::WireError;

/// An error of a connection or a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The server refused the request, or the handshake with a reason, as that of a bad token.
    #[error("refused ({code}): {reason}")]
    Refused {
        /// The `code` of the response.
        code: u64,
        /// The `reason` of the response; empty from servers that send none.
        reason: String,
    },
    /// No response in time. The outcome is unknown.
    #[error("no response in time")]
    TimedOut,
    /// The connection is closed, or closed before a response. The outcome is unknown.
    #[error("the connection is closed{}", .kick.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Closed {
        /// The reason if the server kicked this session.
        kick: Option<String>,
    },
    /// The queue of requests is full.
    #[error("too many requests wait to be sent")]
    Busy,
    /// A request's body is longer than servers take. Nothing was sent.
    #[error("too-long: {len} bytes, of at most {max}")]
    TooLong {
        /// Bytes of the body as JSON.
        len: usize,
        /// The most that may be sent: [`crate::Options::max_body`], and less where a room is
        /// entered.
        max: usize,
    },
    /// No server that speaks the address's transport was found at the address.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// The address as it was given.
        address: String,
        /// The cause.
        reason: String,
    },
    /// The function of [`Options::jwt`](crate::Options::jwt) gave no token.
    #[error("there is no token to log in with: {0}")]
    NoToken(String),
    /// The server refused the handshake, without a reason.
    #[error("the server refused the handshake with code {0}")]
    Handshake(u64),
    /// Bytes and values do not fit the protocol: what the server sent, or, from
    /// [`WireError::RouteTooLong`] on, what was to be sent.
    #[error("this is not the protocol: {0}")]
    Protocol(#[from] WireError),
    /// The response does not fit the request.
    #[error("the server's response is malformed: {0}")]
    BadResponse(String),
}
