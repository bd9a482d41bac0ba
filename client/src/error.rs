//! Errors of the client library.

use std::time::Duration;

use serde_json::Value;
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
        /// The end of the mute or ban that is the reason, in Unix milliseconds; 0 if it has none.
        until: Option<u64>,
        /// The time until a room in slow mode takes this member's next message.
        retry: Option<Duration>,
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

impl ClientError {
    /// A refusal with nothing but a reason.
    pub(crate) fn refused(code: u64, reason: String) -> Self {
        Self::Refused { code, reason, until: None, retry: None }
    }

    /// A refusal as the body of a response has it.
    pub(crate) fn of_refusal(code: u64, body: &Value) -> Self {
        let reason = body.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name| body.get(name).and_then(Value::as_u64);
        Self::Refused { code, reason, until: number("until"), retry: number("retry").map(Duration::from_millis) }
    }
}
