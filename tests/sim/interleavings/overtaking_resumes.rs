//! Clients that come back twice: which session enters the stay, and which is ended.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::{Proposals, Readings, Records};
use super::{ANN, BOB, CARL, HOME, LEFT, RIGHT};

/// Ann when she comes back through another session.
const BACK: u64 = 5;

/// Ann when she comes back through a third one.
const LATER: u64 = 6;

/// ```text
/// left                 home               right
///  ann comes back ────►│ reading          │
///                      │◄── ann comes back │
///                      │ one record: which of them?
/// ```
/// Both are decided in one record, and neither saw the other. If the owner did not look at what it
/// is about to append, the second one would take over what the first one has just entered.
#[test]
fn two_that_come_back_in_one_record() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.disconnect(ANN);
    cluster.restart_chat(HOME, 2);
    cluster.hold(Readings(HOME));
    cluster.resume(LEFT, ANN, BACK, "ann");
    cluster.settle();
    cluster.resume(RIGHT, ANN, LATER, "ann");
    cluster.settle();
    cluster.release(Readings(HOME));
    cluster.advance(2_000);
    assert_eq!(cluster.received(BACK), ["entered: ann bob"]);
    assert_eq!(cluster.received(LATER).last().map(String::as_str), Some("closed"));
    assert!(cluster.is_settled());
}

/// Her first attempt is under way while the second one succeeds, and reaches a server that has read
/// no further back than to the last message: it does not know what was entered before, and must not
/// take that for nothing.
#[test]
fn coming_back_is_overtaken_at_an_heir() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.disconnect(ANN);
    cluster.hold(Proposals(RIGHT, HOME));
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.settle();
    cluster.resume(LEFT, ANN, LATER, "ann");
    cluster.settle();
    for text in ["one", "two"] {
        cluster.send(LATER, text);
        cluster.settle();
    }
    cluster.kill(HOME);
    cluster.advance(3_000);
    assert_eq!(cluster.received(LATER).last().map(String::as_str), Some("sent"), "{:?}", cluster.received(LATER));
    assert_eq!(cluster.log().last().map(String::as_str), Some("ann: two"));
}

/// ```text
/// right            home            candidate           log
///  ann comes back ─ ─ ─ (under way)                    4: zero
///                  dies            │ reads ───────────►4
///  ann comes back, behind 3 ──────►│ what was behind 3?
///  ann comes back, behind 4 ──────►│
/// ```
/// The candidate does not know, so that the join counts as overtaken. No entrance is in what the
/// right connector reads: it asks again, and Ann does not notice.
#[test]
fn coming_back_while_the_home_dies() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.disconnect(ANN);
    cluster.hold(Proposals(RIGHT, HOME));
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.settle();
    cluster.enter(LEFT, CARL, "carl");
    cluster.settle();
    cluster.send(CARL, "zero");
    cluster.settle();
    cluster.kill(HOME);
    cluster.advance(1_900);
    assert_eq!(cluster.received(BACK), ["entered: ann bob carl; carl: zero"]);
    assert_eq!(cluster.received(BOB), ["+carl", "carl: zero"]);
}

/// A token is of one stay: with another one's, a name that is taken stays taken.
#[test]
fn coming_back_with_the_token_of_another_stay() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    // Tokens are made of the time.
    cluster.advance(50);
    cluster.enter(RIGHT, CARL, "carl");
    cluster.settle();
    cluster.leave(CARL);
    cluster.settle();
    cluster.resume(RIGHT, CARL, BACK, "ann");
    cluster.advance(500);
    assert_eq!(cluster.received(BACK), ["refused: NameTaken"]);
    assert_eq!(cluster.received(ANN), ["+carl", "-carl"]);
    assert!(cluster.is_settled());
}

/// ```text
/// left          home                               right
///  ann, held    │ ◄───────────── ann comes back ───│ (under way: early)
///  ◄─ ann comes back again: 0, 1, 2, ... ──────────│ ✗
///               dies                               its records: removed
///               ◄─ ann comes back, early ──────────│ from the state
/// ```
/// The right connector gets a state instead of the records in which another session entered her
/// stay. If it proposed again from there, "early" would be behind Ann's later message.
#[test]
fn coming_back_is_overtaken_in_records_that_are_gone() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.enter(RIGHT, CARL, "carl");
    cluster.settle();
    cluster.disconnect(ANN);
    cluster.hold(Proposals(RIGHT, HOME));
    cluster.lose(Records(HOME, RIGHT));
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.send(BACK, "early");
    cluster.settle();
    cluster.resume(LEFT, ANN, LATER, "ann");
    cluster.settle();
    cluster.evict_records(LATER);
    cluster.advance(1_500);
    assert_eq!(cluster.log().last().map(String::as_str), Some("ann: 19"));
    assert_eq!(cluster.received(LATER).last().map(String::as_str), Some("sent"), "{:?}", cluster.received(LATER));
    assert!(cluster.received(BACK).contains(&"closed".to_owned()), "{:?}", cluster.received(BACK));
}

/// ```text
/// left                                home                 right
///  ann enters again, one (under way) ─ ─ ┐
///                                        ┊ ◄── ann comes back ─│
///                                        ┊ ◄── two, she leaves ─│
///                                        └►│
/// ```
/// Her entering again is of the stay that she came back to. If it were decided like any join, she
/// would be here when she has gone, and "one" would stand behind "two".
#[test]
fn entering_again_is_overtaken_by_coming_back() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.hold(Proposals(LEFT, HOME));
    cluster.gather(LEFT);
    cluster.enter(LEFT, ANN, "ann");
    cluster.send(ANN, "one");
    cluster.propose(LEFT);
    cluster.settle();
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.send(BACK, "two");
    cluster.settle();
    cluster.leave(BACK);
    cluster.settle();
    cluster.release(Proposals(LEFT, HOME));
    cluster.advance(3_000);
    let log = cluster.log();
    assert!(log.ends_with(&["ann: two".to_owned(), "-ann".to_owned()]), "{log:?}");
    assert!(cluster.received(ANN).contains(&"moved away".to_owned()), "{:?}", cluster.received(ANN));
    assert!(cluster.is_settled());
}

/// The same where her first attempt to come back is under way while the second one succeeds: the
/// first session is closed plainly, and the second one, which her client made later, stays.
#[test]
fn coming_back_is_overtaken_by_coming_back_elsewhere() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.enter(RIGHT, CARL, "carl");
    cluster.settle();
    cluster.disconnect(ANN);
    cluster.hold(Proposals(RIGHT, HOME));
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.send(BACK, "one");
    cluster.settle();
    cluster.resume(LEFT, ANN, LATER, "ann");
    cluster.send(LATER, "two");
    cluster.settle();
    assert_eq!(cluster.received(LATER), ["entered: ann bob carl", "ann: two", "sent"]);
    cluster.release(Proposals(RIGHT, HOME));
    cluster.advance(3_000);
    assert_eq!(cluster.log().last().map(String::as_str), Some("ann: two"));
    assert!(cluster.received(BACK).contains(&"closed".to_owned()), "{:?}", cluster.received(BACK));
    assert_eq!(cluster.received(LATER).last().map(String::as_str), Some("sent"), "{:?}", cluster.received(LATER));
    assert!(cluster.is_settled());
}
