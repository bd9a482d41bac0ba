//! Starts that fail, or wait, as the operator at the terminal sees them.

use std::net::SocketAddr;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;
use testkit::{Installation, NatsServer, Process, eventually, free_addresses, http_get};

use crate::layout::{Layout, get, installation};
use crate::servers_file::edit;

/// An operator watches the terminal all the time.
const SOON: Duration = Duration::from_secs(15);

const WAIT: (&str, &str) = ("SHADDOCK_NATS__WAIT_FOR_BROKER", "true");

/// Starts the program, which must refuse within a short time, saying all `parts`.
pub(crate) async fn assert_refused(installation: &Installation, args: &[&str], parts: &[&str]) {
    let process = installation.start("refused", args, &[]);
    assert_eq!(process.wait_within(SOON).await, Some(1));
    let output = process.output();
    for part in parts {
        assert!(output.contains(part), "{part:?} in {output}");
    }
}

/// Returns `nats://` and an address that no program listens on.
async fn stopped_broker() -> (NatsServer, String) {
    let mut nats = NatsServer::start_with_jetstream().await;
    nats.kill();
    let url = nats.url().to_owned();
    (nats, url)
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let installation = installation("");
    let gate = installation.gate();
    let _taken = TcpListener::bind(gate).unwrap();
    let parts = ["gate-server-1", &gate.to_string(), "the port is taken", "clientPort of gate-server-1"];
    assert_refused(&installation, &[], &parts).await;
}

#[tokio::test]
async fn a_health_check_finds_the_servers_of_this_machine() {
    let deployment = Layout::OneProcess.start("").await;
    deployment.wait_until_ready().await;
    let asking = deployment.installation.start("asking", ["ready"], &[]);
    assert_eq!(asking.wait_within(SOON).await, Some(0), "{}", asking.output());
    assert_eq!(asking.output(), "gate-server-1  ready\n");
}

#[tokio::test]
async fn a_server_alone_must_exist() {
    let installation = installation("");
    let args = ["--only", "chat-server-9", "--nats", "nats://127.0.0.1:4222"];
    assert_refused(&installation, &args, &["--only chat-server-9", "development", "chat-server-3"]).await;
}

#[tokio::test]
async fn a_server_alone_needs_nats() {
    let installation = installation("");
    assert_refused(&installation, &["--only", "chat-server-1"], &["--only chat-server-1", "add --nats URL"]).await;
}

#[tokio::test]
async fn signing_in_shows_no_secret() {
    const SECRET: &str = "pa55w0rd";
    let nats = NatsServer::start_with(&["--user", "ann", "--pass", SECRET]).await;
    let installation = installation("");
    let password = installation.path().join("password");
    std::fs::write(&password, SECRET).unwrap();
    // As much as can be asked for.
    let log = ("SHADDOCK_LOG", "trace,async_nats=trace,async_nats::connection=trace");
    let from_file = [("SHADDOCK_NATS__USER", "ann"), ("SHADDOCK_NATS__PASSWORD_FILE", password.to_str().unwrap()), log];
    let (url, with_secret) = (nats.url(), format!("nats://ann:{SECRET}@{}", nats.address()));
    for (name, variables) in [
        ("file", [&from_file[..], &[("SHADDOCK_NATS", url)]].concat()),
        ("url", vec![log, ("SHADDOCK_NATS", &with_secret)]),
    ] {
        let args = ["--only", "gate-server-1"];
        let process = installation.start(name, args, &variables);
        assert!(process.wait_for_output("connected to NATS").await);
        process.signal("TERM");
        assert_eq!(process.wait().await, Some(0));
        assert!(!process.output().contains(SECRET), "{name}");
    }
    let help = installation.start("help", ["--help"], &[("SHADDOCK_NATS", &with_secret)]);
    assert_eq!(help.wait().await, Some(0));
    assert!(help.output().contains("SHADDOCK_NATS") && !help.output().contains(SECRET));
}

