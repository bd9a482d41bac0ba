//! Connectors that are silent, or seem to be.

use super::scripted_cluster::ScriptedCluster;
use super::transit::Selector::Between;
use super::{ANN, BOB, RIGHT};

/// ```text
/// left              home               right
///            the broker is away for 15 s
///  attach ─────────►│
///                   │ ◄ ─ ─ ─ (later) ─ │
/// ```
/// No chat server received from a connector for longer than `room.lease_secs`, and none could have.
/// If they counted that time, Bob would leave the room as soon as the home is back.
#[test]
fn silence_counts_only_while_it_could_be_broken() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.cut();
    cluster.advance(15_000);
    (0..3).for_each(|chat| cluster.lose(Between(chat, RIGHT)));
    cluster.reconnect();
    cluster.advance(2_000);
    (0..3).for_each(|chat| cluster.stop_losing(Between(chat, RIGHT)));
    cluster.advance(3_000);
    assert!(cluster.log().is_empty(), "{:?}", cluster.log());
    assert!(cluster.received(ANN).is_empty() && cluster.received(BOB).is_empty());
    assert!(cluster.is_settled());
}
