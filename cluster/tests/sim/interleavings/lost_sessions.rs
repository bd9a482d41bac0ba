//! Logs that lose records, and connectors that miss some: what becomes of sessions, in the log and for their clients.

use super::scripted_cluster::Stage;
use super::transit::What::{Between, Detaches, Probes, Proposals, Records};
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
/// Without the members that the home keeps, Ann would have to be brought back by the join that is taken back, and everything that
/// she sends would be unknown for ever.
#[test]
fn entering_again_expires_while_the_log_is_erased() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Proposals(LEFT, HOME));
    stage.say(ANN, "one");
    stage.pass(200);
    stage.enter(LEFT, ANN, "ann");
    stage.erase();
    stage.say(BOB, "two");
    stage.pass(2_100);
    stage.find(Proposals(LEFT, HOME));
    stage.pass(4_000);
    stage.say(ANN, "three");
    stage.pass(500);
    assert_eq!(&stage.told(ANN)[stage.told(ANN).len() - 2..], ["ann: three", "sent"]);
    assert!(stage.told(BOB).iter().all(|told| told != "-ann"), "{:?}", stage.told(BOB));
    assert!(stage.is_settled());
}

/// ```text
/// left                    home                    log
///  ann: one ─ ─ ─ ✗
///  ✗ hears nothing        │ ann is silent ───────►4: -ann
///  ann enters again (waits behind "one")
///  hears: -ann ◄──────────│
///  proposals are lost; entering expires
/// ```
/// The join that is taken back covered that the log has seen her leave. Without a look at the log after that, Ann would be
/// here for all that she knows, and everything that she sends would be unknown for ever.
#[test]
fn entering_again_expires_while_the_log_has_seen_her_leave() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Proposals(LEFT, HOME));
    stage.say(ANN, "one");
    stage.settle();
    stage.lose(Between(HOME, LEFT));
    stage.pass(12_000);
    assert_eq!(stage.log(), ["-ann"]);
    stage.enter(LEFT, ANN, "ann");
    stage.find(Between(HOME, LEFT));
    stage.pass(2_500);
    stage.find(Proposals(LEFT, HOME));
    stage.pass(1_000);
    stage.say(ANN, "two");
    stage.pass(500);
    assert_eq!(stage.told(ANN).last().map(String::as_str), Some("sent"));
    assert!(stage.is_settled());
}

/// ```text
/// right              home            candidate             left
///  ✗ hears nothing of it             ✗ nor does that       ✗ hears nothing of the candidate
///  one ─────────────────────────────►│ append
///  leaves, detaches                  │ ─ ─ ─ record ─ ─ ✗
///       all hear each other again    │ "alive": lets go
/// ```
/// The home does not know that the candidate took over, and no connector asks the candidate about the room. If the left connector,
/// which misses messages of the candidate, attached only the rooms that it asks the candidate about, Ann would hear of "one"
/// with the next message, and never without one.
#[test]
fn a_takeover_whose_records_are_lost() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Between(HOME, RIGHT));
    stage.lose(Probes(HOME));
    stage.lose(Between(CANDIDATE, LEFT));
    stage.pass(1_500);
    stage.say(BOB, "one");
    stage.leave(BOB);
    stage.pass(1_500);
    assert_eq!(stage.log(), ["bob: one", "-bob"]);
    assert!(stage.appenders().contains(&CANDIDATE) && stage.told(ANN).is_empty());
    stage.find(Between(HOME, RIGHT));
    stage.find(Probes(HOME));
    stage.find(Between(CANDIDATE, LEFT));
    stage.pass(10_000);
    assert_eq!(stage.told(ANN), ["bob: one", "-bob"]);
    assert!(stage.is_settled());
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
/// If a connector brought back each session that the log does not have, Ann would be here when she has gone.
#[test]
fn coming_back_elsewhere_as_a_newcomer() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Between(HOME, LEFT));
    stage.pass(3_500);
    stage.enter(RIGHT, CARL, "ann");
    stage.pass(500);
    stage.leave(CARL);
    stage.pass(500);
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.pass(500);
    stage.say(BACK, "one");
    stage.pass(100);
    stage.leave(BACK);
    stage.pass(500);
    let log = ["-ann", "+ann", "-ann", "+ann", "ann: one", "-ann"];
    assert_eq!(stage.log(), log);
    stage.find(Between(HOME, LEFT));
    stage.pass(5_000);
    assert_eq!(stage.log(), log);
    assert_eq!(stage.told(ANN).last().map(String::as_str), Some("moved away"));
    assert!(stage.is_settled());
}

