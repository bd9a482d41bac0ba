//! Retries of an owner whose log does not respond, or refuses appends.

use super::*;

/// Milliseconds between two ticks.
const LOOK_MS: u64 = 10;

fn owner_of(room: &str) -> OwnerHarness {
    let mut harness = OwnerHarness::new();
    let policy = Arc::new(RoomPolicy::new(&Settings::default(), SizeLimits::default()));
    let me = ServerId::new("chat-server-1").unwrap();
    let ids = RecordIds::new(&me, Incarnation(1), 1);
    harness.owner = Owner::new(me, RoomId::new(room).unwrap(), ids, policy);
    harness
}

fn fail(harness: &mut OwnerHarness) {
    let failed = match harness.operation.take().unwrap() {
        LogOp::Last { .. } | LogOp::Before(_) => LogResult::Last(Err(ReadError("away".to_owned()))),
        LogOp::Read(_) => LogResult::Read(Err(ReadError("away".to_owned()))),
        LogOp::Append { .. } => LogResult::Append(Err(AppendError::Full)),
        LogOp::Epoch => LogResult::Epoch(Err(ReadError("away".to_owned()))),
    };
    harness.done(failed);
}

/// Returns the milliseconds between the retries of an owner that fails so many times.
fn delays(harness: &mut OwnerHarness, failures: usize) -> Vec<u64> {
    let mut delays = Vec::new();
    harness.attach(1, LogPosition::default());
    while delays.len() < failures {
        fail(harness);
        let failed_at = harness.now.ticks;
        while harness.operation.is_none() {
            harness.tick(LOOK_MS);
            assert!(harness.now.ticks - failed_at < 10_000, "it is not tried again");
        }
        delays.push(harness.now.ticks - failed_at);
    }
    delays
}

#[test]
fn an_owner_that_fails_backs_off_up_to_two_seconds() {
    let delays = delays(&mut owner_of("lobby"), 8);
    assert!(delays[0] <= 250 + LOOK_MS, "the first retry is soon: {delays:?}");
    assert!(delays[..4].windows(2).all(|pair| pair[0] < pair[1]), "{delays:?}");
    assert!(delays[4..].iter().all(|delay| (1_300..=1_950 + LOOK_MS).contains(delay)), "{delays:?}");
}

#[test]
fn rooms_that_fail_together_are_tried_again_at_times_of_their_own() {
    let last = |number: usize| delays(&mut owner_of(&format!("room-{number}")), 6)[5];
    let times: BTreeSet<u64> = (0..100).map(last).collect();
    assert!(times.len() > 30, "100 rooms at {} times", times.len());
}

#[test]
fn a_full_log_is_backed_off_from_although_it_can_be_read() {
    let mut harness = OwnerHarness::on(TestLog::full(1));
    harness.attach(1, LogPosition::default());
    let mut operations = harness.run();
    for _ in 0..1_000 {
        harness.tick(LOOK_MS);
        operations += harness.run();
    }
    // Ten seconds: a read and an append each time, five times in the first two seconds, then every
    // one and a half.
    assert!((12..=26).contains(&operations), "{operations} operations in 10 s");
}

#[test]
fn a_success_and_a_new_connection_end_the_backoff() {
    let mut harness = owner_of("lobby");
    delays(&mut harness, 6);
    harness.operation = None;
    fail_and_begin_anew(&mut harness);
    assert!(matches!(harness.operation, Some(LogOp::Last { .. })), "it is read at once");
    harness.run();
    harness.propose(1, 1, vec![join(1, "ann")]);
    fail(&mut harness);
    let failed_at = harness.now.ticks;
    while harness.operation.is_none() {
        harness.tick(LOOK_MS);
    }
    assert!(harness.now.ticks - failed_at <= 250 + LOOK_MS);
}

fn fail_and_begin_anew(harness: &mut OwnerHarness) {
    harness.done(LogResult::Last(Err(ReadError("away".to_owned()))));
    assert_eq!(harness.operation, None);
    harness.owner.start_over(harness.now);
    harness.tick(0);
}

#[test]
fn an_append_that_came_through_unseen_is_found_and_delivered() {
    let mut harness = OwnerHarness::new();
    harness.attach(2, LogPosition::default());
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.sent.clear();
    harness.propose(1, 2, vec![say(1)]);
    let append = harness.operation.take().unwrap();
    harness.perform(append);
    harness.done(LogResult::Append(Err(AppendError::Unclear("no answer".to_owned()))));
    assert!(matches!(&harness.sent[0], Sent::Respond(_, RpcResponse::Unavailable { .. })));
    harness.tick(250);
    harness.run();
    let (_, open) = harness.records_to(2).pop().unwrap();
    assert_eq!(open.prev, Position(2), "the chain leads to what was not delivered");
    assert!(matches!(open.entries[..], [Entry::Open]));
    harness.propose(1, 2, vec![say(1)]);
    harness.run();
    assert_eq!(harness.log.last(&room()).last.unwrap().0, Position(3), "the repeat was not sent again");
}

#[test]
fn a_full_log_is_reported_and_the_proposal_may_be_repeated() {
    let mut harness = OwnerHarness::on(TestLog::full(1));
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    let said = RpcResponse::Unavailable { room: room(), because: Unavailable::LogFull };
    assert!(matches!(&harness.sent[0], Sent::Respond(_, response) if *response == said));
}

/// After a new connection or epoch, the outcome of an append is unknown until the log is read.
#[test]
fn an_owner_that_starts_over_reads_before_it_says_anything() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.owner.start_over(harness.now);
    harness.propose(1, 2, vec![say(1)]);
    assert_eq!(harness.operation, Some(LogOp::Last { certain: false }));
    assert_eq!(harness.run(), 2, "one read and one append");
}

#[test]
fn results_from_before_a_start_over_are_discarded_and_found_in_the_log() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.sent.clear();
    harness.propose(1, 2, vec![say(1)]);
    let operation = harness.operation.take().unwrap();
    harness.owner.start_over(harness.now);
    let done = harness.perform(operation);
    harness.done(done);
    assert_eq!(harness.sent, [], "the append's yes is not believed");
    assert_eq!(harness.operation, Some(LogOp::Last { certain: true }));
    harness.run();
    let (_, CatchUp::Since { records, .. }) = harness.catch_up() else { panic!("a state instead of records") };
    let said = records.iter().filter(|(_, r)| r.entries.iter().any(|e| matches!(e, Entry::Message { .. }))).count();
    assert_eq!(said, 1, "committed once, and not sent again");
}
