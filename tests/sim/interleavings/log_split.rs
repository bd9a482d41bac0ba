//! Rooms that move to another part of the log, which has their records at the same positions.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::{Appends, Commits};
use super::{ANN, BOB, HOME};

fn texts<const N: usize>(texts: [&str; N]) -> [String; N] {
    texts.map(str::to_owned)
}

/// ```text
/// left         home                         log
///  one ───────►│ append behind 2 ─ ─ ─ ─ ─ ─ ┐
///              finds that the room moved     ┊
///  two ───────►│                             └─►3: one
///              │ reads the log again ◄────────── 3: one
///              │ append behind 3 ───────────────►4: two
/// ```
/// The result is discarded, and the room goes on from the log. Connectors need not attach again.
#[test]
fn an_append_is_under_way_when_its_room_moves() {
    for held in [Appends(HOME), Commits(HOME)] {
        let mut cluster = ScriptedCluster::with_ann_and_bob();
        cluster.hold(held);
        cluster.send(ANN, "one");
        cluster.settle();
        cluster.find_room_moved(HOME);
        cluster.send(BOB, "two");
        cluster.settle();
        assert!(!cluster.is_settled());
        cluster.release(held);
        cluster.advance(3_000);
        assert_eq!(cluster.log(), ["ann: one", "bob: two"], "{held:?}");
        assert_eq!(cluster.received(ANN), texts(["ann: one", "sent", "bob: two"]), "{held:?}");
        assert_eq!(cluster.received(BOB), texts(["ann: one", "bob: two", "sent"]), "{held:?}");
        assert!(cluster.is_settled());
    }
}

/// A room in which nothing happens moves. The next message is delivered at once, since connectors
/// go on following.
#[test]
fn a_silent_room_moves_and_goes_on() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    let before = cluster.activations();
    cluster.find_room_moved(HOME);
    cluster.settle();
    assert_eq!(cluster.activations(), before + 1);
    cluster.send(ANN, "one");
    cluster.settle();
    assert_eq!(cluster.received(ANN), texts(["ann: one", "sent"]));
    assert_eq!(cluster.received(BOB), texts(["ann: one"]));
    assert!(cluster.is_settled());
}
