//! Who is asked about a room: homes that are dead, or are taken for dead, and lists that change here before there.

use super::scripted_cluster::Stage;
use super::transit::What::{Appends, Between};
use super::{ANN, BOB, CANDIDATE, HOME, LEFT, RIGHT};

/// ```text
/// ann, bob       home            candidate      log
///                dies
///   (silence)                    │◄─ attach ─ left, right
///                                │ open ───────►3
///  bob leaves ──────────────────►│ leave ──────►4
///  ann: -bob ◄───────────────────│
/// ```
/// Were rooms asked for elsewhere only when somebody speaks, Ann would not hear that Bob goes: her connector would follow a dead
/// server.
#[test]
fn a_silent_room() {
    let mut stage = Stage::with_ann_and_bob();
    stage.kill(HOME);
    stage.pass(3_000);
    assert_eq!(stage.appenders(), [CANDIDATE], "it is followed there before anything happens");
    assert!(stage.told(ANN).is_empty() && stage.told(BOB).is_empty() && stage.log().is_empty());
    stage.leave(BOB);
    stage.settle();
    assert_eq!((stage.told(BOB), stage.told(ANN)), (&["left".to_owned()][..], &["-bob".to_owned()][..]));
    assert_eq!(stage.log(), ["-bob"]);
    assert!(stage.is_settled());
}

/// ```text
/// right                  home          candidate
///  ✗ hears nothing of it
///  one ───────────────────────────────►│ is it there? ──► home: yes
///  ◄───────────────────── not the owner│
///  hears it again
///  one ─────────────────►│ append
/// ```
/// Did the candidate believe connectors, one that hears badly would take rooms away from a home that lives.
#[test]
fn a_wrong_verdict() {
    let mut stage = Stage::with_ann_and_bob();
    stage.lose(Between(HOME, RIGHT));
    stage.pass(2_000);
    stage.say(BOB, "one");
    stage.say(ANN, "two");
    stage.pass(1_000);
    assert_eq!(stage.told(ANN), ["ann: two", "sent"]);
    assert!(stage.told(BOB).is_empty(), "nobody may say it");
    stage.find(Between(HOME, RIGHT));
    stage.pass(900);
    assert_eq!(stage.told(BOB), ["ann: two", "bob: one", "sent"]);
    assert_eq!(stage.log(), ["ann: two", "bob: one"]);
    assert!(stage.appenders().iter().all(|owner| *owner == HOME));
    assert!(stage.is_settled());
}

/// The home is taken out of the list, and the connectors see it first: they ask the new home, which sends them away as long as the
/// old one is there for all it knows. What is said meanwhile is said when the new home sees it, too, and before its deadline.
///
/// Did it accept at once, any server with an old list would take rooms from those with a new one.
#[test]
fn a_change_seen_by_connectors_first() {
    let mut stage = Stage::with_ann_and_bob();
    let rest = [0, 1];
    stage.connector_sees(LEFT, &rest);
    stage.connector_sees(RIGHT, &rest);
    stage.say(ANN, "one");
    stage.pass(1_000);
    assert!(stage.log().is_empty() && stage.told(ANN).is_empty(), "nobody owns the room");
    (0..=HOME).for_each(|chat| stage.chat_sees(chat, &rest));
    stage.pass(900);
    assert_eq!(stage.told(ANN), ["ann: one", "sent"]);
    assert_eq!(stage.told(BOB), ["ann: one"]);
    assert_eq!(stage.log(), ["ann: one"]);
    assert!(stage.appenders().iter().all(|owner| *owner == CANDIDATE));
    stage.pass(3_000);
    assert!(stage.is_settled());
}

/// The home is taken out of the list, and chat servers see it first: the old home lets go as soon as it finds that the new one is
/// there, an append under way or not, and sends away whoever asks. Connectors ask the new one when they see the list.
///
/// Would the old home go on until nobody asks it, two connectors with two lists would keep two owners.
#[test]
fn a_change_seen_by_chat_servers_first() {
    let mut stage = Stage::with_ann_and_bob();
    let rest = [0, 1];
    stage.hold(Appends(HOME));
    stage.say(ANN, "one");
    stage.settle();
    (0..=HOME).for_each(|chat| stage.chat_sees(chat, &rest));
    stage.release(Appends(HOME));
    stage.say(BOB, "two");
    stage.pass(1_000);
    assert_eq!(stage.log(), ["ann: one"], "what was under way is said; the old home says nothing more");
    stage.connector_sees(RIGHT, &rest);
    stage.pass(200);
    assert_eq!(stage.told(BOB), ["ann: one", "bob: two", "sent"]);
    stage.connector_sees(LEFT, &rest);
    stage.pass(500);
    assert_eq!(stage.told(ANN), ["ann: one", "sent", "bob: two"]);
    assert_eq!(
        (stage.log(), stage.appenders().last()),
        (vec!["ann: one".to_owned(), "bob: two".to_owned()], Some(&CANDIDATE))
    );
    stage.pass(3_000);
    assert!(stage.is_settled());
}
