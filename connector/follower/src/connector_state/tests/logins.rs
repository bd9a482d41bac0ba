//! Sessions of users: their names, and the end of their tokens.

use model::identity::{LoginRefusal, Principal, User};
use model::ids::{Name, Uid};
use model::settings::{AuthMode, OnExpiry};

use super::requests::{TestCluster, answers};
use super::*;
use crate::connector_state::logins::Logins;
use crate::request_body::BodyError;
use crate::room::RoomResponse;

/// A cluster whose connector reads tokens.
fn cluster(mode: AuthMode, on_expiry: OnExpiry) -> TestCluster {
    let mut cluster = TestCluster::new(10);
    let anonymous_prefix = "guest-".to_owned();
    let rules = LoginRules { mode, anonymous_prefix, on_expiry, grace_ms: 30_000, leeway_ms: 0, max_sessions: 2 };
    cluster.connector.state.logins = Logins::new(rules);
    for session in 1..=2 {
        cluster.connector.state.open(session, None);
    }
    cluster
}

/// The user `uid`, whose token lasts for `secs` from now on.
fn user(cluster: &TestCluster, uid: &str, name: Option<&str>, secs: u64) -> User {
    let name = name.map(|name| Name::new(name).unwrap());
    let principal = Principal {
        uid: Uid::new(uid).unwrap(),
        name,
        info: None,
        grants: None,
        issued_at: 0,
        expires_at: 1_000_000 + secs,
    };
    let since = cluster.connector.now;
    User { principal, since, until: since + secs * 1_000 }
}

fn log_in(cluster: &mut TestCluster, session: u64, uid: &str, secs: u64) {
    let user = user(cluster, uid, Some(uid), secs);
    assert_eq!(cluster.connector.state.log_in(session, user), []);
}

/// The only answer to a request of a session.
fn answer(cluster: &mut TestCluster, session: u64, request: ClientRequest) -> ClientResponse {
    let effects = cluster.request(session, Some(1), request);
    let mut responses = cluster.serve(effects).into_iter().filter_map(|effect| match effect {
        Effect::Respond { response, .. } => Some(response),
        _ => None,
    });
    responses.next().unwrap()
}

fn enter(body: &str) -> ClientRequest {
    ClientRequest::new(ClientRoute::Enter, body.to_owned().into())
}

fn with_login(request: ClientRequest, login: Result<User, LoginRefusal>) -> ClientRequest {
    ClientRequest { login: Some(login), ..request }
}

fn refresh(login: Option<Result<User, LoginRefusal>>) -> ClientRequest {
    ClientRequest { login, ..ClientRequest::new(ClientRoute::Refresh, Bytes::new()) }
}

fn is_entered(response: &ClientResponse) -> bool {
    matches!(response, ClientResponse::Room(_, RoomResponse::Entered(_)))
}

fn refused(refusal: LoginRefusal) -> ClientResponse {
    ClientResponse::LoginRefused { refusal, enter: true }
}

fn bad_body(error: BodyError) -> ClientResponse {
    ClientResponse::BadBody { error, enter: true }
}