/// The same, and her session is already on its way back when she enters elsewhere: the owner refuses what it finds stale.
///
/// No connector can see this alone. Without the owner's half, what Ann sent early through the session that she left behind would
/// stand behind what she sent late.
#[test]
fn coming_back_elsewhere_while_her_session_is_brought_back() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Between(HOME, LEFT));
    stage.pass(3_500);
    stage.enter(RIGHT, CARL, "ann");
    stage.pass(300);
    stage.leave(CARL);
    stage.pass(300);
    stage.say(ANN, "early");
    stage.hold(Proposals(LEFT, HOME));
    stage.find(Between(HOME, LEFT));
    stage.pass(700);
    assert!(stage.holds(Proposals(LEFT, HOME)) > 0, "she is being brought back");
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.pass(100);
    stage.say(BACK, "late");
    stage.pass(100);
    stage.leave(BACK);
    stage.pass(200);
    assert!(stage.log().ends_with(&["+ann".to_owned(), "ann: late".to_owned(), "-ann".to_owned()]));
    stage.release(Proposals(LEFT, HOME));
    stage.pass(5_000);
    assert!(stage.log().ends_with(&["+ann".to_owned(), "ann: late".to_owned(), "-ann".to_owned()]));
    assert!(stage.told(ANN).contains(&"moved away".to_owned()), "{:?}", stage.told(ANN));
    assert!(stage.is_settled());
}

/// The same where the records are gone that tell it, while Ann is at the right connector: the state has her stay there.
#[test]
fn coming_back_elsewhere_in_records_that_are_gone() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Between(HOME, LEFT));
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.settle();
    stage.outlive_records(BOB);
    stage.find(Between(HOME, LEFT));
    stage.hold(Proposals(LEFT, CANDIDATE));
    stage.pass(2_000);
    stage.leave(BACK);
    stage.pass(500);
    stage.release(Proposals(LEFT, CANDIDATE));
    stage.pass(5_000);
    assert_eq!(stage.log().last().map(String::as_str), Some("-ann"));
    assert_eq!(stage.log().iter().filter(|entry| *entry == "+ann").count(), 0);
    assert_eq!(stage.told(ANN).last().map(String::as_str), Some("moved away"));
    assert!(stage.is_settled());
}

/// ```text
/// left                  home            log
///  ann leaves ─────────►│ append ──────►4: -ann
///  ◄───────────── left ─│               4 is lost
///  ann enters again
///  ◄── a state with ann │
///  join ───────────────►│ she is in by her stay of before
/// ```
/// If the owner took that stay for the present one, Ann could not come back with her token, and what she repeats then would be
/// said twice.
#[test]
fn entering_again_where_the_log_lost_the_leave() {
    let mut stage = Stage::with_ann_and_bob();
    stage.leave(ANN);
    stage.settle();
    assert_eq!((stage.told(ANN), stage.log()), (&["left".to_owned()][..], vec!["-ann".to_owned()]));
    // Tokens are made of the time.
    stage.pass(50);
    stage.hold(Between(HOME, LEFT));
    stage.lose_end(1);
    stage.settle();
    stage.enter(LEFT, ANN, "ann");
    stage.release(Between(HOME, LEFT));
    stage.pass(500);
    assert_eq!(stage.told(ANN).last().map(String::as_str), Some("entered: ann bob"));
    stage.lose_client(ANN);
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.pass(500);
    assert_eq!(stage.told(BACK), ["entered: ann bob"], "her token is that of her stay");
}

/// The same, and the log lost her entering again, too: the state has her by the stay of before, so her session ends, and she comes
/// back with her token.
#[test]
fn a_stay_that_the_log_lost_ends_its_session() {
    let mut stage = Stage::with_ann_and_bob();
    stage.leave(ANN);
    stage.settle();
    stage.pass(50);
    stage.enter(LEFT, ANN, "ann");
    stage.settle();
    assert_eq!(stage.told(ANN), ["left", "entered: ann bob"]);
    stage.pass(50);
    stage.lose_end(2);
    stage.pass(500);
    assert_eq!(stage.told(ANN), ["left", "entered: ann bob", "gap", "closed"]);
    assert_eq!(stage.told(BOB), ["-ann", "+ann", "gap", "-ann"]);
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.pass(500);
    assert_eq!(stage.told(BACK), ["entered: ann bob"]);
    assert_eq!(stage.told(BOB).last().map(String::as_str), Some("+ann"));
    assert!(stage.is_settled());
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
    let mut stage = Stage::with_ann_and_bob();
    // Tokens are made of the time.
    stage.pass(50);
    stage.lose(Records(HOME, LEFT));
    stage.gather(LEFT);
    stage.leave(ANN);
    stage.enter(LEFT, ANN, "ann");
    stage.propose(LEFT);
    stage.settle();
    stage.outlive_records(BOB);
    stage.pass(1_500);
    assert_eq!(stage.told(ANN).last().map(String::as_str), Some("entered: ann bob"));
    stage.lose_client(ANN);
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.pass(500);
    let told = stage.told(BACK).first().cloned().unwrap();
    assert!(told.starts_with("entered: ann bob"), "her token is that of her stay: {told}");
}

