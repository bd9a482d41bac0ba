//! Requests that a connector takes together.

use super::scripted_cluster::Stage;
use super::{ANN, LEFT};

/// ```text
/// left              home      log
///  one, two, three
///  ────────────────►│────────►3: one, two, three
/// ```
/// Proposed as they come, "one" would go alone, and the others wait for it: everybody would be told, and written to, twice.
#[test]
fn what_comes_together_is_decided_and_told_together() {
    let mut stage = Stage::with_ann_and_bob();
    stage.gather(LEFT);
    for text in ["one", "two", "three"] {
        stage.say(ANN, text);
    }
    stage.settle();
    assert!(stage.log().is_empty(), "nothing is proposed while more may come");
    stage.propose(LEFT);
    stage.settle();
    assert_eq!(stage.log(), ["ann: one", "ann: two", "ann: three"]);
    assert_eq!(stage.appenders().len(), 1, "one record");
    assert!(stage.is_settled());
}

/// What is in flight when requests are gathered is repeated all the same, and what was gathered waits for it.
#[test]
fn what_is_gathered_waits_for_what_is_in_flight() {
    let mut stage = Stage::with_ann_and_bob();
    stage.say(ANN, "one");
    stage.gather(LEFT);
    stage.say(ANN, "two");
    stage.propose(LEFT);
    stage.settle();
    assert_eq!(stage.log(), ["ann: one", "ann: two"]);
    assert!(stage.is_settled());
}
