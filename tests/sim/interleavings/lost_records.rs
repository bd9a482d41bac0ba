//! Logs that are another one, or lost records: what owners and connectors still have of the log
//! before.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::{Appends, Attaches, Between, Probes, Proposals, Records};
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
/// If the home went on from what it knew before its connection was made anew, it would find the
/// last position to be what it expects: Carl, whom the log does not have, would be here again.
#[test]
fn a_lost_end_that_is_as_long_as_before() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.enter(LEFT, CARL, "carl");
    cluster.settle();
    cluster.send(CARL, "one");
    cluster.settle();
    let parted = [Between(HOME, LEFT), Between(HOME, RIGHT), Probes(HOME)];
    parted.into_iter().for_each(|what| cluster.lose(what));
    cluster.lose_end(2);
    cluster.advance(1_500);
    cluster.send(BOB, "two");
    cluster.settle();
    assert_eq!(cluster.appenders(), [CANDIDATE, CANDIDATE], "the log is as long as it was");
    parted.into_iter().for_each(|what| cluster.stop_losing(what));
    cluster.advance(3_000);
    cluster.send(ANN, "three");
    cluster.advance(500);
    assert_eq!(cluster.log(), ["bob: two", "ann: three"]);
    assert_eq!(&cluster.received(BOB)[2..], ["gap", "-carl", "bob: two", "sent", "ann: three"]);
    assert!(cluster.is_settled());
}

/// ```text
/// left            home             log
///                                  4: zero is lost
///  one, from 4 ──►│ knows 2
///  ◄── the state ─│
///  one ──────────►│ append ───────►4: one
/// ```
/// If the home decided what comes from a record that the log does not have, the left connector,
/// which knows another record at 4, could not read what came of it: "one" would be unknown to Ann.
#[test]
fn proposed_from_a_record_that_the_log_lost() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.send(ANN, "zero");
    cluster.settle();
    cluster.lose_end_unnoticed(1);
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.advance(1_000);
    assert_eq!(&cluster.received(ANN)[2..], ["gap", "ann: one", "sent"]);
    assert_eq!(cluster.log(), ["ann: one"]);
    assert!(cluster.is_settled());
}

/// ```text
/// left            home             log
///                                  4: zero is lost
///  ◄───── 4: one ─│ ◄── bob ──────►4: one
///  attach ─ ─ ─   │
///  ◄───── 5: two ─│ ◄── bob ──────►5: two, behind one
/// ```
/// The left connector has read 4, which was "zero". If "two" followed each record at 4, Ann would
/// get neither "one" nor a gap.
#[test]
fn a_record_that_follows_another_one_at_the_position() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.send(ANN, "zero");
    cluster.settle();
    cluster.hold(Attaches(LEFT, HOME));
    cluster.lose_end_unnoticed(1);
    for text in ["one", "two"] {
        cluster.send(BOB, text);
        cluster.settle();
    }
    assert_eq!(cluster.log(), ["bob: one", "bob: two"]);
    cluster.release(Attaches(LEFT, HOME));
    cluster.advance(1_000);
    cluster.send(BOB, "three");
    cluster.settle();
    assert_eq!(cluster.received(ANN), ["ann: zero", "sent", "gap", "bob: three"]);
    assert!(cluster.is_settled());
}

/// ```text
/// left                 home      candidate      log
///  carl enters, one ─ ─ ─ ┐ (late)
///          again ───────────────►│ ────────────►+carl, carl: one
///                         ┊                     is another one
///                         └►│
/// ```
/// The present log does not have the proposal as committed. If the home decided proposals of a
/// connector that read another log, Carl would be a member again, and "one" would be committed
/// twice.
#[test]
fn a_late_proposal_of_another_log() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.hold(Proposals(LEFT, HOME));
    cluster.gather(LEFT);
    cluster.enter(LEFT, CARL, "carl");
    cluster.send(CARL, "one");
    cluster.propose(LEFT);
    cluster.settle();
    cluster.sleep(HOME);
    cluster.advance(1_900);
    assert_eq!(cluster.log(), ["+carl", "carl: one"]);
    cluster.wake(HOME);
    cluster.advance(1_000);
    cluster.lose_log();
    cluster.advance(1_500);
    cluster.resume(RIGHT, BOB, BACK, "bob");
    for number in 0..5 {
        cluster.send(BACK, &format!("{number}"));
        cluster.settle();
    }
    let log = cluster.log();
    assert_eq!(log.last().map(String::as_str), Some("bob: 4"));
    assert!(cluster.holds(Proposals(LEFT, HOME)) > 0);
    cluster.release(Proposals(LEFT, HOME));
    cluster.advance(3_000);
    assert_eq!(cluster.log(), log);
    assert!(cluster.is_settled());
}

