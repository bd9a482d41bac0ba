//! Servers that end in order: others go on at once, and nobody else notices.

use super::scripted_cluster::Stage;
use super::transit::What::Appends;
use super::{ANN, BOB, CANDIDATE, HOME, LEFT, RIGHT};

/// ```text
/// right      home              candidate        log
///            is asked to end
///  ◄─ leaves │
///  one ───────────────────────►│ is it there? ──► home: I leave
///                              │ append ────────►3: one
///  ◄──────────────────── one ──│
/// ```
/// Were the home found to be gone by its silence, Bob would wait for two heartbeats.
#[test]
fn a_room_is_taken_over_without_any_time_passing() {
    let mut stage = Stage::with_ann_and_bob();
    stage.stop(HOME);
    stage.say(BOB, "one");
    stage.settle();
    assert_eq!((stage.told(ANN), stage.told(BOB)), (&["bob: one".to_owned()][..], &owned(["bob: one", "sent"])[..]));
    assert!(stage.appenders().iter().all(|owner| *owner == CANDIDATE));
    assert!(stage.has_left(HOME));
    stage.kill(HOME);
    stage.pass(3_000);
    assert_eq!(stage.log(), ["bob: one"]);
    assert!(stage.is_settled());
}

/// ```text
/// left         home                  candidate        log
///  one ───────►│ append behind 2 ─ ─ ─ ─ ─ ┐
///              is asked to end             ┊
///  one, again ──────────────────────►│     ┊
///              may not end             └ ─ ─ ─ ─ ─ ─ ►3: one
/// ```
/// Did the home end with its append under way, nobody would know what came of it; would it not be fenced, "one" would be said twice.
#[test]
fn an_append_is_under_way_when_the_home_is_asked_to_end() {
    let mut stage = Stage::with_ann_and_bob();
    stage.hold(Appends(HOME));
    stage.say(ANN, "one");
    stage.settle();
    stage.stop(HOME);
    assert!(!stage.has_left(HOME), "its append is under way");
    stage.say(BOB, "two");
    stage.settle();
    stage.release(Appends(HOME));
    stage.pass(100);
    assert!(stage.has_left(HOME));
    stage.kill(HOME);
    stage.pass(3_000);
    let mut said = stage.log();
    said.sort_unstable();
    assert_eq!(said, ["ann: one", "bob: two"]);
    assert!(stage.told(ANN).contains(&"sent".to_owned()) && stage.told(BOB).contains(&"sent".to_owned()));
    assert!(stage.is_settled());
}

/// ```text
/// left                          right
///  is asked to end
///  Ann's connection is closed
///                               │◄─ Ann comes back
/// ```
/// Ann said that she comes back when she is sent elsewhere, so Bob hears neither of her going nor of her coming.
#[test]
fn a_client_that_is_sent_elsewhere_comes_back_unnoticed() {
    let (first, back) = (4, 5);
    let mut stage = Stage::with_ann_and_bob();
    // A token says that she resumes.
    stage.lose_client(ANN);
    stage.come_back(LEFT, ANN, first, "ann");
    stage.settle();
    stage.drain(LEFT);
    stage.close(first);
    stage.say(BOB, "one");
    stage.pass(1_000);
    stage.come_back(RIGHT, first, back, "ann");
    stage.pass(3_000);
    assert_eq!(stage.told(back), ["entered: ann bob; bob: one"]);
    assert_eq!(stage.told(BOB), ["bob: one", "sent"]);
    assert!(stage.is_settled());
}

fn owned<const N: usize>(texts: [&str; N]) -> [String; N] {
    texts.map(str::to_owned)
}
