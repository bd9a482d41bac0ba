//! Rules, expulsions, and users in all rooms.

use model::act::{Act, RuleKind, Target};
use model::ids::{Name, Uid};
use model::settings::AuthMode;
use runtime::clock::now_ms;
use serde_json::{Value, json};

use crate::fake_rooms::session;
use crate::fixture::ApiFixture;

fn rule(act: &Act) -> (Target, RuleKind, u64) {
    let Act::Rule { target, kind, until, .. } = act else { panic!("{act:?}") };
    (target.clone(), *kind, *until)
}

fn uid(text: &str) -> Target {
    Target::Uid(Uid::new(text).unwrap())
}

#[tokio::test]
async fn a_rule_begins_and_ends() {
    let api = ApiFixture::start().await;
    let (path, before) = ("/v1/rooms/lobby/rules/4711", now_ms());
    let mute = json!({ "kind": "mute", "secs": 60 });
    let first = api.call_once("moderate", &format!("PUT {path}"), "m1", &mute).await;
    assert_eq!(first.status, 200);
    assert_eq!(api.call_once("moderate", &format!("PUT {path}"), "m1", &mute).await.body, first.body);
    let acts = api.rooms.acts("lobby");
    let (target, kind, until) = rule(&acts[0]);
    assert_eq!((acts.len(), target, kind), (1, uid("4711"), RuleKind::Mute));
    assert!((before + 60_000..=now_ms() + 60_000).contains(&until), "{until}");
    let by_name = json!({ "kind": "ban", "until": 4_000_000_000_000_u64, "by": "name" });
    assert_eq!(api.call("moderate", "PUT /v1/rooms/lobby/rules/a%20b", &by_name).await.status, 200);
    let for_ever = json!({ "kind": "ban" });
    assert_eq!(api.call("moderate", &format!("PUT {path}"), &for_ever).await.status, 200);
    let listed = api.call("read", "GET /v1/rooms/lobby/rules?limit=2", &Value::Null).await.body;
    assert_eq!((&listed["rules"][1]["kind"], &listed["cursor"]), (&json!("ban"), &json!("ban:uid:4711")));
    let rest = api.call("read", "GET /v1/rooms/lobby/rules?after=ban:uid:4711", &Value::Null).await.body;
    let last =
        json!([{ "target": "a b", "by": "name", "kind": "ban", "until": 4_000_000_000_000_u64, "author": "moderate" }]);
    assert_eq!(rest, json!({ "code": 200, "rid": "lobby", "rules": last }));
    assert_eq!(api.call("moderate", &format!("DELETE {path}?kind=mute"), &Value::Null).await.status, 200);
    assert_eq!(rule(api.rooms.acts("lobby").last().unwrap()), (uid("4711"), RuleKind::Mute, 1));
    for (body, word) in [
        (json!({}), "bad-body"),
        (json!({ "kind": "kick" }), "bad-kind"),
        (json!({ "kind": "ban", "secs": 1, "until": 1 }), "bad-until"),
        (json!({ "kind": "ban", "secs": -1 }), "bad-secs"),
        (json!({ "kind": "ban", "secs": 1.5 }), "bad-secs"),
        (json!({ "kind": "ban", "by": "id" }), "bad-body"),
    ] {
        assert_eq!(api.call("moderate", &format!("PUT {path}"), &body).await.status_and_word(), (400, word), "{body}");
    }
    assert_eq!(api.call("moderate", &format!("DELETE {path}?kind=mute"), &json!({})).await.word(), "bad-body");
}

#[tokio::test]
async fn a_member_is_expelled_with_a_reason() {
    let api = ApiFixture::start().await;
    api.rooms.enter("lobby", "ann", None);
    let line = "DELETE /v1/rooms/lobby/members/ann?reason=spam%20again";
    assert_eq!(api.call_once("moderate", line, "e1", &Value::Null).await.status, 200);
    let Act::Expel { name, reason, by } = &api.rooms.acts("lobby")[0] else { panic!() };
    assert_eq!((name.as_str(), &**reason, by.as_str()), ("ann", "spam again", "moderate"));
    assert_eq!(api.call_once("moderate", line, "e1", &Value::Null).await.status, 200, "the first response");
    assert_eq!(api.call("moderate", line, &Value::Null).await.status_and_word(), (404, "no-such-member"));
    let long = format!("DELETE /v1/rooms/lobby/members/ann?reason={}", "x".repeat(257));
    assert_eq!(api.call("moderate", &long, &Value::Null).await.status_and_word(), (400, "bad-reason"));
}

