//! How a session speaks to the peer, Socket.IO 4 in text frames without polling, and the peer's process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use client::load::{Broken, Dialect, Framing, Heard, Named, Out};
use serde_json::json;
use shared::testing::eventually;

/// The longest that its start may take.
const START_WITHIN: Duration = Duration::from_secs(20);

/// Numbers of acknowledgements: Socket.IO counts them per session.
const ENTER: u32 = 0;
const LEAVE: u32 = 1;
const FIRST_SAID: u32 = 2;

/// One session with `peer/server.mjs`.
pub(crate) struct SocketIo {
    named: Named,
}

impl SocketIo {
    /// Of a user who did not connect yet.
    pub(crate) fn new(named: Named) -> Self {
        Self { named }
    }
}

impl Dialect for SocketIo {
    const FRAMING: Framing = Framing::Text;

    fn path(&self) -> &'static str {
        "/socket.io/?EIO=4&transport=websocket"
    }

    /// The server speaks first.
    fn opened(&mut self, _out: &mut Out) -> Result<(), Broken> {
        Ok(())
    }

    /// The first digit is Engine.IO's: 0 open, 1 close, 2 ping, 4 message. The second is Socket.IO's: 0 connected, 1 disconnected,
    /// 2 event, 3 acknowledgement, 4 refused.
    fn hear(&mut self, frame: &Bytes, out: &mut Out, heard: &mut impl FnMut(Heard<'_>)) -> Result<(), Broken> {
        match frame.as_ref() {
            [b'4', b'2', ..] => heard(Heard::Said { text: frame, seq: None }),
            [b'4', b'3', answer @ ..] => heard(answered(answer)?),
            [b'2', ..] => out.frame(b"3")?,
            [b'0', ..] => out.frame(b"40")?,
            [b'4', b'0', ..] => {
                let event = json!(["enter", self.named.name, self.named.room]);
                out.frame(format!("42{ENTER}{event}").as_bytes())?;
            }
            [b'4', b'4', ..] => heard(Heard::Denied("refused".to_owned())),
            [b'1', ..] | [b'4', b'1', ..] => heard(Heard::Kicked("disconnected".to_owned())),
            _ => return Err(Broken::Protocol("no packet of Socket.IO")),
        }
        Ok(())
    }

    fn say(&mut self, number: u32, content: &[u8], out: &mut Out) -> Result<(), Broken> {
        let number = number.wrapping_add(FIRST_SAID);
        out.frame(&[format!("42{number}[\"say\",\"").as_bytes(), content, b"\"]"].concat())
    }

    fn leave(&mut self, out: &mut Out) -> Result<(), Broken> {
        out.frame(format!("42{LEAVE}[\"leave\"]").as_bytes())
    }
}

/// `NUMBER[200]`.
fn answered(answer: &[u8]) -> Result<Heard<'static>, Broken> {
    let digits = answer.iter().take_while(|digit| digit.is_ascii_digit());
    let number = digits.fold(0_u32, |number, digit| number.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')));
    if !answer.ends_with(b"[200]") {
        return Err(Broken::Protocol("an acknowledgement of something else"));
    }
    Ok(match number {
        ENTER => Heard::Entered,
        LEAVE => Heard::Left,
        _ => Heard::Answer { number: number.wrapping_sub(FIRST_SAID), code: 200 },
    })
}

/// The peer, as a process; killed when dropped.
pub(crate) struct Peer {
    child: Child,
    port: u16,
}

impl Peer {
    /// Starts it; what it says goes to a file in `logs`.
    pub(crate) async fn start(logs: &Path) -> Self {
        let output = logs.join("socket.io.log");
        let mut command = Command::new("node");
        command.arg(bench().join("peer/server.mjs")).arg(packages()).env("NODE_ENV", "production");
        let (out, errors) = (File::create(&output).unwrap(), File::create(logs.join("socket.io.errors")).unwrap());
        let child = command.stdin(Stdio::null()).stdout(out).stderr(errors).spawn().unwrap();
        let mut peer = Self { child, port: 0 };
        eventually(START_WITHIN, "Socket.IO tells its port", async || {
            let said = fs::read_to_string(&output).unwrap();
            said.strip_suffix('\n').is_some_and(|port| port.parse().map(|port| peer.port = port).is_ok())
        })
        .await;
        peer
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn bench() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/load")
}

/// Where `make bench` puts Socket.IO.
pub(crate) fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/socket.io")
}
