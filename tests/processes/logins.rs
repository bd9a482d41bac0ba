//! Logins by tokens of the application, with the original client.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{Deployment, Process, eventually, shaddock, workspace};

use crate::layout::Layout;
use crate::on_both_layouts;
use crate::original_client::OriginalClient;

on_both_layouts!(
    a_user_logs_in_by_the_handshake,
    bad_tokens_are_refused_with_a_reason,
    keys_are_changed_while_users_come
);

const ENTER: &str = "connector.entryHandler.enter";

/// A key in a file of its own.
fn key_file(name: &str, content: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A token that `shaddock token` makes with a key.
fn token(key: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(shaddock());
    command
        .arg("--config")
        .arg(workspace().join("config"))
        .arg("token")
        .args(arguments)
        .args(["--set", &format!("auth.hmac_file={key}")]);
    let output = command.env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn start(layout: Layout, key: &str, more: &str) -> Deployment {
    layout.start(&format!("[auth]\nmode = \"required\"\nhmac_file = {key:?}\n{more}")).await
}

async fn a_user_logs_in_by_the_handshake(layout: Layout) {
    let key = key_file(&format!("login-{layout:?}"), "0123456789abcdef0123456789abcdef");
    let deployment = start(layout, &key, "").await;
    for member in ["jwt", "token"] {
        let mut ann = OriginalClient::start("ann").await;
        ann.start_login(deployment.connector(0), &json!({member: token(&key, &["4711", "--name", "ann"])})).await;
        let connected = ann.next_of_kind("connected").await;
        assert_eq!(connected["user"]["uid"], "4711", "{connected}");
        let entered = ann.request(ENTER, json!({"username": "bob", "rid": member})).await;
        assert_eq!(entered["code"], 403, "a token of ann enters as bob: {entered}");
        let entered = ann.request(ENTER, json!({"username": "ann", "rid": member})).await;
        assert_eq!((&entered["code"], &entered["users"]), (&json!(200), &json!(["ann"])), "{entered}");
    }
    let mut bob = OriginalClient::start("bob").await;
    bob.connect(deployment.connector(1)).await;
    let entered = bob.request(ENTER, json!({"username": "bob", "rid": "lobby"})).await;
    assert!(entered["code"] == 401 && entered["reason"].as_str().unwrap().starts_with("token-missing"), "{entered}");
    let entered = bob.request(ENTER, json!({"rid": "lobby", "jwt": token(&key, &["bob"])})).await;
    assert_eq!(entered["users"], json!(["bob"]), "{entered}");
    let newer =
        bob.request("connector.entryHandler.refresh", json!({"jwt": token(&key, &["bob", "--secs", "7200"])})).await;
    assert!(newer["code"] == 200 && newer["exp"].is_u64(), "{newer}");
    let other = bob.request("connector.entryHandler.refresh", json!({"jwt": token(&key, &["ann"])})).await;
    assert_eq!(other["code"], 403, "{other}");
}

async fn bad_tokens_are_refused_with_a_reason(layout: Layout) {
    let key = key_file(&format!("bad-{layout:?}"), "0123456789abcdef0123456789abcdef");
    let other = key_file(&format!("other-{layout:?}"), "fedcba9876543210fedcba9876543210");
    let deployment = start(layout, &key, "leeway_secs = 0").await;
    let expired = token(&key, &["ann", "--secs", "0"]);
    for bad in [json!(token(&other, &["ann"])), json!(expired), json!("x"), json!(7), json!({})] {
        let mut ann = OriginalClient::start("ann").await;
        ann.start_login(deployment.connector(0), &json!({"jwt": bad})).await;
        let error = ann.next_of_kind("error").await;
        assert!(error["message"].as_str().is_some(), "{bad}: {error}");
    }
}

/// The file of the key changes, and the one before is accepted as well.
async fn keys_are_changed_while_users_come(layout: Layout) {
    let (first, second) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    let key = key_file(&format!("rotated-{layout:?}"), first);
    let previous = key_file(&format!("previous-{layout:?}"), first);
    let deployment = start(layout, &key, &format!("hmac_previous_file = {previous:?}")).await;
    let old = token(&previous, &["ann"]);
    fs::write(&key, second).unwrap();
    let new = token(&key, &["ann"]);
    let is_new_known = async || {
        let mut ann = OriginalClient::start("ann").await;
        ann.connect(deployment.connector(0)).await;
        let entered: Value = ann.request(ENTER, json!({"rid": "lobby", "jwt": new})).await;
        entered["code"] == 200
    };
    eventually(Process::DEADLINE, "the new key is read", is_new_known).await;
    let mut ann = OriginalClient::start("ann").await;
    ann.connect(deployment.connector(0)).await;
    let entered = ann.request(ENTER, json!({"rid": "attic", "jwt": old})).await;
    assert_eq!(entered["code"], 200, "{entered}");
}
