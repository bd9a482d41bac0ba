//! The tables and their bounds.

use super::*;
use crate::ids::Actor;
use crate::membership::Token;

fn by() -> Actor {
    Actor::new("key-1").unwrap()
}

fn uid(number: usize) -> Uid {
    Uid::new(&format!("user-{number}")).unwrap()
}

fn room() -> RoomId {
    RoomId::new("lobby").unwrap()
}

fn mute(number: usize, until: u64) -> Entry {
    Entry::Rule { target: Target::Uid(uid(number)), kind: RuleKind::Mute, until, by: by() }
}

fn amend(seq: u64, is_edit: bool) -> Entry {
    Entry::Amend { seq, content: is_edit.then(|| "new".to_owned()), by: by() }
}

fn with(entries: impl IntoIterator<Item = Entry>) -> Moderation {
    let mut moderation = Moderation::default();
    entries.into_iter().for_each(|entry| moderation.apply(Position(9), &entry));
    moderation
}

fn holds(moderation: &Moderation, number: usize, time: u64) -> bool {
    moderation.rule(&Target::Uid(uid(number)), RuleKind::Mute, time).is_some()
}

#[test]
fn a_rule_holds_until_its_end_and_no_longer() {
    let mut moderation = with([mute(1, 100), mute(2, 0), mute(3, 50)]);
    assert!(holds(&moderation, 1, 99) && !holds(&moderation, 1, 100));
    moderation.expire(99);
    assert!(holds(&moderation, 1, 99) && holds(&moderation, 2, u64::MAX) && !holds(&moderation, 3, 0));
    moderation.expire(100);
    assert_eq!(moderation, with([mute(2, 0)]));
}

#[test]
fn a_newer_rule_replaces_the_older_and_one_in_the_past_ends_it() {
    let mut moderation = with([mute(1, 0), mute(1, 100)]);
    assert!(!holds(&moderation, 1, 100));
    moderation.apply(Position(10), &mute(1, 1));
    moderation.expire(50);
    assert_eq!(moderation, Moderation::default());
}

#[test]
fn a_full_table_takes_no_other_rule() {
    let moderation = with((0..MAX_RULES).map(|number| mute(number, 0)));
    assert!(moderation.is_full_for(&room(), &mute(MAX_RULES, 0)));
    assert!(!moderation.is_full_for(&room(), &mute(7, 9)), "a change needs no place");
    assert!(!moderation.is_full_for(&RoomId::new("~all").unwrap(), &mute(MAX_RULES, 0)));
}

#[test]
fn edits_take_half_of_the_table_and_give_way_to_redactions() {
    let edits = MAX_EDITS as u64;
    let mut moderation = with((1..=edits).map(|seq| amend(seq, true)));
    assert!(moderation.is_full_for(&room(), &amend(edits + 1, true)));
    assert!(!moderation.is_full_for(&room(), &amend(1, true)));
    for seq in 0..MAX_AMENDED as u64 {
        let redaction = amend(10_000 + seq, false);
        assert!(!moderation.is_full_for(&room(), &redaction), "{seq}");
        moderation.apply(Position(9), &redaction);
        assert!(moderation.amended.len() <= MAX_AMENDED);
    }
    assert_eq!(moderation.amendment(edits), None, "all edits are gone, the oldest first");
    assert!(moderation.is_full_for(&room(), &amend(1, false)));
}

#[test]
fn a_cleared_message_is_amended_no_more() {
    let redact = |upto| Entry::Redact { uid: uid(1), upto, by: by() };
    let clear = Entry::Clear { upto: 10, by: by() };
    let mut moderation = with([amend(9, true), amend(11, false), redact(10), clear.clone(), amend(10, true)]);
    assert_eq!(moderation, with([clear.clone(), amend(11, false)]));
    moderation.apply(Position(9), &redact(11));
    assert_eq!(moderation.redaction(&uid(1)).map(|redaction| redaction.upto), Some(11));
    moderation.apply(Position(9), &Entry::Clear { upto: 3, by: by() });
    assert_eq!(moderation.cleared(), 10, "nothing comes back");
}

#[test]
fn revocations_only_grow_until_they_end() {
    let revoke = |before, until| Entry::Revoke { uid: uid(1), before, until };
    let mut moderation = with([revoke(5, 100), revoke(3, 50)]);
    assert_eq!(moderation.revocation(&uid(1)), Some(Revocation { before: 5, until: 100 }));
    assert!(moderation.must_last());
    moderation.expire(100);
    assert_eq!(moderation, Moderation::default());
}

#[test]
fn an_erasure_is_kept_until_it_is_done() {
    let id = Token::new(1).membership().message("erase");
    let erase = |cursor: &str, done| Entry::Erase { id, uid: uid(1), cursor: cursor.to_owned(), done };
    let mut moderation = with([erase("", false), erase("lobby", false)]);
    assert_eq!(moderation.erasures().map(|(_, erasure)| erasure.cursor.as_str()).collect::<Vec<_>>(), ["lobby"]);
    moderation.apply(Position(9), &erase("lobby", true));
    assert_eq!(moderation, Moderation::default());
}
