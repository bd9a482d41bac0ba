//! Histories made by hand: a good one passes, and each way to break a promise is caught.

use super::{ViolationKind, are_departed_known, check, users_agree};
use crate::history::{Delivery, Entered, History, Observation, Resumed, text};

const EPOCH: u64 = 7;

fn delivery(seq: u64, from: &str, number: u64) -> Delivery {
    Delivery { seq, from: from.to_owned(), to: "*".to_owned(), text: text(from, number) }
}

fn whisper(seq: u64, from: &str, to: &str, number: u64) -> Delivery {
    Delivery { to: to.to_owned(), ..delivery(seq, from, number) }
}

fn received(seq: u64, from: &str, number: u64) -> Observation {
    Observation::Received(delivery(seq, from, number))
}

fn attempted(number: u64) -> Observation {
    Observation::Attempted { number, to: "*".to_owned() }
}

fn acknowledged(number: u64, seq: u64) -> Observation {
    Observation::Acknowledged { number, seq }
}

fn entered(seq: u64, users: &[&str]) -> Observation {
    let users = users.iter().map(|&user| user.to_owned()).collect();
    Observation::Entered(Entered { epoch: EPOCH, seq, users, ..Entered::default() })
}

fn resumed(since: u64, whole: bool, missed: &[Delivery], seq: u64) -> Observation {
    let users = ["ann", "bob"].map(str::to_owned).into();
    let resumed = Some(Resumed { since, epoch: EPOCH, whole });
    Observation::Entered(Entered { epoch: EPOCH, seq, users, missed: missed.to_vec(), resumed })
}

fn history(name: &str, observations: Vec<Observation>) -> History {
    History { name: name.to_owned(), room: "lobby".to_owned(), observations, is_member_at_end: true }
}

/// Ann sends two messages, and both members receive them.
fn good() -> [History; 2] {
    let ann = vec![
        entered(1_000, &["ann"]),
        Observation::MemberJoined("bob".to_owned()),
        attempted(1),
        attempted(2),
        received(3_000, "ann", 1),
        acknowledged(1, 3_000),
        acknowledged(2, 4_000),
        received(4_000, "ann", 2),
    ];
    let bob = vec![entered(2_000, &["ann", "bob"]), received(3_000, "ann", 1), received(4_000, "ann", 2)];
    [history("ann", ann), history("bob", bob)]
}

fn kinds(histories: &[History]) -> Vec<ViolationKind> {
    let mut kinds: Vec<ViolationKind> = check(histories).iter().map(|violation| violation.kind).collect();
    kinds.dedup();
    kinds
}

/// Returns the violations in the good history after a change.
fn changed(change: impl FnOnce(&mut History, &mut History)) -> Vec<ViolationKind> {
    let [mut ann, mut bob] = good();
    change(&mut ann, &mut bob);
    kinds(&[ann, bob])
}

#[test]
fn a_good_history_passes() {
    assert_eq!(kinds(&good()), []);
    assert!(users_agree(&good()));
}

#[test]
fn a_message_that_one_did_not_see_is_lost() {
    assert_eq!(changed(|_, bob| drop(bob.observations.pop())), [ViolationKind::Lost]);
    assert_eq!(changed(|_, bob| drop(bob.observations.remove(1))), [ViolationKind::Lost]);
}

#[test]
fn acknowledged_and_received_by_none_is_lost() {
    let unseen = |ann: &mut History, bob: &mut History| {
        ann.observations.pop();
        bob.observations.pop();
    };
    assert_eq!(changed(unseen), [ViolationKind::Lost]);
}

#[test]
fn a_user_who_left_misses_only_what_was_before() {
    let leaves_early = |_: &mut History, bob: &mut History| {
        bob.observations.pop();
        bob.observations.push(Observation::Left);
        bob.observations.push(entered(4_000, &["ann", "bob"]));
    };
    assert_eq!(changed(leaves_early), []);
    let leaves_with_a_hole = |_: &mut History, bob: &mut History| {
        bob.observations.remove(1);
        bob.observations.push(Observation::Left);
        bob.observations.push(entered(4_000, &["ann", "bob"]));
    };
    assert_eq!(changed(leaves_with_a_hole), [ViolationKind::Lost]);
}