/// The log is another one, and has nothing: the members that the home knew are not members there.
#[test]
fn another_log_has_no_members() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose_log();
    cluster.advance(1_500);
    for who in [ANN, BOB] {
        assert_eq!(cluster.received(who).last().map(String::as_str), Some("closed"), "{:?}", cluster.received(who));
    }
    cluster.resume(LEFT, ANN, BACK, "ann");
    cluster.advance(500);
    assert_eq!(cluster.received(BACK), ["entered: ann"]);
    assert!(cluster.is_settled());
}

/// ```text
/// left            home             log
///  one, id x ────►│ append ───────►4: one
///                                  all is lost
///  one, id x ────►│ said before?
/// ```
/// The room goes on with its members. If it went on with the ids, too, Ann would get an
/// acknowledgement of "one", which the log does not have, or has another message at its position.
#[test]
fn a_repeat_of_what_an_emptied_log_had() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.send_with_id(ANN, "one", "x");
    cluster.settle();
    cluster.lose_end(usize::MAX);
    cluster.advance(1_000);
    cluster.send_with_id(ANN, "one", "x");
    cluster.settle();
    assert_eq!(cluster.log(), ["ann: one"]);
    assert_eq!(&cluster.received(ANN)[2..], ["gap", "ann: one", "sent"]);
    assert!(cluster.is_settled());
}

/// The clock of the next owner, or of the same one, may be behind: what comes later is never
/// earlier. Otherwise ids would be forgotten in another order than that in which they were noted.
#[test]
fn time_never_falls() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.set_clocks_back(60_000);
    cluster.send(ANN, "two");
    cluster.settle();
    assert!(cluster.times().is_sorted() && cluster.times().len() == 2, "{:?}", cluster.times());
}

/// ```text
/// left              home                             right
///  one ────────────►│ append ─ ─ ┐                   │
///                   reconnects   ┊
///  ✗ hears nothing  │ ◄─ ─ ─ yes ┘
///                   │ alive ────────────────────────►│ a number is missing
///                   │ ◄────────────────────── attach │
/// ```
/// The result of the append counts for nothing, so the home reads the log, which holds "one"
/// already. If the home decided the repeated proposal again, "one" would be sent twice.
#[test]
fn an_append_under_way_when_the_home_reconnects() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.hold(Appends(HOME));
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.lose(Between(HOME, LEFT));
    cluster.reconnect_chat(HOME);
    cluster.release(Appends(HOME));
    cluster.advance(1_500);
    assert_eq!((cluster.log(), cluster.received(BOB)), (vec!["ann: one".to_owned()], &["ann: one".to_owned()][..]));
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
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.leave(BOB);
    cluster.advance(2_500);
    assert_eq!(cluster.received(ANN), ["-bob"]);
    cluster.lose(Records(HOME, RIGHT));
    cluster.lose_end(1);
    cluster.advance(1_000);
    cluster.stop_losing(Records(HOME, RIGHT));
    assert_eq!(cluster.received(ANN), ["-bob", "gap", "+bob"]);
    cluster.advance(6_000);
    assert_eq!(cluster.received(ANN), ["-bob", "gap", "+bob", "-bob"]);
    assert!(cluster.is_settled());
}

/// ```text
/// right             home
///  ◄──────── left ──│                      -bob is lost
///  attach ─ ─ ─ ─ ┐ │
///  nobody is here ┊ │ its record ─ ─ ✗
///                 └►│ follows, for all that the home knows
/// ```
/// Bob is a member again, whom the right connector must make leave. If it dropped the room while
/// its attach is under way, the home would take it for one that follows, and not remind it.
#[test]
fn a_lost_leave_while_an_attach_is_under_way() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.leave(BOB);
    cluster.settle();
    cluster.hold(Attaches(RIGHT, HOME));
    cluster.lose(Records(HOME, RIGHT));
    cluster.lose_end(1);
    cluster.advance(2_500);
    cluster.release(Attaches(RIGHT, HOME));
    cluster.stop_losing(Records(HOME, RIGHT));
    cluster.advance(8_000);
    assert_eq!(cluster.received(ANN), ["-bob", "gap", "+bob", "-bob"]);
    assert!(cluster.is_settled());
}
