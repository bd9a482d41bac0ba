//! A broker whose payload limit falls.

use super::*;

/// Items of a proposal that only a broker with the default limit takes.
const MANY: u64 = 60;

fn long(session: u64) -> Item {
    let body = format!(r#"{{"content":"{}","target":"*"}}"#, "x".repeat(7_500)).into();
    Item::Send { session, membership: Token::new(session.into()).membership(), body }
}

fn shrink(harness: &mut OwnerHarness) {
    let policy = Arc::new(RoomPolicy::new(&Settings::default(), SizeLimits::smallest()));
    harness.owner.set_policy(&policy);
}

fn is_unavailable(effect: &Sent) -> bool {
    matches!(effect, Sent::Respond(_, RpcResponse::Unavailable { because: Unavailable::LogAway, .. }))
}

#[test]
fn a_proposal_that_no_record_can_hold_is_answered_and_others_are_decided() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    shrink(&mut harness);
    harness.sent.clear();
    harness.propose(1, 2, (0..MANY).map(|_| long(1)).collect());
    harness.propose(2, 1, vec![join(1, "bob")]);
    harness.run();
    assert!(harness.sent.iter().any(is_unavailable));
    assert_eq!(harness.outcomes(2), [Outcome::Done(0)]);
    // An empty proposal with a higher number: the large one is never decided from then on.
    harness.propose(1, 3, Vec::new());
    harness.run();
    assert_eq!(harness.outcomes(1), []);
    harness.propose(1, 2, vec![say(1)]);
    harness.propose(1, 4, vec![long(1)]);
    harness.run();
    assert_eq!(harness.outcomes(1), [Outcome::Done(0)]);
    let (_, record) = harness.records_to(1).pop().unwrap();
    assert_eq!(record.proposals.iter().map(|decided| decided.number).collect::<Vec<_>>(), [4]);
}

#[test]
fn an_append_that_is_too_large_is_certainly_none_and_is_decided_anew() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.sent.clear();
    harness.propose(1, 2, (0..MANY).map(|_| long(1)).collect());
    shrink(&mut harness);
    let Some(LogOp::Append { record, .. }) = harness.operation.take() else { panic!("no append") };
    harness.done(LogResult::Append(Err(AppendError::TooLarge { bytes: record.len() })));
    assert!(harness.sent.iter().any(is_unavailable));
    harness.propose(1, 3, vec![say(1)]);
    harness.tick(300);
    harness.run();
    assert_eq!(harness.outcomes(1), [Outcome::Done(0)]);
}

/// A connector that requested it would get a response that cannot be sent, for ever.
#[test]
fn a_record_that_cannot_be_sent_any_more_is_replaced_by_the_state() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.propose(1, 2, (0..MANY).map(|_| long(1)).collect());
    harness.run();
    shrink(&mut harness);
    let id = harness.id_at(Position(1));
    harness.attach(2, LogPosition { epoch: Epoch(1), position: Position(1), id });
    harness.run();
    assert!(matches!(harness.catch_up(), (LogPosition { position: Position(2), .. }, CatchUp::State(_))));
}