#[test]
fn what_was_missed_counts_as_seen() {
    let whole = |_: &mut History, bob: &mut History| {
        bob.observations.truncate(1);
        bob.observations.push(Observation::Disconnected("cut".to_owned()));
        bob.observations.push(resumed(2_000, true, &[delivery(3_000, "ann", 1), delivery(4_000, "ann", 2)], 4_000));
    };
    assert_eq!(changed(whole), []);
    let incomplete = |_: &mut History, bob: &mut History| {
        bob.observations.truncate(1);
        bob.observations.push(resumed(2_000, true, &[delivery(4_000, "ann", 2)], 4_000));
    };
    assert_eq!(changed(incomplete), [ViolationKind::Lost]);
}

#[test]
fn what_is_declared_gone_is_not_lost() {
    let not_recovered = |_: &mut History, bob: &mut History| {
        bob.observations.truncate(1);
        bob.observations.push(resumed(2_000, false, &[], 4_000));
    };
    assert_eq!(changed(not_recovered), []);
    let gap = |_: &mut History, bob: &mut History| bob.observations[1] = Observation::Gap { to: 3_000, epoch: EPOCH };
    assert_eq!(changed(gap), []);
    let too_small =
        |_: &mut History, bob: &mut History| bob.observations[1] = Observation::Gap { to: 2_999, epoch: EPOCH };
    assert_eq!(changed(too_small), [ViolationKind::Lost]);
    let other_epoch = |_: &mut History, bob: &mut History| {
        bob.observations.truncate(2);
        bob.observations.push(Observation::Gap { to: 1_000, epoch: EPOCH + 1 });
    };
    assert_eq!(changed(other_epoch), []);
}

#[test]
fn delivered_twice_is_doubled() {
    assert_eq!(changed(|_, bob| bob.observations.push(received(4_000, "ann", 2))), [ViolationKind::Doubled]);
    let again = |_: &mut History, bob: &mut History| {
        bob.observations.push(resumed(3_000, true, &[delivery(4_000, "ann", 2)], 4_000));
    };
    assert_eq!(changed(again), [ViolationKind::Doubled]);
}

#[test]
fn committed_twice_is_doubled() {
    let twice = |ann: &mut History, bob: &mut History| {
        ann.observations.push(received(5_000, "ann", 2));
        bob.observations.push(received(5_000, "ann", 2));
    };
    assert_eq!(changed(twice), [ViolationKind::Doubled]);
    let answered_otherwise = |ann: &mut History, _: &mut History| ann.observations[6] = acknowledged(2, 9_000);
    assert!(changed(answered_otherwise).contains(&ViolationKind::Doubled));
}

#[test]
fn a_falling_seq_is_reordered() {
    assert_eq!(changed(|_, bob| bob.observations.swap(1, 2)), [ViolationKind::Reordered]);
}

#[test]
fn the_senders_order_is_kept() {
    let number_at = |seq: u64| if seq == 3_000 { 2 } else { 1 };
    let swapped = |ann: &mut History, bob: &mut History| {
        for observation in ann.observations.iter_mut().chain(&mut bob.observations) {
            match observation {
                Observation::Received(delivery) => delivery.text = text("ann", number_at(delivery.seq)),
                Observation::Acknowledged { number, seq } => *number = number_at(*seq),
                _ => {}
            }
        }
    };
    assert_eq!(changed(swapped), [ViolationKind::Reordered]);
    let repeated = |ann: &mut History, bob: &mut History| {
        ann.observations.insert(4, attempted(1));
        swapped(ann, bob);
    };
    assert_eq!(changed(repeated), [], "the second attempt of the first message may be the one that was committed");
    let repeated_too_early = |ann: &mut History, bob: &mut History| {
        ann.observations.insert(3, attempted(1));
        swapped(ann, bob);
    };
    assert_eq!(changed(repeated_too_early), [ViolationKind::Reordered]);
}

#[test]
fn one_seq_has_one_text() {
    let other = |_: &mut History, bob: &mut History| bob.observations[2] = received(4_000, "ann", 3);
    assert!(changed(other).contains(&ViolationKind::Mixed));
    let other_answer = |ann: &mut History, _: &mut History| ann.observations[6] = acknowledged(2, 3_000);
    assert!(changed(other_answer).contains(&ViolationKind::Mixed));
}

#[test]
fn refused_is_not_committed() {
    let refused = |ann: &mut History, _: &mut History| ann.observations[6] = Observation::Refused { number: 2 };
    assert_eq!(changed(refused), [ViolationKind::SentThoughRefused]);
}

