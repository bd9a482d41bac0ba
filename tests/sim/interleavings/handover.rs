//! Servers that stop gracefully: others go on at once, and no client notices.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::Appends;
use super::{ANN, BOB, CANDIDATE, HOME, LEFT, RIGHT};

/// ```text
/// right      home              candidate        log
///            is asked to end
///  ◄─ leaves │
///  one ───────────────────────►│ is it there? ──► home: I leave
///                              │ append ────────►3: one
///  ◄──────────────────── one ──│
/// ```
/// If only silence showed that the home is gone, Bob would wait for two heartbeats.
#[test]
fn a_room_is_taken_over_without_any_time_passing() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.stop(HOME);
    cluster.send(BOB, "one");
    cluster.settle();
    assert_eq!(
        (cluster.received(ANN), cluster.received(BOB)),
        (&["bob: one".to_owned()][..], &owned(["bob: one", "sent"])[..])
    );
    assert!(cluster.appenders().iter().all(|owner| *owner == CANDIDATE));
    assert!(cluster.has_left(HOME));
    cluster.kill(HOME);
    cluster.advance(3_000);
    assert_eq!(cluster.log(), ["bob: one"]);
    assert!(cluster.is_settled());
}

/// ```text
/// left         home                  candidate        log
///  one ───────►│ append behind 2 ─ ─ ─ ─ ─ ┐
///              is asked to end             ┊
///  one, again ──────────────────────►│     ┊
///              may not end             └ ─ ─ ─ ─ ─ ─ ►3: one
/// ```
/// If the home ended with its append in flight, the outcome would be unknown; if the append were
/// not fenced, "one" would be committed twice.
#[test]
fn an_append_is_under_way_when_the_home_is_asked_to_end() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.hold(Appends(HOME));
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.stop(HOME);
    assert!(!cluster.has_left(HOME), "its append is under way");
    cluster.send(BOB, "two");
    cluster.settle();
    cluster.release(Appends(HOME));
    cluster.advance(100);
    assert!(cluster.has_left(HOME));
    cluster.kill(HOME);
    cluster.advance(3_000);
    let mut said = cluster.log();
    said.sort_unstable();
    assert_eq!(said, ["ann: one", "bob: two"]);
    assert!(cluster.received(ANN).contains(&"sent".to_owned()) && cluster.received(BOB).contains(&"sent".to_owned()));
    assert!(cluster.is_settled());
}

/// ```text
/// left                          right
///  is asked to end
///  Ann's connection is closed
///                               │◄─ Ann comes back
/// ```
/// Ann's `enter` announced that she resumes, so Bob gets neither a leave nor a join.
#[test]
fn a_client_that_is_sent_elsewhere_comes_back_unnoticed() {
    let (first, back) = (4, 5);
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    // A token means that she resumes.
    cluster.disconnect(ANN);
    cluster.resume(LEFT, ANN, first, "ann");
    cluster.settle();
    cluster.drain(LEFT);
    cluster.close(first);
    cluster.send(BOB, "one");
    cluster.advance(1_000);
    cluster.resume(RIGHT, first, back, "ann");
    cluster.advance(3_000);
    assert_eq!(cluster.received(back), ["entered: ann bob; bob: one"]);
    assert_eq!(cluster.received(BOB), ["bob: one", "sent"]);
    assert!(cluster.is_settled());
}

fn owned<const N: usize>(texts: [&str; N]) -> [String; N] {
    texts.map(str::to_owned)
}
