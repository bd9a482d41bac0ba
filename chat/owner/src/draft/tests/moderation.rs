//! Rights, rules against users, and moderators.

use model::act::{Act, IdentifiedAct, Rights, RuleKind, Target as User};
use model::ids::Actor;
use model::permissions::Level;
use model::rpc::Trace;
use model::rpc::messages::Deed;
use model::settings::NamespaceSettings;

use super::*;
use crate::room::{ActMessage, Requester};

const SECOND: u64 = 1_000;

/// A room whose drafts are committed one after the other.
struct Room {
    policy: RoomPolicy,
    state: RoomState,
    time: u64,
    number: u64,
}

impl Room {
    fn new() -> Self {
        Self::with(NamespaceSettings::default())
    }

    fn with(space: NamespaceSettings) -> Self {
        let namespaces = vec![NamespaceSettings { rooms: "lobby".to_owned(), ..space }];
        let settings = Settings { namespaces, ..Settings::default() };
        let policy = RoomPolicy::new(&settings, SizeLimits::default());
        Self { policy, state: RoomState::default(), time: 10 * SECOND, number: 0 }
    }

    fn draft<T>(&mut self, decide: impl FnOnce(&mut Draft<'_>, u64) -> T) -> (T, Vec<Entry>) {
        let room = RoomId::new("lobby").unwrap();
        let context = Context::default();
        let at = DraftContext { time: self.time, slow_ms: self.policy.slow_ms(&room), ..context.at() };
        self.number += 1;
        let mut draft = Draft::new(&room, &self.policy, &mut self.state, at);
        let result = decide(&mut draft, self.number);
        let (entries, _) = draft.finish();
        let record = Record { entries: entries.clone(), ..record(self.number, self.time) };
        self.state.apply_committed(Position(self.number), &record);
        (result, entries)
    }

    fn propose(&mut self, items: &[Item]) -> (Vec<Outcome>, Vec<Entry>) {
        self.draft(|draft, number| {
            draft.decide(&author(), number, items);
            draft.decided.last().map(|decided| decided.outcomes.clone()).unwrap_or_default()
        })
    }

    fn decide(&mut self, items: &[Item]) -> Vec<Outcome> {
        self.propose(items).0
    }

    fn act(&mut self, act: Act) -> (Outcome, Vec<Entry>) {
        self.draft(|draft, number| {
            let id = Token::new(number.into()).membership().message("act");
            let acts = vec![IdentifiedAct { id, digest: number, act }];
            let server = ServerId::new("api-server-1").unwrap();
            let requester = Requester { server, reply: String::new(), trace: Trace::new(1, 1), is_numbered: false };
            draft.decide_acts(&ActMessage { requester, incarnation: Incarnation(1), number, acts });
            draft.take_acts()[0].acts[0].outcome
        })
    }

    fn names(&self) -> Vec<&str> {
        self.state.members().keys().map(Name::as_str).collect()
    }
}

fn record(number: u64, time: u64) -> Record {
    Record {
        v: VERSION,
        prev: Position(number - 1),
        prev_id: RecordId(number - 1),
        id: RecordId(number),
        links: Vec::new(),
        time,
        owner: ServerId::new("chat-server-1").unwrap(),
        proposals: Vec::new(),
        acts: Vec::new(),
        lasting: None,
        entries: Vec::new(),
        notify_connectors: Vec::new(),
        checkpoint: None,
        part: None,
    }
}

/// Joins as a user, with these rights.
fn join_as(session: u64, name: &str, uid: Option<&str>, rights: Rights) -> Item {
    let profile = Profile { uid: uid.map(|uid| Uid::new(uid).unwrap()), rights: rights.stored(), info: None };
    let membership = stay(session);
    let name = Name::new(name).unwrap();
    Item::Join { session, name, membership, claim: Claim::New, seen: None, profile: profile.boxed() }
}

fn user(uid: &str) -> User {
    User::Uid(Uid::new(uid).unwrap())
}

fn named(name: &str) -> User {
    User::Name(Name::new(name).unwrap())
}

fn moderate(session: u64, target: User, deed: Deed) -> Item {
    Item::Moderate { session, membership: stay(session), target, deed }
}

fn forbid(kind: RuleKind, secs: u32) -> Deed {
    Deed::Forbid { kind, secs, reason: "why".to_owned() }
}

fn rule(target: User, kind: RuleKind, until: u64) -> Act {
    Act::Rule { target, kind, until, by: Actor::new("key-1").unwrap() }
}

fn refused(refusal: Refusal) -> Outcome {
    Outcome::Refused(refusal)
}

/// Ann moderates; bob has a token, and guest none.
fn room_of_three() -> Room {
    let mut room = Room::new();
    room.decide(&[
        join_as(1, "ann", Some("u1"), Rights::ALL),
        join_as(2, "bob", Some("u2"), Rights::MEMBER),
        join(3, "guest"),
    ]);
    room
}

#[test]
fn rights_of_the_join_are_enforced() {
    let mut room = Room::new();
    let reader = Rights::NONE.with(Action::Enter).with(Action::Whisper);
    let outcomes = room.decide(&[join_as(1, "ann", None, reader), send(1, "*"), send(1, "ann")]);
    assert_eq!(outcomes, [Outcome::Done(0), refused(Refusal::NotAllowed), Outcome::Done(1)]);
    let silent = room.decide(&[join_as(2, "bob", None, reader.or(Rights(2))), send(2, "*")]);
    assert_eq!(silent[1], Outcome::Done(1));
}

#[test]
fn other_rights_hold_from_their_entry_on() {
    let mut room = room_of_three();
    let rights = |rights| Item::Rights { session: 2, membership: stay(2), rights };
    let outcomes = room.decide(&[send(2, "*"), rights(Rights::NONE), send(2, "*"), rights(Rights::NONE)]);
    assert_eq!(outcomes, [Outcome::Done(0), Outcome::Done(1), refused(Refusal::NotAllowed), Outcome::Unchanged]);
    let stranger = Item::Rights { session: 2, membership: stay(9), rights: Rights::ALL };
    assert_eq!(room.decide(&[stranger]), [refused(Refusal::NotMember)]);
    // Entering again under the same membership brings those of the token.
    let again = room.decide(&[join_as(2, "bob", Some("u2"), Rights::MEMBER), send(2, "*")]);
    assert_eq!(again, [Outcome::Done(0), Outcome::Done(1)]);
}

#[test]
fn one_that_comes_back_gets_its_rights_with_the_move() {
    let mut room = room_of_three();
    let profile = Profile { uid: Some(Uid::new("u2").unwrap()), rights: Some(Rights::NONE), info: None };
    let name = Name::new("bob").unwrap();
    let back =
        Item::Join { session: 7, name, membership: stay(2), claim: Claim::Back, seen: None, profile: profile.boxed() };
    let (_, entries) = room.propose(&[back]);
    assert!(matches!(entries[..], [Entry::Move { .. }, Entry::Rights { rights: Rights::NONE, .. }]), "{entries:?}");
}

#[test]
fn a_muted_user_sends_nothing_until_the_rule_ends() {
    let mut room = room_of_three();
    let outcomes = room.decide(&[
        send_with_id(2, "x"),
        moderate(1, user("u2"), forbid(RuleKind::Mute, 60)),
        send_with_id(2, "x"),
        send(2, "*"),
        send(2, "ann"),
        send(3, "*"),
    ]);
    let muted = refused(Refusal::Muted(room.time + 60 * SECOND));
    // What was sent before keeps its outcome.
    assert_eq!(outcomes, [Outcome::Done(0), Outcome::Done(1), Outcome::Done(0), muted, muted, Outcome::Done(2)]);
    room.time += 60 * SECOND - 1;
    assert_eq!(room.decide(&[send(2, "*")]), [muted]);
    room.time += 1;
    assert_eq!(room.decide(&[send(2, "*")]), [Outcome::Done(0)]);
}

#[test]
fn a_name_means_its_user_and_a_rule_by_name_holds_for_all_with_it() {
    let mut room = room_of_three();
    let (_, entries) = room.propose(&[moderate(1, named("bob"), forbid(RuleKind::Mute, 0))]);
    assert!(
        matches!(&entries[0], Entry::Rule { target, until: 0, by, .. } if *target == user("u2") && by.as_str() == "u1")
    );
    room.decide(&[leave(2), join_as(4, "bobby", Some("u2"), Rights::MEMBER)]);
    assert_eq!(room.decide(&[send(4, "*")]), [refused(Refusal::Muted(0))], "under another name");
    assert_eq!(
        room.decide(&[moderate(1, user("u2"), Deed::Permit { kind: RuleKind::Mute }), send(4, "*")])[1],
        Outcome::Done(1)
    );
    // Of one who is gone, only the name is known.
    room.decide(&[moderate(1, named("carl"), forbid(RuleKind::Ban, 0))]);
    let banned = refused(Refusal::Banned(0));
    assert_eq!(room.decide(&[join(8, "carl"), join_as(9, "carl", Some("u9"), Rights::MEMBER)]), [banned, banned]);
}

#[test]
fn a_banned_user_leaves_and_stays_out() {
    let mut room = room_of_three();
    let (outcome, entries) = room.act(rule(user("u2"), RuleKind::Ban, 70 * SECOND));
    assert_eq!(outcome, Outcome::Done(0));
    assert!(matches!(&entries[1], Entry::Expel { name, .. } if name.as_str() == "bob"), "{entries:?}");
    assert_eq!(room.names(), ["ann", "guest"]);
    let banned = refused(Refusal::Banned(70 * SECOND));
    let heal = |item: Item, to: Claim| match item {
        Item::Join { session, name, membership, seen, profile, .. } => {
            Item::Join { session, name, membership, claim: to, seen, profile }
        }
        other => other,
    };
    let bob = || join_as(2, "bob", Some("u2"), Rights::MEMBER);
    for claim in [Claim::New, Claim::Back, Claim::Heal] {
        assert_eq!(room.decide(&[heal(bob(), claim)]), [banned], "{claim:?}");
    }
    room.time = 70 * SECOND;
    assert_eq!(room.decide(&[bob()]), [Outcome::Done(0)]);
}

#[test]
fn all_members_of_a_banned_user_leave_with_the_next_records() {
    let mut room = room_of_three();
    let names = ["a", "b", "c", "d", "e", "f"];
    let joins = (10..).zip(names).map(|(session, name)| join_as(session, name, Some("u5"), Rights::MEMBER));
    room.decide(&joins.collect::<Vec<_>>());
    let (_, entries) = room.act(rule(user("u5"), RuleKind::Ban, 0));
    assert_eq!(entries.len(), 1 + Entry::EXPULSIONS);
    let (remain, entries) = room.draft(|draft, _| draft.expel_banned());
    assert_eq!((remain, entries.len()), (false, names.len() - Entry::EXPULSIONS));
    assert_eq!(room.names(), ["ann", "bob", "guest"]);
}

#[test]
fn only_moderators_moderate_and_none_of_them_is_a_target() {
    let mut room = room_of_three();
    room.decide(&[join_as(5, "eve", Some("u5"), Rights::ALL)]);
    let not_allowed = refused(Refusal::NotAllowed);
    let mute = |session, target| moderate(session, target, forbid(RuleKind::Mute, 0));
    let outcomes = room.decide(&[
        mute(2, user("u3")),
        mute(1, named("eve")),
        mute(1, user("u5")),
        mute(1, named("ann")),
        moderate(5, named("ann"), Deed::Expel { reason: "why".to_owned() }),
        Item::Moderate { session: 1, membership: stay(2), target: user("u2"), deed: forbid(RuleKind::Mute, 0) },
        moderate(1, named("nobody"), Deed::Expel { reason: String::new() }),
        moderate(1, named("bob"), Deed::Expel { reason: "why".to_owned() }),
    ]);
    let mut expected = vec![not_allowed; 5];
    expected.extend([refused(Refusal::NotMember), refused(Refusal::NoSuchMember), Outcome::Done(0)]);
    assert_eq!(outcomes, expected);
    // The application may.
    assert_eq!(room.act(rule(user("u5"), RuleKind::Mute, 0)).0, Outcome::Done(0));
    // Rights without a user are none to moderate.
    room.decide(&[join_as(6, "odd", None, Rights::ALL)]);
    assert_eq!(room.decide(&[mute(6, user("u2"))]), [not_allowed]);
}

#[test]
fn a_slow_room_takes_a_message_of_a_member_now_and_then() {
    let mut room = Room::with(NamespaceSettings { slow_secs: 5, send: Level::Any, ..NamespaceSettings::default() });
    room.decide(&[join(1, "ann"), join(2, "bob")]);
    let slow = |ms| refused(Refusal::Slow(ms));
    assert_eq!(
        room.decide(&[send(1, "*"), send(1, "*"), send(2, "*")]),
        [Outcome::Done(0), slow(5_000), Outcome::Done(1)]
    );
    room.time += 4_999;
    assert_eq!(room.decide(&[send(1, "bob")]), [slow(1)]);
    room.time += 1;
    assert_eq!(room.decide(&[send(1, "*")]), [Outcome::Done(0)]);
}

#[test]
fn rooms_of_the_system_have_no_members() {
    let room = RoomId::of_all_rooms();
    let (policy, mut state, context) = (policy_of(RoomSettings::default()), RoomState::default(), Context::default());
    let mut draft = Draft::new(&room, &policy, &mut state, context.at());
    draft.decide(&author(), 1, &[join(1, "ann")]);
    assert_eq!(draft.finish().1[0].outcomes, [refused(Refusal::WrongRoom)]);
}
