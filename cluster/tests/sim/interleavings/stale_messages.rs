//! Messages and answers that are out of date when they arrive: of an earlier run, overtaken by newer ones, from a server that
//! is asked no longer, from a replica of the log that is behind.

use super::scripted_cluster::Stage;
use super::transit::What::{Appends, Attached, Attaches, Between, Pages, Probes, Records};
use super::{ANN, BOB, CANDIDATE, CARL, HOME, LEFT, RIGHT};

/// A client that comes back through another session, and one that does so later.
const BACK: u64 = 5;
const LATER: u64 = 6;

/// ```text
/// home              home, run 2                right
///  one ─ ─ ─ ─ ─ (late) ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┐  │ number 15
///  restarts         │ attached ──────────────┊─►│ number 1
///                                            └─►│
///                   │ two ─ ─ ✗                 │
///                   │ alive ───────────────────►│ number 4: 3 is missing
/// ```
/// If the late number counted among those of the new run, all that this says would be old. Bob would not hear "two".
#[test]
fn a_late_message_of_an_earlier_run() {
    let mut stage = Stage::with_ann_and_bob();
    stage.pass(5_000);
    stage.hold(Records(HOME, RIGHT));
    stage.say(ANN, "one");
    stage.settle();
    stage.restart_chat(HOME, 2);
    stage.pass(600);
    stage.release(Records(HOME, RIGHT));
    assert_eq!(stage.told(BOB), ["ann: one"]);
    stage.lose(Records(HOME, RIGHT));
    stage.say(ANN, "two");
    stage.settle();
    stage.find(Records(HOME, RIGHT));
    stage.pass(1_500);
    assert_eq!(stage.told(BOB), ["ann: one", "ann: two"]);
    assert!(stage.is_settled());
}

/// ```text
/// right                    home
///                   ✗ ◄ ─ ─│ one
///  attach ────────────────►│
///        (late) ┌ ─ ─ one ─│
///               ┊   ✗ ◄ ─ ─│ two
///  ◄────────────┊─── alive │ "two" is missing
///  attach ─ ─ ✗ ┊
///  ◄─ ─ ─ one ─ ┘
/// ```
/// If the late answer were taken for that of the second attach, Bob would not hear "two": all numbers were heard since.
#[test]
fn an_answer_that_newer_messages_overtook() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Records(HOME, RIGHT));
    stage.hold(Attached(HOME, RIGHT));
    stage.say(ANN, "one");
    stage.pass(500);
    assert!(stage.holds(Attached(HOME, RIGHT)) > 0 && stage.told(BOB).is_empty());
    stage.lose(Attaches(RIGHT, HOME));
    stage.say(ANN, "two");
    stage.pass(1_000);
    stage.release(Attached(HOME, RIGHT));
    stage.find(Attaches(RIGHT, HOME));
    stage.find(Records(HOME, RIGHT));
    stage.pass(2_000);
    assert_eq!(stage.told(BOB), ["ann: one", "ann: two"]);
    assert!(stage.is_settled());
}

/// ```text
/// right                candidate             home
///  ✗ hears nothing of it ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ │
///  attach ────────────►│
///   (late) ┌ ─ attached│
///  hears it again      │ lets go             │
///  attach ─┊─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ✗            │
///          ┊               ✗ ◄ ─ ─ ─ ─ ─ one │
///  ◄───────┊────────────────────────── alive │ "one" is missing
///  attach ─┊─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ✗            │
///  ◄─ ─ ─ ─┘
/// ```
/// The candidate's late answer says nothing of what the home said. If it were taken for the home's, Bob would not hear "one".
#[test]
fn an_answer_of_a_server_that_is_asked_no_longer() {
    let mut stage = Stage::with_ann_and_bob();
    stage.hold(Appends(CANDIDATE));
    stage.lose(Between(HOME, RIGHT));
    stage.lose(Probes(HOME));
    stage.pass(1_500);
    assert_eq!(stage.holds(Appends(CANDIDATE)), 1);
    stage.hold(Between(CANDIDATE, RIGHT));
    stage.release(Appends(CANDIDATE));
    stage.lose(Attaches(RIGHT, HOME));
    stage.lose(Records(HOME, RIGHT));
    stage.find(Between(HOME, RIGHT));
    stage.find(Probes(HOME));
    stage.pass(1_000);
    stage.say(ANN, "one");
    stage.pass(3_000);
    assert_eq!((stage.log(), stage.appenders().last()), (vec!["ann: one".to_owned()], Some(&HOME)));
    stage.release(Between(CANDIDATE, RIGHT));
    stage.find(Attaches(RIGHT, HOME));
    stage.find(Records(HOME, RIGHT));
    stage.pass(3_000);
    assert_eq!(stage.told(BOB), ["ann: one"]);
    assert!(stage.is_settled());
}

/// ```text
/// left             home, knows 2        log         a replica
///                                       4: one      2
///  attach behind 2 ►│ is 2 the last? ──►│
/// ```
/// The candidate appended "one", and the home does not know that. If it asked a replica that is behind, it would find itself to
/// be right, and Ann would not hear "one".
#[test]
fn a_replica_that_is_behind_proves_nothing() {
    let mut stage = Stage::with_ann_and_bob();
    stage.freeze_replica();
    stage.lose(Between(HOME, RIGHT));
    stage.lose(Probes(HOME));
    stage.lose(Between(CANDIDATE, LEFT));
    stage.pass(1_500);
    stage.say(BOB, "one");
    stage.pass(500);
    stage.find(Between(HOME, RIGHT));
    stage.find(Probes(HOME));
    stage.find(Between(CANDIDATE, LEFT));
    stage.pass(4_000);
    assert_eq!(stage.told(ANN), ["bob: one"]);
    assert!(stage.is_settled());
}

