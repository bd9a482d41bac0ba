//! A room's log with messages that no chat server wrote, and without records that one wrote.

use super::scripted_cluster::Stage;
use super::transit::What::{Appends, Proposals, Readings, Records};
use super::{ANN, BOB, CANDIDATE, CARL, HOME, LEFT, RIGHT};
use crate::poison::{FUTURE_MS, Poison};

/// All that cost only themselves.
const BAD: [Poison; 6] =
    [Poison::Garbage, Poison::Newer, Poison::SelfLink, Poison::Forward, Poison::Copy, Poison::OtherRoom];

/// ```text
/// left       home                 log
///  one ─────►│ append ───────────►4: one
///                                 5: poison
///  two ─────►│ append behind 4 ──►no
///            │ ◄─ the last, the one before
///            │ append behind 5 ──►6: two, follows 4
/// ```
/// If the home did not look behind the poison, nothing would ever be sent in the room again. If its
/// record followed the poison, connectors could not go on from 4.
#[test]
fn poison_behind_the_last_record() {
    for poison in BAD {
        let mut stage = Stage::with_ann_and_bob();
        stage.fill_other_room();
        stage.say(ANN, "one");
        stage.settle();
        stage.poison(poison);
        stage.say(BOB, "two");
        stage.settle();
        stage.poison(poison);
        stage.poison(poison);
        stage.enter(LEFT, CARL, "carl");
        stage.pass(500);
        assert_eq!(stage.log(), ["ann: one", "bob: two", "+carl"], "{poison:?}");
        assert_eq!(stage.told(ANN), ["ann: one", "sent", "bob: two", "+carl"], "{poison:?}");
        assert_eq!(stage.told(BOB), ["ann: one", "bob: two", "sent", "+carl"], "{poison:?}");
        assert_eq!(stage.told(CARL), ["entered: ann bob carl"], "{poison:?}");
        assert!(stage.is_settled());
    }
}

/// The home dies, and its heir finds poison first.
#[test]
fn poison_and_the_owner_dies() {
    for poison in BAD {
        let mut stage = Stage::with_ann_and_bob();
        stage.fill_other_room();
        stage.hold(Appends(HOME));
        stage.say(ANN, "one");
        stage.settle();
        stage.poison(poison);
        stage.kill(HOME);
        stage.release(Appends(HOME));
        stage.say(BOB, "two");
        stage.pass(3_000);
        let appenders = stage.appenders();
        assert!(appenders.iter().all(|by| *by == CANDIDATE), "{poison:?}: the late append is refused: {appenders:?}");
        assert_eq!(stage.log().len(), 2, "{poison:?}: {:?}", stage.log());
        assert!(stage.told(ANN).contains(&"sent".to_owned()) && stage.told(BOB).contains(&"sent".to_owned()));
        assert!(stage.is_settled());
    }
}

/// ```text
/// left       home                  log
///  one ─────►│ ─ ─ append behind 3 ┐
///                                  ┊  4: poison
///            │ ◄──────── no ───────┘
///            │ ◄─ the last ─ ─ ┐  (held)
///                                  5: poison
///            │ append behind 4 ──►no
/// ```
/// Poison also comes while the home looks behind it.
#[test]
fn poison_while_the_owner_reads() {
    let mut stage = Stage::with_ann_and_bob();
    stage.poison(Poison::Garbage);
    stage.hold(Appends(HOME));
    stage.say(ANN, "one");
    stage.settle();
    for poison in [Poison::SelfLink, Poison::Garbage, Poison::Copy] {
        stage.poison(poison);
        stage.release(Appends(HOME));
        stage.hold(Readings(HOME));
        stage.pass(100);
        stage.poison(Poison::Newer);
        stage.hold(Appends(HOME));
        stage.release(Readings(HOME));
        stage.pass(100);
    }
    stage.release(Appends(HOME));
    stage.pass(1_000);
    assert_eq!(stage.log(), ["ann: one"]);
    assert_eq!(stage.told(ANN), ["ann: one", "sent"]);
    assert_eq!(stage.told(BOB), ["ann: one"]);
    assert!(stage.is_settled());
}

