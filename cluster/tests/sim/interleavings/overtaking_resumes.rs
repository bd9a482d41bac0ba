//! Clients that come back twice: which session enters the stay, and which is ended.

use super::scripted_cluster::Stage;
use super::transit::What::{Proposals, Readings, Records};
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
/// Both are decided in one record, and neither saw the other. If the owner did not look at what it is about to append, the
/// second one would take over what the first one has just entered.
#[test]
fn two_that_come_back_in_one_record() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose_client(ANN);
    stage.restart_chat(HOME, 2);
    stage.hold(Readings(HOME));
    stage.come_back(LEFT, ANN, BACK, "ann");
    stage.settle();
    stage.come_back(RIGHT, ANN, LATER, "ann");
    stage.settle();
    stage.release(Readings(HOME));
    stage.pass(2_000);
    assert_eq!(stage.told(BACK), ["entered: ann bob"]);
    assert_eq!(stage.told(LATER).last().map(String::as_str), Some("closed"));
    assert!(stage.is_settled());
}

/// Her first attempt is under way while the second one succeeds, and reaches a server that has read no further back than to the
/// last message: it does not know what was entered before, and must not take that for nothing.
#[test]
fn coming_back_is_overtaken_at_an_heir() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose_client(ANN);
    stage.hold(Proposals(RIGHT, HOME));
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.settle();
    stage.come_back(LEFT, ANN, LATER, "ann");
    stage.settle();
    for text in ["one", "two"] {
        stage.say(LATER, text);
        stage.settle();
    }
    stage.kill(HOME);
    stage.pass(3_000);
    assert_eq!(stage.told(LATER).last().map(String::as_str), Some("sent"), "{:?}", stage.told(LATER));
    assert_eq!(stage.log().last().map(String::as_str), Some("ann: two"));
}

/// ```text
/// right            home            candidate           log
///  ann comes back ─ ─ ─ (under way)                    4: zero
///                  dies            │ reads ───────────►4
///  ann comes back, behind 3 ──────►│ what was behind 3?
///  ann comes back, behind 4 ──────►│
/// ```
/// The candidate does not know, so that the join counts as overtaken. No entrance is in what the right connector reads: it asks again,
/// and Ann does not notice.
#[test]
fn coming_back_while_the_home_dies() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose_client(ANN);
    stage.hold(Proposals(RIGHT, HOME));
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.settle();
    stage.enter(LEFT, CARL, "carl");
    stage.settle();
    stage.say(CARL, "zero");
    stage.settle();
    stage.kill(HOME);
    stage.pass(1_900);
    assert_eq!(stage.told(BACK), ["entered: ann bob carl; carl: zero"]);
    assert_eq!(stage.told(BOB), ["+carl", "carl: zero"]);
}

/// A token is of one stay: with another one's, a name that is taken stays taken.
#[test]
fn coming_back_with_the_token_of_another_stay() {
    let mut stage = Stage::with_ann_and_bob();
    // Tokens are made of the time.
    stage.pass(50);
    stage.enter(RIGHT, CARL, "carl");
    stage.settle();
    stage.leave(CARL);
    stage.settle();
    stage.come_back(RIGHT, CARL, BACK, "ann");
    stage.pass(500);
    assert_eq!(stage.told(BACK), ["refused: NameTaken"]);
    assert_eq!(stage.told(ANN), ["+carl", "-carl"]);
    assert!(stage.is_settled());
}

/// ```text
/// left          home                               right
///  ann, held    │ ◄───────────── ann comes back ───│ (under way: early)
///  ◄─ ann comes back again: 0, 1, 2, ... ──────────│ ✗
///               dies                               its records: removed
///               ◄─ ann comes back, early ──────────│ from the state
/// ```
/// The right connector is given a state instead of the records that tell that another session entered her stay. If it asked
/// again from there, "early" would stand behind what Ann said later.
#[test]
fn coming_back_is_overtaken_in_records_that_are_gone() {
    let mut stage = Stage::with_ann_and_bob();
    stage.enter(RIGHT, CARL, "carl");
    stage.settle();
    stage.lose_client(ANN);
    stage.hold(Proposals(RIGHT, HOME));
    stage.lose(Records(HOME, RIGHT));
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.say(BACK, "early");
    stage.settle();
    stage.come_back(LEFT, ANN, LATER, "ann");
    stage.settle();
    stage.outlive_records(LATER);
    stage.pass(1_500);
    assert_eq!(stage.log().last().map(String::as_str), Some("ann: 19"));
    assert_eq!(stage.told(LATER).last().map(String::as_str), Some("sent"), "{:?}", stage.told(LATER));
    assert!(stage.told(BACK).contains(&"closed".to_owned()), "{:?}", stage.told(BACK));
}

/// ```text
/// left                                home                 right
///  ann enters again, one (under way) ─ ─ ┐
///                                        ┊ ◄── ann comes back ─│
///                                        ┊ ◄── two, she leaves ─│
///                                        └►│
/// ```
/// Her entering again is of the stay that she came back to. If it were decided like any join, she would be here when she has
/// gone, and "one" would stand behind "two".
#[test]
fn entering_again_is_overtaken_by_coming_back() {
    let mut stage = Stage::with_ann_and_bob();
    stage.hold(Proposals(LEFT, HOME));
    stage.gather(LEFT);
    stage.enter(LEFT, ANN, "ann");
    stage.say(ANN, "one");
    stage.propose(LEFT);
    stage.settle();
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.say(BACK, "two");
    stage.settle();
    stage.leave(BACK);
    stage.settle();
    stage.release(Proposals(LEFT, HOME));
    stage.pass(3_000);
    let log = stage.log();
    assert!(log.ends_with(&["ann: two".to_owned(), "-ann".to_owned()]), "{log:?}");
    assert!(stage.told(ANN).contains(&"moved away".to_owned()), "{:?}", stage.told(ANN));
    assert!(stage.is_settled());
}

/// The same where her first attempt to come back is under way while the second one succeeds: the first session is closed plainly, and
/// the second one, which her client made later, stays.
#[test]
fn coming_back_is_overtaken_by_coming_back_elsewhere() {
    let mut stage = Stage::with_ann_and_bob();
    stage.enter(RIGHT, CARL, "carl");
    stage.settle();
    stage.lose_client(ANN);
    stage.hold(Proposals(RIGHT, HOME));
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.say(BACK, "one");
    stage.settle();
    stage.come_back(LEFT, ANN, LATER, "ann");
    stage.say(LATER, "two");
    stage.settle();
    assert_eq!(stage.told(LATER), ["entered: ann bob carl", "ann: two", "sent"]);
    stage.release(Proposals(RIGHT, HOME));
    stage.pass(3_000);
    assert_eq!(stage.log().last().map(String::as_str), Some("ann: two"));
    assert!(stage.told(BACK).contains(&"closed".to_owned()), "{:?}", stage.told(BACK));
    assert_eq!(stage.told(LATER).last().map(String::as_str), Some("sent"), "{:?}", stage.told(LATER));
    assert!(stage.is_settled());
}
