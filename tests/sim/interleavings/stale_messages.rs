//! Messages and answers that are out of date when they arrive: of an earlier run, overtaken by
//! newer ones, from a server that is asked no longer, from a replica of the log that is behind.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::{Appends, Attached, Attaches, Between, PageReadings, Probes, Records};
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
/// If the late number counted among those of the new run, all messages of that run would be old.
/// Bob would not receive "two".
#[test]
fn a_late_message_of_an_earlier_run() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.advance(5_000);
    cluster.hold(Records(HOME, RIGHT));
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.restart_chat(HOME, 2);
    cluster.advance(600);
    cluster.release(Records(HOME, RIGHT));
    assert_eq!(cluster.received(BOB), ["ann: one"]);
    cluster.lose(Records(HOME, RIGHT));
    cluster.send(ANN, "two");
    cluster.settle();
    cluster.stop_losing(Records(HOME, RIGHT));
    cluster.advance(1_500);
    assert_eq!(cluster.received(BOB), ["ann: one", "ann: two"]);
    assert!(cluster.is_settled());
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
/// If the late answer were taken for that of the second attach, Bob would not receive "two": all
/// numbers were seen since.
#[test]
fn an_answer_that_newer_messages_overtook() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Records(HOME, RIGHT));
    cluster.hold(Attached(HOME, RIGHT));
    cluster.send(ANN, "one");
    cluster.advance(500);
    assert!(cluster.holds(Attached(HOME, RIGHT)) > 0 && cluster.received(BOB).is_empty());
    cluster.lose(Attaches(RIGHT, HOME));
    cluster.send(ANN, "two");
    cluster.advance(1_000);
    cluster.release(Attached(HOME, RIGHT));
    cluster.stop_losing(Attaches(RIGHT, HOME));
    cluster.stop_losing(Records(HOME, RIGHT));
    cluster.advance(2_000);
    assert_eq!(cluster.received(BOB), ["ann: one", "ann: two"]);
    assert!(cluster.is_settled());
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
/// The candidate's late answer has no news of the home. If it were taken for the home's, Bob would
/// not receive "one".
#[test]
fn an_answer_of_a_server_that_is_asked_no_longer() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.hold(Appends(CANDIDATE));
    cluster.lose(Between(HOME, RIGHT));
    cluster.lose(Probes(HOME));
    cluster.advance(1_500);
    assert_eq!(cluster.holds(Appends(CANDIDATE)), 1);
    cluster.hold(Between(CANDIDATE, RIGHT));
    cluster.release(Appends(CANDIDATE));
    cluster.lose(Attaches(RIGHT, HOME));
    cluster.lose(Records(HOME, RIGHT));
    cluster.stop_losing(Between(HOME, RIGHT));
    cluster.stop_losing(Probes(HOME));
    cluster.advance(1_000);
    cluster.send(ANN, "one");
    cluster.advance(3_000);
    assert_eq!((cluster.log(), cluster.appenders().last()), (vec!["ann: one".to_owned()], Some(&HOME)));
    cluster.release(Between(CANDIDATE, RIGHT));
    cluster.stop_losing(Attaches(RIGHT, HOME));
    cluster.stop_losing(Records(HOME, RIGHT));
    cluster.advance(3_000);
    assert_eq!(cluster.received(BOB), ["ann: one"]);
    assert!(cluster.is_settled());
}

/// ```text
/// left             home, knows 2        log         a replica
///                                       4: one      2
///  attach behind 2 ►│ is 2 the last? ──►│
/// ```
/// The candidate appended "one", and the home does not know that. If it asked a replica that is
/// behind, it would find itself to be right, and Ann would not receive "one".
#[test]
fn a_replica_that_is_behind_proves_nothing() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.freeze_replica();
    cluster.lose(Between(HOME, RIGHT));
    cluster.lose(Probes(HOME));
    cluster.lose(Between(CANDIDATE, LEFT));
    cluster.advance(1_500);
    cluster.send(BOB, "one");
    cluster.advance(500);
    cluster.stop_losing(Between(HOME, RIGHT));
    cluster.stop_losing(Probes(HOME));
    cluster.stop_losing(Between(CANDIDATE, LEFT));
    cluster.advance(4_000);
    assert_eq!(cluster.received(ANN), ["bob: one"]);
    assert!(cluster.is_settled());
}

/// ```text
/// left      home, knows 2        log         a replica
///                                4: one      2
///  two ────►│ reads ────────────────────────►│
///           │ append behind 2 ──►│ refused
///           │ reads ────────────►│
///           │ append behind 4 ──►│
/// ```
/// If the home asked the replica again, it would read and be refused as fast as it can, until the
/// replica has all.
#[test]
fn a_refused_owner_reads_from_the_log_itself() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.freeze_replica();
    cluster.lose(Between(HOME, RIGHT));
    cluster.lose(Probes(HOME));
    cluster.advance(1_500);
    cluster.send(BOB, "one");
    cluster.advance(500);
    let before = cluster.activations();
    cluster.send(ANN, "two");
    cluster.advance(500);
    assert_eq!(cluster.log(), ["bob: one", "ann: two"]);
    assert!(cluster.activations() <= before + 2, "{} activations", cluster.activations() - before);
}

