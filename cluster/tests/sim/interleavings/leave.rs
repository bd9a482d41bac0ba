//! Coming and going whose outcomes come late, or from a record that is not seen.

use super::scripted_cluster::Stage;
use super::transit::What::{Between, Histories, Readings, Records};
use super::{ANN, BOB, CANDIDATE, CARL, HOME, LEFT};

/// Ann asks to leave and to enter again, and is told of neither what came of it: for her connector she is in no room. The room
/// heard her asking to come back, and she still hears what goes on, since her leaving was not said.
///
/// Would hearing be taken for being here, Ann would stay in the room for ever, also when she is gone.
#[test]
fn leaving_and_entering_again_both_unknown() {
    let mut stage = Stage::with_ann_and_bob();
    (0..3).for_each(|chat| stage.lose(Between(chat, LEFT)));
    stage.leave(ANN);
    stage.enter(LEFT, ANN, "ann");
    stage.pass(2_100);
    assert_eq!(stage.told(ANN), ["unknown", "unknown"]);
    (0..3).for_each(|chat| stage.find(Between(chat, LEFT)));
    stage.pass(4_000);
    stage.close(ANN);
    stage.pass(4_000);
    assert_eq!(stage.log().last().map(String::as_str), Some("-ann"));
    assert_eq!(stage.told(BOB).last().map(String::as_str), Some("-ann"));
    assert!(stage.is_settled());
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
/// Were Carl told who is here before it is known who came and went unseen, he would not be among them, and hear of his own coming.
#[test]
fn entering_by_a_record_that_is_gone() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Records(HOME, LEFT));
    stage.enter(LEFT, CARL, "carl");
    stage.settle();
    stage.outlive_records(BOB);
    stage.pass(1_500);
    assert_eq!(stage.told(ANN), ["gap", "+carl"]);
    assert_eq!(stage.told(CARL), ["entered: ann bob carl"]);
    assert!(stage.is_settled());
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
/// Were the question repeated from where its answer ends, Ann would be given "one" a second time; were it repeated at once, she
/// and a home that is cut off from the log would keep each other busy.
#[test]
fn coming_back_while_a_stale_home_wakes_up() {
    let back = 4;
    let mut stage = Stage::with_ann_and_bob();
    stage.sleep(HOME);
    stage.pass(2_000);
    stage.say(BOB, "one");
    stage.settle();
    stage.lose_client(ANN);
    stage.say(BOB, "two");
    stage.settle();
    stage.lose(Histories(LEFT, CANDIDATE));
    stage.come_back(LEFT, ANN, back, "ann");
    stage.settle();
    stage.hold(Readings(HOME));
    stage.wake(HOME);
    stage.pass(1_000);
    assert!(stage.told(back).is_empty(), "the home does not know what she missed");
    stage.release(Readings(HOME));
    stage.pass(500);
    assert_eq!(stage.told(ANN), ["bob: one"]);
    assert_eq!(stage.told(back), ["entered: ann bob; bob: two"]);
    assert!(stage.is_settled());
}
