//! Joins and leaves that wait for others, to share a record.

use model::failure_detector::PeerState;
use model::lineage::Lineage;
use model::settings::RoomSettings;

use super::*;

/// Records of the client that comes and goes in the room of [`churning`].
const CHURN: u64 = 59;

fn leave(session: u64) -> Item {
    Item::Leave { session, incarnation: Incarnation(1) }
}

fn resume(session: u64, of: u64, name: &str) -> Item {
    let membership = Token::new(of.into()).membership();
    Item::Join { session, name: Name::new(name).unwrap(), membership, claim: Claim::Back, seen: None, profile: None }
}

/// A room in which Ann (session 1 of connector 1) and Bob (2 of connector 2) are, and another client
/// came and went so often that joins and leaves wait.
fn churning() -> OwnerHarness {
    let mut harness = OwnerHarness::new();
    harness.propose(2, 1, vec![join(2, "bob")]);
    harness.run();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    for number in 2..2 + CHURN {
        harness.tick(10);
        harness.propose(1, number, vec![join(9, "eve"), leave(9)]);
        assert_eq!(harness.run(), 1, "{number}");
    }
    harness
}

/// Number of the next proposal of connector 1.
const NEXT: u64 = 2 + CHURN;

#[test]
fn joins_and_leaves_wait_for_others() {
    let mut harness = churning();
    harness.propose(1, NEXT, vec![join(9, "eve")]);
    harness.tick(400);
    harness.propose(2, 2, vec![join(8, "dan")]);
    harness.tick(399);
    assert_eq!((harness.run(), harness.owner.awaits_time()), (0, true));
    assert_eq!(harness.events(|event| *event == Event::PresenceDelayed), 1);
    harness.tick(1);
    assert_eq!((harness.run(), harness.owner.awaits_time()), (1, false));
    assert_eq!((harness.outcomes(1), harness.outcomes(2)), (vec![Outcome::Done(0)], vec![Outcome::Done(1)]));
}

#[test]
fn a_message_takes_all_along_at_once() {
    let mut harness = churning();
    harness.propose(1, NEXT, vec![leave(1)]);
    assert_eq!(harness.run(), 0);
    harness.propose(2, 2, vec![say(2)]);
    assert_eq!(harness.run(), 1);
    assert_eq!((harness.outcomes(1), harness.outcomes(2)), (vec![Outcome::Done(0)], vec![Outcome::Done(1)]));
}

#[test]
fn an_urgent_repeat_ends_the_wait_and_another_one_does_not() {
    let mut harness = churning();
    let author = Author { connector: connector(1), incarnation: Incarnation(1) };
    let proposal = |at, is_urgent| {
        let (author, items) = (author.clone(), vec![leave(1)]);
        Proposal { requester: requester(1), author, at, number: NEXT, items, is_urgent }
    };
    for (is_urgent, operations) in [(false, 0), (false, 0), (true, 1)] {
        let (now, proposal) = (harness.now, proposal(harness.at, is_urgent));
        harness.call(|owner, cx| owner.propose(proposal, now, cx));
        assert_eq!(harness.run(), operations);
    }
}

#[test]
fn a_member_that_comes_back_does_not_wait() {
    let mut harness = churning();
    harness.propose(2, 2, vec![resume(7, 1, "ann")]);
    assert_eq!(harness.run(), 1);
    assert_eq!(harness.outcomes(2), [Outcome::Done(0)]);
}

#[test]
fn members_that_come_back_make_no_others_wait() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    for number in 2..200 {
        harness.propose(1, number, vec![resume(number, 1, "ann")]);
        assert_eq!(harness.run(), 1, "{number}");
    }
    harness.propose(2, 1, vec![join(2, "bob")]);
    assert_eq!(harness.run(), 1);
}

#[test]
fn a_client_that_is_no_member_waits_with_any_token() {
    let mut harness = churning();
    harness.propose(2, 2, vec![resume(7, 77, "dan")]);
    assert_eq!(harness.run(), 0);
    // And one that enters its own membership again.
    let mut harness = churning();
    harness.propose(2, 2, vec![resume(2, 2, "bob")]);
    assert_eq!(harness.run(), 0);
}

#[test]
fn many_do_not_wait() {
    let mut harness = churning();
    let joins = |from: u64| (from..from + 16).map(|session| join(session, &format!("user{session}"))).collect();
    harness.propose(1, NEXT, joins(100));
    assert_eq!(harness.run(), 0);
    harness.propose(2, 2, joins(200));
    assert_eq!(harness.run(), 1);
}

#[test]
fn a_fence_and_requests_that_are_answered_without_a_record_do_not_wait() {
    let mut harness = churning();
    harness.propose(1, NEXT, Vec::new());
    assert_eq!(harness.run(), 1);
    let mut harness = churning();
    harness.sent.clear();
    harness.propose(1, NEXT - 1, vec![leave(1)]);
    harness.run();
    assert_eq!(harness.catch_up().0.position, Position(NEXT), "it is committed");
}

#[test]
fn the_members_of_a_dead_connector_do_not_wait() {
    let mut harness = churning();
    harness.propose(1, NEXT, vec![join(9, "eve")]);
    let (two, lineage) = (connector(2), Lineage::new(Incarnation(1)));
    let liveness = ConnectorLiveness::new([(&two, &lineage, PeerState::Down)].into_iter());
    harness.owner.set_liveness(&Arc::new(liveness));
    harness.tick(1);
    assert_eq!(harness.run(), 1);
    let (_, record) = harness.records_to(1).pop().unwrap();
    assert_eq!(record.entries.len(), 2, "Bob left, and Eve joined: {:?}", record.entries);
}

#[test]
fn a_storm_of_joins_never_waits() {
    let mut harness = OwnerHarness::new();
    for number in 1..=500 {
        harness.propose(1, number, vec![join(number, &format!("user{number}"))]);
        assert!(harness.run() > 0, "{number}");
    }
    assert_eq!(harness.events(|event| *event == Event::PresenceDelayed), 0);
}

#[test]
fn refused_joins_count_as_well() {
    let mut harness = OwnerHarness::new();
    harness.propose(2, 1, vec![join(2, "bob")]);
    harness.run();
    for number in 1..=60 {
        harness.propose(1, number, vec![join(9, "bob")]);
        assert!(harness.run() > 0, "{number}");
    }
    harness.propose(1, 61, vec![join(9, "bob")]);
    assert_eq!(harness.run(), 0);
}

#[test]
fn a_new_activation_does_not_wait() {
    let mut harness = churning();
    harness.propose(1, NEXT, vec![leave(1)]);
    assert_eq!(harness.run(), 0);
    let now = harness.now;
    harness.call(|owner, cx| {
        owner.start_over(now);
        owner.tick(now, cx);
    });
    harness.run();
    assert_eq!(harness.outcomes(1), [Outcome::Done(0)]);
}

#[test]
fn nothing_waits_where_it_is_switched_off() {
    let room = RoomSettings { presence_records_per_min: 0, ..RoomSettings::default() };
    let settings = Settings { room, ..Settings::default() };
    let mut harness = OwnerHarness::with(TestLog::new(1), &settings, SizeLimits::default());
    for number in 1..=200 {
        harness.propose(1, number, vec![join(9, "eve"), leave(9)]);
        assert!(harness.run() > 0, "{number}");
    }
}
