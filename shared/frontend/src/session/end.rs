//! The ends of a connection.

use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use wire::WireError;

use crate::Ending;

/// The reason for the end of a connection.
#[derive(Debug)]
pub(super) enum End {
    /// The network ended it.
    Gone,
    /// The client closes.
    Closed,
    /// We close, without a word.
    Close,
    /// The client's bytes are not the protocol, Pomelo's or the websocket's.
    Bad(Box<dyn std::error::Error + Send + Sync>),
    /// The client let a deadline pass.
    Late(&'static str),
    /// This task panicked.
    Panicked,
}

impl End {
    pub(super) fn for_role(&self) -> Ending {
        match self {
            Self::Gone | Self::Late(_) => Ending::Lost,
            Self::Closed | Self::Close | Self::Bad(_) | Self::Panicked => Ending::Closed,
        }
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        Self::Bad(error.into())
    }
}

impl From<axum::Error> for End {
    /// Attributes a read error: a frame that is too large or malformed is the client's fault, all
    /// else is the network's.
    fn from(error: axum::Error) -> Self {
        let error = error.into_inner();
        match error.downcast_ref() {
            Some(SocketError::Protocol(
                ProtocolError::ResetWithoutClosingHandshake
                | ProtocolError::SendAfterClosing
                | ProtocolError::ReceivedAfterClosing,
            )) => Self::Gone,
            Some(SocketError::Capacity(_) | SocketError::Protocol(_) | SocketError::Utf8(_)) => Self::Bad(error),
            _ => Self::Gone,
        }
    }
}
