//! Clients with tokens of the application, several with one name.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::Between;
use super::{ANN, BOB, CARL, HOME, LEFT, RIGHT};

/// Another session, of Carl or of a client who pretends to be him.
const OTHER: u64 = 5;

/// One more.
const LATER: u64 = 6;

/// Carl is in the room, at the left connector, as a user.
fn with_carl() -> ScriptedCluster {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    // Tokens are drawn from the time in a script.
    cluster.advance(50);
    cluster.log_in(LEFT, CARL, "4711");
    cluster.enter(LEFT, CARL, "carl");
    cluster.settle();
    assert_eq!(cluster.received(CARL), ["entered: ann bob carl"]);
    cluster.advance(50);
    cluster
}

/// Without the rule that the newest session has the name, Carl would have to wait until a connector
/// notices that his old connection is gone.
#[test]
fn the_newest_session_of_a_user_replaces_the_older_one() {
    for connector in [LEFT, RIGHT] {
        let mut cluster = with_carl();
        cluster.log_in(connector, OTHER, "4711");
        cluster.enter(connector, OTHER, "carl");
        cluster.settle();
        assert_eq!(cluster.received(OTHER), ["entered: ann bob carl"]);
        assert_eq!(cluster.received(CARL).last().map(String::as_str), Some("replaced"));
        assert_eq!(cluster.received(ANN), ["+carl", "-carl", "+carl"]);
        cluster.send(OTHER, "here");
        cluster.advance(2_000);
        assert_eq!(cluster.received(OTHER).last().map(String::as_str), Some("sent"));
        assert!(cluster.is_settled());
    }
}

/// The records of it are evicted, so the left connector gets the state. If it took Carl's older session
/// for one that the log lost, its client would come back, and replace the newer one.
#[test]
fn the_newest_session_of_a_user_in_records_that_are_gone() {
    let mut cluster = with_carl();
    cluster.lose(Between(HOME, LEFT));
    cluster.log_in(RIGHT, OTHER, "4711");
    cluster.enter(RIGHT, OTHER, "carl");
    cluster.settle();
    cluster.evict_records(BOB);
    cluster.stop_losing(Between(HOME, LEFT));
    cluster.advance(5_000);
    assert_eq!(cluster.received(CARL).last().map(String::as_str), Some("replaced"));
    cluster.send(OTHER, "here");
    cluster.advance(500);
    assert_eq!(cluster.log().last().map(String::as_str), Some("carl: here"));
    assert!(cluster.is_settled());
}

/// A user with another token, and a client without one.
#[test]
fn the_name_of_a_user_is_taken_for_all_others() {
    let mut cluster = with_carl();
    cluster.log_in(RIGHT, OTHER, "4712");
    for session in [OTHER, LATER] {
        cluster.enter(RIGHT, session, "carl");
        cluster.settle();
        assert_eq!(cluster.received(session), ["refused: NameTaken"]);
    }
    cluster.send(CARL, "still here");
    cluster.settle();
    assert_eq!(cluster.received(CARL).last().map(String::as_str), Some("sent"));
}

/// The token of Carl's membership is stolen. While he is in the room, the name is his; afterwards
/// the thief is a newcomer, for whom no whisper was.
#[test]
fn a_stolen_token_of_a_membership_proves_nothing() {
    let mut cluster = with_carl();
    cluster.disconnect(CARL);
    cluster.whisper(ANN, "carl", "psst");
    cluster.send(ANN, "to all");
    cluster.settle();
    cluster.log_in(RIGHT, OTHER, "4712");
    cluster.resume(RIGHT, CARL, OTHER, "carl");
    cluster.settle();
    assert_eq!(cluster.received(OTHER), ["refused: NameTaken"]);
    // Carl's session is held no longer.
    cluster.advance(2_000);
    cluster.resume(RIGHT, CARL, OTHER, "carl");
    cluster.settle();
    assert_eq!(cluster.received(OTHER).last().map(String::as_str), Some("entered: ann bob carl; ann: to all"));
    cluster.log_in(LEFT, LATER, "4711");
    cluster.resume(LEFT, CARL, LATER, "carl");
    cluster.settle();
    assert_eq!(cluster.received(LATER), ["refused: NameTaken"]);
}