#[test]
fn whispers_are_between_two() {
    let kept = |ann: &mut History, bob: &mut History| {
        ann.observations.push(Observation::Attempted { number: 3, to: "bob".to_owned() });
        ann.observations.push(acknowledged(3, 5_000));
        bob.observations.push(Observation::Received(whisper(5_000, "ann", "bob", 3)));
    };
    assert_eq!(changed(kept), []);
    let unheard = |ann: &mut History, _: &mut History| {
        ann.observations.push(Observation::Attempted { number: 3, to: "bob".to_owned() });
        ann.observations.push(acknowledged(3, 5_000));
    };
    assert_eq!(changed(unheard), [ViolationKind::Lost]);
    let own_is_not_told = |ann: &mut History, bob: &mut History| {
        kept(ann, bob);
        ann.observations.push(Observation::Received(whisper(5_000, "ann", "bob", 3)));
    };
    assert_eq!(changed(own_is_not_told), [ViolationKind::Leaked]);
    let own_was_missed = |ann: &mut History, bob: &mut History| {
        kept(ann, bob);
        ann.observations.push(resumed(4_000, true, &[whisper(5_000, "ann", "bob", 3)], 5_000));
    };
    assert_eq!(changed(own_was_missed), []);
    let leaked = |_: &mut History, bob: &mut History| {
        bob.observations.push(Observation::Received(whisper(5_000, "ann", "cid", 3)))
    };
    assert_eq!(changed(leaked), [ViolationKind::Leaked]);
    let leaked_later = |_: &mut History, bob: &mut History| {
        bob.observations.push(resumed(4_000, true, &[whisper(5_000, "ann", "cid", 3)], 5_000));
    };
    assert_eq!(changed(leaked_later), [ViolationKind::Leaked]);
}

#[test]
fn users_come_and_go_once() {
    let cases = [
        Observation::MemberJoined("bob".to_owned()),
        Observation::MemberJoined("ann".to_owned()),
        Observation::MemberLeft("cid".to_owned()),
        // These change what is known at the end.
        Observation::MemberJoined("cid".to_owned()),
        Observation::MemberLeft("bob".to_owned()),
    ];
    for observation in cases {
        let text = format!("{observation:?}");
        assert_eq!(changed(|ann, _| ann.observations.push(observation)), [ViolationKind::WrongUsers], "{text}");
    }
    let without_oneself = |_: &mut History, bob: &mut History| bob.observations[0] = entered(2_000, &["ann"]);
    assert_eq!(changed(without_oneself), [ViolationKind::WrongUsers]);
}

/// Bob's connector dies, and he never comes back.
#[test]
fn a_user_who_departs_leaves_once() {
    let goes = |times: usize| {
        changed(|ann, bob| {
            bob.observations.truncate(2);
            bob.observations.push(Observation::Departed);
            bob.is_member_at_end = !bob.has_departed();
            ann.observations.extend(vec![Observation::MemberLeft("bob".to_owned()); times]);
        })
    };
    assert_eq!(goes(1), []);
    assert_eq!(goes(0), [ViolationKind::WrongUsers]);
    assert_eq!(goes(2), [ViolationKind::WrongUsers]);
}

#[test]
fn a_departed_user_is_known_until_the_leave() {
    let [mut ann, mut bob] = good();
    assert!(!are_departed_known(&[ann.clone(), bob.clone()]));
    bob.observations.push(Observation::Departed);
    assert!(are_departed_known(&[ann.clone(), bob.clone()]));
    ann.observations.push(Observation::MemberLeft("bob".to_owned()));
    assert!(!are_departed_known(&[ann, bob]));
}

#[test]
fn what_was_missed_is_new_and_ascending() {
    let falling = |_: &mut History, bob: &mut History| {
        bob.observations.truncate(1);
        bob.observations.push(resumed(2_000, true, &[delivery(4_000, "ann", 2), delivery(3_000, "ann", 1)], 4_000));
    };
    assert_eq!(changed(falling), [ViolationKind::Reordered]);
    let from_the_future = |_: &mut History, bob: &mut History| {
        bob.observations.truncate(1);
        bob.observations.push(resumed(2_000, true, &[delivery(3_000, "ann", 1), delivery(4_000, "ann", 2)], 3_500));
    };
    assert!(changed(from_the_future).contains(&ViolationKind::Reordered));
}

#[test]
fn a_violation_is_described_with_its_events() {
    let [ann, mut bob] = good();
    bob.observations.push(received(4_000, "ann", 2));
    let histories = [ann, bob];
    let text_of_violation = check(&histories)[0].describe(&histories);
    assert!(
        text_of_violation.contains("Doubled in lobby, bob at observation 3")
            && text_of_violation.contains("    2: Received"),
        "{text_of_violation}"
    );
}
