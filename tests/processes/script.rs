//! A program for node that tests something of `web/` on a deployment, and asks for faults on the
//! way: each line that it writes is one wish as JSON, answered by a line when it is done. What it
//! writes to stderr is shown if it fails.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use model::ids::ServerId;
use model::placement;
use runtime::config::Server;
use serde_json::Value;
use testkit::Deployment;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

/// The longest that a program may take: it starts browsers, and waits for others to be missed.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs `web/checks/NAME` with the gate's address and `args`; returns when it ended well.
///
/// Its wishes are `{"kill":"connector","port":3050}`, the connector with this port for clients;
/// `{"kill":"owner","room":"lobby"}`, the room's home; `{"start":SERVER}`. The answer is the
/// server's name.
pub(crate) async fn run_script(deployment: &mut Deployment, name: &str, args: &[&str]) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/checks").join(name);
    let mut node = Command::new("node");
    // Before node 22 there is no WebSocket without the flag.
    node.args(["--no-warnings", "--experimental-websocket"]).arg(program).arg(deployment.gate().to_string()).args(args);
    node.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = node.spawn().unwrap_or_else(|error| panic!("node: {error}: install node >= 20"));
    let mut responses = child.stdin.take().unwrap();
    let mut requests = BufReader::new(child.stdout.take().unwrap()).lines();
    let playing = async {
        while let Some(request) = requests.next_line().await.unwrap() {
            let server = inject_fault(deployment, &serde_json::from_str(&request).unwrap()).await;
            responses.write_all(format!("{server}\n").as_bytes()).await.unwrap();
        }
        child.wait().await.unwrap()
    };
    let status = tokio::time::timeout(DEADLINE, playing).await;
    let status = status.unwrap_or_else(|_| panic!("{name} takes longer than {DEADLINE:?}"));
    assert!(status.success(), "{name}: {status}; its output above has the reason");
}

async fn inject_fault(deployment: &mut Deployment, request: &Value) -> String {
    let server = match (&request["kill"], &request["start"]) {
        (Value::Null, Value::String(server)) => {
            deployment.run(server).await;
            return server.clone();
        }
        (kill, _) if kill == "connector" => connector_at(deployment, request["port"].as_u64().unwrap()),
        (kill, _) if kill == "owner" => home_of(request["room"].as_str().unwrap()),
        _ => panic!("{request} is no wish"),
    };
    let process = deployment.process(&server);
    process.signal("KILL");
    process.wait().await;
    server
}

fn connector_at(deployment: &Deployment, port: u64) -> String {
    let index = (0..3).find(|&index| u64::from(deployment.connector(index).port()) == port);
    format!("connector-server-{}", index.unwrap_or_else(|| panic!("no connector has the port {port}")) + 1)
}

fn home_of(room: &str) -> String {
    let chats: Vec<Server> = (1..=3)
        .map(|number| Server::new(ServerId::new(&format!("chat-server-{number}")).unwrap(), "127.0.0.1"))
        .collect();
    placement::place(room, &chats).unwrap().id.to_string()
}
