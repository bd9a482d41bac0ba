//! Requests that a connector takes together.

use super::scripted_cluster::ScriptedCluster;
use super::{ANN, LEFT};

/// ```text
/// left              home      log
///  one, two, three
///  ────────────────►│────────►3: one, two, three
/// ```
/// If proposals were made as requests come, "one" would go alone, and the others would wait for it:
/// all members would get two pushes in two writes.
#[test]
fn what_comes_together_is_decided_and_pushed_together() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.gather(LEFT);
    for text in ["one", "two", "three"] {
        cluster.send(ANN, text);
    }
    cluster.settle();
    assert!(cluster.log().is_empty(), "nothing is proposed while more may come");
    cluster.propose(LEFT);
    cluster.settle();
    assert_eq!(cluster.log(), ["ann: one", "ann: two", "ann: three"]);
    assert_eq!(cluster.appenders().len(), 1, "one record");
    assert!(cluster.is_settled());
}

/// A proposal in flight is repeated also while requests are batched, and the batch waits for it.
#[test]
fn a_batch_waits_for_the_proposal_in_flight() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.send(ANN, "one");
    cluster.gather(LEFT);
    cluster.send(ANN, "two");
    cluster.propose(LEFT);
    cluster.settle();
    assert_eq!(cluster.log(), ["ann: one", "ann: two"]);
    assert!(cluster.is_settled());
}
