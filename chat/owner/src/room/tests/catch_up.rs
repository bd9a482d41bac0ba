//! Catch-up of connectors that are behind, ahead, or of another log.

use super::*;

#[test]
fn a_connector_that_is_behind_gets_the_records_between() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    for number in 2..400 {
        harness.propose(1, number, vec![say(1)]);
        harness.run();
    }
    let (mut position, mut pages) = (Position(10), 0);
    loop {
        let id = harness.id_at(position);
        harness.attach(2, LogPosition { epoch: Epoch(1), position, id });
        harness.run();
        let (now, CatchUp::Since { records, more }) = harness.catch_up() else { panic!("a state instead of records") };
        for (at, record) in records {
            assert_eq!(record.prev, position);
            position = at;
        }
        pages += 1;
        if !more {
            assert_eq!((position, pages), (now.position, 2));
            break;
        }
    }
}

#[test]
fn a_connector_that_read_further_than_the_log_goes_gets_the_state() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    let ahead = LogPosition { epoch: Epoch(1), position: Position(9), id: RecordId(9) };
    let author = Author { connector: connector(2), incarnation: Incarnation(1) };
    let proposal = Proposal {
        requester: requester(2),
        author,
        at: ahead,
        number: 1,
        items: vec![join(1, "bob")],
        is_urgent: false,
    };
    let now = harness.now;
    harness.call(|owner, cx| owner.propose(proposal, now, cx));
    harness.run();
    assert!(matches!(harness.catch_up(), (LogPosition { position: Position(1), .. }, CatchUp::State(_))));
    assert!(harness.records_to(2).is_empty(), "nothing was decided");
}

/// A log that lost its end assigns positions to other records than before.
#[test]
fn a_record_of_another_id_at_the_same_position_is_another_record() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.attach(2, LogPosition { epoch: Epoch(1), position: Position(1), id: RecordId(999) });
    harness.run();
    assert!(matches!(harness.catch_up().1, CatchUp::State(_)));
    harness.propose(1, 2, vec![say(1)]);
    harness.run();
    harness.attach(2, LogPosition { epoch: Epoch(1), position: Position(1), id: RecordId(999) });
    harness.run();
    assert!(matches!(harness.catch_up().1, CatchUp::State(_)));
}

#[test]
fn a_connector_that_read_another_log_gets_the_state() {
    let mut harness = OwnerHarness::on(TestLog::new(2));
    harness.attach(1, LogPosition { epoch: Epoch(1), position: Position(77), id: RecordId(5) });
    harness.run();
    let (now, CatchUp::State(_)) = harness.catch_up() else { panic!("records instead of the state") };
    assert_eq!((now.epoch, now.position), (Epoch(2), Position(1)));
}

/// A connector that missed the record that named it would keep its members in the room for ever.
#[test]
fn a_connector_with_members_that_does_not_follow_is_reminded() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.propose(2, 1, vec![join(1, "bob")]);
    harness.run();
    harness.owner.detach(&connector(1));
    harness.sent.clear();
    harness.maintain(0);
    assert_eq!((harness.records_to(1).len(), harness.records_to(2).len()), (1, 0));
}

/// A log that lost all of the room assigns its positions again: the first record is below the
/// position of a connector, which would never apply it.
#[test]
fn a_connector_above_the_first_record_of_an_erased_log_gets_the_state() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    for number in 2..6 {
        harness.propose(1, number, vec![say(1)]);
        harness.run();
    }
    let last = LogPosition { epoch: Epoch(1), position: Position(5), id: harness.id_at(Position(5)) };
    harness.log = TestLog::new(1);
    harness.at = last;
    for number in 6..16 {
        harness.propose(1, number, vec![say(1)]);
        harness.run();
        let (position, _) = harness.records_to(1).pop().unwrap();
        harness.at = LogPosition { position, id: harness.id_at(position), ..last };
    }
    assert!(harness.at.position > last.position);
    harness.attach(2, last);
    harness.run();
    assert!(matches!(harness.catch_up().1, CatchUp::State(_)), "{:?}", harness.catch_up());
}

/// The last record was removed while the owner was active: the expectation is 0 again. Members
/// stay, and the first record carries them; messages are forgotten, since their positions may be
/// assigned again.
#[test]
fn an_erased_log_goes_on_with_the_members() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    let before = harness.id_at(Position(1));
    harness.sent.clear();
    harness.log.erase();
    harness.at = LogPosition { epoch: Epoch(1), position: Position(1), id: before };
    // In flight when the log is erased; it must not be in the retained state.
    harness.propose(2, 1, vec![join(1, "bob")]);
    harness.propose(1, 2, vec![say(1), join(1, "ann")]);
    harness.run();
    let (position, first) = harness.records_to(1).pop().unwrap();
    assert!(position > Position(1) && first.is_behind_erasure());
    assert!(first.follows(Position(1), before), "connectors that had the last record go on");
    assert_eq!(harness.outcomes(1), [Outcome::Done(1), Outcome::Unchanged]);
    assert_eq!(harness.outcomes(2), [Outcome::Done(0)]);
    let first = Record::decode(&harness.log.read(&room(), &[position]).remove(0).unwrap()).unwrap();
    let state = model::room::RoomState::from(&*first.checkpoint.unwrap());
    assert_eq!(state.members().keys().map(Name::as_str).collect::<Vec<_>>(), ["ann", "bob"]);
}
