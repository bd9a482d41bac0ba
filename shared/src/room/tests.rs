//! Folding, checkpoints, and that one equals the other.

use proptest::prelude::*;

use super::*;
use crate::record::{Decided, Outcome, VERSION};

fn session(number: u64) -> SessionId {
    let connector = ServerId::new(&format!("connector-server-{}", number % 3)).unwrap();
    SessionId { connector, incarnation: Incarnation(1), number }
}

fn name(number: u8) -> Name {
    Name::new(&format!("user{number}")).unwrap()
}

fn join(who: u8, number: u64) -> Entry {
    Entry::Join { name: name(who), session: session(number) }
}

fn leave(who: u8, number: u64) -> Entry {
    Entry::Leave { name: name(who), session: session(number) }
}

fn record(prev: u64, entries: Vec<Entry>) -> Record {
    let decided = Decided {
        connector: session(prev).connector,
        incarnation: Incarnation(1),
        number: prev,
        outcomes: vec![Outcome::Already],
    };
    Record {
        v: VERSION,
        prev: Position(prev),
        links: Vec::new(),
        time: prev * 10,
        owner: ServerId::new("chat-server-1").unwrap(),
        proposals: vec![decided],
        entries,
        named: Vec::new(),
        checkpoint: None,
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
fn a_checkpoint_is_not_larger_than_it_says() {
    let mut state = RoomState::default();
    for number in 0..200_u64 {
        let name = Name::new(&"😀".repeat(60).replacen('😀', &number.to_string(), 1)).unwrap();
        state.apply(&Entry::Join { name, session: session(u64::MAX - number) });
    }
    let bytes = rmp_serde::to_vec_named(&Checkpoint::from(&state)).unwrap().len();
    assert!(bytes <= state.checkpoint_size(), "{bytes} > {}", state.checkpoint_size());
    assert!(state.checkpoint_size() <= 200 * Checkpoint::MEMBER_BYTES);
}

proptest! {
    #[test]
    fn a_checkpoint_and_the_rest_equal_all(
        steps in proptest::collection::vec((any::<bool>(), 0_u8..6, 0_u64..8), 0..60),
        cut in 0_usize..60,
    ) {
        let records: Vec<Record> = steps
            .iter()
            .enumerate()
            .map(|(i, (comes, who, number))| {
                record(i as u64, vec![if *comes { join(*who, *number) } else { leave(*who, *number) }])
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
