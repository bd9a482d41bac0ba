//! Keys and the setting `rpc.signatures` at the start of a process: the refusals, and the log
//! lines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use testkit::{Installation, NatsServer};

use crate::layout::{Layout, installation};
use crate::startup::assert_refused;

const REQUIRE: [&str; 2] = ["--set", "rpc.signatures=require"];

/// Writes the keys of all servers; the argument that names them.
fn write_keys(installation: &Installation) -> String {
    let keys = installation.path().join("keys");
    let written = installation.command().arg("keys").arg(&keys).output().unwrap();
    assert!(written.status.success(), "{written:?}");
    format!("rpc.key_dir={}", keys.display())
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_process_that_signs_needs_its_keys() {
    let installation = installation("");
    let nats = NatsServer::start_with_jetstream().await;
    let alone = [&REQUIRE[..], &["--only", "chat-server-1", "--nats", nats.url()]].concat();
    assert_refused(&installation, &alone, &["command line: rpc.key_dir", "is empty", "shaddock keys DIR"]).await;
    let keys = write_keys(&installation);
    let args = [&alone[..], &["--set", &keys]].concat();
    let seed = installation.path().join("keys/chat-server-1.seed");
    chmod(&seed, 0o644);
    assert_refused(&installation, &args, &["chat-server-1.seed", "mode 644", "chmod 600"]).await;
    fs::rename(&seed, seed.with_extension("kept")).unwrap();
    assert_refused(&installation, &args, &["chat-server-1.seed cannot be read", "shaddock keys DIR"]).await;
    fs::copy(installation.path().join("keys/chat-server-2.seed"), &seed).unwrap();
    assert_refused(&installation, &args, &["keys.json: entry \"chat-server-1\" is not the key of"]).await;
    fs::rename(seed.with_extension("kept"), &seed).unwrap();
    chmod(&seed, 0o600);
    let process = installation.start("chat", args, &[("SHADDOCK_LOG", "trace")]);
    assert!(process.wait_for_output("chat server ready").await);
    process.signal("TERM");
    assert_eq!(process.wait().await, Some(0));
    let secret = fs::read_to_string(seed).unwrap();
    assert!(!process.output().contains(secret.trim()));
}

/// One settings.toml is good for a cluster and for a single process without a broker.
#[tokio::test]
async fn without_a_broker_nothing_is_signed() {
    let deployment = Layout::OneProcess.start("[rpc]\nsignatures = \"require\"\nkey_dir = \"/nowhere\"").await;
    assert!(deployment.process("all").wait_for_output("rpc.signatures has no effect without NATS").await);
}

#[tokio::test]
async fn production_is_warned_that_it_does_not_sign() {
    const WARNING: &str = "rpc.signatures is \"off\"";
    let installation = installation("");
    let nats = NatsServer::start_with_jetstream().await;
    let keys = write_keys(&installation);
    let file = installation.path().join("servers.json");
    let mut servers: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    servers["production"] = servers["development"].clone();
    fs::write(file, servers.to_string()).unwrap();
    let production = ["--env", "production", "--only", "chat-server-1", "--nats", nats.url()];
    let accept = ["--set", "rpc.signatures=accept", "--set", &keys];
    let development = ["--only", "chat-server-1", "--nats", nats.url()];
    for (name, args, warns) in [
        ("off", production.to_vec(), true),
        ("accept", [&production[..], &accept].concat(), false),
        ("development", development.to_vec(), false),
    ] {
        let process = installation.start(name, args, &[]);
        assert!(process.wait_for_output("chat server ready").await);
        assert_eq!(process.output().matches(WARNING).count(), usize::from(warns), "{name}: {}", process.output());
    }
}
