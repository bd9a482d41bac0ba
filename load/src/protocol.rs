//! The protocol of a session: encodes requests, decodes frames to events. Knows no sockets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::GateAnswer;
use thiserror::Error;
use tokio_tungstenite::tungstenite;
use wire::WireError;

use super::framing::{Framing, OutBuffer};

/// The user of a session and its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub name: String,
    /// The room that it enters.
    pub room: String,
    /// Sends messages with an id, so that they can be repeated safely.
    pub repeat: bool,
    /// The token that it logs in with, if any.
    pub jwt: Option<Arc<str>>,
}

/// An event that a server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent<'f> {
    /// To go on at this address, with a connection of its own.
    Redirected(GateAnswer),
    /// The user is in the room.
    Entered,
    /// The user may not enter.
    Denied(String),
    /// The user has left.
    Left,
    /// The response to a message.
    Response {
        /// The number that [`Protocol::send_message`] was called with.
        number: u32,
        /// 200 is yes; 503 and 507 are unknown; others are no.
        code: u16,
    },
    /// A message in the room.
    Message {
        /// Has the tag in it, somewhere.
        text: &'f [u8],
        /// The position in the room, if the server sends one; must rise.
        seq: Option<u64>,
    },
    /// [`Protocol::heartbeat`] is to be called after this time.
    HeartbeatAfter(Duration),
    /// The server ends the session, for this reason.
    Kicked(String),
}

/// The protocol of one session, from the first connection to the end.
pub trait Protocol: Send + 'static {
    /// The encoding of frames in a websocket.
    const FRAMING: Framing;

    /// Returns the path of the websocket request.
    fn path(&self) -> &str {
        "/"
    }

    /// Called when a connection is open: the first one, or that of [`ServerEvent::Redirected`].
    ///
    /// # Errors
    /// If what is to be sent cannot be written.
    fn on_open(&mut self, out: &mut OutBuffer) -> Result<(), SessionError>;

    /// Decodes a frame and emits its events in order.
    ///
    /// # Errors
    ///
    /// If the frame is malformed; the connection is closed.
    fn receive(
        &mut self,
        frame: &Bytes,
        out: &mut OutBuffer,
        emit: &mut impl FnMut(ServerEvent<'_>),
    ) -> Result<(), SessionError>;

    /// Sends `content` to all in the room, the sender included. It is ASCII without characters that
    /// JSON escapes. A number is repeated only with the same content; servers must deliver that
    /// once.
    ///
    /// # Errors
    ///
    /// As [`Self::on_open`].
    fn send_message(&mut self, number: u32, content: &[u8], out: &mut OutBuffer) -> Result<(), SessionError>;

    /// Sends a heartbeat.
    ///
    /// # Errors
    ///
    /// As [`Self::on_open`].
    fn heartbeat(&mut self, _out: &mut OutBuffer) -> Result<(), SessionError> {
        Ok(())
    }

    /// Leaves the room; [`ServerEvent::Left`] follows.
    ///
    /// # Errors
    ///
    /// As [`Self::on_open`].
    fn leave(&mut self, out: &mut OutBuffer) -> Result<(), SessionError>;
}

/// The reason why a session ended or did not begin.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The server closed it.
    #[error("closed by the server")]
    Closed,
    /// The server kicked the session.
    #[error("kicked: {0}")]
    Kicked(String),
    /// The server refused the login.
    #[error("{0}")]
    Denied(String),
    /// The login had no response in time.
    #[error("no response in time")]
    TimedOut,
    /// The server refused the websocket.
    #[error("no websocket: {0}")]
    NoWebsocket(String),
    /// The server sent malformed data.
    #[error("not the protocol: {0}")]
    Malformed(&'static str),
    /// The server sent malformed packages, or a request cannot be encoded.
    #[error("not the protocol: {0}")]
    Wire(#[from] WireError),
    /// The server sent malformed frames.
    #[error("not a websocket: {0}")]
    Websocket(#[from] tungstenite::Error),
    /// The connection failed.
    #[error(transparent)]
    Failed(#[from] io::Error),
}
