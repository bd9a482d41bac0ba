//! The examples of `examples/api`: back ends in Python, node and Go that send a message exactly once.
//! Run by `make interop`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "api/fake_rooms.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod fake_rooms;
#[path = "api/fixture.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod fixture;

use std::process::Stdio;
use std::time::Duration;

use fixture::ApiFixture;
use serde_json::{Value, json};
use testkit::{eventually, workspace};
use tokio::process::Command;

/// The commands of the examples.
const EXAMPLES: [&[&str]; 3] = [&["python3", "publish.py"], &["node", "publish.mjs"], &["go", "run", "publish.go"]];

/// Go compiles first.
const DEADLINE: Duration = Duration::from_secs(120);

/// A room that shows how paths are made.
const ROOM: &str = "shop/1 é";

/// Starts an example, which sends `text` with an idempotency key.
fn start(api: &ApiFixture, command: &[&str], key: &str, text: &str) -> tokio::process::Child {
    let header = api.header("publish");
    let mut started = Command::new(command[0]);
    started
        .args(&command[1..])
        .args([ROOM, key, text])
        .current_dir(workspace().join("examples/api"))
        .env("API", format!("http://{}", api.address))
        .env("API_KEY", header.rsplit(' ').next().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    started.spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn examples_send_a_message_exactly_once() {
    for command in EXAMPLES {
        let api = ApiFixture::start().await;
        // The message is sent, and its response is lost: the example sends it again.
        api.rooms.state().loses_outcomes = true;
        let running = start(&api, command, "order-1", "hello");
        eventually(DEADLINE, command[0], async || !api.rooms.texts(ROOM).is_empty()).await;
        api.rooms.state().loses_outcomes = false;
        let output = running.wait_with_output().await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {errors}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&answer["code"], &answer["seq"]), (&json!(200), &json!(1000)), "{command:?}");
        assert_eq!(api.rooms.texts(ROOM), ["hello"], "{command:?}");
        // A refusal is certain, and is not repeated.
        let refused = start(&api, command, "order-1", "another text").wait_with_output().await.unwrap();
        assert!(!refused.status.success(), "{command:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("key-reused"), "{command:?}");
    }
}
