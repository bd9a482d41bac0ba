//! What can go wrong, and whose fault it is.

use thiserror::Error;
use wire::WireError;

/// Why something did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The server said no.
    #[error("refused ({code}): {reason}")]
    Refused {
        /// What its answer has as `code`.
        code: u64,
        /// What its answer has as `reason`; empty from servers that give none.
        reason: String,
    },
    /// No answer in time. Whether the server acted is unknown.
    #[error("no answer in time")]
    TimedOut,
    /// The connection is closed, or was before an answer came. Whether the server acted is unknown.
    #[error("the connection is closed{}", .kick.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Closed {
        /// Why the server kicked us, if it did.
        kick: Option<String>,
    },
    /// More is asked than the connection takes.
    #[error("too many requests wait to be sent")]
    Busy,
    /// A request's body is longer than servers take. Nothing was sent.
    #[error("too-long: {len} bytes, of at most {max}")]
    TooLong {
        /// Bytes of the body as JSON.
        len: usize,
        /// The most that may be sent: [`crate::Options::max_body`], and less where a room is entered.
        max: usize,
    },
    /// There is no server, or none that speaks websocket.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// `host:port`.
        address: String,
        /// What the attempt met.
        reason: String,
    },
    /// The server refused the handshake.
    #[error("the server refused the handshake with code {0}")]
    Handshake(u64),
    /// Bytes and values do not fit the protocol: what the server sent, or, from [`WireError::RouteTooLong`] on, what was to be sent.
    #[error("this is not the protocol: {0}")]
    Protocol(#[from] WireError),
    /// The server's answer is not what the request asks for.
    #[error("the server's answer makes no sense: {0}")]
    Answer(String),
}
