//! The ends of a connection.

use std::io;

use runtime::metrics::{Counter, DeadlineCloses};
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use wire::WireError;

use crate::{Ending, websocket};

/// The reason for the end of a connection.
#[derive(Debug)]
pub(crate) enum End {
    /// The network ended it.
    Gone,
    /// The client closes.
    Closed,
    /// We close, without a word.
    Close,
    /// The client's bytes are not the protocol, Pomelo's or the websocket's.
    Bad(Box<dyn std::error::Error + Send + Sync>),
    /// A message or a package of the client is too large.
    TooLarge(Box<dyn std::error::Error + Send + Sync>),
    /// The client let a deadline pass.
    Late(Deadline),
    /// The client reads too slowly.
    Slow,
    /// This task panicked.
    Panicked,
}

/// A deadline of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// Of the handshake's ack.
    Handshake,
    /// Of the first room.
    Enter,
    /// Of the next sign of life.
    Heartbeat,
    /// Of the rest of a message.
    Message,
}

impl Deadline {
    /// The counter of those that passed.
    pub(super) fn counter(self, closed: &DeadlineCloses) -> &Counter {
        match self {
            Self::Handshake => &closed.handshake,
            Self::Enter => &closed.enter,
            Self::Heartbeat => &closed.heartbeat,
            Self::Message => &closed.message,
        }
    }
}

impl End {
    /// The end at an error of reading the stream: TLS that is malformed is the client's fault, and
    /// so is a message that is too large.
    pub(crate) fn of_read(error: io::Error) -> Self {
        match error.kind() {
            websocket::TOO_LARGE => Self::TooLarge(error.into()),
            io::ErrorKind::InvalidData => Self::Bad(error.into()),
            _ => Self::Gone,
        }
    }

    pub(super) fn for_role(&self) -> Ending {
        match self {
            Self::Gone | Self::Late(_) | Self::Slow => Ending::Lost,
            Self::Closed | Self::Close | Self::Bad(_) | Self::TooLarge(_) | Self::Panicked => Ending::Closed,
        }
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        match error {
            WireError::PackageTooLong { .. } => Self::TooLarge(error.into()),
            error => Self::Bad(error.into()),
        }
    }
}

impl From<SocketError> for End {
    /// Attributes a read error: a frame that is too large or malformed is the client's fault, all
    /// else is the network's.
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::Protocol(
                ProtocolError::ResetWithoutClosingHandshake
                | ProtocolError::SendAfterClosing
                | ProtocolError::ReceivedAfterClosing,
            ) => Self::Gone,
            SocketError::Protocol(_) | SocketError::Utf8(_) => Self::Bad(error.into()),
            SocketError::Capacity(_) => Self::TooLarge(error.into()),
            SocketError::Io(error) => Self::of_read(error),
            _ => Self::Gone,
        }
    }
}
