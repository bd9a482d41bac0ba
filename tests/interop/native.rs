//! Native clients, over TCP without a websocket, and over TLS.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use testkit::{Certificates, Deployment, Layout, Scratch, Topology, shaddock, workspace};
use tokio::process::Command;
use tokio::time::timeout;

/// The longest that a client may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// The script waits for two of them where it is silent.
const HEARTBEAT: &str = "[frontend]\nheartbeat_secs = 2";

/// The checks of the script.
const CHECKS: usize = 14;

/// The checks of the script for logins.
const LOGIN_CHECKS: usize = 31;

/// Chats with pypomelo through a gate, with TLS if there is an authority to trust.
async fn pypomelo_chats(gate: SocketAddr, authority: Option<&str>) {
    // TLS has two versions.
    let rounds = if authority.is_some() { 2 } else { 1 };
    run_script(("pypomelo_chat.py", authority), gate, rounds * CHECKS).await;
}

/// Runs a script of pypomelo at a gate, with an argument; it prints a line for each check.
async fn run_script((name, argument): (&str, Option<&str>), gate: SocketAddr, checks: usize) {
    let tools = workspace().join("target/tools");
    assert!(tools.join("pypomelo/client.py").exists(), "pypomelo is missing: `make interop` fetches it");
    let client = Command::new("python3")
        .arg(workspace().join("tests/interop").join(name))
        .args([gate.ip().to_string(), gate.port().to_string()])
        .args(argument)
        .env("PYTHONPATH", &tools)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(DEADLINE, client).await.expect("the client ends").unwrap();
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && printed.ends_with("ok\n"), "{printed}{errors}");
    assert_eq!(printed.lines().count(), checks + 1, "{printed}");
}

async fn plain(topology: Topology) {
    let deployment = Deployment::start(shaddock(), &Layout::new(topology, HEARTBEAT)).await;
    pypomelo_chats(deployment.gate(), None).await;
}

/// Logs in with pypomelo, which has no token in its handshake, by tokens that PyJWT makes.
async fn logins(topology: Topology) {
    let tools = workspace().join("target/tools");
    assert!(tools.join("jwt/api_jwt.py").exists(), "PyJWT is missing: `make interop` fetches it");
    let scratch = Scratch::new();
    let key = scratch.file("key", "0123456789abcdef0123456789abcdef");
    let settings = format!("[auth]\nmode = \"required\"\nhmac_file = {key:?}\naudience = \"chat\"\nissuer = \"app\"");
    let deployment = Deployment::start(shaddock(), &Layout::new(topology, &settings)).await;
    run_script(("pypomelo_login.py", Some(&key)), deployment.gate(), LOGIN_CHECKS).await;
}

#[tokio::test]
async fn pypomelo_logs_in_in_one_process() {
    logins(Topology::OneProcess).await;
}

#[tokio::test]
async fn pypomelo_logs_in_over_nats() {
    logins(Topology::ProcessPerServer).await;
}

async fn with_tls(topology: Topology) {
    let certificates = Certificates::new();
    let (certificate, key) = certificates.issue("servers");
    let settings = format!("{HEARTBEAT}\n[tls]\ncert_file = {certificate:?}\nkey_file = {key:?}");
    let deployment = Deployment::start(shaddock(), &Layout::new(topology, &settings)).await;
    pypomelo_chats(deployment.gate(), Some(&certificates.authority_file())).await;
}

#[tokio::test]
async fn pypomelo_chats_in_one_process() {
    plain(Topology::OneProcess).await;
}

#[tokio::test]
async fn pypomelo_chats_over_nats() {
    plain(Topology::ProcessPerServer).await;
}

#[tokio::test]
async fn pypomelo_chats_with_tls_in_one_process() {
    with_tls(Topology::OneProcess).await;
}

#[tokio::test]
async fn pypomelo_chats_with_tls_over_nats() {
    with_tls(Topology::ProcessPerServer).await;
}
