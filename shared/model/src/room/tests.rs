//! Folding, checkpoints, and that one equals the other.

use proptest::prelude::*;

use super::*;
use crate::act::{Rights, RuleKind, Target};
use crate::ids::{Actor, Uid};
use crate::membership::Token;
use crate::record::{CheckpointPart, DecidedAct, DecidedActs, DecidedProposal, Outcome, RecordId, VERSION};

fn session(number: u64) -> SessionId {
    let connector = ServerId::new(&format!("connector-server-{}", number % 3)).unwrap();
    SessionId { connector, incarnation: Incarnation(1), number }
}

fn name(number: u8) -> Name {
    Name::new(&format!("user{number}")).unwrap()
}

fn join(who: u8, number: u64) -> Entry {
    Entry::Join { name: name(who), session: session(number), membership: membership(number), profile: None }
}

fn membership(number: u64) -> Membership {
    Token::new(number.into()).membership()
}

fn message(who: u8, id: u64) -> Entry {
    let id = Some(membership(who.into()).message(&id.to_string()));
    Entry::Message { from: name(who), content: "hi".to_owned(), id, meta: None }
}

fn leave(who: u8, number: u64) -> Entry {
    Entry::Leave { name: name(who), session: session(number) }
}

fn record(prev: u64, entries: Vec<Entry>) -> Record {
    let decided = DecidedProposal {
        connector: session(prev).connector,
        incarnation: Incarnation(1),
        number: prev,
        outcomes: vec![Outcome::Unchanged],
    };
    Record {
        v: VERSION,
        prev: Position(prev),
        prev_id: RecordId(prev),
        id: RecordId(prev + 1),
        links: Vec::new(),
        time: prev * 10,
        owner: ServerId::new("chat-server-1").unwrap(),
        proposals: vec![decided],
        entries,
        acts: Vec::new(),
        lasting: None,
        notify_connectors: Vec::new(),
        checkpoint: None,
        part: None,
    }
}

fn fold(state: &mut RoomState, records: &[Record]) {
    for record in records {
        state.fold(Position(record.prev.0 + 1), record);
    }
}

#[test]
fn a_leave_of_another_session_changes_nothing() {
    let mut state = RoomState::default();
    fold(&mut state, &[record(0, vec![join(1, 1)]), record(1, vec![leave(1, 2)])]);
    assert_eq!(state.session_of(&name(1)), Some(&session(1)));
}

#[test]
fn a_name_imitates_ascii_names_that_are_in_the_room() {
    let (ann, imitation) = (Name::new("ann").unwrap(), Name::new("аnn").unwrap());
    let mut state = RoomState::default();
    assert!(!state.is_imitation(&imitation));
    state.apply(&Entry::Join { name: ann.clone(), session: session(1), membership: membership(1), profile: None });
    assert!(state.is_imitation(&imitation), "the index is kept");
    assert!(!state.is_imitation(&ann));
    let member = state.members()[&ann].clone();
    state.restore_member(ann.clone(), None);
    assert!(!state.is_imitation(&imitation), "undone");
    state.restore_member(ann, Some(member));
    assert!(state.is_imitation(&imitation));
    state.apply(&Entry::Join {
        name: imitation.clone(),
        session: session(2),
        membership: membership(2),
        profile: None,
    });
    assert!(!state.is_imitation(&imitation), "it is in the room itself");
    assert_eq!(state, RoomState::from(&Checkpoint::from(&state)), "the index is no part of the state");
}

#[test]
fn a_move_changes_the_session_and_nothing_else() {
    let mut state = RoomState::default();
    let moved =
        |from, to| Entry::Move { name: name(1), from: session(from), to: session(to), membership: membership(1) };
    fold(&mut state, &[record(0, vec![join(1, 1), moved(2, 3)])]);
    assert_eq!(state.session_of(&name(1)), Some(&session(1)), "a move from another session changes nothing");
    fold(&mut state, &[record(1, vec![moved(1, 2)])]);
    let member = state.members().get(&name(1)).unwrap();
    assert_eq!((&member.session, member.membership), (&session(2), membership(1)));
    assert_eq!(state.name_of(&session(1)), None);
    assert_eq!(state.connectors().collect::<Vec<_>>(), [&session(2).connector]);
}

#[test]
fn messages_with_an_id_are_remembered_across_owners_with_other_clocks() {
    let mut state = RoomState::default();
    let id = |number: u64| membership(1).message(&number.to_string());
    let at = |time, entries| Record { time, ..record(1, entries) };
    state.fold(Position(2), &at(1_000, vec![Entry::Open, message(1, 9)]));
    assert_eq!(state.find_message(id(9)), Some((2_001, 1_000)));
    // Another owner, whose clock is a day ahead, and the next one.
    state.fold(Position(3), &at(86_400_000, vec![message(1, 10)]));
    let mut taken_over = RoomState::from(&Checkpoint::from(&state));
    taken_over.fold(Position(4), &at(86_400_000, vec![]));
    assert_eq!(
        (taken_over.find_message(id(9)), taken_over.find_message(id(10))),
        (Some((2_001, 1_000)), Some((3_000, 86_400_000)))
    );
}

