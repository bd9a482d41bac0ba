//! Servers whose incarnations are lower than those that others know: their wall clocks were set
//! back between two runs. All servers start with incarnation 100.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::{Appends, Between, Proposals, Records};
use super::{ANN, BOB, CANDIDATE, HOME, LEFT, RIGHT};

/// Sessions of Ann and Bob after a restart.
const ANN_AGAIN: u64 = 11;
const BOB_AGAIN: u64 = 12;

const CHATS: [usize; 3] = [0, CANDIDATE, HOME];

/// Only the log knows the runs before. Without it, the connectors' proposals would be late copies
/// for ever, and the members of the later runs would never leave.
#[test]
fn a_whole_cluster_that_starts_with_clocks_set_back() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    CHATS.into_iter().for_each(|chat| cluster.restart_chat(chat, 50));
    [LEFT, RIGHT].into_iter().for_each(|connector| cluster.restart_connector(connector, 50));
    cluster.enter(LEFT, ANN_AGAIN, "ann");
    cluster.advance(500);
    cluster.enter(RIGHT, BOB_AGAIN, "bob");
    cluster.advance(500);
    cluster.send(ANN_AGAIN, "one");
    cluster.advance(500);
    // Bob's connector has not asked for the room when Ann enters: he is still there for the log.
    assert_eq!(cluster.log(), ["-ann", "+ann", "-bob", "+bob", "ann: one"]);
    assert_eq!(cluster.received(ANN_AGAIN), ["entered: ann bob", "-bob", "+bob", "ann: one", "sent"]);
    assert_eq!(cluster.received(BOB_AGAIN), ["entered: ann bob", "ann: one"]);
    assert_eq!([LEFT, RIGHT].map(|connector| cluster.incarnation_of_connector(connector)), [151, 151]);
    assert!(cluster.is_settled());
}

/// The same; Bob does not come back. His connector has no client in the room, and is asked to look
/// all the same.
#[test]
fn members_of_a_later_run_leave_without_a_client_that_comes_back() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    CHATS.into_iter().for_each(|chat| cluster.restart_chat(chat, 50));
    [LEFT, RIGHT].into_iter().for_each(|connector| cluster.restart_connector(connector, 50));
    cluster.enter(LEFT, ANN_AGAIN, "ann");
    cluster.advance(6_000);
    assert_eq!(cluster.log(), ["-ann", "+ann", "-bob"]);
    cluster.advance(3_000);
    assert!(cluster.is_settled());
}

/// Connectors know a later run of the home. If they did not report it, they would drop everything
/// from the home.
#[test]
fn one_chat_server_that_starts_with_its_clock_set_back() {
    for first in [50, 99] {
        let mut cluster = ScriptedCluster::with_ann_and_bob();
        cluster.restart_chat(HOME, first);
        cluster.send(ANN, "one");
        cluster.advance(2_000);
        assert_eq!(cluster.received(ANN), ["ann: one", "sent"]);
        assert_eq!(cluster.received(BOB), ["ann: one"]);
        assert_eq!(cluster.incarnation_of_chat(HOME), 101 + first);
        assert_eq!(cluster.appenders().last(), Some(&HOME));
        assert!(cluster.is_settled());
    }
}

/// All chat servers know a later run of the connector. If they did not report it, Ann would be
/// answered 503 for ever.
#[test]
fn one_connector_that_starts_with_its_clock_set_back() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.restart_connector(LEFT, 99);
    cluster.enter(LEFT, ANN_AGAIN, "ann");
    cluster.send(ANN_AGAIN, "one");
    cluster.advance(2_000);
    assert_eq!(cluster.received(ANN_AGAIN), ["entered: ann bob", "ann: one", "sent"]);
    assert_eq!(cluster.received(BOB), ["-ann", "+ann", "ann: one"]);
    assert_eq!(cluster.incarnation_of_connector(LEFT), 200);
    assert!(cluster.is_settled());
}

