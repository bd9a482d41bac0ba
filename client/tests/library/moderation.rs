//! Acts of moderators, rules and rights.

use std::time::Duration;

use client::{Act, ClientError, Event, Options, Right, Rule, RuleKind, Sent, routes};
use serde_json::json;
use wire::Kick;

use crate::fake::{connected, soon, text};

const ALL_MEMBERS: [Right; 6] = [Right::Enter, Right::Send, Right::Whisper, Right::Read, Right::List, Right::Signal];

#[tokio::test]
async fn each_act_has_a_route_and_names_its_target() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let mut answered = async |expected: &str, body| {
        let (id, route, sent) = peer.request().await;
        assert_eq!((route, sent), (text(expected), body));
        peer.respond(id, "{\"code\":200,\"seq\":2000,\"time\":5}").await;
    };
    let done = Ok(Sent { seq: 2000, time: 5 });
    let mute = ann.mute(&Act::on_name("bob").with_secs(600).with_reason("too loud"));
    answered(routes::MUTE, json!({"name": "bob", "secs": 600, "reason": "too loud"})).await;
    assert_eq!(mute.await, done);
    let unmute = ann.unmute(&Act::on_uid("4711"));
    answered("chat.chatHandler.unmute", json!({"uid": "4711"})).await;
    assert_eq!(unmute.await, done);
    let ban = ann.ban(&Act::on_uid("4711").with_secs(0));
    answered("chat.chatHandler.ban", json!({"uid": "4711", "secs": 0})).await;
    assert_eq!(ban.await, done);
    let unban = ann.unban(&Act::on_name("bob"));
    answered("chat.chatHandler.unban", json!({"name": "bob"})).await;
    assert_eq!(unban.await, done);
    let expel = ann.expel(&Act::on_name("bob").with_reason("be kind"));
    answered("chat.chatHandler.expel", json!({"name": "bob", "reason": "be kind"})).await;
    assert_eq!(expel.await, done);
}

#[tokio::test]
async fn a_refusal_has_its_end_or_the_time_until_the_next_try() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let cases = [
        (json!({"code": 403, "reason": "muted: x", "until": 9_000}), 403, "muted: x", Some(9_000), None),
        (json!({"code": 403, "reason": "banned: x", "until": 0}), 403, "banned: x", Some(0), None),
        (json!({"code": 429, "reason": "slow: x", "retry": 4_500}), 429, "slow: x", None, Some(4_500)),
        (
            json!({"code": 403, "reason": "not-allowed: x", "until": "soon", "retry": -1}),
            403,
            "not-allowed: x",
            None,
            None,
        ),
    ];
    for (body, code, reason, until, retry) in cases {
        let sent = ann.send("hi");
        let (id, ..) = peer.request().await;
        peer.respond(id, &body.to_string()).await;
        let retry = retry.map(Duration::from_millis);
        let refused = ClientError::Refused { code, reason: reason.to_owned(), until, retry };
        assert_eq!(sent.await, Err(refused));
    }
}

#[tokio::test]
async fn rights_are_those_of_all_members_unless_others_are_named() {
    let (ann, mut events, mut peer) = connected(Options::default()).await;
    let cases = [
        (json!({"code": 200, "users": ["ann"]}), ALL_MEMBERS.into()),
        (json!({"code": 200, "users": [], "rights": []}), [].into()),
        // A newer server may know more.
        (json!({"code": 200, "users": [], "rights": ["moderate", "fly"]}), [Right::Moderate, Right::Other].into()),
    ];
    for (body, rights) in cases {
        let entered = ann.enter("ann", "lobby");
        let (id, ..) = peer.request().await;
        peer.respond(id, &body.to_string()).await;
        assert_eq!(entered.await.unwrap().rights, rights);
    }
    peer.push("onRights", &json!({"route": "onRights", "rid": "lobby", "rights": ["enter", "read"]}).to_string()).await;
    let rights = Event::Rights([Right::Enter, Right::Read].into());
    assert_eq!(soon("the rights", events.next()).await, Some(rights));
}

#[tokio::test]
async fn a_rule_says_whether_it_ended() {
    let (_ann, mut events, mut peer) = connected(Options::default()).await;
    let cases = [
        ("mute", RuleKind::Mute, 0, 1_000, false),
        ("mute", RuleKind::Mute, 5_000, 2_000, false),
        ("mute", RuleKind::Mute, 3_000, 3_000, true),
        ("ban", RuleKind::Ban, 1, 4_000, true),
    ];
    for (name, kind, until, time, has_ended) in cases {
        let body = json!({"route": "onRule", "rid": "lobby", "kind": name, "until": until, "time": time});
        peer.push("onRule", &body.to_string()).await;
        let rule = Rule { rid: "lobby".to_owned(), kind, until, time };
        assert_eq!(rule.has_ended(), has_ended, "{rule:?}");
        assert_eq!(soon("the rule", events.next()).await, Some(Event::Rule(rule)));
    }
}

#[tokio::test]
async fn an_expelled_member_gets_the_reason_before_the_kick() {
    let (ann, mut events, mut peer) = connected(Options::default()).await;
    peer.push("onExpel", &json!({"route": "onExpel", "rid": "lobby", "reason": "be kind"}).to_string()).await;
    peer.send(Kick { reason: "banned".to_owned() }.to_package().unwrap()).await;
    drop(peer);
    assert_eq!(soon("the push", events.next()).await, Some(Event::Expelled("be kind".to_owned())));
    assert_eq!(soon("the kick", events.next()).await, Some(Event::Kicked("banned".to_owned())));
    assert_eq!(soon("the end", events.next()).await, Some(Event::Closed));
    assert_eq!(ann.send("hi").await, Err(ClientError::Closed { kick: Some("banned".to_owned()) }));
}

#[tokio::test]
async fn a_push_of_another_form_is_passed_on_as_it_is() {
    let (_ann, mut events, mut peer) = connected(Options::default()).await;
    let cases = [
        ("onRule", json!({"rid": "lobby", "kind": "shadow", "until": 0, "time": 1})),
        ("onExpel", json!({"rid": "lobby"})),
        ("onRights", json!({"rid": "lobby", "rights": "all"})),
    ];
    for (route, body) in cases {
        peer.push(route, &body.to_string()).await;
        let other = Event::Other { route: route.to_owned(), body };
        assert_eq!(soon("the push", events.next()).await, Some(other));
    }
}
