//! Coming and going whose outcomes come late, or from a record that is not seen.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::{Between, Histories, Readings, Records};
use super::{ANN, BOB, CANDIDATE, CARL, HOME, LEFT};

/// Ann leaves and enters again, and both outcomes are unknown to her: for her connector she is in
/// no room. The room got her second `enter`, and she still gets pushes, since her leave was not
/// committed.
///
/// If a pushed message were taken for a membership, Ann would stay in the room for ever, also when
/// she is gone.
#[test]
fn leaving_and_entering_again_both_unknown() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    (0..3).for_each(|chat| cluster.lose(Between(chat, LEFT)));
    cluster.leave(ANN);
    cluster.enter(LEFT, ANN, "ann");
    cluster.advance(2_100);
    assert_eq!(cluster.received(ANN), ["unknown", "unknown"]);
    (0..3).for_each(|chat| cluster.stop_losing(Between(chat, LEFT)));
    cluster.advance(4_000);
    cluster.close(ANN);
    cluster.advance(4_000);
    assert_eq!(cluster.log().last().map(String::as_str), Some("-ann"));
    assert_eq!(cluster.received(BOB).last().map(String::as_str), Some("-ann"));
    assert!(cluster.is_settled());
}

/// ```text
/// left             home                            log            candidate
///  carl enters ───►│ append ────────────────────►3: +carl
///        lost ✗ ◄──│
///                  │ what Bob says ─────────────►4, 5, ...
///                  dies                          3, 4, .. removed
///  attach ───────────────────────────────────────────────────────►│
///  ◄──────────────────────────────────────────────── the state ───│
/// ```
/// If Carl got the member list before the unseen joins and leaves are known, he would not be in it,
/// and would get his own join.
#[test]
fn entering_by_a_record_that_is_gone() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Records(HOME, LEFT));
    cluster.enter(LEFT, CARL, "carl");
    cluster.settle();
    cluster.evict_records(BOB);
    cluster.advance(1_500);
    assert_eq!(cluster.received(ANN), ["gap", "+carl"]);
    assert_eq!(cluster.received(CARL), ["entered: ann bob carl"]);
    assert!(cluster.is_settled());
}

/// ```text
/// left               home                candidate
///                    sleeps, knows 2     │ one, two
///  ann comes back ──────────────────────►│ takes her over
///  what did she miss ─ ─ ─ ─ ─ ─ ─ ─ ─ ✗ │
///                    wakes, knows 2
///  what did she miss ►│ nothing up to 2
///  behind 2? ✗        since Ann knows "one", and is not to hear it again
/// ```
/// If the request were repeated from where its response ends, Ann would get "one" a second time. If
/// it were repeated at once, she and a home that is cut off from the log would keep each other
/// busy.
#[test]
fn coming_back_while_a_stale_home_wakes_up() {
    let back = 4;
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.sleep(HOME);
    cluster.advance(2_000);
    cluster.send(BOB, "one");
    cluster.settle();
    cluster.disconnect(ANN);
    cluster.send(BOB, "two");
    cluster.settle();
    cluster.lose(Histories(LEFT, CANDIDATE));
    cluster.resume(LEFT, ANN, back, "ann");
    cluster.settle();
    cluster.hold(Readings(HOME));
    cluster.wake(HOME);
    cluster.advance(1_000);
    assert!(cluster.received(back).is_empty(), "the home does not know what she missed");
    cluster.release(Readings(HOME));
    cluster.advance(500);
    assert_eq!(cluster.received(ANN), ["bob: one"]);
    assert_eq!(cluster.received(back), ["entered: ann bob; bob: two"]);
    assert!(cluster.is_settled());
}