#[tokio::test]
async fn users_are_banned_and_revoked_in_the_room_of_all() {
    let api =
        ApiFixture::start_with(|settings| (settings.auth.max_age_hours, settings.auth.leeway_secs) = (1, 0)).await;
    assert_eq!(api.call("users", "PUT /v1/users/4711/ban", &Value::Null).await.status, 200);
    assert_eq!(api.call("users", "PUT /v1/users/4711/ban", &json!({ "until": 7 })).await.status, 200);
    assert_eq!(api.call("users", "DELETE /v1/users/4711/ban", &Value::Null).await.status, 200);
    let ends: Vec<u64> = api.rooms.acts("~all").iter().map(|act| rule(act).2).collect();
    assert_eq!(ends, [0, 7, 1]);
    assert_eq!(api.call("users", "POST /v1/users/4711/revoke", &json!({ "before": 100 })).await.status, 200);
    let acts = api.rooms.acts("~all");
    let Act::Revoke { uid, before, until } = acts.last().unwrap() else { panic!() };
    assert_eq!((uid.as_str(), *before, *until), ("4711", 100, 3_700_000));
    assert_eq!(api.call("users", "POST /v1/users/4711/revoke", &Value::Null).await.status, 200);
    let long = format!("PUT /v1/users/{}/ban", "u".repeat(129));
    assert_eq!(api.call("users", &long, &Value::Null).await.status_and_word(), (400, "bad-uid"));
    let api = ApiFixture::start_with(|settings| settings.auth.max_age_hours = 0).await;
    let refused = api.call("users", "POST /v1/users/4711/revoke", &Value::Null).await;
    assert_eq!(refused.status_and_word(), (409, "revoke-off"));
}

#[tokio::test]
async fn a_users_sessions_are_found_and_ended() {
    let api = ApiFixture::start().await;
    let user = Uid::new("4711").unwrap();
    api.rooms.state().sessions.push((user.clone(), session(1, Some(("lobby", "ann")))));
    api.rooms.state().sessions.push((user, session(2, None)));
    let listed = api.call("users", "GET /v1/users/4711/sessions", &Value::Null).await.body;
    let one = json!({ "connector": "connector-server-1", "incarnation": "1152921504606846976", "session": "1", "rid": "lobby", "name": "ann" });
    assert_eq!((&listed["sessions"][0], &listed["complete"]), (&one, &json!(true)));
    let users = api.call("users", "GET /v1/users?prefix=47&limit=1", &Value::Null).await.body;
    assert_eq!((&users["users"], &users["cursor"]), (&json!([{ "uid": "4711", "sessions": 2 }]), &json!("4711")));
    let silent = Name::new("connector-server-2").unwrap().to_string();
    api.rooms.state().silent = vec![model::ids::ServerId::new(&silent).unwrap()];
    let ended = api.call("users", "DELETE /v1/users/4711/sessions?reconnect=true", &Value::Null).await.body;
    assert_eq!(ended, json!({ "code": 200, "closed": 2, "complete": false, "silent": [silent] }));
    assert_eq!(
        api.call("users", "DELETE /v1/users/4711/sessions?reconnect=1", &Value::Null).await.word(),
        "bad-reconnect"
    );
}

#[tokio::test]
async fn without_logins_there_are_no_users() {
    let api = ApiFixture::start_with(|settings| settings.auth.mode = AuthMode::Off).await;
    for line in [
        "GET /v1/users",
        "GET /v1/users/4711/sessions",
        "DELETE /v1/users/4711/sessions",
        "PUT /v1/users/4711/ban",
        "DELETE /v1/users/4711/ban",
        "POST /v1/users/4711/revoke",
    ] {
        assert_eq!(api.call("all", line, &Value::Null).await.status_and_word(), (409, "auth-off"), "{line}");
    }
    let mute = |by: Option<&str>| json!({ "kind": "mute", "by": by });
    let line = "PUT /v1/rooms/lobby/rules/ann";
    assert_eq!(api.call("all", line, &mute(Some("uid"))).await.status_and_word(), (409, "auth-off"));
    assert_eq!(api.call("all", line, &mute(None)).await.status, 200);
    let name = Target::Name(Name::new("ann").unwrap());
    assert_eq!(rule(&api.rooms.acts("lobby")[0]), (name, RuleKind::Mute, 0));
}
