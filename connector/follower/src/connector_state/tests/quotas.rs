//! Quotas of clients: bytes in a log that is nearly full, new rooms, members of an address.

use std::net::Ipv4Addr;

use model::membership::Token;
use model::network::AddressGroup;
use model::record::{Outcome, Refusal};

use super::requests::{TestCluster, answers, elsewhere, send, token_elsewhere};
use super::*;
use crate::event::Event;
use crate::room::RoomResponse;

/// Bytes of a session's quota at the only connector, and of one `enter`.
const BYTES: usize = 163_840;
const ENTER: usize = 1_024;

fn public(number: u8) -> Option<AddressGroup> {
    Some(AddressGroup::of(Ipv4Addr::new(203, 0, 113, number).into()))
}

fn private() -> Option<AddressGroup> {
    Some(AddressGroup::of(Ipv4Addr::new(10, 0, 0, 1).into()))
}

/// A cluster whose chat server reports a shortage of space in the log.
fn cluster(shortage: Option<LogShortage>) -> TestCluster {
    let mut cluster = TestCluster::new(1_000);
    report(&mut cluster, shortage);
    cluster
}

fn report(cluster: &mut TestCluster, shortage: Option<LogShortage>) {
    cluster.connector.log_shortage = shortage;
    cluster.connector.receive(RpcResponse::Alive);
}

