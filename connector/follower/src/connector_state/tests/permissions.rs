//! Permissions of clients, and the actions of moderators.

use model::act::{Rights, RuleKind};
use model::identity::{Principal, User};
use model::ids::Uid;
use model::permissions::{Action, Grant, Grants, Level, Pattern, parse_actions};
use model::record::Refusal;
use model::settings::{NamespaceSettings, Settings};

use super::requests::{TestCluster, answers};
use super::*;
use crate::room::{Push, RoomResponse};

/// A cluster in whose lobby clients may do so much, and with two sessions.
fn cluster(space: NamespaceSettings) -> TestCluster {
    let namespaces = vec![NamespaceSettings { rooms: "lobby".to_owned(), ..space }];
    let mut cluster = TestCluster::new(10);
    cluster.connector.state.permissions = Permissions::new(&Settings { namespaces, ..Settings::default() });
    (1..=2).for_each(|session| cluster.connector.state.open(session, None));
    cluster
}

fn lobby() -> RoomId {
    RoomId::new("lobby").unwrap()
}

/// A user whose token allows these actions everywhere.
fn user(uid: &str, actions: &[&str]) -> User {
    let grant = Grant { rooms: Pattern::new("*"), rights: parse_actions(actions) };
    let grants = Some(Arc::new(Grants { rooms: vec![grant], roles: Vec::new() }));
    let uid = Uid::new(uid).unwrap();
    let principal = Principal { uid, name: None, info: None, grants, issued_at: 0, expires_at: 99 };
    User { principal, since: 0, until: u64::MAX }
}

/// The effects for clients of a request.
fn request(cluster: &mut TestCluster, session: u64, route: ClientRoute, body: &str) -> Vec<Effect> {
    let effects = cluster.request(session, Some(7), ClientRequest::new(route, body.to_owned().into()));
    cluster.serve(effects)
}

fn answer(cluster: &mut TestCluster, session: u64, route: ClientRoute, body: &str) -> ClientResponse {
    let delivered = request(cluster, session, route, body);
    let mut responses = delivered.into_iter().filter_map(|effect| match effect {
        Effect::Respond { response, .. } => Some(response),
        _ => None,
    });
    responses.next().unwrap()
}

