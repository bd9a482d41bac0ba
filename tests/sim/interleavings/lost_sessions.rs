//! Logs that lose records, and connectors that miss some: what becomes of sessions, in the log and
//! for their clients.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::{Between, Detaches, Probes, Proposals, Records};
use super::{ANN, BOB, CANDIDATE, CARL, HOME, LEFT, RIGHT};

/// Ann when she comes back through another session.
const BACK: u64 = 5;

/// ```text
/// left                    home                    log
///  ann: one ─ ─ ─ ─ ─ ✗                           2: ann, bob
///  ann enters again (waits)                       erased
///  ◄───────────── a state with ann and bob ──│
///  her entering expires, and is taken back
/// ```
/// Without the members that the home keeps, Ann would have to be brought back by the join that is
/// taken back, and everything that she sends would be unknown for ever.
#[test]
fn entering_again_expires_while_the_log_is_erased() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Proposals(LEFT, HOME));
    cluster.send(ANN, "one");
    cluster.advance(200);
    cluster.enter(LEFT, ANN, "ann");
    cluster.erase();
    cluster.send(BOB, "two");
    cluster.advance(2_100);
    cluster.stop_losing(Proposals(LEFT, HOME));
    cluster.advance(4_000);
    cluster.send(ANN, "three");
    cluster.advance(500);
    assert_eq!(&cluster.received(ANN)[cluster.received(ANN).len() - 2..], ["ann: three", "sent"]);
    assert!(cluster.received(BOB).iter().all(|text| text != "-ann"), "{:?}", cluster.received(BOB));
    assert!(cluster.is_settled());
}

/// ```text
/// left                    home                    log
///  ann: one ─ ─ ─ ✗
///  ✗ hears nothing        │ ann is silent ───────►4: -ann
///  ann enters again (waits behind "one")
///  hears: -ann ◄──────────│
///  proposals are lost; entering expires
/// ```
/// The join that is taken back covered that the log has seen her leave. Without a look at the log
/// after that, Ann would be here for all that she knows, and everything that she sends would be
/// unknown for ever.
#[test]
fn entering_again_expires_while_the_log_has_seen_her_leave() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Proposals(LEFT, HOME));
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.lose(Between(HOME, LEFT));
    cluster.advance(12_000);
    assert_eq!(cluster.log(), ["-ann"]);
    cluster.enter(LEFT, ANN, "ann");
    cluster.stop_losing(Between(HOME, LEFT));
    cluster.advance(2_500);
    cluster.stop_losing(Proposals(LEFT, HOME));
    cluster.advance(1_000);
    cluster.send(ANN, "two");
    cluster.advance(500);
    assert_eq!(cluster.received(ANN).last().map(String::as_str), Some("sent"));
    assert!(cluster.is_settled());
}

/// ```text
/// right              home            candidate             left
///  ✗ hears nothing of it             ✗ nor does that       ✗ hears nothing of the candidate
///  one ─────────────────────────────►│ append
///  leaves, detaches                  │ ─ ─ ─ record ─ ─ ✗
///       all hear each other again    │ "alive": lets go
/// ```
/// The home does not know that the candidate took over, and no connector asks the candidate about
/// the room. If the left connector, which misses messages of the candidate, attached only the rooms
/// that it asks the candidate about, Ann would get "one" with the next message, and never without
/// one.
#[test]
fn a_takeover_whose_records_are_lost() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Between(HOME, RIGHT));
    cluster.lose(Probes(HOME));
    cluster.lose(Between(CANDIDATE, LEFT));
    cluster.advance(1_500);
    cluster.send(BOB, "one");
    cluster.leave(BOB);
    cluster.advance(1_500);
    assert_eq!(cluster.log(), ["bob: one", "-bob"]);
    assert!(cluster.appenders().contains(&CANDIDATE) && cluster.received(ANN).is_empty());
    cluster.stop_losing(Between(HOME, RIGHT));
    cluster.stop_losing(Probes(HOME));
    cluster.stop_losing(Between(CANDIDATE, LEFT));
    cluster.advance(10_000);
    assert_eq!(cluster.received(ANN), ["bob: one", "-bob"]);
    assert!(cluster.is_settled());
}