/// ```text
/// left                 home                  right
///  ✗ hears nothing     │ ann is silent: -ann
///                      │◄── another ann ──────│
///                      │◄── bob, to ann ──────│
///  hears again: -ann, +ann, bob to ann
/// ```
/// The Ann at the left connector is about to learn that her name belongs to another member. If a
/// whisper went to all sessions with the name, she would receive a message that is not for her.
#[test]
fn a_whisper_to_another_of_the_same_name() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Between(HOME, LEFT));
    cluster.advance(12_000);
    cluster.enter(RIGHT, CARL, "ann");
    cluster.settle();
    cluster.whisper(BOB, "ann", "secret");
    cluster.settle();
    cluster.stop_losing(Between(HOME, LEFT));
    cluster.advance(3_000);
    assert!(cluster.received(CARL).contains(&"bob: secret".to_owned()), "{:?}", cluster.received(CARL));
    assert!(!cluster.received(ANN).contains(&"bob: secret".to_owned()), "{:?}", cluster.received(ANN));
    assert_eq!(cluster.received(ANN).last().map(String::as_str), Some("displaced"));
    assert!(cluster.is_settled());
}

/// ```text
/// left                 home           candidate          right
///  follows there ──────►│              │◄── ann comes back │
///  ◄──────────────────────── the move ─│
/// ```
/// The left connector does not follow at the candidate, and has no member behind the record. If
/// only followers and connectors with members got it, Ann's old session would stay for ever.
#[test]
fn the_last_member_of_a_connector_goes_elsewhere() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Between(HOME, RIGHT));
    cluster.lose(Probes(HOME));
    cluster.advance(1_500);
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.settle();
    assert_eq!(cluster.received(BACK), ["entered: ann bob"]);
    assert_eq!(cluster.received(ANN), ["moved away"]);
}

/// ```text
/// left                 home       candidate      the third       right
///  follows there ──────►│         │◄──────── ann comes back ─────│
///                   ✗ ◄ ─ ─ ─ ─ ─ │ the move
///                                 dies           │◄── attach ────│
///  ◄─────────────────────────────────── its first record ─────────│
/// ```
/// No member is left at the left connector, and the heir of the candidate does not know that the
/// move was lost on its way there. If its first record went only to those that have members or
/// follow, Ann's old session would be here for ever.
#[test]
fn an_heir_informs_connectors_without_members() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Between(HOME, RIGHT));
    cluster.lose(Probes(HOME));
    cluster.advance(1_500);
    cluster.lose(Between(CANDIDATE, LEFT));
    cluster.resume(RIGHT, ANN, BACK, "ann");
    cluster.settle();
    assert_eq!(cluster.received(BACK), ["entered: ann bob"]);
    assert!(cluster.received(ANN).is_empty());
    cluster.kill(CANDIDATE);
    cluster.advance(3_000);
    assert_eq!(cluster.received(ANN), ["moved away"]);
}

/// ```text
/// right                              home                  log
///  bob comes back, what did he miss ►│ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─►
///  bob leaves, the room is forgotten │
///  carl comes back, what did he miss►│
///  ◄─────────── ann, to bob: secret ─│◄─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─
/// ```
/// The connector follows the room a second time. If its questions began at 1 again, Carl would be
/// given what Bob missed.
#[test]
fn a_page_for_another_life_of_the_room() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    // Tokens are made of the time.
    cluster.advance(50);
    cluster.enter(LEFT, CARL, "carl");
    cluster.settle();
    cluster.disconnect(CARL);
    cluster.disconnect(BOB);
    cluster.whisper(ANN, "bob", "secret");
    cluster.settle();
    // A later record has a checkpoint: an owner that starts again reads back to there.
    for text in ["a", "b", "c", "d"] {
        cluster.send(ANN, text);
        cluster.settle();
    }
    // What an owner decided itself it has at hand.
    cluster.reconnect_chat(HOME);
    cluster.advance(3_000);
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.hold(PageReadings(HOME));
    cluster.resume(RIGHT, BOB, BACK, "bob");
    cluster.settle();
    assert_eq!(cluster.holds(PageReadings(HOME)), 1);
    cluster.close(BACK);
    cluster.advance(3_000);
    cluster.resume(RIGHT, CARL, LATER, "carl");
    cluster.settle();
    cluster.release(PageReadings(HOME));
    cluster.advance(1_000);
    assert_eq!(cluster.received(LATER), ["entered: ann carl; ann: a; ann: b; ann: c; ann: d; ann: one"]);
    assert!(cluster.is_settled());
}
