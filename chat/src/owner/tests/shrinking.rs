//! A broker that takes less than before.

use super::*;

/// Items of a proposal that only a broker of the usual size takes.
const MANY: u64 = 60;

fn long(session: u64) -> Item {
    let body = format!(r#"{{"content":"{}","target":"*"}}"#, "x".repeat(7_500)).into_bytes();
    Item::Send { session, membership: Token::new(session.into()).membership(), body }
}

fn shrink(bench: &mut Bench) {
    let judge = Arc::new(Judge::new(&Settings::default(), SizeLimits::smallest()));
    bench.owner.judge_with(&judge);
}

fn is_unavailable(act: &Act) -> bool {
    matches!(act, Act::Answer(_, RpcResponse::Unavailable { because: Unavailable::LogAway, .. }))
}

#[test]
fn a_proposal_that_no_record_can_hold_is_answered_and_others_are_decided() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    shrink(&mut bench);
    bench.said.clear();
    bench.propose(1, 2, (0..MANY).map(|_| long(1)).collect());
    bench.propose(2, 1, vec![join(1, "bob")]);
    bench.run();
    assert!(bench.said.iter().any(is_unavailable));
    assert_eq!(bench.outcomes(2), [Outcome::Done(0)]);
    // An empty one with a higher number: the large one is never decided from then on.
    bench.propose(1, 3, Vec::new());
    bench.run();
    assert_eq!(bench.outcomes(1), []);
    bench.propose(1, 2, vec![say(1)]);
    bench.propose(1, 4, vec![long(1)]);
    bench.run();
    assert_eq!(bench.outcomes(1), [Outcome::Done(0)]);
    let (_, record) = bench.records_to(1).pop().unwrap();
    assert_eq!(record.proposals.iter().map(|decided| decided.number).collect::<Vec<_>>(), [4]);
}

#[test]
fn an_append_that_is_too_large_is_certainly_none_and_is_decided_anew() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    bench.said.clear();
    bench.propose(1, 2, (0..MANY).map(|_| long(1)).collect());
    shrink(&mut bench);
    let Some(LogOp::Append { record, .. }) = bench.operation.take() else { panic!("no append") };
    bench.done(LogDone::Append(Err(AppendError::TooLarge { bytes: record.len() })));
    assert!(bench.said.iter().any(is_unavailable));
    bench.propose(1, 3, vec![say(1)]);
    bench.tick(300);
    bench.run();
    assert_eq!(bench.outcomes(1), [Outcome::Done(0)]);
}

/// A connector that asked for it would be answered with what cannot be sent, for ever.
#[test]
fn a_record_that_cannot_be_sent_any_more_is_replaced_by_the_state() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.propose(1, 2, (0..MANY).map(|_| long(1)).collect());
    bench.run();
    shrink(&mut bench);
    let id = bench.id_at(Position(1));
    bench.attach(2, LogPosition { epoch: Epoch(1), position: Position(1), id });
    bench.run();
    assert!(matches!(bench.news(), (LogPosition { position: Position(2), .. }, CatchUp::State(_))));
}
