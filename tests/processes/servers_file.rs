//! `servers.json` is edited while processes run.

use std::fs;
use std::net::SocketAddr;
use std::net::TcpListener;

use client::{ChatClient, Options};
use serde_json::{Value, json};
use testkit::{Installation, Process, eventually};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::layout::Layout;

/// Writes the file anew, with what `change` makes of the development servers.
pub(crate) fn edit(installation: &Installation, change: impl FnOnce(&mut Value)) {
    let path = installation.path().join("servers.json");
    let mut servers: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut servers["development"]);
    fs::write(path, servers.to_string()).unwrap();
}

fn add_chat(servers: &mut Value, number: usize) {
    let list = servers["chat"].as_array_mut().unwrap();
    list.push(json!({ "id": format!("chat-server-{number}"), "host": "127.0.0.1" }));
}

/// A new chat instance by adding a line to the configuration; a wrong file changes nothing.
#[tokio::test]
async fn a_chat_server_is_added_by_a_line_in_the_file() {
    let deployment = Layout::OneProcess.start("").await;
    edit(&deployment.installation, |servers| add_chat(servers, 4));
    let path = deployment.installation.path().join("servers.json");
    let process = deployment.process("all");
    assert!(process.wait_for_output("chat server ready server=chat-server-4").await, "{}", process.output());
    fs::write(&path, "{").unwrap();
    assert!(process.wait_for_output("servers.json is refused, the servers stay as they were").await);
}

/// Over NATS every process sees the change by itself, and a process is started for the new entry.
#[tokio::test]
async fn each_process_sees_the_change() {
    let deployment = Layout::SevenProcesses.start("").await;
    edit(&deployment.installation, |servers| add_chat(servers, 4));
    for server in ["gate-server-1", "connector-server-2", "chat-server-3"] {
        assert!(deployment.process(server).wait_for_output("the list of servers changed").await, "{server}");
    }
    let nats = deployment.nats.as_ref().unwrap().url().to_owned();
    let args = ["--only", "chat-server-4", "--nats", &nats];
    let fourth = deployment.installation.start("chat-server-4", args, &[]);
    assert!(fourth.wait_for_output("chat server ready").await, "{}", fourth.output());
    edit(&deployment.installation, |servers| drop(servers["chat"].as_array_mut().unwrap().remove(0)));
    deployment.process("chat-server-1").signal("HUP");
    assert!(deployment.process("chat-server-1").wait_for_output("it owns nothing, and can be stopped").await);
}

/// A running server listens where it did, so users are sent there after an edit, too.
#[tokio::test]
async fn users_are_sent_where_connectors_listen() {
    let deployment = Layout::SevenProcesses.start("").await;
    let before = deployment.entry("ann").await.unwrap();
    edit(&deployment.installation, |servers| {
        for (port, connector) in (1..).zip(servers["connector"].as_array_mut().unwrap()) {
            connector["clientPort"] = json!(port);
        }
    });
    assert!(deployment.process("gate-server-1").wait_for_output("the list of servers changed").await);
    assert_eq!(deployment.entry("ann").await, Some(before));
}

/// A page of this origin may connect to the connector.
async fn accepts_origin(connector: SocketAddr, origin: &str) -> bool {
    let mut request = format!("ws://{connector}/").into_client_request().unwrap();
    request.headers_mut().insert("origin", origin.parse().unwrap());
    connect_async(request).await.is_ok()
}

#[tokio::test]
async fn pages_of_a_new_host_are_let_in_by_running_connectors() {
    let deployment = Layout::OneProcess.start("").await;
    let connector = deployment.connector(0);
    assert!(!accepts_origin(connector, "https://new.example.org").await);
    edit(&deployment.installation, |servers| {
        let list = servers["chat"].as_array_mut().unwrap();
        list.push(json!({"id": "chat-server-4", "host": "new.example.org", "clientHost": "play.example.org"}));
    });
    for origin in ["https://new.example.org", "https://play.example.org"] {
        eventually(Process::DEADLINE, origin, async || accepts_origin(connector, origin).await).await;
    }
    assert!(!accepts_origin(connector, "https://other.example.org").await);
}

/// The cause is logged, not where to look for the file.
#[tokio::test]
async fn what_the_file_became_is_logged() {
    let deployment = Layout::OneProcess.start("").await;
    let path = deployment.installation.path().join("servers.json");
    let text = fs::read_to_string(&path).unwrap();
    let process = deployment.process("all");
    fs::write(&path, text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>()).unwrap();
    assert!(process.wait_for_output("it is UTF-16: save it as UTF-8").await);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(process.wait_for_output("it is a directory: put the file there").await);
}

/// Waits until a client can enter a room there.
async fn wait_until_served(address: SocketAddr) {
    let served = async || {
        let (chat, _events) = ChatClient::connect(&address.to_string(), Options::default()).await.ok()?;
        chat.enter("ann", "lobby").await.ok()
    };
    eventually(Process::DEADLINE, "a connector serves", async || served().await.is_some()).await;
}

fn connector(id: &str, at: SocketAddr) -> Value {
    json!({ "id": id, "host": "127.0.0.1", "clientPort": at.port(), "frontend": true })
}

/// The port is free later, without another edit. Until then it is an error line now and then, and
/// all else is served.
#[tokio::test]
async fn a_server_whose_port_was_taken_is_tried_again() {
    let deployment = Layout::OneProcess.start("").await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    edit(&deployment.installation, |servers| {
        servers["connector"].as_array_mut().unwrap().push(connector("connector-server-4", address));
        add_chat(servers, 4);
    });
    let process = deployment.process("all");
    assert!(process.wait_for_output("the port is taken").await, "{}", process.output());
    assert!(process.wait_for_output("a server still cannot start, it is tried again").await, "{}", process.output());
    assert!(process.wait_for_output("chat server ready server=chat-server-4").await, "{}", process.output());
    wait_until_served(deployment.connector(0)).await;
    drop(taken);
    wait_until_served(address).await;
    let process = deployment.process("all");
    assert!(process.wait_for_output("a server that could not start runs now server=connector-server-4").await);
    let lines = process.output().lines().filter(|line| line.contains("ERROR")).count();
    assert!(lines <= 4, "{}", process.output());
    process.signal("TERM");
    assert_eq!(process.wait().await, Some(0));
}

/// The new name listens where the old one did.
#[tokio::test]
async fn a_server_is_renamed_and_keeps_its_port() {
    let deployment = Layout::OneProcess.start("").await;
    let (first, gate) = (deployment.connector(0), deployment.gate());
    wait_until_served(first).await;
    edit(&deployment.installation, |servers| {
        servers["connector"][0] = connector("connector-server-9", first);
        servers["gate"][0] =
            json!({ "id": "gate-server-9", "host": "127.0.0.1", "clientPort": gate.port(), "frontend": true });
        servers["chat"][0]["id"] = json!("chat-server-9");
    });
    for line in ["connector ready server=connector-server-9", "gate ready server=gate-server-9", "server=chat-server-9"]
    {
        let process = deployment.process("all");
        assert!(process.wait_for_output(line).await, "{line} in {}", process.output());
    }
    wait_until_served(first).await;
    eventually(Process::DEADLINE, "the gate names a connector", async || deployment.entry("ann").await.is_some()).await;
    let output = deployment.process("all").output();
    assert!(!output.contains("the port is taken"), "{output}");
}
