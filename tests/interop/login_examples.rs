//! The examples of `docs/how-to/logins.md`: applications in Python, node and Go that issue tokens
//! for their sessions.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use client::{ChatClient, Jwt, Options};
use testkit::{
    Deployment, Layout, Process, Scratch, Topology, eventually, free_addresses, http_get, shaddock, workspace,
};

/// An application: its name, and the command that starts it.
const APPLICATIONS: [(&str, &[&str]); 3] = [
    ("python", &["python3", "chat_token.py"]),
    ("node", &["node", "chat-token.mjs"]),
    ("go", &["go", "run", "chat_token.go"]),
];

fn start((name, command): (&str, &[&str]), at: SocketAddr, key: &str, directory: &Path) -> Process {
    let mut started = Command::new(command[0]);
    started
        .args(&command[1..])
        .current_dir(workspace().join("examples/login"))
        .env("CHAT_KEY", key)
        .env("PORT", at.port().to_string());
    Process::start(name, started, directory)
}

/// The status and the text of the application's page, if it is there.
async fn page(at: SocketAddr, cookie: &str) -> Option<(u16, String)> {
    let headers = [format!("Host: {at}"), format!("Cookie: a=b; session={cookie}")];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    http_get(at, "/chat-token", &headers).await.map(|response| (response.status, response.body))
}

#[tokio::test]
async fn applications_log_their_users_in() {
    let scratch = Scratch::new();
    let key = scratch.file("auth.key", "VGhlIGtleSBvZiB0aGUgYXBwbGljYXRpb24sIDMyIGJ5dGVz\n");
    let settings = format!("[auth]\nmode = \"required\"\nhmac_file = {key:?}\naudience = \"chat\"");
    let deployment = Deployment::start(shaddock(), &Layout::new(Topology::OneProcess, &settings)).await;
    let gate = deployment.gate().to_string();
    for (application, at) in APPLICATIONS.into_iter().zip(free_addresses(APPLICATIONS.len())) {
        let name = application.0;
        let _process = start(application, at, &key, scratch.path());
        eventually(Process::DEADLINE, name, async || page(at, "s3cr3t-of-ann").await.is_some()).await;
        let (status, token) = page(at, "s3cr3t-of-ann").await.unwrap();
        assert_eq!(status, 200, "{name}");
        let options = Options { jwt: Some(Jwt::value(token.trim())), ..Options::default() };
        let (ann, _events) = ChatClient::via_gate(&gate, "ann", options).await.unwrap();
        let entered = ann.enter("ann", name).await.unwrap();
        assert_eq!(entered.users, ["ann"], "{name}");
        let (status, none) = page(at, "of-nobody").await.unwrap();
        assert_eq!((status, none.trim()), (401, ""), "{name}");
    }
}
