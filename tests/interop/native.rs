//! Native clients, over TCP without a websocket.

use std::process::Stdio;
use std::time::Duration;

use testkit::{Deployment, Layout, Topology, shaddock, workspace};
use tokio::process::Command;
use tokio::time::timeout;

/// The longest that a client may take.
const DEADLINE: Duration = Duration::from_secs(120);

async fn pypomelo_chats(topology: Topology) {
    let tools = workspace().join("target/tools");
    assert!(tools.join("pypomelo/client.py").exists(), "pypomelo is missing: `make interop` fetches it");
    let deployment = Deployment::start(shaddock(), &Layout::new(topology, "")).await;
    let gate = deployment.gate();
    let client = Command::new("python3")
        .arg(workspace().join("tests/interop/pypomelo_chat.py"))
        .args([gate.ip().to_string(), gate.port().to_string()])
        .env("PYTHONPATH", &tools)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(DEADLINE, client).await.expect("the client ends").unwrap();
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && printed.trim() == "ok", "{printed}{errors}");
}

#[tokio::test]
async fn pypomelo_chats_in_one_process() {
    pypomelo_chats(Topology::OneProcess).await;
}

#[tokio::test]
async fn pypomelo_chats_over_nats() {
    pypomelo_chats(Topology::ProcessPerServer).await;
}
