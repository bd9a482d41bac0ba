//! The program's output on a terminal.

use std::process::Stdio;

use testkit::{Process, shaddock};
use tokio::process::Command;

use crate::layout::installation;

/// Runs a program on a terminal of its own until it has written "ready"; stops it, and prints what
/// it wrote.
const ON_A_TERMINAL: &str = r#"
import os, pty, signal, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
written, is_stopped = b"", False
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    written += piece
    if b"ready" in written and not is_stopped:
        os.kill(pid, signal.SIGTERM)
        is_stopped = True
os.waitpid(pid, 0)
sys.stdout.buffer.write(written)
"#;

/// The log of servers that ran on a terminal.
async fn log_on_terminal(environment: &[(&str, &str)]) -> String {
    let installation = installation("");
    let mut python = Command::new("python3");
    python.args(["-c", ON_A_TERMINAL]).arg(shaddock()).arg("--config").arg(installation.path());
    python.env_clear().envs([("PATH", "/usr/bin:/bin:/usr/local/bin")]).envs(environment.iter().copied());
    let running = python.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Process::DEADLINE, running).await.unwrap();
    let output = output.unwrap_or_else(|error| panic!("python3: {error}"));
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(log.contains("ready"), "{log}{}", String::from_utf8_lossy(&output.stderr));
    log
}

#[tokio::test]
async fn colours_are_for_terminals_and_obey_no_color() {
    const ESCAPE: char = '\u{1b}';
    assert!(log_on_terminal(&[]).await.contains(ESCAPE));
    assert!(log_on_terminal(&[("NO_COLOR", "")]).await.contains(ESCAPE), "an empty one counts as none");
    let plain = log_on_terminal(&[("NO_COLOR", "1")]).await;
    assert!(!plain.contains(ESCAPE), "{plain}");
}
