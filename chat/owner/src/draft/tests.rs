//! Room rules: which proposals are decided how.

use model::failure_detector::PeerState;
use model::lineage::Lineage;
use model::membership::Token;
use model::record::{Position, Record, VERSION};
use model::settings::RoomSettings;

use super::*;

mod moderation;

fn policy_of(room: RoomSettings) -> RoomPolicy {
    RoomPolicy::new(&Settings { room, ..Settings::default() }, SizeLimits::default())
}

fn author() -> Author {
    Author { connector: ServerId::new("connector-server-1").unwrap(), incarnation: Incarnation(5) }
}

/// The membership of a session that joined without a token.
fn stay(session: u64) -> Membership {
    Token::new(session.into()).membership()
}

fn join(session: u64, name: &str) -> Item {
    let membership = stay(session);
    Item::Join { session, name: Name::new(name).unwrap(), membership, claim: Claim::New, seen: None, profile: None }
}

/// Joins with the token of another session.
fn resume(session: u64, of: u128, name: &str, claim: Claim) -> Item {
    let membership = Token::new(of).membership();
    Item::Join { session, name: Name::new(name).unwrap(), membership, claim, seen: None, profile: None }
}

fn send_with_id(session: u64, id: &str) -> Item {
    let body = format!(r#"{{"content":"hi","target":"*","id":"{id}"}}"#).into();
    Item::Send { session, membership: stay(session), body }
}

/// The message, sent with the membership of another session.
fn under(of: u64, mut message: Item) -> Item {
    if let Item::Send { membership, .. } = &mut message {
        *membership = stay(of);
    }
    message
}

fn leave(session: u64) -> Item {
    Item::Leave { session, incarnation: Incarnation(5) }
}

fn send(session: u64, target: &str) -> Item {
    let body = format!(r#"{{"content":"hi","target":"{target}"}}"#).into();
    Item::Send { session, membership: stay(session), body }
}

/// The context of a draft. By default no connector is down and no session joined lately.
struct Context {
    liveness: ConnectorLiveness,
    recent_joins: RecentJoins,
    space: MessageSpace,
}

impl Default for Context {
    fn default() -> Self {
        let recent_joins = RecentJoins::since(RecordId::NONE);
        Self { liveness: ConnectorLiveness::default(), recent_joins, space: MessageSpace::UNLIMITED }
    }
}

impl Context {
    fn at(&self) -> DraftContext<'_> {
        DraftContext {
            liveness: &self.liveness,
            recent_joins: &self.recent_joins,
            reserved_bytes: 0,
            space: self.space,
            time: 0,
            slow_ms: 0,
        }
    }
}

/// Outcomes and entries of one proposal to a room of at most three members.
fn decide(items: &[Item]) -> (Vec<Outcome>, Vec<Entry>) {
    let policy = policy_of(RoomSettings { max_members: 3, ..RoomSettings::default() });
    let room = RoomId::new("lobby").unwrap();
    let mut state = RoomState::default();
    let context = Context::default();
    let mut draft = Draft::new(&room, &policy, &mut state, context.at());
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
    assert_eq!(outcomes, [Outcome::Done(0), Outcome::Unchanged, Outcome::Done(1), Outcome::Unchanged]);
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
    assert_eq!(outcomes[4], Outcome::Done(4), "a member may change the name");
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
    assert_eq!(outcomes[1], Outcome::Unchanged);
}

#[test]
fn a_proposal_is_decided_once_in_a_record() {
    let policy = policy_of(RoomSettings::default());
    let room = RoomId::new("lobby").unwrap();
    let mut state = RoomState::default();
    let context = Context::default();
    let mut draft = Draft::new(&room, &policy, &mut state, context.at());
    draft.decide(&author(), 7, &[join(1, "ann")]);
    assert!(draft.has_decided(&author(), 7) && draft.has_decided(&author(), 6));
    assert!(!draft.has_decided(&author(), 8));
}

#[test]
fn a_token_takes_the_session_over_unless_it_heals() {
    let taken = Outcome::Refused(Refusal::NameTaken);
    let (outcomes, entries) = decide(&[
        join(1, "ann"),
        resume(2, 1, "ann", Claim::Heal),
        resume(3, 9, "ann", Claim::Back),
        resume(4, 1, "ann", Claim::Back),
    ]);
    assert_eq!(outcomes, [Outcome::Done(0), taken, taken, Outcome::Done(1)]);
    assert!(matches!(&entries[1], Entry::Move { from, to, .. } if from.number == 1 && to.number == 4), "{entries:?}");
}

#[test]
fn a_full_room_takes_its_members_back() {
    let items = [join(1, "ann"), join(2, "bob"), join(3, "cid"), resume(4, 2, "bob", Claim::Back), join(5, "dan")];
    let (outcomes, _) = decide(&items);
    assert_eq!(outcomes[3..], [Outcome::Done(3), Outcome::Refused(Refusal::RoomFull)]);
}

#[test]
fn a_session_that_was_taken_over_sends_no_more() {
    let (outcomes, _) =
        decide(&[join(1, "ann"), resume(2, 1, "ann", Claim::Back), send(1, "*"), leave(1), under(1, send(2, "*"))]);
    let refused = Outcome::Refused(Refusal::NotMember);
    assert_eq!(outcomes[2..], [refused, Outcome::Unchanged, Outcome::Done(2)]);
}

#[test]
fn a_repeat_within_a_record_is_sent_once_also_on_another_session() {
    let items = [
        join(1, "ann"),
        send_with_id(1, "a"),
        send_with_id(1, "b"),
        send_with_id(1, "a"),
        resume(2, 1, "ann", Claim::Back),
        under(1, send_with_id(2, "b")),
        join(3, "bob"),
        send_with_id(3, "a"),
    ];
    let (outcomes, _) = decide(&items);
    let done = [0, 1, 2, 1, 3, 2, 4, 5].map(Outcome::Done);
    assert_eq!(outcomes, done, "the id of another member is another id");
}

#[test]
fn a_repeat_in_a_later_record_gets_the_first_answer() {
    let (policy, room) = (policy_of(RoomSettings::default()), RoomId::new("lobby").unwrap());
    let (mut state, context) = (RoomState::default(), Context::default());
    let mut outcome = |time: u64, items: &[Item]| {
        let mut draft = Draft::new(&room, &policy, &mut state, context.at());
        draft.decide(&author(), 1, items);
        let (entries, proposals) = draft.finish();
        let outcome = *proposals[0].outcomes.last().unwrap();
        let record = Record {
            v: VERSION,
            prev: Position::NONE,
            prev_id: RecordId::NONE,
            id: RecordId(time),
            links: Vec::new(),
            time,
            owner: ServerId::new("chat-server-1").unwrap(),
            proposals,
            entries,
            acts: Vec::new(),
            lasting: None,
            notify_connectors: Vec::new(),
            checkpoint: None,
            part: None,
        };
        state.apply_metadata(Position(time), &record);
        outcome
    };
    assert_eq!(outcome(1_000, &[join(1, "ann"), send_with_id(1, "a")]), Outcome::Done(1));
    let first = Outcome::Duplicate { seq: 1_000_001, time: 1_000 };
    assert_eq!(outcome(2_000, &[send_with_id(1, "a")]), first);
    // The clock was set forward.
    assert_eq!(outcome(86_400_000, &[send_with_id(1, "a")]), first);
    (0..60).for_each(|number| {
        outcome(90_000_000 + number * 1_000, &[send_with_id(1, &number.to_string())]);
    });
    assert_eq!(outcome(90_060_000, &[send_with_id(1, "a")]), first);
    outcome(90_060_000, &[send_with_id(1, "last")]);
    assert_eq!(outcome(90_060_000, &[send_with_id(1, "a")]), Outcome::Done(0));
}

/// `connector-server-2` is down, `connector-server-3` is suspected.
#[test]
fn members_of_a_down_connector_leave_and_names_of_a_suspected_one_are_free() {
    let (policy, room) = (policy_of(RoomSettings::default()), RoomId::new("lobby").unwrap());
    let connector = |number: u64| ServerId::new(&format!("connector-server-{number}")).unwrap();
    let mut state = RoomState::default();
    for (number, name) in [(1, "ann"), (2, "bob"), (3, "cid")] {
        let session = SessionId { connector: connector(number), incarnation: Incarnation(5), number };
        let membership = Token::new(number.into()).membership();
        state.apply(&Entry::Join { name: Name::new(name).unwrap(), session, membership, profile: None });
    }
    let states = [(connector(1), PeerState::Up), (connector(2), PeerState::Down), (connector(3), PeerState::Suspected)];
    let latest = Lineage::new(Incarnation(5));
    let liveness = ConnectorLiveness::new(states.iter().map(|(id, state)| (id, &latest, *state)));
    let context = Context { liveness, ..Context::default() };
    let mut draft = Draft::new(&room, &policy, &mut state, context.at());
    draft.expel();
    draft.decide(&author(), 1, &[join(7, "ann"), join(8, "bob"), join(9, "cid")]);
    let (entries, decided) = draft.finish();
    let taken = Outcome::Refused(Refusal::NameTaken);
    assert_eq!(decided[0].outcomes, [taken, Outcome::Done(1), Outcome::Done(3)]);
    let who = |entry: &Entry| match entry {
        Entry::Leave { name, session } => (name.to_string(), false, session.number),
        Entry::Join { name, session, .. } => (name.to_string(), true, session.number),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        entries.iter().map(who).collect::<Vec<_>>(),
        [("bob", false, 2), ("bob", true, 8), ("cid", false, 3), ("cid", true, 9)].map(|(name, comes, number)| (
            name.to_owned(),
            comes,
            number
        ))
    );
}

/// The connector had incarnation 5 and continues above 8, which another process had.
#[test]
fn sessions_of_a_continued_run_move_and_are_members_before_they_did() {
    let (policy, room) = (policy_of(RoomSettings::default()), RoomId::new("lobby").unwrap());
    let Author { connector, .. } = author();
    let session = |run, number| SessionId { connector: connector.clone(), incarnation: Incarnation(run), number };
    let mut state = RoomState::default();
    for (number, run) in (0..601).map(|number| (number, 5)).chain([(700, 8)]) {
        let name = Name::new(&format!("user{number}")).unwrap();
        let membership = Token::new(number.into()).membership();
        state.apply(&Entry::Join { name, session: session(run, number), membership, profile: None });
    }
    let mut latest = Lineage::new(Incarnation(5));
    latest.continue_above(Incarnation(8));
    let liveness = ConnectorLiveness::new([(&connector, &latest, PeerState::Up)].into_iter());
    let context = Context { liveness, ..Context::default() };
    let at = context.at();
    let mut draft = Draft::new(&room, &policy, &mut state, at);
    draft.expel();
    let author = Author { connector: connector.clone(), incarnation: latest.present() };
    // The first session moved. The last did not yet: it sends, joins again, joins under another
    // name, and leaves.
    let gone_before = Item::Leave { session: 597, incarnation: Incarnation(5) };
    let leaves = Item::Leave { session: 599, incarnation: latest.present() };
    let items =
        [send(0, "*"), send(600, "*"), join(600, "user600"), join(598, "other"), gone_before, leaves, send(700, "*")];
    draft.decide(&author, 1, &items);
    let (entries, decided) = draft.finish();
    let moved =
        Entry::Move { name: Name::new("user0").unwrap(), from: session(5, 0), to: session(14, 0), membership: stay(0) };
    assert_eq!(entries[0], moved);
    let first = entries.iter().filter(|entry| matches!(entry, Entry::Move { .. })).count();
    assert!((300..=MAX_ENTRIES / 2).contains(&first), "{first}: as many as fit");
    use Outcome::{Done, Refused, Unchanged};
    let done = |entry: usize| Done(u16::try_from(first + entry).unwrap());
    let expected = [done(0), done(1), Unchanged, done(3), done(4), done(5), Refused(Refusal::NotMember)];
    assert_eq!(decided[0].outcomes, expected);
    let left = |name: &str, number| Entry::Leave { name: Name::new(name).unwrap(), session: session(5, number) };
    assert_eq!(entries[first + 2], left("user598", 598));
    assert_eq!(entries[first + 4..], [left("user597", 597), left("user599", 599)]);
    // The rest follows; members of the process with the higher incarnation leave.
    let mut draft = Draft::new(&room, &policy, &mut state, at);
    draft.expel();
    assert_eq!(
        draft.finish().0.last(),
        Some(&Entry::Leave { name: Name::new("user700").unwrap(), session: session(8, 700) })
    );
    assert_eq!(state.runs().map(|(_, run)| run.0).collect::<Vec<_>>(), [14]);
}

#[test]
fn the_newest_wins_if_the_settings_say_so_but_never_by_healing() {
    let policy = policy_of(RoomSettings { newest_wins: true, ..RoomSettings::default() });
    let (room, context) = (RoomId::new("lobby").unwrap(), Context::default());
    let mut state = RoomState::default();
    let mut draft = Draft::new(&room, &policy, &mut state, context.at());
    draft.decide(&author(), 1, &[join(1, "ann"), join(2, "ann"), resume(1, 1, "ann", Claim::Heal), send(1, "*")]);
    let refused = Outcome::Refused;
    let outcomes = [Outcome::Done(0), Outcome::Done(2), refused(Refusal::NameTaken), refused(Refusal::NotMember)];
    assert_eq!(draft.finish().1[0].outcomes, outcomes);
}

/// Items of one proposal in a room whose last record is 7: behind record 5, a session joined with
/// the first membership.
fn decide_behind_an_entrance(state: &mut RoomState, items: &[Item]) -> Vec<Outcome> {
    let (policy, room) = (policy_of(RoomSettings::default()), RoomId::new("lobby").unwrap());
    let mut context = Context { recent_joins: RecentJoins::since(RecordId(5)), ..Context::default() };
    let session = SessionId { connector: author().connector, incarnation: Incarnation(5), number: 9 };
    let name = Name::new("ann").unwrap();
    for (id, entry) in [(6, Entry::Join { name, session, membership: stay(1), profile: None }), (7, Entry::Open)] {
        context.recent_joins.add(&Record {
            v: VERSION,
            prev: Position::NONE,
            prev_id: RecordId(id - 1),
            id: RecordId(id),
            links: Vec::new(),
            time: 0,
            owner: ServerId::new("chat-server-1").unwrap(),
            proposals: Vec::new(),
            acts: Vec::new(),
            lasting: None,
            entries: vec![entry],
            notify_connectors: Vec::new(),
            checkpoint: None,
            part: None,
        });
    }
    let at = context.at();
    let mut draft = Draft::new(&room, &policy, state, at);
    draft.decide(&author(), 1, items);
    draft.finish().1.remove(0).outcomes
}

fn join_seen(session: u64, of: u128, seen: u64) -> Item {
    let (name, membership) = (Name::new("ann").unwrap(), Token::new(of).membership());
    Item::Join { session, name, membership, claim: Claim::Heal, seen: Some(RecordId(seen)), profile: None }
}

#[test]
fn a_join_is_overtaken_by_an_entrance_behind_the_record_that_it_names() {
    let outcome = |item| decide_behind_an_entrance(&mut RoomState::default(), &[item]).remove(0);
    assert_eq!(outcome(join_seen(1, 1, 5)), Outcome::Overtaken);
    assert_eq!(outcome(join_seen(1, 1, 6)), Outcome::Done(0), "that entrance was seen");
    assert_eq!(outcome(join_seen(1, 2, 5)), Outcome::Done(0), "it was of another stay");
    assert_eq!(outcome(join_seen(1, 2, 4)), Outcome::Overtaken, "nothing is known of what came before");
    let in_one_draft = [join_seen(1, 2, 7), leave(1), join_seen(2, 2, 7)];
    let outcomes = decide_behind_an_entrance(&mut RoomState::default(), &in_one_draft);
    assert_eq!(outcomes, [Outcome::Done(0), Outcome::Done(1), Outcome::Overtaken]);
}

/// The log lost that the session left and joined again: it is a member by its earlier membership.
#[test]
fn a_session_that_is_in_by_an_older_stay_enters_the_new_one() {
    let (outcomes, entries) = decide(&[join(1, "ann"), resume(1, 7, "ann", Claim::New), send(1, "*")]);
    assert_eq!(outcomes[..2], [Outcome::Done(0), Outcome::Done(2)]);
    assert!(matches!(&entries[1], Entry::Leave { .. }) && matches!(&entries[2], Entry::Join { .. }));
    assert_eq!(outcomes[2], Outcome::Refused(Refusal::NotMember), "it was sent under the stay of before");
}

/// Messages that the log has no space for are refused; repeats, joins and leaves take none of it.
#[test]
fn messages_are_refused_without_space_in_the_log() {
    let items = [
        join(1, "ann"),
        send_with_id(1, "a"),
        send(1, "*"),
        send(1, "ann"),
        send_with_id(1, "a"),
        join(2, "bob"),
        leave(2),
        under(1, send(1, "**")),
    ];
    let one = Entry::Message {
        from: Name::new("ann").unwrap(),
        content: "hi".to_owned(),
        id: Some(stay(1).message("a")),
        meta: None,
    };
    let bytes = one.size() as u64;
    let share = MessageSpace { until_reserve: u64::MAX, of_share: Some(bytes) };
    let reserve = MessageSpace { until_reserve: bytes, of_share: Some(bytes) };
    for (space, refusal) in [(share, Refusal::RoomShare), (reserve, Refusal::LogReserve)] {
        let (policy, room) = (policy_of(RoomSettings::default()), RoomId::new("lobby").unwrap());
        let (mut state, context) = (RoomState::default(), Context { space, ..Context::default() });
        let mut draft = Draft::new(&room, &policy, &mut state, context.at());
        draft.decide(&author(), 1, &items);
        let (messages, (_, decided)) = (draft.messages(), draft.finish());
        let refused = Outcome::Refused(refusal);
        let [done, again] = [Outcome::Done(1); 2];
        let no_member = Outcome::Refused(Refusal::NoSuchMember);
        let expected = [Outcome::Done(0), done, refused, refused, again, Outcome::Done(2), Outcome::Done(3), no_member];
        assert_eq!(decided[0].outcomes, expected);
        let (over_share, in_reserve) = if refusal == Refusal::RoomShare { (2, 0) } else { (0, 2) };
        assert_eq!(messages, MessageTally { bytes, over_share, in_reserve });
    }
}
