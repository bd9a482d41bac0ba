//! Two chat servers that append to one room: the log has one chain, and whoever is refused reads again.

use super::scripted_cluster::Stage;
use super::transit::What::{Appends, Between, Probes, Proposals, Records};
use super::{ANN, BOB, CANDIDATE, CARL, HOME, LEFT, RIGHT};

/// ```text
/// ann     home                     candidate         log
///  one ───►│ append behind 2 ─ ─ ─ ─ ┐                2
///          sleeps                    ┊ │ read ───────►2
///                                    └ ┊ ─ ─ ─ ─ ─ ─ ►3: one
///                                      │ append behind 2, refused
///                                      │ read ───────►3
/// ```
/// Were an append taken without its expectation, the candidate's record would go on from 2: the room would have two chains, and
/// "one" would be said a second time by Ann's repeated proposal.
#[test]
fn commit_after_the_candidates_read() {
    let mut stage = Stage::with_ann_and_bob();
    stage.hold(Appends(HOME));
    stage.say(ANN, "one");
    stage.settle();
    stage.sleep(HOME);
    stage.hold(Appends(CANDIDATE));
    stage.pass(1_500);
    assert_eq!((stage.holds(Appends(HOME)), stage.holds(Appends(CANDIDATE))), (1, 1));
    stage.release(Appends(HOME));
    stage.release(Appends(CANDIDATE));
    stage.pass(400);
    let is_as_it_must_be = |stage: &Stage| {
        assert_eq!(stage.told(ANN), ["ann: one", "sent"]);
        assert_eq!(stage.told(BOB), ["ann: one"]);
        assert_eq!(stage.log(), ["ann: one"]);
    };
    is_as_it_must_be(&stage);
    // What the home learns when it wakes up changes nothing.
    stage.wake(HOME);
    stage.pass(3_000);
    is_as_it_must_be(&stage);
    assert!(stage.is_settled());
}

/// ```text
/// left          home                     candidate       right
///  one ────────►│ append, yes
///  ◄─── sent ───│ ─ ─ record ─ ─ ✗ lost
///               dies
///                                        │◄──── attach ──│
///                                        │──── record ──►│ one
/// ```
/// Were only those told who follow when something is said, Bob would not hear what Ann was told is said.
#[test]
fn death_between_answer_and_publish() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Records(HOME, RIGHT));
    stage.say(ANN, "one");
    stage.settle();
    stage.kill(HOME);
    assert_eq!(stage.told(ANN), ["ann: one", "sent"]);
    assert!(stage.told(BOB).is_empty());
    stage.pass(3_000);
    assert_eq!(stage.told(BOB), ["ann: one"]);
    assert_eq!((stage.log(), stage.appenders()), (vec!["ann: one".to_owned()], vec![HOME, CANDIDATE]));
    assert!(stage.is_settled());
}

/// The same, and the right connector follows nothing when the room's owner dies: it has left the list of followers with a message
/// that was held up. That it has a member in the room is enough for the first record of the candidate to go there.
#[test]
fn death_before_a_follower_is_told_and_the_heir_names_it() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Between(HOME, RIGHT));
    stage.hold(Between(CANDIDATE, RIGHT));
    stage.say(ANN, "one");
    stage.settle();
    stage.kill(HOME);
    stage.find(Between(HOME, RIGHT));
    stage.pass(1_500);
    // Of all that the candidate sent to Bob's connector, only its record arrives.
    let records = stage.holds(Records(CANDIDATE, RIGHT));
    assert_eq!(records, 1, "the heir's first record goes to all who have members");
    stage.release(Between(CANDIDATE, RIGHT));
    stage.pass(2_000);
    assert_eq!(stage.told(BOB), ["ann: one"]);
}