/// ```text
/// left      home, knows 2        log         a replica
///                                4: one      2
///  two ────►│ reads ────────────────────────►│
///           │ append behind 2 ──►│ refused
///           │ reads ────────────►│
///           │ append behind 4 ──►│
/// ```
/// If the home asked the replica again, it would read and be refused as fast as it can, until the replica has all.
#[test]
fn who_was_refused_reads_from_the_log_itself() {
    let mut stage = Stage::with_ann_and_bob();
    stage.freeze_replica();
    stage.lose(Between(HOME, RIGHT));
    stage.lose(Probes(HOME));
    stage.pass(1_500);
    stage.say(BOB, "one");
    stage.pass(500);
    let before = stage.activations();
    stage.say(ANN, "two");
    stage.pass(500);
    assert_eq!(stage.log(), ["bob: one", "ann: two"]);
    assert!(stage.activations() <= before + 2, "{} activations", stage.activations() - before);
}

/// ```text
/// left                 home                  right
///  ✗ hears nothing     │ ann is silent: -ann
///                      │◄── another ann ──────│
///                      │◄── bob, to ann ──────│
///  hears again: -ann, +ann, bob to ann
/// ```
/// The Ann at the left connector is about to learn that her name is another's. If a whisper went to all who have the name, she
/// would hear what is not for her.
#[test]
fn a_whisper_to_another_of_the_same_name() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Between(HOME, LEFT));
    stage.pass(12_000);
    stage.enter(RIGHT, CARL, "ann");
    stage.settle();
    stage.whisper(BOB, "ann", "secret");
    stage.settle();
    stage.find(Between(HOME, LEFT));
    stage.pass(3_000);
    assert!(stage.told(CARL).contains(&"bob: secret".to_owned()), "{:?}", stage.told(CARL));
    assert!(!stage.told(ANN).contains(&"bob: secret".to_owned()), "{:?}", stage.told(ANN));
    assert_eq!(stage.told(ANN).last().map(String::as_str), Some("displaced"));
    assert!(stage.is_settled());
}

/// ```text
/// left                 home           candidate          right
///  follows there ──────►│              │◄── ann comes back │
///  ◄──────────────────────── the move ─│
/// ```
/// The left connector does not follow at the candidate, and has no member behind the record. If only those were told that do, or
/// have one, Ann's old session would be here for ever.
#[test]
fn the_last_member_of_a_connector_goes_elsewhere() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Between(HOME, RIGHT));
    stage.lose(Probes(HOME));
    stage.pass(1_500);
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.settle();
    assert_eq!(stage.told(BACK), ["entered: ann bob"]);
    assert_eq!(stage.told(ANN), ["moved away"]);
}

/// ```text
/// left                 home       candidate      the third       right
///  follows there ──────►│         │◄──────── ann comes back ─────│
///                   ✗ ◄ ─ ─ ─ ─ ─ │ the move
///                                 dies           │◄── attach ────│
///  ◄─────────────────────────────────── its first record ─────────│
/// ```
/// No member is left at the left connector, and the heir of the candidate does not know that the move was lost on its way there.
/// If its first record went only to those that have members or follow, Ann's old session would be here for ever.
#[test]
fn an_heir_tells_connectors_without_members() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Between(HOME, RIGHT));
    stage.lose(Probes(HOME));
    stage.pass(1_500);
    stage.lose(Between(CANDIDATE, LEFT));
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.settle();
    assert_eq!(stage.told(BACK), ["entered: ann bob"]);
    assert!(stage.told(ANN).is_empty());
    stage.kill(CANDIDATE);
    stage.pass(3_000);
    assert_eq!(stage.told(ANN), ["moved away"]);
}

/// ```text
/// right                              home
///  bob comes back, what did he miss ►│
///                           ┌ ─ ─ ─ ─│ ann, to bob: secret
///  all leave, the room is forgotten  │
///  carl comes back, what did he miss►│
///  ◄─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┘
/// ```
/// The connector follows the room a second time. If its questions began at 1 again, Carl would be given what Bob missed.
#[test]
fn a_page_for_another_life_of_the_room() {
    let mut stage = Stage::with_ann_and_bob();
    // Tokens are made of the time.
    stage.pass(50);
    stage.enter(RIGHT, CARL, "carl");
    stage.settle();
    stage.close(CARL);
    stage.lose_client(BOB);
    stage.whisper(ANN, "bob", "secret");
    stage.settle();
    stage.hold(Pages(HOME, RIGHT));
    stage.come_back(RIGHT, BOB, BACK, "bob");
    stage.settle();
    assert_eq!(stage.holds(Pages(HOME, RIGHT)), 1);
    stage.close(BACK);
    stage.pass(3_000);
    stage.come_back(RIGHT, CARL, LATER, "carl");
    stage.settle();
    stage.say(ANN, "one");
    stage.release(Pages(HOME, RIGHT));
    stage.pass(1_000);
    assert_eq!(stage.told(LATER), ["entered: ann carl", "ann: one"]);
    assert!(stage.is_settled());
}
