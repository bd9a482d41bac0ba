//! SIGTERM: what was accepted is answered, clients are closed plainly, and the exit code is 0.

use std::time::Duration;

use serde_json::json;
use testkit::{Deployment, NatsServer};

use crate::layout::Layout;
use crate::on_both_layouts;
use crate::original_client::OriginalClient;
use crate::over_tls;

on_both_layouts!(what_was_accepted_is_answered);
over_tls!(what_was_accepted_is_answered);

/// Enough for a busy machine, far below the time that the servers have for their work.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Chat servers that do not answer for a while shall not be given up on.
const PATIENT: &str = "[rpc]\nrequest_ms = 25000\n[lifecycle]\ngrace_secs = 28";

const CHAT_SERVERS: [&str; 3] = ["chat-server-1", "chat-server-2", "chat-server-3"];

/// Returns when the connector has read everything that this client asked before: it answers unknown
/// routes itself.
async fn wait_until_accepted(client: &mut OriginalClient) {
    let response = client.request("connector.entryHandler.nothing", json!({})).await;
    assert_eq!(response["code"], 500, "{response}");
}

/// The process of the connector that the gate names for `uid`.
async fn connector_of(deployment: &Deployment, uid: &str) -> String {
    let at = deployment.entry(uid).await.unwrap();
    let number = (0..3).find(|&index| deployment.connector(index) == at).unwrap() + 1;
    format!("connector-server-{number}")
}

async fn signal_chats(deployment: &Deployment, signal: &str) {
    for chat in CHAT_SERVERS {
        deployment.process(chat).signal(signal);
    }
}

/// Over NATS the chat servers are frozen during the stop, so that the requests are open when the
/// connector gets its signal.
async fn what_was_accepted_is_answered(layout: Layout) {
    let deployment = layout.start(PATIENT).await;
    let connector = connector_of(&deployment, "ann").await;
    let (mut ann, _) = OriginalClient::enter("ann", deployment.gate(), "lobby").await;
    let mut asker = OriginalClient::start("asker").await;
    asker.connect(deployment.gate()).await;
    let frozen = layout != Layout::OneProcess;
    if frozen {
        signal_chats(&deployment, "STOP").await;
    }
    let mut asked = Vec::new();
    for number in 0..20 {
        let message = json!({"content": format!("message {number}"), "target": "*"});
        asked.push(ann.start_request("chat.chatHandler.send", message).await);
    }
    wait_until_accepted(&mut ann).await;
    deployment.process(&connector).signal("TERM");
    assert!(deployment.process(&connector).wait_for_output("stopping").await);
    if frozen {
        signal_chats(&deployment, "CONT").await;
    }
    for request in asked {
        let response = ann.answer(request).await;
        assert_eq!(response["code"], 200, "{response}");
    }
    assert_eq!(ann.next_of_kind("close").await["code"], 1000);
    assert_eq!(deployment.process(&connector).wait().await, Some(0));
    if frozen {
        deployment.process("gate-server-1").signal("TERM");
    }
    assert_eq!(asker.next_of_kind("close").await["code"], 1000);
    assert_eq!(deployment.process("gate-server-1").wait().await, Some(0));
}

/// Signals that timers, log rotation, profilers and shells send, by number: real-time ones, too.
const HARMLESS: [&str; 12] =
    ["USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "STKFLT", "XFSZ", "HUP", "36", "64"];

/// None of them ends a server, not even while it waits for its broker or stops.
#[tokio::test]
async fn other_signals_are_ignored() {
    let deployment = Layout::OneProcess.start("").await;
    let (mut ann, _) = OriginalClient::enter("ann", deployment.gate(), "lobby").await;
    for signal in HARMLESS {
        deployment.process("all").signal(signal);
    }
    wait_until_accepted(&mut ann).await;
    let process = deployment.process("all");
    process.signal("QUIT");
    assert!(process.wait_for_output("stopping; a second signal ends at once").await);
    assert_eq!(ann.next_of_kind("close").await["code"], 1000);
    assert_eq!(process.wait().await, Some(0));

    let mut nats = NatsServer::start().await;
    nats.kill();
    let args = ["--nats", nats.url()];
    let waits = [("SHADDOCK_NATS__WAIT_FOR_BROKER", "true")];
    let waiting = deployment.installation.start("waiting", args, &waits);
    assert!(waiting.wait_for_output("waiting for").await);
    for signal in HARMLESS {
        waiting.signal(signal);
    }
    waiting.signal("QUIT");
    assert_eq!(waiting.wait().await, Some(0));
}

/// As the service managers that send it mean it.
#[tokio::test]
async fn sigquit_hands_over_as_sigterm_does() {
    let deployment = Layout::SevenProcesses.start("").await;
    for (server, signal) in [("connector-server-1", "QUIT"), ("chat-server-1", "XCPU")] {
        let process = deployment.process(server);
        process.signal(signal);
        assert_eq!(process.wait().await, Some(0));
    }
    assert!(deployment.process("chat-server-1").output().contains("hands its rooms over"));
    assert!(deployment.process("connector-server-1").output().contains("drains its clients to other connectors"));
}

/// Orchestrators signal all processes at once. A process does not wait for one that has ended.
#[tokio::test]
async fn seven_processes_stop_together() {
    let deployment = Layout::SevenProcesses.start("").await;
    let (mut ann, _) = OriginalClient::enter("ann", deployment.gate(), "lobby").await;
    for (_, process) in deployment.processes() {
        process.signal("TERM");
    }
    assert_eq!(ann.next_of_kind("close").await["code"], 1000);
    for (_, process) in deployment.processes() {
        assert_eq!(process.wait().await, Some(0));
    }
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let deployment = Layout::SevenProcesses.start(PATIENT).await;
    let connector = connector_of(&deployment, "ann").await;
    let (mut ann, _) = OriginalClient::enter("ann", deployment.gate(), "lobby").await;
    signal_chats(&deployment, "STOP").await;
    ann.start_request("chat.chatHandler.send", json!({"content": "is never answered", "target": "*"})).await;
    wait_until_accepted(&mut ann).await;
    let process = deployment.process(&connector);
    process.signal("TERM");
    assert!(process.wait_for_output("a second signal ends at once").await);
    process.signal("TERM");
    assert_eq!(process.wait_within(AT_ONCE).await, Some(0));
    assert!(process.output().contains("ended at once"));
}
