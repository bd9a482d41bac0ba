//! A log that is nearly full.

use model::record::Refusal;

use super::*;

const HOUR_MS: u64 = 3_600_000;

/// Bytes of the log: a room's share is 2 %.
const LOG: u64 = 10_000_000;

/// A message of some bytes.
fn long(session: u64) -> Item {
    let body = format!(r#"{{"content":"{}","target":"*"}}"#, "x".repeat(10_000)).into();
    Item::Send { session, membership: Token::new(session.into()).membership(), body }
}

/// A room with a member that wrote 300 KB, and a log of which so many percent are used.
fn loud(percent: u64) -> OwnerHarness {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.propose(1, 2, vec![long(1); 30]);
    harness.run();
    check(&mut harness, percent);
    harness
}

/// The chat server looks at the log.
fn check(harness: &mut OwnerHarness, percent: u64) {
    harness.space.begin_check();
    harness.space.end_check(LOG / 100 * percent, LOG);
}

fn outcome(harness: &mut OwnerHarness, number: u64, item: Item) -> Outcome {
    harness.propose(1, number, vec![item]);
    harness.run();
    harness.outcomes(1)[0]
}

#[test]
fn a_room_above_its_share_is_refused_messages_under_pressure_alone() {
    let mut harness = loud(79);
    assert_eq!(outcome(&mut harness, 3, say(1)), Outcome::Done(0));
    check(&mut harness, 81);
    assert_eq!(outcome(&mut harness, 4, say(1)), Outcome::Refused(Refusal::RoomShare));
    assert_eq!(outcome(&mut harness, 5, join(2, "bob")), Outcome::Done(0));
    assert_eq!(harness.events(|event| *event == Event::ShareRefused { messages: 1 }), 1);
    check(&mut harness, 79);
    assert_eq!(outcome(&mut harness, 6, say(1)), Outcome::Done(0));
}

#[test]
fn a_room_may_write_again_after_some_hours() {
    let mut harness = loud(81);
    harness.now.ticks += HOUR_MS;
    assert_eq!(outcome(&mut harness, 3, say(1)), Outcome::Done(0), "300 KB are halved");
}

#[test]
fn the_reserve_takes_joins_and_leaves_alone() {
    let mut harness = loud(96);
    assert_eq!(outcome(&mut harness, 3, say(1)), Outcome::Refused(Refusal::LogReserve));
    assert_eq!(outcome(&mut harness, 4, join(2, "bob")), Outcome::Done(0));
    assert_eq!(outcome(&mut harness, 5, Item::Leave { session: 2, incarnation: Incarnation(1) }), Outcome::Done(0));
    assert_eq!(harness.events(|event| *event == Event::ReserveRefused { messages: 1 }), 1);
}

/// One record may hold many messages: those that would reach into the reserve are refused.
#[test]
fn a_record_does_not_reach_into_the_reserve() {
    let mut harness = loud(94);
    harness.now.ticks += 9 * HOUR_MS;
    harness.propose(1, 3, vec![long(1); 30]);
    harness.run();
    let outcomes = harness.outcomes(1);
    let done = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Done(_))).count();
    assert!((8..10).contains(&done), "{outcomes:?}");
    assert!(outcomes.contains(&Outcome::Refused(Refusal::LogReserve)), "{outcomes:?}");
}

/// Records that the log may have count until the next look at it.
#[test]
fn own_appends_count_until_the_next_check() {
    let mut harness = loud(94);
    harness.now.ticks += 9 * HOUR_MS;
    assert_eq!(outcome(&mut harness, 3, say(1)), Outcome::Done(0));
    harness.propose(1, 4, vec![long(1); 10]);
    harness.operation.take().unwrap();
    harness.done(LogResult::Append(Err(AppendError::Unclear("late".to_owned()))));
    harness.propose(1, 5, vec![long(1)]);
    harness.tick(300);
    harness.run();
    assert_eq!(harness.outcomes(1), [Outcome::Refused(Refusal::LogReserve)]);
    check(&mut harness, 94);
    assert_eq!(outcome(&mut harness, 6, long(1)), Outcome::Done(0));
}

/// Otherwise a room's share would begin anew when its members are gone for a minute.
#[test]
fn a_room_that_wrote_much_is_remembered() {
    let mut harness = loud(10);
    harness.owner.detach(&connector(1));
    harness.now.ticks += 60_000;
    assert!(!harness.owner.is_forgettable(harness.now, 60_000, &harness.space));
    harness.now.ticks += 2 * HOUR_MS;
    assert!(harness.owner.is_forgettable(harness.now, 60_000, &harness.space));
}