#[tokio::test]
async fn a_file_that_signs_in_must_be_there() {
    let args = ["--nats", "nats://127.0.0.1:4222", "--set", "nats.token_file=/no/such/token"];
    assert_refused(&installation(""), &args, &["nats.token_file", "/no/such/token", "cannot be read"]).await;
    let args = ["--set", "nats.user=ann", "--set", "nats.token_file=token"];
    let parts = ["command line: nats.token_file", "nats.user signs in", "nats.password_file", "must be given"];
    assert_refused(&installation(""), &args, &parts).await;
}

#[tokio::test]
async fn a_missing_broker_is_named() {
    let (nats, url) = stopped_broker().await;
    let parts = ["no NATS server at", nats.address(), "start one there", WAIT.0];
    assert_refused(&installation(""), &["--nats", &url], &parts).await;
}

#[tokio::test]
async fn the_jetstream_log_needs_nats_and_jetstream() {
    let installation = installation("");
    assert_refused(&installation, &["--log", "jetstream"], &["add --nats URL", "--log memory"]).await;
    let nats = NatsServer::start().await;
    assert_refused(&installation, &["--nats", nats.url()], &["start nats-server with -js", "--log memory"]).await;
}

#[tokio::test]
async fn waiting_for_the_broker_can_be_ended() {
    let (_nats, url) = stopped_broker().await;
    let installation = installation("");
    let process = installation.start("waiting", ["--nats", &url], &[WAIT]);
    assert!(process.wait_for_output("waiting for").await);
    process.signal("TERM");
    assert_eq!(process.wait_within(SOON).await, Some(0));
}

#[tokio::test]
async fn a_broker_that_comes_is_used() {
    let (mut nats, url) = stopped_broker().await;
    let installation = installation("");
    let process = installation.start("waiting", ["--nats", &url], &[WAIT]);
    assert!(process.wait_for_output("waiting for").await);
    nats.restart().await;
    eventually(Process::DEADLINE, "the gate names a connector", async || {
        get(installation.gate(), "/entry?uid=ann").await.is_some_and(|answer| answer.contains(r#""code":200"#))
    })
    .await;
}

/// Such a filter would hide every line, errors included.
#[tokio::test]
async fn a_filter_of_the_log_must_be_one() {
    let installation = installation("");
    for filter in ["verbose", "info,conector=debug", "connector=verbose"] {
        let process = installation.start::<&str>("refused", [], &[("SHADDOCK_LOG", filter)]);
        assert_eq!(process.wait_within(SOON).await, Some(1), "{filter}");
        assert!(process.output().contains("SHADDOCK_LOG is not a filter"), "{}", process.output());
    }
}

async fn status(at: SocketAddr, path: &str) -> u16 {
    http_get(at, path, &["Host: localhost"]).await.map_or(0, |response| response.status)
}

/// A liveness probe finds the process well; only readiness waits, as `shaddock ready` does.
#[tokio::test]
async fn health_answers_while_the_broker_is_awaited() {
    let (mut nats, url) = stopped_broker().await;
    let installation = installation("");
    let (gate, chat) = (installation.gate(), free_addresses(1)[0]);
    edit(&installation, |servers| servers["chat"][0]["port"] = json!(chat.port()));
    let process = installation.start("waiting", ["--nats", &url], &[WAIT]);
    assert!(process.wait_for_output("waiting for").await);
    for at in [gate, chat] {
        for (path, expected) in [("/healthz", 200), ("/readyz", 503), ("/entry?uid=ann", 503)] {
            assert_eq!(status(at, path).await, expected, "{path} of {at}");
        }
    }
    let asking = installation.start("asking", ["ready"], &[]);
    assert_eq!(asking.wait_within(SOON).await, Some(1));
    let said = asking.output();
    assert!(said.contains("gate-server-1  bus: ") && said.contains("chat-server-1  bus: "), "{said}");
    nats.restart().await;
    for at in [gate, chat] {
        eventually(Process::DEADLINE, "it is ready", async || status(at, "/readyz").await == 200).await;
        assert_eq!(status(at, "/healthz").await, 200);
    }
    process.signal("TERM");
    assert_eq!(process.wait().await, Some(0));
}
