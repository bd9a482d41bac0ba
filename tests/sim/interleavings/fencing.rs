//! Two chat servers that append to one room: the log has one chain, and the one that is refused
//! reads again.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::{Appends, Between, Probes, Proposals, Records};
use super::{ANN, BOB, CANDIDATE, CARL, HOME, LEFT, RIGHT};

/// ```text
/// ann     home                     candidate         log
///  one ───►│ append behind 2 ─ ─ ─ ─ ┐                2
///          sleeps                    ┊ │ read ───────►2
///                                    └ ┊ ─ ─ ─ ─ ─ ─ ►3: one
///                                      │ append behind 2, refused
///                                      │ read ───────►3
/// ```
/// If an append were taken without its expectation, the candidate's record would follow 2: the room
/// would have two chains, and "one" would be committed a second time by Ann's repeated proposal.
#[test]
fn commit_after_the_candidates_read() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.hold(Appends(HOME));
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.sleep(HOME);
    cluster.hold(Appends(CANDIDATE));
    cluster.advance(1_500);
    assert_eq!((cluster.holds(Appends(HOME)), cluster.holds(Appends(CANDIDATE))), (1, 1));
    cluster.release(Appends(HOME));
    cluster.release(Appends(CANDIDATE));
    cluster.advance(400);
    let is_as_it_must_be = |cluster: &ScriptedCluster| {
        assert_eq!(cluster.received(ANN), ["ann: one", "sent"]);
        assert_eq!(cluster.received(BOB), ["ann: one"]);
        assert_eq!(cluster.log(), ["ann: one"]);
    };
    is_as_it_must_be(&cluster);
    // What the home learns when it wakes up changes nothing.
    cluster.wake(HOME);
    cluster.advance(3_000);
    is_as_it_must_be(&cluster);
    assert!(cluster.is_settled());
}

/// ```text
/// left          home                     candidate       right
///  one ────────►│ append, yes
///  ◄─── sent ───│ ─ ─ record ─ ─ ✗ lost
///               dies
///                                        │◄──── attach ──│
///                                        │──── record ──►│ one
/// ```
/// If records went to followers only, Bob would not receive the message that was acknowledged to
/// Ann.
#[test]
fn death_between_answer_and_publish() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Records(HOME, RIGHT));
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.kill(HOME);
    assert_eq!(cluster.received(ANN), ["ann: one", "sent"]);
    assert!(cluster.received(BOB).is_empty());
    cluster.advance(3_000);
    assert_eq!(cluster.received(BOB), ["ann: one"]);
    assert_eq!((cluster.log(), cluster.appenders()), (vec!["ann: one".to_owned()], vec![HOME, CANDIDATE]));
    assert!(cluster.is_settled());
}

/// The same, and the right connector follows nothing when the room's owner dies: it has left the
/// list of followers with a message that was held up. That it has a member in the room is enough
/// for the first record of the candidate to go there.
#[test]
fn death_before_a_follower_is_informed_and_the_heir_names_it() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Between(HOME, RIGHT));
    cluster.hold(Between(CANDIDATE, RIGHT));
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.kill(HOME);
    cluster.stop_losing(Between(HOME, RIGHT));
    cluster.advance(1_500);
    // Of all that the candidate sent to Bob's connector, only its record arrives.
    let records = cluster.holds(Records(CANDIDATE, RIGHT));
    assert_eq!(records, 1, "the heir's first record goes to all who have members");
    cluster.release(Between(CANDIDATE, RIGHT));
    cluster.advance(2_000);
    assert_eq!(cluster.received(BOB), ["ann: one"]);
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
/// If a late copy of a proposal were decided again, or by a state that is not the log's last, Carl
/// would be in the room again, and no client could make him leave.
#[test]
fn a_stale_home_that_gets_a_join() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.hold(Proposals(LEFT, HOME));
    cluster.enter(LEFT, CARL, "carl");
    cluster.settle();
    cluster.sleep(HOME);
    cluster.advance(1_900);
    assert_eq!(cluster.received(CARL), ["entered: ann bob carl"]);
    cluster.leave(CARL);
    cluster.advance(50);
    // It wakes up to the join, before a message from a server that knows better.
    cluster.lose(Between(HOME, RIGHT));
    assert!(cluster.holds(Proposals(LEFT, HOME)) > 0);
    cluster.release(Proposals(LEFT, HOME));
    cluster.wake(HOME);
    cluster.advance(3_000);
    cluster.stop_losing(Between(HOME, RIGHT));
    cluster.advance(3_000);
    assert_eq!(cluster.received(CARL), ["entered: ann bob carl", "left"]);
    for who in [ANN, BOB] {
        assert_eq!(cluster.received(who), ["+carl", "-carl"]);
    }
    assert_eq!(cluster.log(), ["+carl", "-carl"]);
    assert!(cluster.is_settled());
}

/// Neither the right connector nor the candidate receives from the home: one asks the other, and
/// both own the room. Each message on one side ends the other's activation, and that one reads
/// again with its next request. The duel lasts only while messages are sent on both sides, and each
/// costs two reads at most. It is over before the home suspects the right connector.
///
/// If a refused owner appended again at once, to have the room back, the two would never end. If it
/// refused what waits instead of reading, messages would be unknown to their senders.
#[test]
fn two_owners_fencing_each_other() {
    const ROUNDS: u64 = 10;
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Between(HOME, RIGHT));
    cluster.lose(Probes(HOME));
    cluster.advance(1_500);
    let before = cluster.activations();
    for round in 0..ROUNDS {
        cluster.send(ANN, &format!("left {round}"));
        cluster.send(BOB, &format!("right {round}"));
        cluster.advance(500);
    }
    cluster.advance(500);
    let sent =
        |cluster: &ScriptedCluster, who| cluster.received(who).iter().filter(|text| *text == "sent").count() as u64;
    assert_eq!((sent(&cluster, ANN), sent(&cluster, BOB)), (ROUNDS, ROUNDS));
    let duels = cluster.activations() - before;
    assert!((ROUNDS..=4 * ROUNDS).contains(&duels), "{duels} activations for {} messages", 2 * ROUNDS);
    assert!(cluster.appenders().contains(&HOME) && cluster.appenders().contains(&CANDIDATE), "both own the room");
    let quiet = cluster.activations();
    cluster.advance(2_000);
    assert_eq!(cluster.activations(), quiet, "without messages no owner is fenced");
    heal_links(&mut cluster);
    for who in [ANN, BOB] {
        let received: Vec<&String> = cluster.received(who).iter().filter(|text| *text != "sent").collect();
        assert_eq!(received, cluster.log().iter().collect::<Vec<_>>());
    }
}

/// All links carry messages again: the home has the room for itself.
fn heal_links(cluster: &mut ScriptedCluster) {
    cluster.stop_losing(Between(HOME, RIGHT));
    cluster.stop_losing(Probes(HOME));
    cluster.advance(3_000);
    cluster.send(BOB, "together");
    cluster.settle();
    let last = cluster.activations();
    cluster.advance(5_000);
    assert_eq!(cluster.appenders().last(), Some(&HOME));
    assert_eq!(cluster.activations(), last, "no other server wants the room");
    assert!(cluster.is_settled());
}
