//! Logs that are another one, or lost records: what owners and connectors still have of the log before.

use super::scripted_cluster::Stage;
use super::transit::What::{Appends, Attaches, Between, Probes, Proposals, Records};
use super::{ANN, BOB, CANDIDATE, CARL, HOME, LEFT, RIGHT};

/// A client that comes back through another session.
const BACK: u64 = 5;

/// ```text
/// left          home               candidate            log
///  carl: one ──►│                                       3: +carl, 4: one
///  ✗ hears nothing of it ✗                              3 and 4 are lost
///  bob: two ──────────────────────►│ open, two ────────►3: open, 4: two
///  hears it again
///  three ──────►│ knows 4: one, as if nothing happened
/// ```
/// If the home went on from what it knew before its connection was made anew, it would find the last position to be what it
/// expects: Carl, whom the log does not have, would be here again.
#[test]
fn a_lost_end_that_is_as_long_as_before() {
    let mut stage = Stage::with_ann_and_bob();
    stage.enter(LEFT, CARL, "carl");
    stage.settle();
    stage.say(CARL, "one");
    stage.settle();
    let parted = [Between(HOME, LEFT), Between(HOME, RIGHT), Probes(HOME)];
    parted.into_iter().for_each(|what| stage.lose(what));
    stage.lose_end(2);
    stage.pass(1_500);
    stage.say(BOB, "two");
    stage.settle();
    assert_eq!(stage.appenders(), [CANDIDATE, CANDIDATE], "the log is as long as it was");
    parted.into_iter().for_each(|what| stage.find(what));
    stage.pass(3_000);
    stage.say(ANN, "three");
    stage.pass(500);
    assert_eq!(stage.log(), ["bob: two", "ann: three"]);
    assert_eq!(&stage.told(BOB)[2..], ["gap", "-carl", "bob: two", "sent", "ann: three"]);
    assert!(stage.is_settled());
}

/// ```text
/// left            home             log
///                                  4: zero is lost
///  one, from 4 ──►│ knows 2
///  ◄── the state ─│
///  one ──────────►│ append ───────►4: one
/// ```
/// If the home decided what comes from a record that the log does not have, the left connector, which knows another record at 4,
/// could not read what came of it: "one" would be unknown to Ann.
#[test]
fn proposed_from_a_record_that_the_log_lost() {
    let mut stage = Stage::with_ann_and_bob();
    stage.say(ANN, "zero");
    stage.settle();
    stage.lose_end_unnoticed(1);
    stage.say(ANN, "one");
    stage.settle();
    stage.pass(1_000);
    assert_eq!(&stage.told(ANN)[2..], ["gap", "ann: one", "sent"]);
    assert_eq!(stage.log(), ["ann: one"]);
    assert!(stage.is_settled());
}

/// ```text
/// left            home             log
///                                  4: zero is lost
///  ◄───── 4: one ─│ ◄── bob ──────►4: one
///  attach ─ ─ ─   │
///  ◄───── 5: two ─│ ◄── bob ──────►5: two, behind one
/// ```
/// The left connector has read 4, which was "zero". If "two" followed each record at 4, Ann would be told neither "one" nor that
/// something is missing.
#[test]
fn a_record_that_follows_another_one_at_the_position() {
    let mut stage = Stage::with_ann_and_bob();
    stage.say(ANN, "zero");
    stage.settle();
    stage.hold(Attaches(LEFT, HOME));
    stage.lose_end_unnoticed(1);
    for text in ["one", "two"] {
        stage.say(BOB, text);
        stage.settle();
    }
    assert_eq!(stage.log(), ["bob: one", "bob: two"]);
    stage.release(Attaches(LEFT, HOME));
    stage.pass(1_000);
    stage.say(BOB, "three");
    stage.settle();
    assert_eq!(stage.told(ANN), ["ann: zero", "sent", "gap", "bob: three"]);
    assert!(stage.is_settled());
}

/// ```text
/// left                 home      candidate      log
///  carl enters, one ─ ─ ─ ┐ (late)
///          again ───────────────►│ ────────────►+carl, carl: one
///                         ┊                     is another one
///                         └►│
/// ```
/// The log that is there now does not know that the proposal was committed. If the home decided what comes from a connector that
/// read another log, Carl would be here again, and "one" would be said twice.
#[test]
fn a_late_proposal_of_another_log() {
    let mut stage = Stage::with_ann_and_bob();
    stage.hold(Proposals(LEFT, HOME));
    stage.gather(LEFT);
    stage.enter(LEFT, CARL, "carl");
    stage.say(CARL, "one");
    stage.propose(LEFT);
    stage.settle();
    stage.sleep(HOME);
    stage.pass(1_900);
    assert_eq!(stage.log(), ["+carl", "carl: one"]);
    stage.wake(HOME);
    stage.pass(1_000);
    stage.lose_log();
    stage.pass(1_500);
    stage.come_back(RIGHT, BOB, BACK, "bob");
    for number in 0..5 {
        stage.say(BACK, &format!("{number}"));
        stage.settle();
    }
    let log = stage.log();
    assert_eq!(log.last().map(String::as_str), Some("bob: 4"));
    assert!(stage.holds(Proposals(LEFT, HOME)) > 0);
    stage.release(Proposals(LEFT, HOME));
    stage.pass(3_000);
    assert_eq!(stage.log(), log);
    assert!(stage.is_settled());
}

