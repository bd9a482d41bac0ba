//! A room's log with messages that no chat server wrote, and without records that one wrote.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::{Appends, Proposals, Readings, Records};
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
        let mut cluster = ScriptedCluster::with_ann_and_bob();
        cluster.fill_other_room();
        cluster.send(ANN, "one");
        cluster.settle();
        cluster.poison(poison);
        cluster.send(BOB, "two");
        cluster.settle();
        cluster.poison(poison);
        cluster.poison(poison);
        cluster.enter(LEFT, CARL, "carl");
        cluster.advance(500);
        assert_eq!(cluster.log(), ["ann: one", "bob: two", "+carl"], "{poison:?}");
        assert_eq!(cluster.received(ANN), ["ann: one", "sent", "bob: two", "+carl"], "{poison:?}");
        assert_eq!(cluster.received(BOB), ["ann: one", "bob: two", "sent", "+carl"], "{poison:?}");
        assert_eq!(cluster.received(CARL), ["entered: ann bob carl"], "{poison:?}");
        assert!(cluster.is_settled());
    }
}

/// The home dies, and its heir finds poison first.
#[test]
fn poison_and_the_owner_dies() {
    for poison in BAD {
        let mut cluster = ScriptedCluster::with_ann_and_bob();
        cluster.fill_other_room();
        cluster.hold(Appends(HOME));
        cluster.send(ANN, "one");
        cluster.settle();
        cluster.poison(poison);
        cluster.kill(HOME);
        cluster.release(Appends(HOME));
        cluster.send(BOB, "two");
        cluster.advance(3_000);
        let appenders = cluster.appenders();
        assert!(appenders.iter().all(|by| *by == CANDIDATE), "{poison:?}: the late append is refused: {appenders:?}");
        assert_eq!(cluster.log().len(), 2, "{poison:?}: {:?}", cluster.log());
        assert!(
            cluster.received(ANN).contains(&"sent".to_owned()) && cluster.received(BOB).contains(&"sent".to_owned())
        );
        assert!(cluster.is_settled());
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
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.poison(Poison::Garbage);
    cluster.hold(Appends(HOME));
    cluster.send(ANN, "one");
    cluster.settle();
    for poison in [Poison::SelfLink, Poison::Garbage, Poison::Copy] {
        cluster.poison(poison);
        cluster.release(Appends(HOME));
        cluster.hold(Readings(HOME));
        cluster.advance(100);
        cluster.poison(Poison::Newer);
        cluster.hold(Appends(HOME));
        cluster.release(Readings(HOME));
        cluster.advance(100);
    }
    cluster.release(Appends(HOME));
    cluster.advance(1_000);
    assert_eq!(cluster.log(), ["ann: one"]);
    assert_eq!(cluster.received(ANN), ["ann: one", "sent"]);
    assert_eq!(cluster.received(BOB), ["ann: one"]);
    assert!(cluster.is_settled());
}

/// A record from the future is the room's last when an owner starts from the log. If the room's
/// time followed it, all records behind it would be from the future, and ids would be forgotten:
/// Ann's repeat would be sent twice.
#[test]
fn a_record_from_the_future() {
    for dies in [false, true] {
        let mut cluster = ScriptedCluster::with_ann_and_bob();
        cluster.send_with_id(ANN, "one", "x");
        cluster.settle();
        cluster.poison(Poison::Future);
        cluster.poison(Poison::Future);
        if dies {
            cluster.kill(HOME);
        }
        cluster.send_with_id(ANN, "one", "x");
        cluster.advance(3_000);
        cluster.send(BOB, "two");
        cluster.advance(500);
        assert_eq!(cluster.log(), ["ann: one", "bob: two"]);
        assert_eq!(cluster.received(ANN), ["ann: one", "sent", "sent", "bob: two"]);
        assert_eq!(cluster.times().iter().filter(|time| **time > FUTURE_MS).count(), 2, "{:?}", cluster.times());
        assert!(cluster.times().last().is_some_and(|last| *last < FUTURE_MS));
        assert!(cluster.is_settled());
    }
}

/// ```text
/// left          home                candidate      log
///  ✗ hears nothing of Carl ✗                       4: +carl is damaged later
///                                   │ ◄── bob ────►6: follows no record
///  ◄──────────── the state ─────────│
/// ```
/// The state that the candidate reads lacks Carl, a member for all that connectors know. If it went
/// on as in a whole log, he would stay in his connector's list, and nothing that he sends would be
/// accepted.
#[test]
fn a_damaged_record_in_the_middle() {
    for is_removed in [false, true] {
        let mut cluster = ScriptedCluster::with_ann_and_bob();
        cluster.enter(LEFT, CARL, "carl");
        cluster.settle();
        let crowd: Vec<u64> = (20..60).collect();
        crowd.iter().for_each(|session| cluster.enter(RIGHT, *session, &format!("p{session}")));
        cluster.settle();
        cluster.enter(LEFT, 70, "dan");
        cluster.settle();
        cluster.send(ANN, "one");
        cluster.settle();
        cluster.damage(1, is_removed);
        cluster.kill(HOME);
        cluster.advance(3_000);
        cluster.send(BOB, "two");
        cluster.advance(1_000);
        assert_eq!(cluster.received(70).last().map(String::as_str), Some("closed"), "{:?}", cluster.received(70));
        for (who, what) in [(ANN, "bob: two"), (CARL, "bob: two"), (BOB, "sent")] {
            assert!(cluster.received(who).contains(&"gap".to_owned()), "{who}: {:?}", cluster.received(who));
            assert_eq!(
                cluster.received(who).last().map(String::as_str),
                Some(what),
                "{who}: {:?}",
                cluster.received(who)
            );
        }
        assert!(cluster.received(BOB).contains(&"-dan".to_owned()));
        cluster.resume(LEFT, 70, 71, "dan");
        cluster.advance(500);
        assert!(cluster.received(71)[0].starts_with("entered: ann bob carl dan"), "{:?}", cluster.received(71));
        assert!(cluster.is_settled());
    }
}

/// The damaged record is one that its connector has not got yet, and history is read past it.
#[test]
fn a_connector_that_missed_a_damaged_record() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Records(HOME, RIGHT));
    for number in 0..80 {
        cluster.send(ANN, &number.to_string());
        cluster.settle();
    }
    cluster.stop_losing(Records(HOME, RIGHT));
    cluster.damage(75, false);
    cluster.advance(1_500);
    assert_eq!(cluster.received(BOB), ["gap"], "the state instead of records");
    cluster.send(ANN, "end");
    cluster.advance(500);
    assert_eq!(cluster.received(BOB), ["gap", "ann: end"]);
    assert!(cluster.is_settled());
}

/// A proposal is under way when poison ends the activation: it is decided once.
#[test]
fn poison_and_a_repeated_proposal() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Records(HOME, LEFT));
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.poison(Poison::Copy);
    cluster.stop_losing(Records(HOME, LEFT));
    cluster.hold(Proposals(LEFT, HOME));
    cluster.advance(400);
    cluster.poison(Poison::Garbage);
    cluster.release(Proposals(LEFT, HOME));
    cluster.advance(1_500);
    assert_eq!(cluster.log(), ["ann: one"]);
    assert_eq!(cluster.received(ANN), ["ann: one", "sent"]);
    assert_eq!(cluster.received(BOB), ["ann: one"]);
    assert!(cluster.is_settled());
}