/// A client connects and enters a room; returns the response.
fn enter(
    cluster: &mut TestCluster,
    (session, address): (u64, Option<AddressGroup>),
    (name, room): (&str, &RoomId),
    token: Option<Token>,
) -> ClientResponse {
    cluster.connector.state.open(session, address);
    let token = token.map(|token| format!(r#","token":"{token}""#)).unwrap_or_default();
    let body = format!(r#"{{"username":"{name}","rid":"{room}"{token}}}"#);
    one_response(cluster, session, ClientRequest::new(ClientRoute::Enter, body.into()))
}

/// Sends a request and serves it; returns the response.
fn one_response(cluster: &mut TestCluster, session: u64, request: ClientRequest) -> ClientResponse {
    let effects = cluster.request(session, Some(1), request);
    let delivered = cluster.serve(effects);
    let mut responses: Vec<ClientResponse> = delivered
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Respond { response, .. } => Some(response),
            _ => None,
        })
        .collect();
    assert_eq!(responses.len(), 1, "{responses:?}");
    responses.remove(0)
}

fn has_entered(response: &ClientResponse) -> bool {
    matches!(response, ClientResponse::Room(_, RoomResponse::Entered(_)))
}

fn quota_of(response: &ClientResponse) -> Option<QuotaRefusal> {
    match response {
        ClientResponse::EnterRefused(limit) | ClientResponse::Room(_, RoomResponse::QuotaRefused(limit)) => {
            Some(*limit)
        }
        _ => None,
    }
}

/// Returns the number of messages with `content` bytes that a session may send now.
fn sends(cluster: &mut TestCluster, session: u64, content: usize) -> usize {
    let body: Bytes = format!(r#"{{"content":"{}","target":"*"}}"#, "x".repeat(content)).into();
    let mut sent = 0;
    while sent < 1_000 {
        let response = one_response(cluster, session, ClientRequest::new(ClientRoute::Send, body.clone()));
        match quota_of(&response) {
            None => sent += 1,
            Some(limit) => {
                assert_eq!(limit, QuotaRefusal::LogPressure);
                break;
            }
        }
    }
    sent
}

#[test]
fn bytes_are_limited_under_pressure_alone() {
    let (lobby, mut cluster) = (room(0), cluster(None));
    assert!(has_entered(&enter(&mut cluster, (1, None), ("ann", &lobby), None)));
    assert_eq!(sends(&mut cluster, 1, 16_000), 1_000);
    report(&mut cluster, Some(LogShortage::Pressure));
    assert_eq!(sends(&mut cluster, 1, 16_384), BYTES / (16_384 + 512));
    report(&mut cluster, None);
    assert_eq!(sends(&mut cluster, 1, 16_000), 1_000);
}

/// Nothing of a refused message is proposed, and its client's next one is not either.
#[test]
fn a_refused_message_has_no_effect() {
    let (lobby, mut cluster) = (room(0), cluster(Some(LogShortage::Pressure)));
    assert!(has_entered(&enter(&mut cluster, (1, None), ("ann", &lobby), None)));
    sends(&mut cluster, 1, 16_384);
    sends(&mut cluster, 1, 10);
    let refused = cluster.request(1, Some(1), send());
    let limit = QuotaRefusal::LogPressure;
    let response = ClientResponse::Room(lobby, RoomResponse::QuotaRefused(limit));
    let respond = Effect::Respond { session: 1, id: 1, response };
    assert_eq!(refused, [Effect::Report(Event::QuotaRefused { limit }), respond]);
    assert_eq!(cluster.connector.state.requests_waiting(), 0);
}

#[test]
fn sessions_of_a_public_address_share_their_bytes_and_others_do_not() {
    let mut cluster = cluster(Some(LogShortage::Pressure));
    let [lobby, attic] = [room(0), room(1)];
    for (session, address, name, room) in [
        (1, public(1), "ann", &lobby),
        (2, public(1), "bob", &attic),
        (3, public(2), "cid", &lobby),
        (4, private(), "dan", &lobby),
        (5, private(), "eve", &lobby),
        (6, None, "fay", &lobby),
    ] {
        assert!(has_entered(&enter(&mut cluster, (session, address), (name, room), None)), "{name}");
    }
    let most = |enters: usize| (BYTES - enters * ENTER) / (16_384 + 512);
    assert_eq!(sends(&mut cluster, 1, 16_384), most(2));
    assert_eq!(sends(&mut cluster, 2, 16_384), 0);
    for session in 3..=6 {
        assert_eq!(sends(&mut cluster, session, 16_384), most(1), "{session}");
    }
    // Ten minutes later everything is back.
    cluster.connector.now += 600_000;
    assert_eq!(sends(&mut cluster, 2, 16_384), most(0));
    assert_eq!(sends(&mut cluster, 1, 16_384), 0);
}

#[test]
fn enters_cost_bytes_and_leaves_pass() {
    let (lobby, mut cluster) = (room(0), cluster(Some(LogShortage::Pressure)));
    let mut entered = 0;
    for session in 1..1_000 {
        let response = enter(&mut cluster, (session, public(1)), ("ann", &lobby), None);
        if !has_entered(&response) {
            assert_eq!(quota_of(&response), Some(QuotaRefusal::LogPressure));
            break;
        }
        let leave = one_response(&mut cluster, session, ClientRequest::new(ClientRoute::Leave, Bytes::new()));
        assert_eq!(leave, ClientResponse::Room(lobby.clone(), RoomResponse::Left));
        entered += 1;
    }
    assert_eq!(entered, BYTES / ENTER);
    let unfollowed = room(1);
    let refused = enter(&mut cluster, (2_000, public(1)), ("ann", &unfollowed), None);
    assert_eq!(quota_of(&refused), Some(QuotaRefusal::LogPressure));
    assert!(!cluster.connector.state.rooms.contains_key(&unfollowed), "an attach alone appends a record");
}

#[test]
fn the_reserve_refuses_messages_and_takes_joins_and_leaves() {
    let (lobby, mut cluster) = (room(0), cluster(Some(LogShortage::Reserve)));
    assert!(has_entered(&enter(&mut cluster, (1, None), ("ann", &lobby), None)));
    let refused = one_response(&mut cluster, 1, send());
    assert_eq!(refused, ClientResponse::Room(lobby.clone(), RoomResponse::QuotaRefused(QuotaRefusal::LogReserve)));
    let leave = one_response(&mut cluster, 1, ClientRequest::new(ClientRoute::Leave, Bytes::new()));
    assert_eq!(leave, ClientResponse::Room(lobby, RoomResponse::Left));
}

/// Each refusal of an owner is an outcome in the log: one tells the connector to refuse the next
/// ones itself.
#[test]
fn a_refusal_of_the_owner_for_want_of_space_holds_for_some_seconds() {
    for refusal in [Refusal::RoomShare, Refusal::LogReserve] {
        let (lobby, mut cluster) = (room(0), cluster(None));
        assert!(has_entered(&enter(&mut cluster, (1, None), ("ann", &lobby), None)));
        cluster.sent = Outcome::Refused(refusal);
        let refused = ClientResponse::Room(lobby, RoomResponse::Refused { refusal, enter: false });
        assert_eq!(one_response(&mut cluster, 1, send()), refused);
        let again = cluster.request(1, Some(1), send());
        let respond = Effect::Respond { session: 1, id: 1, response: refused };
        assert_eq!(again, [Effect::Report(Event::MessageRefused { refusal }), respond], "nothing is proposed");
        cluster.connector.now += 5_000;
        let proposed = cluster.request(1, Some(1), send());
        assert!(matches!(proposed[..], [Effect::SendToChat { .. }]), "{proposed:?}");
    }
}

/// A cluster with a limit of new rooms.
fn with_new_rooms(new_rooms_per_min: u32) -> TestCluster {
    let mut cluster = cluster(None);
    let quotas = QuotaLimits { pressure_bytes_per_min: 16_384, max_content: 16_384, new_rooms_per_min };
    cluster.connector.state.quotas = Quotas::new(quotas, 1);
    cluster
}

#[test]
fn rooms_that_are_not_followed_are_limited_per_public_address() {
    let mut cluster = with_new_rooms(2);
    let response = |cluster: &mut TestCluster, session, address, number| {
        enter(cluster, (session, address), ("ann", &room(number)), None)
    };
    assert!(has_entered(&response(&mut cluster, 1, public(1), 1)));
    assert!(has_entered(&response(&mut cluster, 2, public(1), 2)));
    assert_eq!(quota_of(&response(&mut cluster, 3, public(1), 3)), Some(QuotaRefusal::NewRooms));
    assert!(!cluster.connector.state.rooms.contains_key(&room(3)), "nothing is kept of a refused room");
    assert!(has_entered(&response(&mut cluster, 4, public(2), 3)), "another address");
    for (session, number) in [(5, 4), (6, 5), (7, 6)] {
        assert!(has_entered(&response(&mut cluster, session, private(), number)), "each session has its own");
    }
    let followed = enter(&mut cluster, (8, public(1)), ("bob", &room(3)), None);
    assert!(has_entered(&followed), "the connector follows it: {followed:?}");
}

/// Otherwise a client whose connection broke might not get back into its only room.
#[test]
fn a_room_that_was_left_lately_is_still_followed() {
    let common = Common { linger_ms: 0, resume_ms: 3_000, ..TestConnector::common() };
    let mut cluster = with_new_rooms(1);
    cluster.connector.state.common = common;
    let lobby = room(0);
    assert!(has_entered(&enter(&mut cluster, (1, public(1)), ("ann", &lobby), None)));
    let now = cluster.connector.now();
    let effects = cluster.connector.state.close(1, Ending::Closed, now);
    cluster.serve(effects);
    for _ in 0..2_900 / TICK_MS {
        cluster.connector.tick();
    }
    assert!(has_entered(&enter(&mut cluster, (2, public(1)), ("ann", &lobby), None)));
}

/// A token costs an advance until the room's log is read.
#[test]
fn coming_back_into_rooms_is_free_where_the_token_is_valid() {
    for (token, is_valid) in [(token_elsewhere(), true), (Token::new(8), false)] {
        let mut cluster = with_new_rooms(1);
        cluster.connector.initial.apply(&Entry::Join {
            name: Name::new("ann").unwrap(),
            session: elsewhere(),
            membership: token_elsewhere().membership(),
            profile: None,
        });
        let name = if is_valid { "ann" } else { "bob" };
        let entered = (1..=40).take_while(|number: &u64| {
            let room = room(usize::try_from(*number).unwrap());
            has_entered(&enter(&mut cluster, (*number, public(1)), (name, &room), Some(token)))
        });
        assert_eq!(entered.count(), if is_valid { 40 } else { 11 }, "one, and ten in advance");
    }
}

#[test]
fn an_address_has_so_many_members_in_a_room() {
    let (lobby, mut cluster) = (room(0), cluster(None));
    for (session, name) in [(1, "ann"), (2, "bob"), (3, "cid")] {
        assert!(has_entered(&enter(&mut cluster, (session, public(1)), (name, &lobby), None)));
    }
    let refused = enter(&mut cluster, (4, public(1)), ("dan", &lobby), None);
    assert_eq!(refused, ClientResponse::EnterRefused(QuotaRefusal::AddressMembers));
    assert_eq!(cluster.connector.state.requests_waiting(), 0);
    assert!(has_entered(&enter(&mut cluster, (5, public(2)), ("dan", &lobby), None)), "another address");
    for (session, name) in [(6, "eve"), (7, "fay"), (8, "gus"), (9, "hal")] {
        assert!(has_entered(&enter(&mut cluster, (session, private()), (name, &lobby), None)), "{name}");
    }
    assert!(has_entered(&enter(&mut cluster, (10, public(1)), ("ann", &room(1)), None)), "another room");
    let renamed = one_response(
        &mut cluster,
        3,
        ClientRequest::new(ClientRoute::Enter, r#"{"username":"cyd","rid":"room-0"}"#.into()),
    );
    assert!(has_entered(&renamed), "a member may change the name: {renamed:?}");
}

/// A client that comes back while its former session is held is not counted twice: neither one with
/// a token, nor a Pomelo client under its name.
#[test]
fn a_client_that_comes_back_has_its_place() {
    for has_token in [true, false] {
        let (lobby, mut cluster) = (room(0), cluster(None));
        let token = |session: u64| has_token.then(|| Token::new(100 + u128::from(session)));
        for (session, name) in [(1, "ann"), (2, "bob"), (3, "cid")] {
            assert!(has_entered(&enter(&mut cluster, (session, public(1)), (name, &lobby), token(session))));
        }
        let now = cluster.connector.now();
        cluster.connector.state.close(1, Ending::Lost, now);
        let newcomer = enter(&mut cluster, (4, public(1)), ("dan", &lobby), None);
        assert_eq!(quota_of(&newcomer), Some(QuotaRefusal::AddressMembers), "it is held");
        cluster.connector.state.open(5, public(1));
        let token = token(1).map(|token| format!(r#","token":"{token}""#)).unwrap_or_default();
        let body = format!(r#"{{"username":"ann","rid":"room-0"{token}}}"#);
        let effects = cluster.request(5, Some(1), ClientRequest::new(ClientRoute::Enter, body.into()));
        assert!(answers(&effects).is_empty(), "it is proposed: {effects:?}");
    }
}
