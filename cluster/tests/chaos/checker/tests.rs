//! Histories made by hand: a good one passes, and each way to break a promise is caught.

use super::{Kind, are_gone_known, check, users_agree};
use crate::history::{Diary, Entered, Note, Resumed, Told, text};

const EPOCH: u64 = 7;

fn told(seq: u64, from: &str, number: u64) -> Told {
    Told { seq, from: from.to_owned(), to: "*".to_owned(), text: text(from, number) }
}

fn whisper(seq: u64, from: &str, to: &str, number: u64) -> Told {
    Told { to: to.to_owned(), ..told(seq, from, number) }
}

fn heard(seq: u64, from: &str, number: u64) -> Note {
    Note::Heard(told(seq, from, number))
}

fn tried(number: u64) -> Note {
    Note::Tried { number, to: "*".to_owned() }
}

fn acknowledged(number: u64, seq: u64) -> Note {
    Note::Acknowledged { number, seq }
}

fn entered(seq: u64, users: &[&str]) -> Note {
    let users = users.iter().map(|&user| user.to_owned()).collect();
    Note::Entered(Entered { epoch: EPOCH, seq, users, ..Entered::default() })
}

fn resumed(since: u64, whole: bool, missed: &[Told], seq: u64) -> Note {
    let users = ["ann", "bob"].map(str::to_owned).into();
    let resumed = Some(Resumed { since, epoch: EPOCH, whole });
    Note::Entered(Entered { epoch: EPOCH, seq, users, missed: missed.to_vec(), resumed })
}

fn diary(name: &str, notes: Vec<Note>) -> Diary {
    Diary { name: name.to_owned(), room: "lobby".to_owned(), notes, stayed: true }
}

/// Ann speaks twice, and both hear it.
fn good() -> [Diary; 2] {
    let ann = vec![
        entered(1_000, &["ann"]),
        Note::Came("bob".to_owned()),
        tried(1),
        tried(2),
        heard(3_000, "ann", 1),
        acknowledged(1, 3_000),
        acknowledged(2, 4_000),
        heard(4_000, "ann", 2),
    ];
    let bob = vec![entered(2_000, &["ann", "bob"]), heard(3_000, "ann", 1), heard(4_000, "ann", 2)];
    [diary("ann", ann), diary("bob", bob)]
}

fn kinds(diaries: &[Diary]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = check(diaries).iter().map(|violation| violation.kind).collect();
    kinds.dedup();
    kinds
}

/// What is found in the good history when its diaries were changed.
fn changed(change: impl FnOnce(&mut Diary, &mut Diary)) -> Vec<Kind> {
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
    assert_eq!(changed(|_, bob| drop(bob.notes.pop())), [Kind::Lost]);
    assert_eq!(changed(|_, bob| drop(bob.notes.remove(1))), [Kind::Lost]);
}

#[test]
fn acknowledged_and_seen_by_nobody_is_lost() {
    let unseen = |ann: &mut Diary, bob: &mut Diary| {
        ann.notes.pop();
        bob.notes.pop();
    };
    assert_eq!(changed(unseen), [Kind::Lost]);
}

#[test]
fn who_left_misses_only_what_was_before() {
    let leaves_early = |_: &mut Diary, bob: &mut Diary| {
        bob.notes.pop();
        bob.notes.push(Note::Left);
        bob.notes.push(entered(4_000, &["ann", "bob"]));
    };
    assert_eq!(changed(leaves_early), []);
    let leaves_with_a_hole = |_: &mut Diary, bob: &mut Diary| {
        bob.notes.remove(1);
        bob.notes.push(Note::Left);
        bob.notes.push(entered(4_000, &["ann", "bob"]));
    };
    assert_eq!(changed(leaves_with_a_hole), [Kind::Lost]);
}

#[test]
fn what_was_missed_counts_as_seen() {
    let whole = |_: &mut Diary, bob: &mut Diary| {
        bob.notes.truncate(1);
        bob.notes.push(Note::Lost("cut".to_owned()));
        bob.notes.push(resumed(2_000, true, &[told(3_000, "ann", 1), told(4_000, "ann", 2)], 4_000));
    };
    assert_eq!(changed(whole), []);
    let incomplete = |_: &mut Diary, bob: &mut Diary| {
        bob.notes.truncate(1);
        bob.notes.push(resumed(2_000, true, &[told(4_000, "ann", 2)], 4_000));
    };
    assert_eq!(changed(incomplete), [Kind::Lost]);
}

