//! The choice of the chat server for a room: homes that are down, or suspected, and lists that
//! change at different moments.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::{Appends, Between};
use super::{ANN, BOB, CANDIDATE, HOME, LEFT, RIGHT};

/// ```text
/// ann, bob       home            candidate      log
///                dies
///   (silence)                    │◄─ attach ─ left, right
///                                │ open ───────►3
///  bob leaves ──────────────────►│ leave ──────►4
///  ann: -bob ◄───────────────────│
/// ```
/// If rooms were asked for elsewhere only with the next message, Ann would not learn that Bob
/// leaves: her connector would follow a dead server.
#[test]
fn a_silent_room() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.kill(HOME);
    cluster.advance(3_000);
    assert_eq!(cluster.appenders(), [CANDIDATE], "it is followed there before anything happens");
    assert!(cluster.received(ANN).is_empty() && cluster.received(BOB).is_empty() && cluster.log().is_empty());
    cluster.leave(BOB);
    cluster.settle();
    assert_eq!((cluster.received(BOB), cluster.received(ANN)), (&["left".to_owned()][..], &["-bob".to_owned()][..]));
    assert_eq!(cluster.log(), ["-bob"]);
    assert!(cluster.is_settled());
}

/// ```text
/// right                  home          candidate
///  ✗ hears nothing of it
///  one ───────────────────────────────►│ is it there? ──► home: yes
///  ◄───────────────────── not the owner│
///  hears it again
///  one ─────────────────►│ append
/// ```
/// If the candidate believed connectors, one with a bad link would take rooms away from a home that
/// lives.
#[test]
fn a_wrong_verdict() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Between(HOME, RIGHT));
    cluster.advance(2_000);
    cluster.send(BOB, "one");
    cluster.send(ANN, "two");
    cluster.advance(1_000);
    assert_eq!(cluster.received(ANN), ["ann: two", "sent"]);
    assert!(cluster.received(BOB).is_empty(), "no server may commit it");
    cluster.stop_losing(Between(HOME, RIGHT));
    cluster.advance(900);
    assert_eq!(cluster.received(BOB), ["ann: two", "bob: one", "sent"]);
    assert_eq!(cluster.log(), ["ann: two", "bob: one"]);
    assert!(cluster.appenders().iter().all(|owner| *owner == HOME));
    assert!(cluster.is_settled());
}

/// The home is taken out of the list, and the connectors notice first: they ask the new home, which
/// refuses as long as the old one is there for all it knows. A message that is sent meanwhile is
/// committed when the new home notices, too, and before its deadline.
///
/// If it accepted at once, any server with an old list would take rooms from those with a new one.
#[test]
fn a_change_seen_by_connectors_first() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    let rest = [0, 1];
    cluster.change_connector_view(LEFT, &rest);
    cluster.change_connector_view(RIGHT, &rest);
    cluster.send(ANN, "one");
    cluster.advance(1_000);
    assert!(cluster.log().is_empty() && cluster.received(ANN).is_empty(), "no server owns the room");
    (0..=HOME).for_each(|chat| cluster.change_chat_view(chat, &rest));
    cluster.advance(900);
    assert_eq!(cluster.received(ANN), ["ann: one", "sent"]);
    assert_eq!(cluster.received(BOB), ["ann: one"]);
    assert_eq!(cluster.log(), ["ann: one"]);
    assert!(cluster.appenders().iter().all(|owner| *owner == CANDIDATE));
    cluster.advance(3_000);
    assert!(cluster.is_settled());
}

/// The home is taken out of the list, and chat servers notice first: the old home gives the room up
/// as soon as it finds that the new one is there, with or without an append in flight, and refuses
/// from then on. Connectors ask the new one when they notice the change.
///
/// If the old home went on until no connector asks it, two connectors with two lists would keep two
/// owners.
#[test]
fn a_change_seen_by_chat_servers_first() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    let rest = [0, 1];
    cluster.hold(Appends(HOME));
    cluster.send(ANN, "one");
    cluster.settle();
    (0..=HOME).for_each(|chat| cluster.change_chat_view(chat, &rest));
    cluster.release(Appends(HOME));
    cluster.send(BOB, "two");
    cluster.advance(1_000);
    assert_eq!(cluster.log(), ["ann: one"], "the append in flight is committed; the old home commits nothing more");
    cluster.change_connector_view(RIGHT, &rest);
    cluster.advance(200);
    assert_eq!(cluster.received(BOB), ["ann: one", "bob: two", "sent"]);
    cluster.change_connector_view(LEFT, &rest);
    cluster.advance(500);
    assert_eq!(cluster.received(ANN), ["ann: one", "sent", "bob: two"]);
    assert_eq!(
        (cluster.log(), cluster.appenders().last()),
        (vec!["ann: one".to_owned(), "bob: two".to_owned()], Some(&CANDIDATE))
    );
    cluster.advance(3_000);
    assert!(cluster.is_settled());
}