/// ```text
/// carl    home                     candidate         log
///  enter ─►  ─ ─ ─ (under way) ─ ─ ┐
///          sleeps                  ┊ │ join ────────►3: +carl
///  leave ──────────────────────────┊►│ leave ───────►4: -carl
///          wakes, knows 2  ◄─ ─ ─ ─┘
///          append behind 2, refused
///          read ────────────────────────────────────►4: decided already
/// ```
/// Were a late copy of a proposal decided again, or by a state that is not the log's last, Carl would be in the room again, whom
/// nobody could make leave.
#[test]
fn a_stale_home_that_gets_a_join() {
    let mut stage = Stage::with_ann_and_bob();
    stage.hold(Proposals(LEFT, HOME));
    stage.enter(LEFT, CARL, "carl");
    stage.settle();
    stage.sleep(HOME);
    stage.pass(1_900);
    assert_eq!(stage.told(CARL), ["entered: ann bob carl"]);
    stage.leave(CARL);
    stage.pass(50);
    // It wakes up to the join, before it hears from anybody who knows better.
    stage.lose(Between(HOME, RIGHT));
    assert!(stage.holds(Proposals(LEFT, HOME)) > 0);
    stage.release(Proposals(LEFT, HOME));
    stage.wake(HOME);
    stage.pass(3_000);
    stage.find(Between(HOME, RIGHT));
    stage.pass(3_000);
    assert_eq!(stage.told(CARL), ["entered: ann bob carl", "left"]);
    for who in [ANN, BOB] {
        assert_eq!(stage.told(who), ["+carl", "-carl"]);
    }
    assert_eq!(stage.log(), ["+carl", "-carl"]);
    assert!(stage.is_settled());
}

/// The right connector does not hear the home, and nor does the candidate: one asks the other, and both own the room. Whatever is
/// said on one side ends the other's activation, and that one reads again when it is asked again. It is a duel only while
/// people speak on both sides, and each message costs two readings at most. It is over before the home takes the right connector
/// for gone.
///
/// Would who is refused append again at once, to have the room back, the two would never end; would it refuse what waits instead of
/// reading, messages would be unknown to their senders.
#[test]
fn two_owners_fencing_each_other() {
    const ROUNDS: u64 = 10;
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Between(HOME, RIGHT));
    stage.lose(Probes(HOME));
    stage.pass(1_500);
    let before = stage.activations();
    for round in 0..ROUNDS {
        stage.say(ANN, &format!("left {round}"));
        stage.say(BOB, &format!("right {round}"));
        stage.pass(500);
    }
    stage.pass(500);
    let sent = |stage: &Stage, who| stage.told(who).iter().filter(|told| *told == "sent").count() as u64;
    assert_eq!((sent(&stage, ANN), sent(&stage, BOB)), (ROUNDS, ROUNDS));
    let duels = stage.activations() - before;
    assert!((ROUNDS..=4 * ROUNDS).contains(&duels), "{duels} activations for {} messages", 2 * ROUNDS);
    assert!(stage.appenders().contains(&HOME) && stage.appenders().contains(&CANDIDATE), "both own the room");
    let quiet = stage.activations();
    stage.pass(2_000);
    assert_eq!(stage.activations(), quiet, "nobody speaks, so nobody fences");
    come_together(&mut stage);
    for who in [ANN, BOB] {
        let heard: Vec<&String> = stage.told(who).iter().filter(|told| *told != "sent").collect();
        assert_eq!(heard, stage.log().iter().collect::<Vec<_>>());
    }
}

/// All hear each other again: the home has the room for itself.
fn come_together(stage: &mut Stage) {
    stage.find(Between(HOME, RIGHT));
    stage.find(Probes(HOME));
    stage.pass(3_000);
    stage.say(BOB, "together");
    stage.settle();
    let last = stage.activations();
    stage.pass(5_000);
    assert_eq!(stage.appenders().last(), Some(&HOME));
    assert_eq!(stage.activations(), last, "nobody else wants the room");
    assert!(stage.is_settled());
}