/// ```text
/// left                 home                 right
///  ✗ hears nothing     │ silent for two seconds: names there are free
///                      │◄── another ann ────│
///                      │◄── she leaves ─────│
///                      │◄── ann comes back ─│ as a newcomer under her token
///                      │◄── she leaves ─────│
///  hears again: the stay of the session that she left behind went on elsewhere
/// ```
/// If a connector brought back each session that the log does not have, Ann would be here when she
/// has gone.
#[test]
fn coming_back_elsewhere_as_a_newcomer() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Between(HOME, LEFT));
    cluster.advance(3_500);
    cluster.enter(RIGHT, CARL, "ann");
    cluster.advance(500);
    cluster.leave(CARL);
    cluster.advance(500);
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.advance(500);
    cluster.send(BACK, "one");
    cluster.advance(100);
    cluster.leave(BACK);
    cluster.advance(500);
    let log = ["-ann", "+ann", "-ann", "+ann", "ann: one", "-ann"];
    assert_eq!(cluster.log(), log);
    cluster.stop_losing(Between(HOME, LEFT));
    cluster.advance(5_000);
    assert_eq!(cluster.log(), log);
    assert_eq!(cluster.received(ANN).last().map(String::as_str), Some("moved away"));
    assert!(cluster.is_settled());
}

/// The same, and her session is already on its way back when she enters elsewhere: the owner
/// refuses what it finds stale.
///
/// No connector can see this alone. Without the owner's half, what Ann sent early through the
/// session that she left behind would stand behind what she sent late.
#[test]
fn coming_back_elsewhere_while_her_session_is_brought_back() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Between(HOME, LEFT));
    cluster.advance(3_500);
    cluster.enter(RIGHT, CARL, "ann");
    cluster.advance(300);
    cluster.leave(CARL);
    cluster.advance(300);
    cluster.send(ANN, "early");
    cluster.hold(Proposals(LEFT, HOME));
    cluster.stop_losing(Between(HOME, LEFT));
    cluster.advance(700);
    assert!(cluster.holds(Proposals(LEFT, HOME)) > 0, "she is being brought back");
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.advance(100);
    cluster.send(BACK, "late");
    cluster.advance(100);
    cluster.leave(BACK);
    cluster.advance(200);
    assert!(cluster.log().ends_with(&["+ann".to_owned(), "ann: late".to_owned(), "-ann".to_owned()]));
    cluster.release(Proposals(LEFT, HOME));
    cluster.advance(5_000);
    assert!(cluster.log().ends_with(&["+ann".to_owned(), "ann: late".to_owned(), "-ann".to_owned()]));
    assert!(cluster.received(ANN).contains(&"moved away".to_owned()), "{:?}", cluster.received(ANN));
    assert!(cluster.is_settled());
}

/// The same where the records of it are evicted, while Ann is at the right connector: the state has
/// her stay there.
#[test]
fn coming_back_elsewhere_in_records_that_are_gone() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Between(HOME, LEFT));
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.settle();
    cluster.evict_records(BOB);
    cluster.stop_losing(Between(HOME, LEFT));
    cluster.hold(Proposals(LEFT, CANDIDATE));
    cluster.advance(2_000);
    cluster.leave(BACK);
    cluster.advance(500);
    cluster.release(Proposals(LEFT, CANDIDATE));
    cluster.advance(5_000);
    assert_eq!(cluster.log().last().map(String::as_str), Some("-ann"));
    assert_eq!(cluster.log().iter().filter(|entry| *entry == "+ann").count(), 0);
    assert_eq!(cluster.received(ANN).last().map(String::as_str), Some("moved away"));
    assert!(cluster.is_settled());
}

