//! How a session speaks to a server: what it sends, and what it makes of what it gets. Knows no sockets.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio_tungstenite::tungstenite;
use wire::WireError;

use super::framing::{Framing, OutBuffer};

/// Who speaks, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub name: String,
    /// The room that it enters.
    pub room: String,
    /// Whether messages are to carry an id that makes them safe to repeat.
    pub repeat: bool,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent<'f> {
    /// To go on at this address, `host:port`, with a connection of its own.
    Redirected(String),
    /// The user is in the room.
    Entered,
    /// The user may not enter.
    Denied(String),
    /// The user has left.
    Left,
    /// The answer to the message with this number: 200, or what is wrong.
    Response {
        /// As [`Protocol::send_message`] got it.
        number: u32,
        /// 200 is yes; 503 and 507 are unknown; others are no.
        code: u16,
    },
    /// Somebody said something.
    Message {
        /// Has the tag in it, somewhere.
        text: &'f [u8],
        /// Where it stands in the room, if the server says so; has to rise.
        seq: Option<u64>,
    },
    /// [`Protocol::heartbeat`] is to be called after this time.
    HeartbeatAfter(Duration),
    /// The server ends this, and says why.
    Kicked(String),
}

/// How one session speaks. A value is one session's, from the first connection to the end.
pub trait Protocol: Send + 'static {
    /// How bytes are cut into frames.
    const FRAMING: Framing;

    /// What is asked for when a websocket is opened.
    fn path(&self) -> &str {
        "/"
    }

    /// A connection is open, the first one or that of [`ServerEvent::Redirected`].
    ///
    /// # Errors
    /// If what is to be sent cannot be written.
    fn on_open(&mut self, out: &mut OutBuffer) -> Result<(), SessionError>;

    /// A frame came; tells what it says, in order.
    ///
    /// # Errors
    /// If that is not the protocol; the connection is closed.
    fn receive(
        &mut self,
        frame: &Bytes,
        out: &mut OutBuffer,
        emit: &mut impl FnMut(ServerEvent<'_>),
    ) -> Result<(), SessionError>;

    /// Says `content` to all in the room, the sender included. It is ASCII that JSON needs not escape. The same number comes
    /// again only with the same content, to be said once.
    ///
    /// # Errors
    /// As [`Self::on_open`].
    fn send_message(&mut self, number: u32, content: &[u8], out: &mut OutBuffer) -> Result<(), SessionError>;

    /// Says that the session lives.
    ///
    /// # Errors
    /// As [`Self::on_open`].
    fn heartbeat(&mut self, _out: &mut OutBuffer) -> Result<(), SessionError> {
        Ok(())
    }

    /// Leaves the room, to be told [`ServerEvent::Left`].
    ///
    /// # Errors
    /// As [`Self::on_open`].
    fn leave(&mut self, out: &mut OutBuffer) -> Result<(), SessionError>;
}

/// Why a connection ended, or never was.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The server closed it.
    #[error("closed by the server")]
    Closed,
    /// The server kicked the session.
    #[error("kicked: {0}")]
    Kicked(String),
    /// The server does not let the user in.
    #[error("{0}")]
    Denied(String),
    /// No answer to the login.
    #[error("no answer in time")]
    TimedOut,
    /// The server does not want to speak websocket.
    #[error("no websocket: {0}")]
    NoWebsocket(String),
    /// The server does not speak the protocol.
    #[error("not the protocol: {0}")]
    Malformed(&'static str),
    /// The server does not speak Pomelo's protocol, or a request does not fit it.
    #[error("not the protocol: {0}")]
    Wire(#[from] WireError),
    /// The server's frames are none.
    #[error("not a websocket: {0}")]
    Websocket(#[from] tungstenite::Error),
    /// The connection failed.
    #[error(transparent)]
    Failed(#[from] io::Error),
}