#[test]
fn a_user_with_too_many_sessions_keeps_the_newest() {
    let mut cluster = cluster(AuthMode::Optional, OnExpiry::Kick);
    (3..=6).for_each(|session| cluster.connector.state.open(session, None));
    log_in(&mut cluster, 1, "ann", 3_600);
    log_in(&mut cluster, 2, "bob", 3_600);
    log_in(&mut cluster, 3, "ann", 3_600);
    // A newer token of a session is no other session.
    log_in(&mut cluster, 3, "ann", 7_200);
    let user = user(&cluster, "ann", Some("ann"), 3_600);
    assert_eq!(cluster.connector.state.log_in(4, user.clone()), [Effect::Replaced(1)]);
    let by_body = with_login(enter(r#"{"rid":"lobby"}"#), Ok(user.clone()));
    let effects = cluster.request(5, Some(1), by_body);
    assert!(effects.contains(&Effect::Replaced(3)), "{effects:?}");
    let now = cluster.connector.now();
    cluster.connector.state.close(4, Ending::Closed, now);
    assert_eq!(cluster.connector.state.log_in(6, user), []);
}

#[test]
fn a_user_enters_under_the_name_of_its_token_alone() {
    let mut cluster = cluster(AuthMode::Required, OnExpiry::Kick);
    log_in(&mut cluster, 1, "ann", 3_600);
    let as_bob = answer(&mut cluster, 1, enter(r#"{"username":"bob","rid":"lobby"}"#));
    assert_eq!(as_bob, bad_body(BodyError::NotOwnName));
    assert!(is_entered(&answer(&mut cluster, 1, enter(r#"{"rid":"lobby"}"#))), "the name may be left out");
    log_in(&mut cluster, 2, "bob", 3_600);
    assert!(is_entered(&answer(&mut cluster, 2, enter(r#"{"username":"bob","rid":"lobby"}"#))));
}

#[test]
fn a_user_whose_token_has_no_name_chooses_one() {
    let mut cluster = cluster(AuthMode::Required, OnExpiry::Kick);
    let user = user(&cluster, "4711", None, 3_600);
    cluster.connector.state.log_in(1, user);
    assert!(is_entered(&answer(&mut cluster, 1, enter(r#"{"username":"ann","rid":"lobby"}"#))));
}

#[test]
fn without_a_token_none_enters_where_it_is_required() {
    let mut cluster = cluster(AuthMode::Required, OnExpiry::Kick);
    let body = r#"{"username":"ann","rid":"lobby"}"#;
    assert_eq!(answer(&mut cluster, 1, enter(body)), refused(LoginRefusal::missing()));
    let bad = LoginRefusal::new("token-bad", &"the signature is wrong");
    assert_eq!(answer(&mut cluster, 1, with_login(enter(body), Err(bad.clone()))), refused(bad));
    let ann = user(&cluster, "ann", Some("ann"), 3_600);
    assert!(is_entered(&answer(&mut cluster, 1, with_login(enter(body), Ok(ann)))));
}

#[test]
fn anonymous_clients_and_users_have_different_names() {
    let mut cluster = cluster(AuthMode::Optional, OnExpiry::Kick);
    let foreign = bad_body(BodyError::ForeignPrefix);
    assert_eq!(answer(&mut cluster, 1, enter(r#"{"username":"ann","rid":"lobby"}"#)), foreign);
    assert!(is_entered(&answer(&mut cluster, 1, enter(r#"{"username":"guest-7","rid":"lobby"}"#))));
    log_in(&mut cluster, 2, "guest-8", 3_600);
    assert_eq!(answer(&mut cluster, 2, enter(r#"{"username":"guest-8","rid":"lobby"}"#)), foreign);
    // A bad token makes no anonymous client.
    let bad = LoginRefusal::expired();
    let body = r#"{"username":"guest-9","rid":"lobby"}"#;
    assert_eq!(answer(&mut cluster, 1, with_login(enter(body), Err(bad.clone()))), refused(bad));
}

#[test]
fn without_a_prefix_names_are_common() {
    let mut cluster = cluster(AuthMode::Optional, OnExpiry::Kick);
    cluster.connector.state.logins.rules.anonymous_prefix.clear();
    assert!(is_entered(&answer(&mut cluster, 1, enter(r#"{"username":"bob","rid":"lobby"}"#))));
    log_in(&mut cluster, 2, "ann", 3_600);
    assert!(is_entered(&answer(&mut cluster, 2, enter(r#"{"rid":"lobby"}"#))));
}

#[test]
fn a_session_stays_that_of_its_user() {
    let mut cluster = cluster(AuthMode::Optional, OnExpiry::Kick);
    log_in(&mut cluster, 1, "ann", 3_600);
    let bob = user(&cluster, "bob", Some("bob"), 3_600);
    let as_bob = with_login(enter(r#"{"username":"bob","rid":"lobby"}"#), Ok(bob.clone()));
    assert_eq!(answer(&mut cluster, 1, as_bob), ClientResponse::NotAllowed { enter: true });
    let denied = ClientResponse::NotAllowed { enter: false };
    assert_eq!(answer(&mut cluster, 1, refresh(Some(Ok(bob.clone())))), denied);
    assert_eq!(answer(&mut cluster, 2, refresh(Some(Ok(bob)))), denied, "an anonymous session");
    let missing = ClientResponse::LoginRefused { refusal: LoginRefusal::missing(), enter: false };
    assert_eq!(answer(&mut cluster, 1, refresh(None)), missing);
}

/// Effects of ticks until a time, with the seconds at which they came.
fn until(cluster: &mut TestCluster, secs: u64) -> Vec<(u64, Effect)> {
    let mut seen = Vec::new();
    while cluster.connector.now < secs * 1_000 {
        let effects = cluster.connector.tick();
        let now = cluster.connector.now / 1_000;
        let of_tokens = |effect: &Effect| matches!(effect, Effect::TokenExpires { .. } | Effect::TokenExpired(_));
        seen.extend(effects.into_iter().filter(of_tokens).map(|effect| (now, effect)));
    }
    seen
}

#[test]
fn a_client_is_asked_for_a_new_token_and_kicked_without_one() {
    let mut cluster = cluster(AuthMode::Required, OnExpiry::Kick);
    log_in(&mut cluster, 1, "ann", 200);
    let asked = (140, Effect::TokenExpires { session: 1, secs: 60 });
    assert_eq!(until(&mut cluster, 300), [asked, (230, Effect::TokenExpired(1))]);
}

/// A client that answers each push at once, with another short token, is not asked without a pause.
#[test]
fn a_client_with_a_short_token_is_asked_in_the_middle_of_its_time() {
    let mut cluster = cluster(AuthMode::Required, OnExpiry::Kick);
    log_in(&mut cluster, 1, "ann", 20);
    assert_eq!(until(&mut cluster, 12), [(10, Effect::TokenExpires { session: 1, secs: 10 })]);
}

/// The token was verified within the leeway, so the session that has it may enter.
#[test]
fn clocks_may_differ() {
    let mut cluster = cluster(AuthMode::Required, OnExpiry::Kick);
    cluster.connector.state.logins.rules.leeway_ms = 30_000;
    log_in(&mut cluster, 1, "ann", 0);
    assert!(is_entered(&answer(&mut cluster, 1, enter(r#"{"rid":"lobby"}"#))));
    until(&mut cluster, 30);
    assert_eq!(answer(&mut cluster, 1, enter(r#"{"rid":"attic"}"#)), refused(LoginRefusal::expired()));
}

#[test]
fn a_client_that_brings_a_new_token_stays() {
    let mut cluster = cluster(AuthMode::Required, OnExpiry::Kick);
    log_in(&mut cluster, 1, "ann", 200);
    until(&mut cluster, 220);
    let body = r#"{"rid":"lobby"}"#;
    assert_eq!(answer(&mut cluster, 1, enter(body)), refused(LoginRefusal::expired()), "it enters no room meanwhile");
    let newer = user(&cluster, "ann", Some("ann"), 200);
    let exp = newer.principal.expires_at;
    assert_eq!(answer(&mut cluster, 1, refresh(Some(Ok(newer)))), ClientResponse::Refreshed { exp });
    assert_eq!(until(&mut cluster, 370), [(360, Effect::TokenExpires { session: 1, secs: 60 })]);
    assert!(is_entered(&answer(&mut cluster, 1, enter(body))));
}

#[test]
fn a_closed_session_leaves_no_time_behind() {
    let mut cluster = cluster(AuthMode::Required, OnExpiry::Kick);
    log_in(&mut cluster, 1, "ann", 100);
    let now = cluster.connector.now();
    cluster.connector.state.close(1, Ending::Closed, now);
    assert_eq!(until(&mut cluster, 200), []);
}

#[test]
fn where_sessions_are_kept_an_expired_token_only_enters_no_room() {
    let mut cluster = cluster(AuthMode::Required, OnExpiry::Keep);
    log_in(&mut cluster, 1, "ann", 100);
    assert!(is_entered(&answer(&mut cluster, 1, enter(r#"{"rid":"lobby"}"#))));
    assert_eq!(until(&mut cluster, 200), []);
    assert_eq!(answer(&mut cluster, 1, enter(r#"{"rid":"attic"}"#)), refused(LoginRefusal::expired()));
}

#[test]
fn a_token_is_verified_before_anything_of_the_request_counts() {
    let mut cluster = cluster(AuthMode::Required, OnExpiry::Kick);
    let effects = cluster.request(1, Some(1), enter("{"));
    assert!(matches!(answers(&effects)[..], [(1, 1, ClientResponse::LoginRefused { .. })]), "{effects:?}");
}
