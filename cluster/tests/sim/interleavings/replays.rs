//! Copies of old messages that an attacker publishes again. Their signatures are right, so counts, numbers and incarnations must make
//! them harmless.

use super::scripted_cluster::Stage;
use super::transit::What::{Alives, Detaches, Heartbeats, NotOwners, Proposals, Records};
use super::{ANN, BOB, CANDIDATE, CARL, HOME, LEFT, RIGHT};

/// The right connector is dead, and an attacker repeats its heartbeats. If they counted, Bob would stay for as long as that.
#[test]
fn heartbeats_of_a_dead_connector() {
    let mut stage = Stage::with_ann_and_bob();
    for chat in [HOME, CANDIDATE] {
        stage.copy(Heartbeats(RIGHT, chat));
    }
    stage.pass(3_000);
    stage.kill_connector(RIGHT);
    for _ in 0..13 {
        stage.pass(1_000);
        assert!(stage.replay(Heartbeats(RIGHT, HOME)) > 3);
    }
    assert_eq!(stage.told(ANN), ["-bob"]);
}

/// The right connector follows the room again, and an attacker repeats that it does not. Bob's successor hears all the same: the
/// copy is ignored, and records also go to connectors with members.
#[test]
fn a_detach_of_a_connector_that_follows_again() {
    let mut stage = Stage::with_ann_and_bob();
    stage.copy(Detaches(RIGHT, HOME));
    stage.leave(BOB);
    stage.pass(10_000);
    stage.enter(RIGHT, CARL, "carl");
    stage.settle();
    assert_eq!(stage.replay(Detaches(RIGHT, HOME)), 1);
    stage.say(ANN, "one");
    stage.settle();
    assert_eq!(stage.told(CARL).last().unwrap(), "ann: one");
}

/// The home is dead, and an attacker repeats what it said when it lived. If that counted, connectors would go on asking it.
#[test]
fn signs_of_life_of_a_dead_chat_server() {
    let mut stage = Stage::with_ann_and_bob();
    for connector in [LEFT, RIGHT] {
        stage.copy(Alives(HOME, connector));
        stage.copy(Records(HOME, connector));
    }
    stage.say(ANN, "one");
    stage.pass(3_000);
    stage.kill(HOME);
    stage.say(ANN, "two");
    for _ in 0..12 {
        stage.pass(250);
        for connector in [LEFT, RIGHT] {
            assert!(stage.replay(Alives(HOME, connector)) > 3);
            assert!(stage.replay(Records(HOME, connector)) > 0);
        }
    }
    assert_eq!(stage.told(BOB), ["ann: one", "ann: two"]);
    assert!(stage.is_settled());
}

/// A chat server once was no owner of the room, and an attacker repeats that whenever something is asked. If that counted, each
/// question would wait for another look.
#[test]
fn answers_of_a_chat_server_that_was_no_owner() {
    let mut stage = Stage::with_ann_and_bob();
    for server in [LEFT, RIGHT] {
        stage.copy(NotOwners(HOME, server));
        stage.copy(Proposals(server, HOME));
    }
    // The list is another one for the home, which lets go.
    stage.chat_sees(HOME, &[0, 1]);
    stage.say(ANN, "one");
    stage.pass(500);
    stage.chat_sees(HOME, &[0, 1, 2]);
    stage.pass(3_000);
    assert_eq!(stage.told(BOB), ["ann: one"]);
    for number in 0..5 {
        stage.hold(Proposals(LEFT, HOME));
        stage.say(ANN, &number.to_string());
        assert!(stage.replay(NotOwners(HOME, LEFT)) > 0);
        stage.release(Proposals(LEFT, HOME));
        assert_eq!(stage.told(BOB).last().unwrap(), &format!("ann: {number}"), "at once");
    }
    // What was said is not said again.
    assert!(stage.replay(Proposals(LEFT, HOME)) > 4);
    stage.pass(2_000);
    assert_eq!(stage.told(BOB).len(), 6);
    assert!(stage.is_settled());
}