/// The log is another one, and has nothing: the members that the home knew are not members there.
#[test]
fn another_log_has_no_members() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose_log();
    stage.pass(1_500);
    for who in [ANN, BOB] {
        assert_eq!(stage.told(who).last().map(String::as_str), Some("closed"), "{:?}", stage.told(who));
    }
    stage.come_back(LEFT, ANN, BACK, "ann");
    stage.pass(500);
    assert_eq!(stage.told(BACK), ["entered: ann"]);
    assert!(stage.is_settled());
}

/// ```text
/// left            home             log
///  one, id x ────►│ append ───────►4: one
///                                  all is lost
///  one, id x ────►│ said before?
/// ```
/// The room goes on with its members. If it went on with the ids, too, Ann would be told that "one" is sent, which the log does not
/// have, or another message at its position.
#[test]
fn a_repeat_of_what_an_emptied_log_had() {
    let mut stage = Stage::with_ann_and_bob();
    stage.say_with_id(ANN, "one", "x");
    stage.settle();
    stage.lose_end(usize::MAX);
    stage.pass(1_000);
    stage.say_with_id(ANN, "one", "x");
    stage.settle();
    assert_eq!(stage.log(), ["ann: one"]);
    assert_eq!(&stage.told(ANN)[2..], ["gap", "ann: one", "sent"]);
    assert!(stage.is_settled());
}

/// The clock of the next owner, or of the same one, may be behind: what comes later is never earlier. Otherwise ids would be
/// forgotten in another order than that in which they were noted.
#[test]
fn time_never_falls() {
    let mut stage = Stage::with_ann_and_bob();
    stage.say(ANN, "one");
    stage.settle();
    stage.set_clocks_back(60_000);
    stage.say(ANN, "two");
    stage.settle();
    assert!(stage.times().is_sorted() && stage.times().len() == 2, "{:?}", stage.times());
}

/// ```text
/// left              home                             right
///  one ────────────►│ append ─ ─ ┐                   │
///                   reconnects   ┊
///  ✗ hears nothing  │ ◄─ ─ ─ yes ┘
///                   │ alive ────────────────────────►│ a number is missing
///                   │ ◄────────────────────── attach │
/// ```
/// The result of the append counts for nothing, so the home reads the log, which holds "one" already. If the home decided the
/// repeated proposal again, "one" would be sent twice.
#[test]
fn an_append_under_way_when_the_home_reconnects() {
    let mut stage = Stage::with_ann_and_bob();
    stage.hold(Appends(HOME));
    stage.say(ANN, "one");
    stage.settle();
    stage.lose(Between(HOME, LEFT));
    stage.reconnect_chat(HOME);
    stage.release(Appends(HOME));
    stage.pass(1_500);
    assert_eq!((stage.log(), stage.told(BOB)), (vec!["ann: one".to_owned()], &["ann: one".to_owned()][..]));
}

/// ```text
/// left      home                 right
///           │ ◄── leave, detach ─│     -bob is lost
///           │ its record ─ ─ ✗   │     attaches all its rooms: none
///           │ its last record ──►│     Bob is not here
///  -bob ◄───│ ◄─────────── leave │
/// ```
/// If the home did not remind the right connector, Bob would be here for ever.
#[test]
fn a_lost_leave_of_a_connector_that_follows_no_longer() {
    let mut stage = Stage::with_ann_and_bob();
    stage.leave(BOB);
    stage.pass(2_500);
    assert_eq!(stage.told(ANN), ["-bob"]);
    stage.lose(Records(HOME, RIGHT));
    stage.lose_end(1);
    stage.pass(1_000);
    stage.find(Records(HOME, RIGHT));
    assert_eq!(stage.told(ANN), ["-bob", "gap", "+bob"]);
    stage.pass(6_000);
    assert_eq!(stage.told(ANN), ["-bob", "gap", "+bob", "-bob"]);
    assert!(stage.is_settled());
}

/// ```text
/// right             home
///  ◄──────── left ──│                      -bob is lost
///  attach ─ ─ ─ ─ ┐ │
///  nobody is here ┊ │ its record ─ ─ ✗
///                 └►│ follows, for all that the home knows
/// ```
/// Bob is a member again, whom the right connector must make leave. If it dropped the room while its attach is under way, the home
/// would take it for one that follows, and not remind it.
#[test]
fn a_lost_leave_while_an_attach_is_under_way() {
    let mut stage = Stage::with_ann_and_bob();
    stage.leave(BOB);
    stage.settle();
    stage.hold(Attaches(RIGHT, HOME));
    stage.lose(Records(HOME, RIGHT));
    stage.lose_end(1);
    stage.pass(2_500);
    stage.release(Attaches(RIGHT, HOME));
    stage.find(Records(HOME, RIGHT));
    stage.pass(8_000);
    assert_eq!(stage.told(ANN), ["-bob", "gap", "+bob", "-bob"]);
    assert!(stage.is_settled());
}
