//! Folding, checkpoints, and that one equals the other.

use proptest::prelude::*;

use super::*;
use crate::membership::Token;
use crate::record::{CheckpointPart, DecidedProposal, Outcome, RecordId, VERSION};

fn session(number: u64) -> SessionId {
    let connector = ServerId::new(&format!("connector-server-{}", number % 3)).unwrap();
    SessionId { connector, incarnation: Incarnation(1), number }
}

fn name(number: u8) -> Name {
    Name::new(&format!("user{number}")).unwrap()
}

fn join(who: u8, number: u64) -> Entry {
    Entry::Join { name: name(who), session: session(number), membership: membership(number) }
}

fn membership(number: u64) -> Membership {
    Token::new(number.into()).membership()
}

fn message(who: u8, id: u64) -> Entry {
    let id = Some(membership(who.into()).message(&id.to_string()));
    Entry::Message { from: name(who), content: "hi".to_owned(), id }
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
    state.apply(&Entry::Join { name: ann.clone(), session: session(1), membership: membership(1) });
    assert!(state.is_imitation(&imitation), "the index is kept");
    assert!(!state.is_imitation(&ann));
    let member = state.members()[&ann].clone();
    state.restore_member(ann.clone(), None);
    assert!(!state.is_imitation(&imitation), "undone");
    state.restore_member(ann, Some(member));
    assert!(state.is_imitation(&imitation));
    state.apply(&Entry::Join { name: imitation.clone(), session: session(2), membership: membership(2) });
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

#[test]
fn a_checkpoint_is_within_its_computed_size() {
    let mut state = RoomState::default();
    for number in 0..200_u64 {
        let name = Name::new(&"😀".repeat(60).replacen('😀', &number.to_string(), 1)).unwrap();
        let (from, membership) = (name.clone(), membership(number));
        state.apply(&Entry::Join { name, session: session(u64::MAX - number), membership });
        let message = Entry::Message { from, content: "hi".to_owned(), id: Some(membership.message("1")) };
        let sent = Record { time: u64::MAX - 1, ..record(number, vec![message]) };
        state.apply_metadata(Position(u64::MAX / 2_000 + number), &sent);
    }
    let bytes = rmp_serde::to_vec_named(&Checkpoint::from(&state)).unwrap().len();
    assert!(bytes <= state.checkpoint_size(), "{bytes} > {}", state.checkpoint_size());
    assert!(state.checkpoint_size() <= Checkpoint::most_bytes(200, 3));
    for most in [1_000, 5_000, 20_000] {
        let parts = state.checkpoints(most);
        assert!(parts.len() <= state.checkpoint_size() / (most - 512) + 1);
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
        record.checkpoint = Some(checkpoint);
        record.part = Some(CheckpointPart { base: Position(1), index, of });
        records.push((Position(record.prev.0 + 1), Arc::new(record)));
    }
    // A later one whose author did not come to its end.
    let mut last = record(u64::from(of) + 1, vec![leave(48, 48)]);
    last.checkpoint = Some(state.checkpoints(500).remove(0));
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
