//! The chat demo through the original client: bodies as `docs/reference/protocol.md` and Pomelo's demo have
//! them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};
use testkit::Deployment;

use crate::layout::{Layout, users};
use crate::on_both_layouts;
use crate::original_client::OriginalClient;
use crate::over_tls;

on_both_layouts!(users_talk, a_name_is_taken_once);
over_tls!(users_talk, a_name_is_taken_once);

/// A push that has these fields with these values, and maybe more.
fn assert_push(push: &Value, route: &str, fields: Value) {
    assert_eq!(push["route"], route, "{push}");
    let Value::Object(fields) = fields else { panic!("{fields} is not an object") };
    for (field, value) in fields {
        assert_eq!(push["body"][&field], value, "{field} of {push}");
    }
    assert_eq!(push["body"]["route"], route, "{push}");
}

async fn users_talk(layout: Layout) {
    conversation(&layout.start("").await).await;
}

/// Runs the conversation in the room `lobby`: up to three members, of whom Ann stays.
pub(crate) async fn conversation(deployment: &Deployment) {
    let gate = deployment.gate();
    let (mut ann, mut bob) = two_people(gate).await;
    for text in ["hello", "\u{1F600} h\u{e9} \u{6587}"] {
        for speaker in ["ann", "bob"] {
            let said = if speaker == "ann" { &mut ann } else { &mut bob };
            said.send_to(text, "*").await;
            // The newcomer received no push about itself, and nothing came between.
            for listener in [&mut ann, &mut bob] {
                let expected = json!({"msg": text, "from": speaker, "target": "*"});
                assert_push(&listener.next_push().await, "onChat", expected);
            }
        }
    }
    whisper(&mut ann, &mut bob).await;
    people_leave(gate, &mut ann, bob).await;
}

async fn two_people(gate: SocketAddr) -> (OriginalClient, OriginalClient) {
    let (mut ann, response) = OriginalClient::enter("ann", gate, "lobby").await;
    assert_eq!(users(&response), BTreeSet::from(["ann"]));
    let (bob, response) = OriginalClient::enter("bob", gate, "lobby").await;
    assert_eq!(users(&response), BTreeSet::from(["ann", "bob"]));
    assert_push(&ann.next_push().await, "onAdd", json!({"user": "bob"}));
    (ann, bob)
}

/// Only the target of a whisper gets it.
async fn whisper(ann: &mut OriginalClient, bob: &mut OriginalClient) {
    ann.send_to("between us", "bob").await;
    assert_push(&bob.next_push().await, "onChat", json!({"msg": "between us", "from": "ann", "target": "bob"}));
    ann.send_to("to all", "*").await;
    // Not the whisper.
    for listener in [ann, bob] {
        assert_push(&listener.next_push().await, "onChat", json!({"msg": "to all", "from": "ann", "target": "*"}));
    }
}

/// One leaves by request, one by disconnecting.
async fn people_leave(gate: SocketAddr, ann: &mut OriginalClient, mut bob: OriginalClient) {
    let (mut cleo, _) = OriginalClient::enter("cleo", gate, "lobby").await;
    for listener in [&mut *ann, &mut bob] {
        assert_push(&listener.next_push().await, "onAdd", json!({"user": "cleo"}));
    }
    let left = cleo.request("chat.chatHandler.leave", json!({})).await;
    assert_eq!(left["code"], 200, "{left}");
    bob.command("disconnect").await;
    assert_push(&ann.next_push().await, "onLeave", json!({"user": "cleo"}));
    assert_push(&ann.next_push().await, "onLeave", json!({"user": "bob"}));
}

/// The second one with a name is refused as by Pomelo, and its connection stays.
async fn a_name_is_taken_once(layout: Layout) {
    let deployment = layout.start("").await;
    let gate = deployment.gate();
    let (mut ann, _) = OriginalClient::enter("ann", gate, "lobby").await;
    let mut other = OriginalClient::start("ann").await;
    let refused = other.try_enter(gate, "lobby").await;
    assert_eq!((&refused["code"], &refused["error"]), (&json!(500), &json!(true)), "{refused}");
    let entered = other.request("connector.entryHandler.enter", json!({"username": "eve", "rid": "lobby"})).await;
    assert_eq!(users(&entered), BTreeSet::from(["ann", "eve"]));
    assert_push(&ann.next_push().await, "onAdd", json!({"user": "eve"}));
}