#[test]
fn what_is_declared_gone_is_not_lost() {
    let not_recovered = |_: &mut Diary, bob: &mut Diary| {
        bob.notes.truncate(1);
        bob.notes.push(resumed(2_000, false, &[], 4_000));
    };
    assert_eq!(changed(not_recovered), []);
    let gap = |_: &mut Diary, bob: &mut Diary| bob.notes[1] = Note::Gap { to: 3_000, epoch: EPOCH };
    assert_eq!(changed(gap), []);
    let too_small = |_: &mut Diary, bob: &mut Diary| bob.notes[1] = Note::Gap { to: 2_999, epoch: EPOCH };
    assert_eq!(changed(too_small), [Kind::Lost]);
    let other_epoch = |_: &mut Diary, bob: &mut Diary| {
        bob.notes.truncate(2);
        bob.notes.push(Note::Gap { to: 1_000, epoch: EPOCH + 1 });
    };
    assert_eq!(changed(other_epoch), []);
}

#[test]
fn told_twice_is_doubled() {
    assert_eq!(changed(|_, bob| bob.notes.push(heard(4_000, "ann", 2))), [Kind::Doubled]);
    let again = |_: &mut Diary, bob: &mut Diary| {
        bob.notes.push(resumed(3_000, true, &[told(4_000, "ann", 2)], 4_000));
    };
    assert_eq!(changed(again), [Kind::Doubled]);
}

#[test]
fn said_twice_is_doubled() {
    let twice = |ann: &mut Diary, bob: &mut Diary| {
        ann.notes.push(heard(5_000, "ann", 2));
        bob.notes.push(heard(5_000, "ann", 2));
    };
    assert_eq!(changed(twice), [Kind::Doubled]);
    let answered_otherwise = |ann: &mut Diary, _: &mut Diary| ann.notes[6] = acknowledged(2, 9_000);
    assert!(changed(answered_otherwise).contains(&Kind::Doubled));
}

#[test]
fn a_falling_seq_is_reordered() {
    assert_eq!(changed(|_, bob| bob.notes.swap(1, 2)), [Kind::Reordered]);
}

#[test]
fn the_senders_order_is_kept() {
    let swapped = |ann: &mut Diary, bob: &mut Diary| {
        for diary in [ann, bob] {
            for note in &mut diary.notes {
                match note {
                    Note::Heard(told) => told.text = text("ann", if told.seq == 3_000 { 2 } else { 1 }),
                    Note::Acknowledged { number, seq } => *number = if *seq == 3_000 { 2 } else { 1 },
                    _ => {}
                }
            }
        }
    };
    assert_eq!(changed(swapped), [Kind::Reordered]);
    let repeated = |ann: &mut Diary, bob: &mut Diary| {
        ann.notes.insert(4, tried(1));
        swapped(ann, bob);
    };
    assert_eq!(changed(repeated), [], "the second try of the first message may be the one that was said");
    let repeated_too_early = |ann: &mut Diary, bob: &mut Diary| {
        ann.notes.insert(3, tried(1));
        swapped(ann, bob);
    };
    assert_eq!(changed(repeated_too_early), [Kind::Reordered]);
}

#[test]
fn one_seq_has_one_text() {
    let other = |_: &mut Diary, bob: &mut Diary| bob.notes[2] = heard(4_000, "ann", 3);
    assert!(changed(other).contains(&Kind::Mixed));
    let other_answer = |ann: &mut Diary, _: &mut Diary| ann.notes[6] = acknowledged(2, 3_000);
    assert!(changed(other_answer).contains(&Kind::Mixed));
}

#[test]
fn refused_is_not_said() {
    let refused = |ann: &mut Diary, _: &mut Diary| ann.notes[6] = Note::Refused { number: 2 };
    assert_eq!(changed(refused), [Kind::SaidThoughRefused]);
}

