//! Clients that come back twice: which session enters the stay, and which is ended.

use super::parcel::What::{Proposals, Records};
use super::stage::Stage;
use super::{ANN, CARL, HOME, LEFT, RIGHT};

/// Ann when she comes back through another session.
const BACK: u64 = 5;

/// Ann when she comes back through a third one.
const LATER: u64 = 6;

/// ```text
/// left          home                               right
///  ann, held    │ ◄───────────── ann comes back ───│ (under way: early)
///  ◄─ ann comes back again: 0, 1, 2, ... ──────────│ ✗
///               dies                               its records: removed
///               ◄─ ann comes back, early ──────────│ from the state
/// ```
/// The right connector is given a state instead of the records that tell that another session entered her stay. If it asked
/// again from there, "early" would stand behind what Ann said later.
#[test]
fn coming_back_is_overtaken_in_records_that_are_gone() {
    let mut stage = Stage::with_ann_and_bob();
    stage.enter(RIGHT, CARL, "carl");
    stage.settle();
    stage.lose_client(ANN);
    stage.hold(Proposals(RIGHT, HOME));
    stage.lose(Records(HOME, RIGHT));
    stage.come_back(RIGHT, ANN, BACK, "ann");
    stage.say(BACK, "early");
    stage.settle();
    stage.come_back(LEFT, ANN, LATER, "ann");
    stage.settle();
    for number in 0..20 {
        stage.say(LATER, &format!("{number}"));
        stage.settle();
    }
    stage.kill(HOME);
    stage.forget();
    stage.pass(1_500);
    assert_eq!(stage.log().last().map(String::as_str), Some("ann: 19"));
    assert_eq!(stage.told(LATER).last().map(String::as_str), Some("sent"), "{:?}", stage.told(LATER));
    assert!(stage.told(BACK).contains(&"closed".to_owned()), "{:?}", stage.told(BACK));
}