/// A record from the future is the room's last when an owner starts from the log. If the room's
/// time followed it, all records behind it would be from the future, and ids would be forgotten:
/// Ann's repeat would be sent twice.
#[test]
fn a_record_from_the_future() {
    for dies in [false, true] {
        let mut stage = Stage::with_ann_and_bob();
        stage.say_with_id(ANN, "one", "x");
        stage.settle();
        stage.poison(Poison::Future);
        stage.poison(Poison::Future);
        if dies {
            stage.kill(HOME);
        }
        stage.say_with_id(ANN, "one", "x");
        stage.pass(3_000);
        stage.say(BOB, "two");
        stage.pass(500);
        assert_eq!(stage.log(), ["ann: one", "bob: two"]);
        assert_eq!(stage.told(ANN), ["ann: one", "sent", "sent", "bob: two"]);
        assert_eq!(stage.times().iter().filter(|time| **time > FUTURE_MS).count(), 2, "{:?}", stage.times());
        assert!(stage.times().last().is_some_and(|last| *last < FUTURE_MS));
        assert!(stage.is_settled());
    }
}

/// ```text
/// left          home                candidate      log
///  ✗ hears nothing of Carl ✗                       4: +carl is damaged later
///                                   │ ◄── bob ────►6: follows no record
///  ◄──────────── the state ─────────│
/// ```
/// The state that the candidate reads lacks Carl, who is in for all that connectors know. If it
/// went on as in a whole log, he would stay in his connector's list, and nothing that he sends
/// would be accepted.
#[test]
fn a_damaged_record_in_the_middle() {
    for is_removed in [false, true] {
        let mut stage = Stage::with_ann_and_bob();
        stage.enter(LEFT, CARL, "carl");
        stage.settle();
        let crowd: Vec<u64> = (20..60).collect();
        crowd.iter().for_each(|session| stage.enter(RIGHT, *session, &format!("p{session}")));
        stage.settle();
        stage.enter(LEFT, 70, "dan");
        stage.settle();
        stage.say(ANN, "one");
        stage.settle();
        stage.damage(1, is_removed);
        stage.kill(HOME);
        stage.pass(3_000);
        stage.say(BOB, "two");
        stage.pass(1_000);
        assert_eq!(stage.told(70).last().map(String::as_str), Some("closed"), "{:?}", stage.told(70));
        for (who, what) in [(ANN, "bob: two"), (CARL, "bob: two"), (BOB, "sent")] {
            assert!(stage.told(who).contains(&"gap".to_owned()), "{who}: {:?}", stage.told(who));
            assert_eq!(stage.told(who).last().map(String::as_str), Some(what), "{who}: {:?}", stage.told(who));
        }
        assert!(stage.told(BOB).contains(&"-dan".to_owned()));
        stage.come_back(LEFT, 70, 71, "dan");
        stage.pass(500);
        assert!(stage.told(71)[0].starts_with("entered: ann bob carl dan"), "{:?}", stage.told(71));
        assert!(stage.is_settled());
    }
}

/// The damaged record is one that its connector has not got yet, and history is read past it.
#[test]
fn a_connector_that_missed_a_damaged_record() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Records(HOME, RIGHT));
    for number in 0..80 {
        stage.say(ANN, &number.to_string());
        stage.settle();
    }
    stage.find(Records(HOME, RIGHT));
    stage.damage(75, false);
    stage.pass(1_500);
    assert_eq!(stage.told(BOB), ["gap"], "the state instead of records");
    stage.say(ANN, "end");
    stage.pass(500);
    assert_eq!(stage.told(BOB), ["gap", "ann: end"]);
    assert!(stage.is_settled());
}

/// A proposal is under way when poison ends the activation: it is decided once.
#[test]
fn poison_and_a_repeated_proposal() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Records(HOME, LEFT));
    stage.say(ANN, "one");
    stage.settle();
    stage.poison(Poison::Copy);
    stage.find(Records(HOME, LEFT));
    stage.hold(Proposals(LEFT, HOME));
    stage.pass(400);
    stage.poison(Poison::Garbage);
    stage.release(Proposals(LEFT, HOME));
    stage.pass(1_500);
    assert_eq!(stage.log(), ["ann: one"]);
    assert_eq!(stage.told(ANN), ["ann: one", "sent"]);
    assert_eq!(stage.told(BOB), ["ann: one"]);
    assert!(stage.is_settled());
}