/// ```text
/// left                  home            log
///  ann leaves ─────────►│ append ──────►4: -ann
///  ◄───────────── left ─│               4 is lost
///  ann enters again
///  ◄── a state with ann │
///  join ───────────────►│ she is in by her stay of before
/// ```
/// If the owner took that stay for the present one, Ann could not resume with her token, and her
/// repeated message would be committed twice.
#[test]
fn entering_again_where_the_log_lost_the_leave() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.leave(ANN);
    cluster.settle();
    assert_eq!((cluster.received(ANN), cluster.log()), (&["left".to_owned()][..], vec!["-ann".to_owned()]));
    // Tokens are made of the time.
    cluster.advance(50);
    cluster.hold(Between(HOME, LEFT));
    cluster.lose_end(1);
    cluster.settle();
    cluster.enter(LEFT, ANN, "ann");
    cluster.release(Between(HOME, LEFT));
    cluster.advance(500);
    assert_eq!(cluster.received(ANN).last().map(String::as_str), Some("entered: ann bob"));
    cluster.disconnect(ANN);
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.advance(500);
    assert_eq!(cluster.received(BACK), ["entered: ann bob"], "her token is that of her stay");
}

/// The same, and the log lost her entering again, too: the state has her by the stay of before, so
/// her session ends, and she comes back with her token.
#[test]
fn a_stay_that_the_log_lost_ends_its_session() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.leave(ANN);
    cluster.settle();
    cluster.advance(50);
    cluster.enter(LEFT, ANN, "ann");
    cluster.settle();
    assert_eq!(cluster.received(ANN), ["left", "entered: ann bob"]);
    cluster.advance(50);
    cluster.lose_end(2);
    cluster.advance(500);
    assert_eq!(cluster.received(ANN), ["left", "entered: ann bob", "gap", "closed"]);
    assert_eq!(cluster.received(BOB), ["-ann", "+ann", "gap", "-ann"]);
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.advance(500);
    assert_eq!(cluster.received(BACK), ["entered: ann bob"]);
    assert_eq!(cluster.received(BOB).last().map(String::as_str), Some("+ann"));
    assert!(cluster.is_settled());
}

/// ```text
/// left                      home                         candidate
///  leaves, enters again ───►│ append: -ann, +ann
///             lost ✗ ◄──────│
///                           dies                         its records: removed
///  ◄───────────────────────────────────────── the state ─│
/// ```
/// If her session kept the token of its stay before, Ann could not come back.
#[test]
fn leaving_and_entering_again_by_a_record_that_is_gone() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    // Tokens are made of the time.
    cluster.advance(50);
    cluster.lose(Records(HOME, LEFT));
    cluster.gather(LEFT);
    cluster.leave(ANN);
    cluster.enter(LEFT, ANN, "ann");
    cluster.propose(LEFT);
    cluster.settle();
    cluster.evict_records(BOB);
    cluster.advance(1_500);
    assert_eq!(cluster.received(ANN).last().map(String::as_str), Some("entered: ann bob"));
    cluster.disconnect(ANN);
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.advance(500);
    let response = cluster.received(BACK).first().cloned().unwrap();
    assert!(response.starts_with("entered: ann bob"), "her token is that of her stay: {response}");
}

/// ```text
/// left                 home, its clock set back                   log
///  ✗ hears nothing     │ ann is silent: append, time as before ──►4: -ann
///  hears: -ann  ◄──────│                                          4 is lost
///  is at 4             │ append, time as before ─────────────────►4: nothing
///  ann is missing ────►│ she is in already
/// ```
/// The left connector goes on from a record that the log no longer has. Position and time of the
/// record in its place are the same. If these identified records, it would propose the missing
/// message for ever, and fill the room's log with it.
#[test]
fn a_record_in_the_place_of_a_lost_one() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.set_clocks_back(60_000);
    cluster.lose(Between(HOME, LEFT));
    cluster.advance(12_000);
    assert_eq!(cluster.log(), ["-ann"]);
    cluster.hold(Proposals(LEFT, HOME));
    cluster.stop_losing(Between(HOME, LEFT));
    cluster.advance(1_000);
    assert!(cluster.holds(Proposals(LEFT, HOME)) > 0, "Ann is being brought back");
    cluster.lose_end(1);
    cluster.settle();
    cluster.release(Proposals(LEFT, HOME));
    cluster.advance(1_000);
    cluster.send(BOB, "one");
    cluster.advance(500);
    assert_eq!(cluster.log(), ["bob: one"]);
    assert_eq!(cluster.received(ANN).last().map(String::as_str), Some("bob: one"));
    assert!(cluster.is_settled());
}

