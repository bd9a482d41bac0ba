//! The protocol of the peer, Socket.IO 4 in text frames without polling, and the peer's process.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use load::{Framing, Identity, OutBuffer, Protocol, ServerEvent, SessionError};
use serde_json::json;

use crate::process::Process;

/// The text before its port in its output.
const LISTENS: &str = "listens on ";

/// Numbers of acknowledgements: Socket.IO counts them per session.
const ENTER: u32 = 0;
const LEAVE: u32 = 1;
const FIRST_MESSAGE: u32 = 2;

/// One session with `peer/server.mjs`.
pub(crate) struct SocketIo {
    identity: Identity,
}

impl SocketIo {
    /// Creates the protocol of a user that is not connected.
    pub(crate) fn new(identity: Identity) -> Self {
        Self { identity }
    }
}

impl Protocol for SocketIo {
    const FRAMING: Framing = Framing::Text;

    fn path(&self) -> &'static str {
        "/socket.io/?EIO=4&transport=websocket"
    }

    /// Sends nothing: the server begins.
    fn on_open(&mut self, _out: &mut OutBuffer) -> Result<(), SessionError> {
        Ok(())
    }

    /// The first digit is Engine.IO's: 0 open, 1 close, 2 ping, 4 message. The second is
    /// Socket.IO's: 0 connected, 1 disconnected, 2 event, 3 acknowledgement, 4 refused.
    fn receive(
        &mut self,
        frame: &Bytes,
        out: &mut OutBuffer,
        emit: &mut impl FnMut(ServerEvent<'_>),
    ) -> Result<(), SessionError> {
        match frame.as_ref() {
            [b'4', b'2', ..] => emit(ServerEvent::Message { text: frame, seq: None }),
            [b'4', b'3', response @ ..] => emit(parse_response(response)?),
            [b'2', ..] => out.push_frame(b"3")?,
            [b'0', ..] => out.push_frame(b"40")?,
            [b'4', b'0', ..] => {
                let event = json!(["enter", self.identity.name, self.identity.room]);
                out.push_frame(format!("42{ENTER}{event}").as_bytes())?;
            }
            [b'4', b'4', ..] => emit(ServerEvent::Denied("refused".to_owned())),
            [b'1', ..] | [b'4', b'1', ..] => emit(ServerEvent::Kicked("disconnected".to_owned())),
            _ => return Err(SessionError::Malformed("no packet of Socket.IO")),
        }
        Ok(())
    }

    fn send_message(&mut self, number: u32, content: &[u8], out: &mut OutBuffer) -> Result<(), SessionError> {
        let number = number.wrapping_add(FIRST_MESSAGE);
        out.push_frame(&[format!("42{number}[\"say\",\"").as_bytes(), content, b"\"]"].concat())
    }

    fn leave(&mut self, out: &mut OutBuffer) -> Result<(), SessionError> {
        out.push_frame(format!("42{LEAVE}[\"leave\"]").as_bytes())
    }
}

/// `NUMBER[200]`.
fn parse_response(response: &[u8]) -> Result<ServerEvent<'static>, SessionError> {
    let digits = response.iter().take_while(|digit| digit.is_ascii_digit());
    let number = digits.fold(0_u32, |number, digit| number.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')));
    if !response.ends_with(b"[200]") {
        return Err(SessionError::Malformed("an acknowledgement of something else"));
    }
    Ok(match number {
        ENTER => ServerEvent::Entered,
        LEAVE => ServerEvent::Left,
        _ => ServerEvent::Response { number: number.wrapping_sub(FIRST_MESSAGE), code: 200 },
    })
}

/// The peer, as a process.
pub(crate) struct Peer {
    process: Process,
    port: u16,
}

impl Peer {
    /// Starts it. Its output goes to a file in `logs`.
    pub(crate) async fn start(logs: &Path) -> Self {
        let mut command = Command::new("node");
        command.arg(bench().join("peer/server.mjs")).arg(packages()).env("NODE_ENV", "production");
        let process = Process::start("socket.io", command, logs);
        let listens = process.wait_for_output(LISTENS).await;
        let printed = process.output();
        let port = printed.lines().find_map(|line| line.strip_prefix(LISTENS)?.parse().ok());
        let port = port.filter(|_| listens).unwrap_or_else(|| panic!("Socket.IO does not listen: {printed}"));
        Self { process, port }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

fn bench() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/load")
}

/// Returns the directory into which `make bench` installs Socket.IO.
pub(crate) fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/socket.io")
}
