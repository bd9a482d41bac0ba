//! The chat demo through the original client: bodies as `docs/reference/protocol.md` and Pomelo's demo have them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::directory::Address;
use crate::on_both_layouts;
use crate::original::Original;
use crate::support::{Deployment, Layout, users};

on_both_layouts!(people_talk, a_name_is_taken_once);

/// A push that has these fields with these values, and maybe more.
fn assert_push(push: &Value, route: &str, fields: Value) {
    assert_eq!(push["route"], route, "{push}");
    let Value::Object(fields) = fields else { panic!("{fields} is not an object") };
    for (field, value) in fields {
        assert_eq!(push["body"][&field], value, "{field} of {push}");
    }
    assert_eq!(push["body"]["route"], route, "{push}");
}

async fn people_talk(layout: Layout) {
    conversation(&layout.start("").await).await;
}

/// What everybody says and hears in the room `lobby`: up to three people, of whom Ann stays.
pub(crate) async fn conversation(deployment: &Deployment) {
    let gate = deployment.gate();
    let (mut ann, mut bob) = two_people(gate).await;
    for text in ["hello", "\u{1F600} h\u{e9} \u{6587}"] {
        for speaker in ["ann", "bob"] {
            let said = if speaker == "ann" { &mut ann } else { &mut bob };
            said.say(text, "*").await;
            // The newcomer was not told of itself, and nothing came between.
            for listener in [&mut ann, &mut bob] {
                let expected = json!({"msg": text, "from": speaker, "target": "*"});
                assert_push(&listener.push().await, "onChat", expected);
            }
        }
    }
    whisper(&mut ann, &mut bob).await;
    people_leave(gate, &mut ann, bob).await;
}

async fn two_people(gate: Address) -> (Original, Original) {
    let (mut ann, answer) = Original::enter("ann", gate, "lobby").await;
    assert_eq!(users(&answer), BTreeSet::from(["ann"]));
    let (bob, answer) = Original::enter("bob", gate, "lobby").await;
    assert_eq!(users(&answer), BTreeSet::from(["ann", "bob"]));
    assert_push(&ann.push().await, "onAdd", json!({"user": "bob"}));
    (ann, bob)
}

/// Only the target of a whisper gets it.
async fn whisper(ann: &mut Original, bob: &mut Original) {
    ann.say("between us", "bob").await;
    assert_push(&bob.push().await, "onChat", json!({"msg": "between us", "from": "ann", "target": "bob"}));
    ann.say("to all", "*").await;
    // Not the whisper.
    for listener in [ann, bob] {
        assert_push(&listener.push().await, "onChat", json!({"msg": "to all", "from": "ann", "target": "*"}));
    }
}

/// One leaves by request, one by disconnecting.
async fn people_leave(gate: Address, ann: &mut Original, mut bob: Original) {
    let (mut cleo, _) = Original::enter("cleo", gate, "lobby").await;
    for listener in [&mut *ann, &mut bob] {
        assert_push(&listener.push().await, "onAdd", json!({"user": "cleo"}));
    }
    let left = cleo.request("chat.chatHandler.leave", json!({})).await;
    assert_eq!(left["code"], 200, "{left}");
    bob.order("disconnect").await;
    assert_push(&ann.push().await, "onLeave", json!({"user": "cleo"}));
    assert_push(&ann.push().await, "onLeave", json!({"user": "bob"}));
}

/// The second one with a name is refused as by Pomelo, and its connection stays.
async fn a_name_is_taken_once(layout: Layout) {
    let deployment = layout.start("").await;
    let gate = deployment.gate();
    let (mut ann, _) = Original::enter("ann", gate, "lobby").await;
    let mut other = Original::start("ann").await;
    let refused = other.try_enter(gate, "lobby").await;
    assert_eq!((&refused["code"], &refused["error"]), (&json!(500), &json!(true)), "{refused}");
    let entered = other.request("connector.entryHandler.enter", json!({"username": "eve", "rid": "lobby"})).await;
    assert_eq!(users(&entered), BTreeSet::from(["ann", "eve"]));
    assert_push(&ann.push().await, "onAdd", json!({"user": "eve"}));
}
