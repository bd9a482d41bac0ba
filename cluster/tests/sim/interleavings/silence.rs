//! Connectors that are silent, or seem to be.

use super::scripted_cluster::Stage;
use super::transit::What::Between;
use super::{ANN, BOB, RIGHT};

/// ```text
/// left              home               right
///            the broker is away for 15 s
///  attach ─────────►│
///                   │ ◄ ─ ─ ─ (later) ─ │
/// ```
/// No chat server heard a connector for longer than `room.lease_secs`, and none could have. If they counted the time that went
/// by, Bob would leave the room as soon as the home is back.
#[test]
fn silence_counts_only_while_it_could_be_broken() {
    let mut stage = Stage::with_ann_and_bob();
    stage.cut();
    stage.pass(15_000);
    (0..3).for_each(|chat| stage.lose(Between(chat, RIGHT)));
    stage.reconnect();
    stage.pass(2_000);
    (0..3).for_each(|chat| stage.find(Between(chat, RIGHT)));
    stage.pass(3_000);
    assert!(stage.log().is_empty(), "{:?}", stage.log());
    assert!(stage.told(ANN).is_empty() && stage.told(BOB).is_empty());
    assert!(stage.is_settled());
}
