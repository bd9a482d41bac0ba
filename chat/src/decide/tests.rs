//! What the room rules allow.

use super::*;

fn author() -> Author {
    Author { connector: ServerId::new("connector-server-1").unwrap(), incarnation: Incarnation(5) }
}

fn join(session: u64, name: &str) -> Item {
    Item::Join { session, name: Name::new(name).unwrap() }
}

fn leave(session: u64) -> Item {
    Item::Leave { session, incarnation: Incarnation(5) }
}

fn send(session: u64, target: &str) -> Item {
    Item::Send { session, body: format!(r#"{{"content":"hi","target":"{target}"}}"#).into_bytes() }
}

/// Outcomes and entries of one proposal to a room of at most three members.
fn decide(items: &[Item]) -> (Vec<Outcome>, Vec<Entry>) {
    let judge = Judge::new(&RoomSettings { max_members: 3, ..RoomSettings::default() });
    let room = RoomId::new("lobby").unwrap();
    let mut state = RoomState::default();
    let mut draft = Draft::new(&room, &judge, &mut state);
    draft.decide(&author(), 1, items);
    let (entries, mut decided) = draft.finish();
    (decided.remove(0).outcomes, entries)
}

#[test]
fn a_name_has_one_session() {
    let (outcomes, entries) = decide(&[join(1, "ann"), join(2, "ann"), leave(1), join(2, "ann")]);
    let refused = Outcome::Refused(Refusal::NameTaken);
    assert_eq!(outcomes, [Outcome::Done(0), refused, Outcome::Done(1), Outcome::Done(2)]);
    assert_eq!(entries.len(), 3);
}

#[test]
fn joining_and_leaving_are_idempotent_per_session() {
    let (outcomes, entries) = decide(&[join(1, "ann"), join(1, "ann"), leave(1), leave(1)]);
    assert_eq!(outcomes, [Outcome::Done(0), Outcome::Already, Outcome::Done(1), Outcome::Already]);
    assert_eq!(entries.len(), 2);
}

#[test]
fn another_name_on_the_same_session_is_a_leave_and_a_join() {
    let (outcomes, entries) = decide(&[join(1, "ann"), join(1, "anna")]);
    assert_eq!(outcomes, [Outcome::Done(0), Outcome::Done(2)]);
    assert!(matches!(&entries[1], Entry::Leave { name, .. } if name.as_str() == "ann"));
    assert!(matches!(&entries[2], Entry::Join { name, .. } if name.as_str() == "anna"));
}

#[test]
fn a_room_has_a_most() {
    let (outcomes, _) = decide(&[join(1, "a"), join(2, "b"), join(3, "c"), join(4, "d"), join(3, "e")]);
    assert_eq!(outcomes[3], Outcome::Refused(Refusal::RoomFull));
    assert_eq!(outcomes[4], Outcome::Done(4), "who is in may change the name");
}

#[test]
fn only_members_speak_and_only_to_members() {
    let (outcomes, _) =
        decide(&[send(1, "*"), join(1, "ann"), send(1, "*"), send(1, "bob"), send(1, "ann"), send(1, "**")]);
    assert_eq!(outcomes[0], Outcome::Refused(Refusal::NotMember));
    assert_eq!(outcomes[2], Outcome::Done(1));
    assert_eq!(outcomes[3], Outcome::Refused(Refusal::NoSuchMember));
    assert_eq!(outcomes[4], Outcome::Done(2), "a whisper to oneself is delivered");
    assert_eq!(outcomes[5], Outcome::Refused(Refusal::NoSuchMember));
}

#[test]
fn a_leave_of_an_earlier_run_is_not_one_of_this_run() {
    let earlier = Item::Leave { session: 1, incarnation: Incarnation(4) };
    let (outcomes, _) = decide(&[join(1, "ann"), earlier]);
    assert_eq!(outcomes[1], Outcome::Already);
}

#[test]
fn a_proposal_is_decided_once_in_a_record() {
    let judge = Judge::new(&RoomSettings::default());
    let room = RoomId::new("lobby").unwrap();
    let mut state = RoomState::default();
    let mut draft = Draft::new(&room, &judge, &mut state);
    draft.decide(&author(), 7, &[join(1, "ann")]);
    assert!(draft.has_decided(&author(), 7) && draft.has_decided(&author(), 6));
    assert!(!draft.has_decided(&author(), 8));
}