#[test]
fn whispers_are_between_two() {
    let kept = |ann: &mut Diary, bob: &mut Diary| {
        ann.notes.push(Note::Tried { number: 3, to: "bob".to_owned() });
        ann.notes.push(acknowledged(3, 5_000));
        bob.notes.push(Note::Heard(whisper(5_000, "ann", "bob", 3)));
    };
    assert_eq!(changed(kept), []);
    let unheard = |ann: &mut Diary, _: &mut Diary| {
        ann.notes.push(Note::Tried { number: 3, to: "bob".to_owned() });
        ann.notes.push(acknowledged(3, 5_000));
    };
    assert_eq!(changed(unheard), [Kind::Lost]);
    let own_is_not_told = |ann: &mut Diary, bob: &mut Diary| {
        kept(ann, bob);
        ann.notes.push(Note::Heard(whisper(5_000, "ann", "bob", 3)));
    };
    assert_eq!(changed(own_is_not_told), [Kind::Leaked]);
    let own_was_missed = |ann: &mut Diary, bob: &mut Diary| {
        kept(ann, bob);
        ann.notes.push(resumed(4_000, true, &[whisper(5_000, "ann", "bob", 3)], 5_000));
    };
    assert_eq!(changed(own_was_missed), []);
    let leaked = |_: &mut Diary, bob: &mut Diary| bob.notes.push(Note::Heard(whisper(5_000, "ann", "cid", 3)));
    assert_eq!(changed(leaked), [Kind::Leaked]);
    let leaked_later = |_: &mut Diary, bob: &mut Diary| {
        bob.notes.push(resumed(4_000, true, &[whisper(5_000, "ann", "cid", 3)], 5_000));
    };
    assert_eq!(changed(leaked_later), [Kind::Leaked]);
}

#[test]
fn users_come_and_go_once() {
    let cases = [
        Note::Came("bob".to_owned()),
        Note::Came("ann".to_owned()),
        Note::Went("cid".to_owned()),
        // These change what is known at the end.
        Note::Came("cid".to_owned()),
        Note::Went("bob".to_owned()),
    ];
    for note in cases {
        let text = format!("{note:?}");
        assert_eq!(changed(|ann, _| ann.notes.push(note)), [Kind::WrongUsers], "{text}");
    }
    let without_oneself = |_: &mut Diary, bob: &mut Diary| bob.notes[0] = entered(2_000, &["ann"]);
    assert_eq!(changed(without_oneself), [Kind::WrongUsers]);
}

/// Bob's connector dies, and he never comes back.
#[test]
fn who_never_comes_back_goes_once() {
    let goes = |times: usize| {
        changed(|ann, bob| {
            bob.notes.truncate(2);
            bob.notes.push(Note::WentForGood);
            bob.stayed = !bob.ends_early();
            ann.notes.extend(vec![Note::Went("bob".to_owned()); times]);
        })
    };
    assert_eq!(goes(1), []);
    assert_eq!(goes(0), [Kind::WrongUsers]);
    assert_eq!(goes(2), [Kind::WrongUsers]);
}

#[test]
fn who_went_for_good_is_known_until_told() {
    let [mut ann, mut bob] = good();
    assert!(!are_gone_known(&[ann.clone(), bob.clone()]));
    bob.notes.push(Note::WentForGood);
    assert!(are_gone_known(&[ann.clone(), bob.clone()]));
    ann.notes.push(Note::Went("bob".to_owned()));
    assert!(!are_gone_known(&[ann, bob]));
}

#[test]
fn what_was_missed_is_new_and_ascending() {
    let falling = |_: &mut Diary, bob: &mut Diary| {
        bob.notes.truncate(1);
        bob.notes.push(resumed(2_000, true, &[told(4_000, "ann", 2), told(3_000, "ann", 1)], 4_000));
    };
    assert_eq!(changed(falling), [Kind::Reordered]);
    let from_the_future = |_: &mut Diary, bob: &mut Diary| {
        bob.notes.truncate(1);
        bob.notes.push(resumed(2_000, true, &[told(3_000, "ann", 1), told(4_000, "ann", 2)], 3_500));
    };
    assert!(changed(from_the_future).contains(&Kind::Reordered));
}

#[test]
fn a_violation_tells_what_happened() {
    let [ann, mut bob] = good();
    bob.notes.push(heard(4_000, "ann", 2));
    let diaries = [ann, bob];
    let story = check(&diaries)[0].story(&diaries);
    assert!(story.contains("Doubled in lobby, bob at note 3") && story.contains("    2: Heard"), "{story}");
}