fn enter(cluster: &mut TestCluster, session: u64, name: &str) -> ClientResponse {
    answer(cluster, session, ClientRoute::Enter, &format!(r#"{{"username":"{name}","rid":"lobby"}}"#))
}

fn refused(refusal: Refusal) -> ClientResponse {
    ClientResponse::Room(lobby(), RoomResponse::Refused { refusal, enter: false })
}

fn pushes(effects: &[Effect]) -> Vec<(Vec<u64>, Push)> {
    let push = |effect: &Effect| match effect {
        Effect::Push { to, push, .. } => Some((to.to_vec(), push.clone())),
        _ => None,
    };
    effects.iter().filter_map(push).collect()
}

#[test]
fn a_client_without_the_right_does_not_enter() {
    let mut cluster = cluster(NamespaceSettings { enter: Level::Grant, ..NamespaceSettings::default() });
    let body = r#"{"username":"ann","rid":"lobby"}"#.to_owned().into();
    let effects = cluster.request(1, Some(7), ClientRequest::new(ClientRoute::Enter, body));
    assert_eq!(answers(&effects), [(1, 7, &ClientResponse::MayNotEnter)]);
    assert_eq!(effects.len(), 1, "no chat server is asked: {effects:?}");
    cluster.connector.state.log_in(2, user("u2", &["enter"]));
    assert!(matches!(enter(&mut cluster, 2, "bob"), ClientResponse::Room(_, RoomResponse::Entered(_))));
}

#[test]
fn a_member_that_may_not_list_or_read_gets_no_names_and_no_history() {
    let space = NamespaceSettings { list: Level::User, read: Level::User, ..NamespaceSettings::default() };
    let mut cluster = cluster(space);
    cluster.connector.state.log_in(1, user("u1", &[]));
    enter(&mut cluster, 1, "ann");
    let ClientResponse::Room(_, RoomResponse::Entered(entered)) = enter(&mut cluster, 2, "bob") else {
        panic!("not entered");
    };
    assert_eq!((entered.users.len(), entered.total, entered.names), (0, 2, false));
    assert!(!entered.rights.allow(Action::List) && entered.rights.allow(Action::Send));
    for route in [ClientRoute::Members, ClientRoute::History] {
        assert_eq!(answer(&mut cluster, 2, route, "{}"), refused(Refusal::NotAllowed), "{route:?}");
        assert!(matches!(answer(&mut cluster, 1, route, "{}"), ClientResponse::Room(..)), "{route:?}");
    }
    let left = request(&mut cluster, 1, ClientRoute::Leave, "");
    assert_eq!(pushes(&left), [], "nobody is told a name");
}

#[test]
fn a_newer_token_with_other_rights_is_answered_when_the_log_has_them() {
    let mut cluster = cluster(NamespaceSettings { send: Level::Grant, ..NamespaceSettings::default() });
    cluster.connector.state.log_in(1, user("u1", &["send"]));
    enter(&mut cluster, 1, "ann");
    let refresh = |actions: &[&str]| ClientRequest {
        login: Some(Ok(user("u1", actions))),
        ..ClientRequest::new(ClientRoute::Refresh, Bytes::new())
    };
    let effects = cluster.request(1, Some(8), refresh(&[]));
    assert_eq!(answers(&effects), [], "it waits for the record");
    let delivered = cluster.serve(effects);
    let rights = Rights(Rights::MEMBER.0 & !2);
    assert_eq!(pushes(&delivered), [(vec![1], Push::Rights(rights))]);
    let refreshed = ClientResponse::Room(lobby(), RoomResponse::Refreshed { exp: 99 });
    assert_eq!(answers(&delivered), [(1, 8, &refreshed)]);
    let effects = cluster.request(1, Some(9), refresh(&[]));
    assert_eq!(answers(&effects), [(1, 9, &refreshed)], "the rights are the same");
}

#[test]
fn only_a_moderator_moderates() {
    let mut cluster = cluster(NamespaceSettings::default());
    cluster.connector.state.log_in(1, user("u1", &["moderate"]));
    enter(&mut cluster, 1, "ann");
    enter(&mut cluster, 2, "bob");
    let body = r#"{"name":"ann","rid":"lobby","secs":60}"#;
    let effects = cluster.request(2, Some(7), ClientRequest::new(ClientRoute::Mute, body.to_owned().into()));
    assert_eq!(answers(&effects), [(2, 7, &refused(Refusal::NotAllowed))]);
    assert_eq!(effects.len(), 1, "no chat server is asked: {effects:?}");
    let elsewhere = answer(&mut cluster, 1, ClientRoute::Mute, r#"{"name":"bob","rid":"zoo"}"#);
    assert_eq!(elsewhere, refused(Refusal::WrongRoom));

    let delivered = request(&mut cluster, 1, ClientRoute::Mute, r#"{"name":"bob"}"#);
    let [(to, Push::Rule { kind: RuleKind::Mute, until: 9, .. })] = &pushes(&delivered)[..] else {
        panic!("{delivered:?}");
    };
    assert_eq!(*to, [2], "the one whom it is about");
    assert!(matches!(answers(&delivered)[..], [(1, 7, ClientResponse::Room(_, RoomResponse::Sent { .. }))]));

    let delivered = request(&mut cluster, 1, ClientRoute::Expel, r#"{"name":"bob","reason":"why"}"#);
    let expel = (vec![2], Push::Expel { reason: "why".to_owned() });
    let leave = (vec![1], Push::Leave { name: Name::new("bob").unwrap() });
    assert_eq!(pushes(&delivered), [expel, leave]);
    assert!(delivered.contains(&Effect::Expelled(2)), "{delivered:?}");
}