#[test]
fn ids_are_counted_by_membership() {
    let by_others = (0..100).map(|number| message(9, number)).collect();
    let mut state = RoomState::default();
    fold(&mut state, &[record(0, vec![join(1, 1), join(9, 9)]), record(1, by_others)]);
    let sent = |who, number| message(who, number);
    // Under another name, and under the name of another membership.
    let renamed = vec![leave(1, 1), join(2, 1), sent(2, 200)];
    let taken_name = vec![join(1, 3), sent(1, 300)];
    fold(&mut state, &[record(2, vec![sent(1, 100)]), record(3, renamed), record(4, taken_name)]);
    // Of a member that left within the record, its name is known.
    fold(&mut state, &[record(5, vec![sent(2, 400), leave(2, 1)])]);
    let senders: Vec<_> = state.dedup_window.iter().skip(100).map(|message| message.sender.unwrap()).collect();
    let named = Sender::named(&name(2));
    assert_eq!(senders, [membership(1).sender(), membership(1).sender(), membership(3).sender(), named]);
}

#[test]
fn connectors_with_members_are_known() {
    let mut state = RoomState::default();
    fold(&mut state, &[record(0, vec![join(1, 1), join(2, 4), join(3, 2)])]);
    assert_eq!(state.connectors().count(), 2);
    fold(&mut state, &[record(1, vec![leave(3, 2), leave(1, 1)])]);
    assert_eq!(state.connectors().collect::<Vec<_>>(), [&session(4).connector]);
}

#[test]
fn the_last_proposal_of_each_connector_is_known() {
    let mut state = RoomState::default();
    fold(&mut state, &[record(0, vec![]), record(3, vec![])]);
    let last = state.last_proposal(&session(3).connector).unwrap();
    assert_eq!((last.number, last.position), (3, Position(4)));
    assert_eq!(state.time(), 30);
}

fn longest_uid(number: u64) -> Uid {
    Uid::new(&format!("{number:0128}")).unwrap()
}

/// Folds many acts of every kind.
fn fold_acts(state: &mut RoomState) {
    let by = || Actor::new(&"b".repeat(128)).unwrap();
    let acts = |number: u64| {
        let (uid, id) = (longest_uid(number), membership(number).message("erase"));
        let (seq, upto) = (u64::MAX - number, u64::MAX);
        vec![
            Entry::Rule { target: Target::Uid(uid.clone()), kind: RuleKind::Mute, until: u64::MAX, by: by() },
            Entry::Rule { target: Target::Name(name(number as u8)), kind: RuleKind::Ban, until: 0, by: by() },
            Entry::Amend { seq, content: Some("new".to_owned()), by: by() },
            Entry::Redact { uid: uid.clone(), upto, by: by() },
            Entry::Revoke { uid: uid.clone(), before: u64::MAX, until: u64::MAX },
            Entry::Erase { id, uid, cursor: "c".repeat(320), done: false },
        ]
    };
    for number in 0..20 {
        let decided = |index: u16| DecidedAct {
            id: membership(number).message(&index.to_string()),
            digest: u64::MAX,
            outcome: if index < 60 {
                Outcome::Done(index)
            } else {
                Outcome::Duplicate { seq: u64::MAX, time: u64::MAX }
            },
        };
        let acts_of_message = DecidedActs {
            server: ServerId::new(&format!("api-server-{number}-{}", "x".repeat(40))).unwrap(),
            incarnation: Incarnation(u64::MAX),
            number: u64::MAX,
            acts: (0..64).map(decided).collect(),
        };
        let record = Record { time: u64::MAX - 1, acts: vec![acts_of_message], ..record(number, acts(number)) };
        state.fold(Position(u64::MAX / 1_500 + number), &record);
    }
    let clear = Entry::Clear { upto: u64::MAX / 2, by: by() };
    state.fold(Position(u64::MAX / 1_200), &Record { time: u64::MAX - 1, ..record(0, vec![clear]) });
}

#[test]
fn acts_and_profiles_outlive_the_records_of_them() {
    let mut state = RoomState::default();
    let rights = Entry::Rights { session: session(1), rights: Rights(7) };
    let expel =
        Entry::Expel { name: name(2), session: session(2), reason: String::new(), by: Actor::new("k").unwrap() };
    fold(&mut state, &[record(0, vec![join(1, 1), join(2, 2), rights, expel, message(1, 1)])]);
    let member = &state.members()[&name(1)];
    assert_eq!(
        (member.profile.as_ref().and_then(|profile| profile.rights), member.spoke_at, state.members().len()),
        (Some(Rights(7)), state.time(), 1)
    );
    fold_acts(&mut state);
    assert!(state.moderation().must_last() && state.find_act(membership(3).message("5")).is_some());
    assert_eq!(RoomState::from(&Checkpoint::from(&state)), state);
    let api = ServerId::new(&format!("api-server-3-{}", "x".repeat(40))).unwrap();
    let done = state.last_acts(&api).unwrap().outcomes[7];
    assert!(matches!(done, Outcome::Duplicate { seq, .. } if seq % 1_000 == 7), "{done:?}");
    let without = state.clone().without_messages();
    assert!(without.moderation().must_last(), "rules stay where a log was erased");
    assert!(without.last_acts(&api).is_none() && without.moderation().cleared() == 0);
    let towards_connectors = RoomState::from(&state.checkpoints_for_connectors(usize::MAX).remove(0));
    assert_eq!(towards_connectors.members()[&name(1)].profile, state.members()[&name(1)].profile);
    assert!(!towards_connectors.moderation().must_last());
}