/// ```text
/// left                 home, its clock set back                   log
///  ✗ hears nothing     │ ann is silent: append, time as before ──►4: -ann
///  hears: -ann  ◄──────│                                          4 is lost
///  is at 4             │ append, time as before ─────────────────►4: nothing
///  ann is missing ────►│ she is in already
/// ```
/// The left connector goes on from a record that the log no longer has. Position and time of the record in its place are the same.
/// If records were told apart by these, it would propose what it misses for ever, and the room's log would be full of it.
#[test]
fn a_record_in_the_place_of_a_lost_one() {
    let mut stage = Stage::with_ann_and_bob();
    stage.set_clocks_back(60_000);
    stage.lose(Between(HOME, LEFT));
    stage.pass(12_000);
    assert_eq!(stage.log(), ["-ann"]);
    stage.hold(Proposals(LEFT, HOME));
    stage.find(Between(HOME, LEFT));
    stage.pass(1_000);
    assert!(stage.holds(Proposals(LEFT, HOME)) > 0, "Ann is being brought back");
    stage.lose_end(1);
    stage.settle();
    stage.release(Proposals(LEFT, HOME));
    stage.pass(1_000);
    stage.say(BOB, "one");
    stage.pass(500);
    assert_eq!(stage.log(), ["bob: one"]);
    assert_eq!(stage.told(ANN).last().map(String::as_str), Some("bob: one"));
    assert!(stage.is_settled());
}

/// ```text
/// left            home                     right
///                 │ ◄ ─ ─ ─ detach ─ ─ ─ ─ │ (late)
///                 │ ◄──── attach, +bob ────│
///                 follows no longer        │
///  one ──────────►│ the log is erased
///  ◄── the state ─│ ───── the record ─────►│
/// ```
/// Bob's connector does not follow, for all that the home knows. It has a member in the room, and that is enough to be told.
#[test]
fn a_log_that_is_erased_and_a_connector_that_does_not_follow() {
    let mut stage = Stage::with_ann_and_bob();
    stage.hold(Detaches(RIGHT, HOME));
    stage.leave(BOB);
    stage.pass(1_500);
    stage.enter(RIGHT, BOB, "bob");
    stage.settle();
    stage.release(Detaches(RIGHT, HOME));
    stage.erase();
    stage.say(ANN, "one");
    stage.pass(3_000);
    stage.say(ANN, "two");
    stage.pass(500);
    assert_eq!(&stage.told(BOB)[2..], ["gap", "ann: one", "ann: two"]);
    assert!(stage.told(ANN).ends_with(&["ann: two".to_owned(), "sent".to_owned()]));
    assert!(!stage.told(ANN).iter().skip(2).any(|told| told == "-bob"), "{:?}", stage.told(ANN));
    assert!(stage.is_settled());
}

/// ```text
/// left               home          log
///  leaves, enters ──►│ ───────────►3: -ann, 4: +ann
///  one (under way)                 3 and 4 are lost: she is in by her stay of before
///  one ─────────────►│ under which stay?
/// ```
/// If the owner said it under the stay that the log has, its repeat after coming back would be another message: said twice.
#[test]
fn sent_under_a_stay_that_the_log_lost() {
    let mut stage = Stage::with_ann_and_bob();
    stage.leave(ANN);
    stage.settle();
    stage.pass(50);
    stage.enter(LEFT, ANN, "ann");
    stage.settle();
    stage.pass(50);
    stage.lose(Proposals(LEFT, HOME));
    stage.say(ANN, "one");
    stage.settle();
    stage.find(Proposals(LEFT, HOME));
    stage.lose_end(2);
    stage.pass(1_500);
    assert!(stage.told(ANN).contains(&"closed".to_owned()), "{:?}", stage.told(ANN));
    assert!(stage.log().iter().all(|entry| entry != "ann: one"), "{:?}", stage.log());
    stage.come_back(LEFT, ANN, BACK, "ann");
    stage.say(BACK, "one");
    stage.pass(500);
    assert_eq!(stage.log().iter().filter(|entry| *entry == "ann: one").count(), 1);
    assert!(stage.is_settled());
}

/// The chat servers' log is another one, as with a log in memory whose process ended: all of the room's sessions end, and come back
/// with their tokens.
#[test]
fn a_state_without_a_session_ends_it() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose_end(2);
    stage.pass(500);
    for who in [ANN, BOB] {
        assert_eq!(stage.told(who).last().map(String::as_str), Some("closed"), "{:?}", stage.told(who));
    }
    stage.come_back(LEFT, ANN, BACK, "ann");
    stage.pass(500);
    stage.say(BACK, "one");
    stage.pass(500);
    assert_eq!(stage.told(BACK).last().map(String::as_str), Some("sent"));
    assert!(stage.is_settled());
}
