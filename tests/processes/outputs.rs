//! Readers of stdout and stderr that are gone, stand still, or have no space: servers and tools go
//! on as if all had been read.

use std::fs::File;
use std::io::{PipeReader, Write, pipe};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use client::{ChatClient, Options};
use testkit::{Installation, NatsServer, Process, eventually};

use crate::layout::{Layout, get, installation};

/// Far below the time that servers have for their work.
const SOON: Duration = Duration::from_secs(15);

/// As many lines as there can be.
const ALL: (&str, &str) = ("SHADDOCK_LOG", "trace");

/// Bytes that a pipe holds at least.
const PIPE: usize = 64 * 1024;

/// A disk without space.
fn full_disk() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe whose reader is gone.
fn closed_pipe() -> Stdio {
    pipe().unwrap().1.into()
}

/// A full pipe whose reader reads no byte.
fn stalled_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&vec![b'x'; PIPE]).unwrap();
    (reader, writer.into())
}

async fn wait_until_reachable(installation: &Installation) {
    eventually(Process::DEADLINE, "the gate names a connector", async || {
        get(installation.gate(), "/entry?uid=ann").await.is_some_and(|answer| answer.contains(r#""code":200"#))
    })
    .await;
}

async fn send_one_message(installation: &Installation, name: &str) {
    let address = installation.connectors()[0].to_string();
    let sent = async || {
        let (chat, _events) = ChatClient::connect(&address, Options::default()).await.ok()?;
        chat.enter(name, "lobby").await.ok()?;
        chat.send("hello").await.ok()
    };
    eventually(Process::DEADLINE, "a message is committed", async || sent().await.is_some()).await;
}

/// Serves, finds NATS again, and stops in order.
async fn check_serving_with(name: &str, outputs: (Stdio, Stdio)) {
    let mut nats = NatsServer::start_with_jetstream().await;
    let installation = installation("");
    let url = nats.url().to_owned();
    let process = installation.start_with_outputs(name, ["--nats", &url], &[ALL], outputs);
    wait_until_reachable(&installation).await;
    send_one_message(&installation, "ann").await;
    nats.restart().await;
    send_one_message(&installation, "bob").await;
    process.signal("HUP");
    process.signal("TERM");
    assert_eq!(process.wait_within(SOON).await, Some(0), "{name}");
}

#[tokio::test]
async fn servers_go_on_when_the_readers_are_gone() {
    check_serving_with("gone", (closed_pipe(), closed_pipe())).await;
}

#[tokio::test]
async fn servers_go_on_when_the_disk_is_full() {
    check_serving_with("full", (full_disk(), full_disk())).await;
}

#[tokio::test]
async fn servers_go_on_when_the_readers_stand_still() {
    let ((_out, stdout), (_err, stderr)) = (stalled_pipe(), stalled_pipe());
    check_serving_with("stalled", (stdout, stderr)).await;
}

/// A start that fails ends with its status, even if the reason cannot be written.
#[tokio::test]
async fn a_failed_start_ends_whatever_happens_to_its_message() {
    let installation = installation("");
    let _taken = TcpListener::bind(installation.gate()).unwrap();
    let (_reader, stderr) = stalled_pipe();
    for (name, stderr) in [("gone", closed_pipe()), ("full", full_disk()), ("stalled", stderr)] {
        let none = [] as [&str; 0];
        let process = installation.start_with_outputs(name, none, &[], (Stdio::null(), stderr));
        assert_eq!(process.wait_within(SOON).await, Some(1), "{name}");
    }
}

/// The status is the answer of a health check, whether its text is read or not.
#[tokio::test]
async fn a_health_check_answers_by_its_status() {
    let deployment = Layout::OneProcess.start("").await;
    deployment.wait_until_ready().await;
    let installation = &deployment.installation;
    for (name, stdout) in [("gone", closed_pipe()), ("full", full_disk())] {
        let asking = installation.start_with_outputs(name, ["ready"], &[], (stdout, Stdio::null()));
        assert_eq!(asking.wait_within(SOON).await, Some(0), "{name}");
        let args = ["ready", "--only", "chat-server-1"];
        let asking = installation.start_with_outputs(name, args, &[], (closed_pipe(), full_disk()));
        assert_eq!(asking.wait_within(SOON).await, Some(1), "{name}");
    }
}

/// Other tools have an answer to give: it is an error if the answer is lost, and none if its reader
/// has seen enough.
#[tokio::test]
async fn tools_fail_plainly_when_their_answer_is_lost() {
    let installation = installation("");
    for args in [&["check"][..], &["place", "lobby"], &["--help"]] {
        for (name, stdout, status) in [("gone", closed_pipe(), 0), ("full", full_disk(), 1)] {
            let outputs = (stdout, full_disk());
            let tool = installation.start_with_outputs(name, args, &[], outputs);
            let code = tool.wait_within(SOON).await;
            // clap gives help whether it is read or not.
            let status = if args[0] == "--help" { 0 } else { status };
            assert_eq!(code, Some(status), "{args:?} {name}");
        }
    }
}
