//! Watching the bus as the README says: messages are readable there, and a watcher changes nothing.

use std::process::Stdio;

use bus::{Bus, Message, Subscription};
use model::rpc::header;
use model::settings::NatsSettings;
use runtime::metrics::Metrics;
use serde_json::{Value, json};
use testkit::{Process, shaddock};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::conversation;
use crate::layout::Layout;

/// Returns the output of `shaddock decode` for a payload.
async fn decode(payload: &[u8]) -> Value {
    let mut command = Command::new(shaddock());
    command.env_clear().kill_on_drop(true);
    let mut child = command.arg("decode").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(payload).await.unwrap();
    drop(stdin);
    let output = tokio::time::timeout(Process::DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Asserts that a message is labelled; the label of one about a room names the room.
fn assert_labelled(message: &Message) {
    let label = |name| message.headers.get(name).unwrap_or_else(|| panic!("no {name}: {message:?}"));
    for name in [header::FROM, header::VIEW, header::TRACEPARENT] {
        assert!(!label(name).is_empty(), "{name} of {message:?}");
    }
    if !["heartbeat", "alive", "ping", "pong", "probe"].contains(&label(header::METHOD)) {
        assert_eq!(label(header::ROOM), "lobby", "{message:?}");
    }
}

/// The next message with this method whose decoded text has all `parts`.
async fn wait_for_message(watched: &mut Subscription, method: &str, parts: &[&str]) -> Value {
    let search = async {
        loop {
            let message = watched.next().await.unwrap();
            assert_labelled(&message);
            if message.headers.get(header::METHOD) == Some(method) {
                let decoded = decode(&message.payload).await;
                let text = decoded.to_string();
                if parts.iter().all(|part| text.contains(part)) {
                    return decoded;
                }
            }
        }
    };
    tokio::time::timeout(Process::DEADLINE, search).await.unwrap_or_else(|_| panic!("no {method} with {parts:?}"))
}

#[tokio::test]
async fn messages_can_be_watched() {
    let deployment = Layout::SevenProcesses.start("").await;
    let url = deployment.nats.as_ref().unwrap().url();
    let bus = Bus::nats(url, &NatsSettings::default(), "watcher", Metrics::new()).await.unwrap();
    let mut requests = bus.subscribe("chat.>", 65_536).await.unwrap();
    let mut responses = bus.subscribe("connector.>", 65_536).await.unwrap();

    conversation::conversation(&deployment).await;

    let entered = wait_for_message(&mut requests, "enter", &["ann"]).await;
    assert_eq!(entered["question"]["propose"]["items"][0]["join"]["name"], "ann", "{entered}");
    let said = wait_for_message(&mut requests, "send", &["hello"]).await;
    let body = &said["question"]["propose"]["items"][0]["send"]["body"];
    assert_eq!(*body, json!({"content": "hello", "target": "*", "from": "ann"}), "{said}");
    wait_for_message(&mut responses, "record", &["ann"]).await;
    wait_for_message(&mut responses, "record", &["ann", "hello"]).await;
    bus.drain(Process::DEADLINE).await.unwrap();
}