#[test]
fn a_checkpoint_is_within_its_computed_size() {
    let mut state = RoomState::default();
    for number in 0..200_u64 {
        let name = Name::new(&"😀".repeat(60).replacen('😀', &number.to_string(), 1)).unwrap();
        let (from, membership) = (name.clone(), membership(number));
        let (uid, info) = (Some(longest_uid(number)), Some("x".repeat(512).into()));
        let profile = Profile { uid, rights: Some(Rights(u16::MAX)), info: info.filter(|_| number % 2 == 0) }.boxed();
        state.apply(&Entry::Join { name, session: session(u64::MAX - number), membership, profile });
        let message = Entry::Message { from, content: "hi".to_owned(), id: Some(membership.message("1")), meta: None };
        let sent = Record { time: u64::MAX - 1, ..record(number, vec![message]) };
        state.apply_committed(Position(u64::MAX / 2_000 + number), &sent);
    }
    fold_acts(&mut state);
    let bytes = rmp_serde::to_vec_named(&Checkpoint::from(&state)).unwrap().len();
    assert!(bytes <= state.checkpoint_size(), "{bytes} > {}", state.checkpoint_size());
    assert!(state.checkpoint_size() <= Checkpoint::most_bytes(200, 3));
    for most in [2_000, 5_000, 20_000] {
        let parts = state.checkpoints(most);
        assert!(parts.len() <= state.checkpoint_size() / (most - 1_536) + 1);
        for part in &parts {
            let bytes = rmp_serde::to_vec_named(part).unwrap().len();
            assert!(bytes <= most, "{bytes} > {most}");
        }
        let mut sum = RoomState::default();
        parts.iter().for_each(|part| sum.add(part));
        assert_eq!(sum, state);
    }
}

#[test]
fn records_are_replayed_from_the_parts_of_a_checkpoint() {
    let mut state = RoomState::default();
    let joins = (0..50).map(|number| join(number, number.into())).collect();
    fold(&mut state, &[record(0, joins)]);
    let parts = state.checkpoints(500);
    assert!(parts.len() > 3);
    let of = u16::try_from(parts.len()).unwrap();
    let mut records = Vec::new();
    for (index, checkpoint) in (0..of).zip(parts) {
        let mut record =
            record(u64::from(index) + 1, vec![leave(index as u8, index.into()), message(49, index.into())]);
        record.checkpoint = Some(Box::new(checkpoint));
        record.part = Some(CheckpointPart { base: Position(1), index, of });
        records.push((Position(record.prev.0 + 1), Arc::new(record)));
    }
    // A later one whose author did not come to its end.
    let mut last = record(u64::from(of) + 1, vec![leave(48, 48)]);
    last.checkpoint = Some(Box::new(state.checkpoints(500).remove(0)));
    last.part = Some(CheckpointPart { base: Position(last.prev.0), index: 0, of });
    records.push((Position(last.prev.0 + 1), Arc::new(last)));
    let replayed = RoomState::replay(&records);
    for (position, record) in &records {
        state.fold(*position, record);
    }
    assert_eq!(replayed, state);
}

proptest! {
    #[test]
    fn a_checkpoint_and_the_rest_equal_all(
        steps in proptest::collection::vec((0_u8..3, 0_u8..6, 0_u64..8), 0..60),
        cut in 0_usize..60,
    ) {
        let records: Vec<Record> = steps
            .iter()
            .enumerate()
            .map(|(i, (what, who, number))| {
                let entry = match what {
                    0 => join(*who, *number),
                    1 => leave(*who, *number),
                    _ => message(*who, *number),
                };
                // Some ids are forgotten on the way.
                Record { time: i as u64 * 5_000, ..record(i as u64, vec![entry]) }
            })
            .collect();
        let cut = cut.min(records.len());
        let mut all = RoomState::default();
        fold(&mut all, &records);
        let mut first = RoomState::default();
        fold(&mut first, &records[..cut]);
        let bytes = rmp_serde::to_vec_named(&Checkpoint::from(&first)).unwrap();
        let mut second = RoomState::from(&rmp_serde::from_slice::<Checkpoint>(&bytes).unwrap());
        fold(&mut second, &records[cut..]);
        prop_assert_eq!(all, second);
    }
}
