//! Copies of old messages that an attacker publishes again. Their signatures are right, so counts,
//! numbers and incarnations must make them harmless.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::{Alives, Detaches, Heartbeats, NotOwners, Proposals, Records};
use super::{ANN, BOB, CANDIDATE, CARL, HOME, LEFT, RIGHT};

/// The right connector is dead, and an attacker repeats its heartbeats. If they counted, Bob would
/// stay for as long as that.
#[test]
fn heartbeats_of_a_dead_connector() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    for chat in [HOME, CANDIDATE] {
        cluster.copy(Heartbeats(RIGHT, chat));
    }
    cluster.advance(3_000);
    cluster.kill_connector(RIGHT);
    for _ in 0..13 {
        cluster.advance(1_000);
        assert!(cluster.replay(Heartbeats(RIGHT, HOME)) > 3);
    }
    assert_eq!(cluster.received(ANN), ["-bob"]);
}

/// The right connector follows the room again, and an attacker repeats its detach. Bob's successor
/// gets pushes all the same: the copy is ignored, and records also go to connectors with members.
#[test]
fn a_detach_of_a_connector_that_follows_again() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.copy(Detaches(RIGHT, HOME));
    cluster.leave(BOB);
    cluster.advance(10_000);
    cluster.enter(RIGHT, CARL, "carl");
    cluster.settle();
    assert_eq!(cluster.replay(Detaches(RIGHT, HOME)), 1);
    cluster.send(ANN, "one");
    cluster.settle();
    assert_eq!(cluster.received(CARL).last().unwrap(), "ann: one");
}

/// The home is dead, and an attacker repeats its messages. If these counted, connectors would go on
/// asking it.
#[test]
fn signs_of_life_of_a_dead_chat_server() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    for connector in [LEFT, RIGHT] {
        cluster.copy(Alives(HOME, connector));
        cluster.copy(Records(HOME, connector));
    }
    cluster.send(ANN, "one");
    cluster.advance(3_000);
    cluster.kill(HOME);
    cluster.send(ANN, "two");
    for _ in 0..12 {
        cluster.advance(250);
        for connector in [LEFT, RIGHT] {
            assert!(cluster.replay(Alives(HOME, connector)) > 3);
            assert!(cluster.replay(Records(HOME, connector)) > 0);
        }
    }
    assert_eq!(cluster.received(BOB), ["ann: one", "ann: two"]);
    assert!(cluster.is_settled());
}

/// A chat server once was no owner of the room, and an attacker repeats that whenever something is
/// asked. If that counted, each question would wait for another look.
#[test]
fn answers_of_a_chat_server_that_was_no_owner() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    for server in [LEFT, RIGHT] {
        cluster.copy(NotOwners(HOME, server));
        cluster.copy(Proposals(server, HOME));
    }
    // The list is another one for the home, which lets go.
    cluster.change_chat_view(HOME, &[0, 1]);
    cluster.send(ANN, "one");
    cluster.advance(500);
    cluster.change_chat_view(HOME, &[0, 1, 2]);
    cluster.advance(3_000);
    assert_eq!(cluster.received(BOB), ["ann: one"]);
    for number in 0..5 {
        cluster.hold(Proposals(LEFT, HOME));
        cluster.send(ANN, &number.to_string());
        assert!(cluster.replay(NotOwners(HOME, LEFT)) > 0);
        cluster.release(Proposals(LEFT, HOME));
        assert_eq!(cluster.received(BOB).last().unwrap(), &format!("ann: {number}"), "at once");
    }
    // No message is committed again.
    assert!(cluster.replay(Proposals(LEFT, HOME)) > 4);
    cluster.advance(2_000);
    assert_eq!(cluster.received(BOB).len(), 6);
    assert!(cluster.is_settled());
}