/// ```text
/// left            home                     right
///                 │ ◄ ─ ─ ─ detach ─ ─ ─ ─ │ (late)
///                 │ ◄──── attach, +bob ────│
///                 follows no longer        │
///  one ──────────►│ the log is erased
///  ◄── the state ─│ ───── the record ─────►│
/// ```
/// Bob's connector does not follow, for all that the home knows. It has a member in the room, and
/// that is enough to get the record.
#[test]
fn a_log_that_is_erased_and_a_connector_that_does_not_follow() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.hold(Detaches(RIGHT, HOME));
    cluster.leave(BOB);
    cluster.advance(1_500);
    cluster.enter(RIGHT, BOB, "bob");
    cluster.settle();
    cluster.release(Detaches(RIGHT, HOME));
    cluster.erase();
    cluster.send(ANN, "one");
    cluster.advance(3_000);
    cluster.send(ANN, "two");
    cluster.advance(500);
    assert_eq!(&cluster.received(BOB)[2..], ["gap", "ann: one", "ann: two"]);
    assert!(cluster.received(ANN).ends_with(&["ann: two".to_owned(), "sent".to_owned()]));
    assert!(!cluster.received(ANN).iter().skip(2).any(|text| text == "-bob"), "{:?}", cluster.received(ANN));
    assert!(cluster.is_settled());
}

/// ```text
/// left               home          log
///  leaves, enters ──►│ ───────────►3: -ann, 4: +ann
///  one (under way)                 3 and 4 are lost: she is in by her stay of before
///  one ─────────────►│ under which stay?
/// ```
/// If the owner committed it under the stay that the log has, its repeat after a resume would be
/// another message: committed twice.
#[test]
fn sent_under_a_stay_that_the_log_lost() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.leave(ANN);
    cluster.settle();
    cluster.advance(50);
    cluster.enter(LEFT, ANN, "ann");
    cluster.settle();
    cluster.advance(50);
    cluster.lose(Proposals(LEFT, HOME));
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.stop_losing(Proposals(LEFT, HOME));
    cluster.lose_end(2);
    cluster.advance(1_500);
    assert!(cluster.received(ANN).contains(&"closed".to_owned()), "{:?}", cluster.received(ANN));
    assert!(cluster.log().iter().all(|entry| entry != "ann: one"), "{:?}", cluster.log());
    cluster.resume(LEFT, ANN, BACK, "ann");
    cluster.send(BACK, "one");
    cluster.advance(500);
    assert_eq!(cluster.log().iter().filter(|entry| *entry == "ann: one").count(), 1);
    assert!(cluster.is_settled());
}

/// The chat servers' log is another one, as with a log in memory whose process ended: all of the
/// room's sessions end, and come back with their tokens.
#[test]
fn a_state_without_a_session_ends_it() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose_end(2);
    cluster.advance(500);
    for who in [ANN, BOB] {
        assert_eq!(cluster.received(who).last().map(String::as_str), Some("closed"), "{:?}", cluster.received(who));
    }
    cluster.resume(LEFT, ANN, BACK, "ann");
    cluster.advance(500);
    cluster.send(BACK, "one");
    cluster.advance(500);
    assert_eq!(cluster.received(BACK).last().map(String::as_str), Some("sent"));
    assert!(cluster.is_settled());
}