/// ```text
/// ann     left              home                 candidate
///  is in   100 ────────────► 100                   │ knows 200, which is dead
///          100 ───────────── heartbeat ───────────►│
///          301 ◄──────────── stale, 200 ───────────│
///          301, continues 100 ►│ move
///  one ───►301, continues 100 ►│
/// ```
/// If the members of a continued run were not moved, Ann would leave and come again. If its name
/// were not read as the present one, her connector would count her among the sessions of another
/// run.
#[test]
fn a_chat_server_knows_a_later_run_and_members_move() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    for (known, by) in [(200, CANDIDATE), (400, 0), (600, CANDIDATE)] {
        cluster.announce_later_run(by, LEFT, known);
        cluster.send(ANN, "one");
        cluster.advance(3_000);
        assert_eq!(cluster.incarnation_of_connector(LEFT), known + 101);
        assert_eq!(cluster.runs_of_members(), [100, known + 101]);
    }
    assert_eq!(cluster.received(ANN), ["ann: one", "sent", "ann: one", "sent", "ann: one", "sent"]);
    assert_eq!(cluster.received(BOB), ["ann: one", "ann: one", "ann: one"]);
    assert!(cluster.log().iter().all(|entry| entry == "ann: one" || entry.starts_with("Move")), "{:?}", cluster.log());
    cluster.leave(ANN);
    cluster.advance(500);
    assert_eq!(cluster.received(BOB).last().map(String::as_str), Some("-ann"));
    assert!(cluster.is_settled());
}

/// If proposals were numbered anew with the run, Ann's repeated proposal would be committed a
/// second time.
#[test]
fn an_append_under_the_old_run_that_comes_through_after_it() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.hold(Appends(HOME));
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.announce_later_run(CANDIDATE, LEFT, 200);
    cluster.advance(1_500);
    assert_eq!(cluster.incarnation_of_connector(LEFT), 301);
    cluster.release(Appends(HOME));
    cluster.advance(1_500);
    assert_eq!(cluster.received(ANN), ["ann: one", "sent"]);
    assert_eq!(cluster.log().iter().filter(|entry| *entry == "ann: one").count(), 1);
    assert_eq!(cluster.runs_of_members(), [100, 301]);
    assert!(cluster.is_settled());
}

/// The same, and the append was answered: the answer is lost.
#[test]
fn a_record_under_the_old_run_that_its_connector_does_not_get() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Records(HOME, LEFT));
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.stop_losing(Records(HOME, LEFT));
    cluster.announce_later_run(CANDIDATE, LEFT, 200);
    cluster.advance(1_500);
    assert_eq!(cluster.incarnation_of_connector(LEFT), 301);
    assert_eq!(
        (cluster.received(ANN), cluster.received(BOB)),
        (&["ann: one".to_owned(), "sent".to_owned()][..], &["ann: one".to_owned()][..])
    );
    assert!(cluster.is_settled());
}

/// The proposal under the old run is late: the same one under the new run came first.
#[test]
fn a_late_copy_of_a_proposal_under_the_old_run() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.hold(Proposals(LEFT, HOME));
    cluster.send(ANN, "one");
    cluster.settle();
    assert_eq!(cluster.holds(Proposals(LEFT, HOME)), 1);
    cluster.announce_later_run(CANDIDATE, LEFT, 200);
    cluster.advance(1_600);
    assert_eq!(cluster.incarnation_of_connector(LEFT), 301);
    cluster.release_newest(Proposals(LEFT, HOME));
    cluster.advance(600);
    assert_eq!(cluster.received(ANN), ["ann: one", "sent"]);
    cluster.send(ANN, "two");
    cluster.advance(600);
    cluster.release(Proposals(LEFT, HOME));
    cluster.advance(1_500);
    assert_eq!(cluster.received(ANN), ["ann: one", "sent", "ann: two", "sent"]);
    assert_eq!(cluster.received(BOB), ["ann: one", "ann: two"]);
    assert!(cluster.is_settled());
}

/// The home dies before it learns that the connector continues as another run; the candidate, which
/// knows that, reads members and proposals of the old one. It also reads the proposal that Ann's
/// connector repeats.
#[test]
fn an_heir_that_knows_of_the_new_run_first() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.announce_later_run(CANDIDATE, LEFT, 200);
    cluster.advance(1_400);
    cluster.send(ANN, "one");
    [LEFT, RIGHT].into_iter().for_each(|connector| cluster.lose(Records(HOME, connector)));
    cluster.settle();
    cluster.lose(Between(HOME, LEFT));
    cluster.advance(200);
    assert_eq!(cluster.incarnation_of_connector(LEFT), 301);
    cluster.kill(HOME);
    cluster.advance(3_000);
    assert_eq!(cluster.received(ANN), ["ann: one", "sent"]);
    assert_eq!(cluster.received(BOB), ["ann: one"]);
    assert_eq!(cluster.runs_of_members(), [100, 301]);
    assert!(cluster.is_settled());
}
