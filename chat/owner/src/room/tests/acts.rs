//! Acts at an owner: each is decided once, and their effects outlive the owner.

use model::act::{Act, IdentifiedAct, MessageMeta, Rights, RuleKind, Target};
use model::ids::{Actor, SessionId, Uid};
use model::record::{DecidedActs, Refusal};

use super::*;

fn by() -> Actor {
    Actor::new("key-1").unwrap()
}

fn mute(number: u64, until: u64) -> Act {
    let target = Target::Uid(Uid::new(&format!("u{number}")).unwrap());
    Act::Rule { target, kind: RuleKind::Mute, until, by: by() }
}

fn expel(name: &str) -> Act {
    Act::Expel { name: Name::new(name).unwrap(), reason: "why".to_owned(), by: by() }
}

fn say(text: &str) -> Act {
    Act::Say { from: Name::new("app").unwrap(), content: text.to_owned(), meta: MessageMeta::default() }
}

fn identified(key: u64, act: Act) -> IdentifiedAct {
    IdentifiedAct { id: Token::new(key.into()).membership().message("act"), digest: key, act }
}

impl OwnerHarness {
    /// Sends a message of acts whose keys are their numbers in it, above a multiple of 100.
    fn act(&mut self, number: u64, acts: Vec<Act>) {
        let acts = (100 * number..).zip(acts).map(|(key, act)| identified(key, act)).collect();
        self.act_identified(number, acts);
    }

    fn act_identified(&mut self, number: u64, acts: Vec<IdentifiedAct>) {
        let server = ServerId::new("api-server-1").unwrap();
        let message = ActMessage { server, incarnation: Incarnation(1), number, acts };
        let now = self.now;
        self.call(|owner, cx| owner.act(message, now, cx));
        self.run();
    }

    /// The same at a server that looks twice for missing records.
    fn act_at_second_look(&mut self, number: u64, acts: Vec<Act>) {
        self.act(number, acts);
        self.tick(2_000);
        self.run();
    }

    fn last_record(&self) -> (Position, Record) {
        let (position, bytes) = self.log.last(&room()).last.unwrap();
        (position, Record::decode(&bytes).unwrap())
    }

    /// Returns true if the owner knows the mute of a user.
    fn holds(&self, number: u64) -> bool {
        let target = Target::Uid(Uid::new(&format!("u{number}")).unwrap());
        let (_, state) = self.owner.state().unwrap();
        state.moderation().rule(&target, RuleKind::Mute, state.time()).is_some()
    }

    fn act_outcomes(&self) -> Vec<Outcome> {
        let (_, record) = self.last_record();
        let decided = |decided: &DecidedActs| decided.acts.iter().map(|act| act.outcome).collect::<Vec<_>>();
        record.acts.iter().flat_map(decided).collect()
    }
}

#[test]
fn acts_are_decided_in_order_beside_proposals() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann"), join(2, "bob")]);
    harness.run();
    let session = SessionId { connector: connector(1), incarnation: Incarnation(1), number: 2 };
    let gone = SessionId { number: 9, ..session.clone() };
    let rights = |session| Act::Rights { session, rights: Rights(3) };
    let revoke = Act::Revoke { uid: Uid::new("u1").unwrap(), before: 1, until: 0 };
    harness.act(1, vec![rights(session), expel("ann"), expel("ann"), say("hi"), mute(1, 0), revoke, rights(gone)]);
    let refused = Outcome::Refused;
    let outcomes = [
        Outcome::Done(0),
        Outcome::Done(1),
        refused(Refusal::NoSuchMember),
        Outcome::Done(2),
        Outcome::Done(3),
        refused(Refusal::WrongRoom),
        refused(Refusal::NotMember),
    ];
    assert_eq!(harness.act_outcomes(), outcomes);
    let (_, told) = harness.records_to(1).pop().unwrap();
    assert_eq!(told.entries.len(), 4);
    assert!(told.acts.is_empty(), "connectors learn of the entries alone");
}

#[test]
fn a_message_is_decided_once() {
    let mut harness = OwnerHarness::new();
    harness.act(2, vec![say("hi")]);
    let (position, _) = harness.last_record();
    harness.act(2, vec![say("hi")]);
    harness.act(1, vec![say("late")]);
    assert_eq!(harness.last_record().0, position);
    let mut successor = harness.successor();
    successor.act(2, vec![say("hi")]);
    assert!(successor.act_outcomes().is_empty(), "it activates the room, and decides nothing");
}

#[test]
fn an_id_is_done_once_and_belongs_to_one_act() {
    let mut harness = OwnerHarness::new();
    let first = identified(7, say("hi"));
    let other = IdentifiedAct { digest: 8, act: say("ho"), ..first.clone() };
    harness.act_identified(1, vec![first.clone(), first.clone(), other.clone()]);
    let reused = Outcome::Refused(Refusal::KeyReused);
    assert_eq!(harness.act_outcomes(), [Outcome::Done(0), Outcome::Done(0), reused]);
    let (position, record) = harness.last_record();
    let mut successor = harness.successor();
    successor.act_identified(2, vec![first, other]);
    let duplicate = Outcome::Duplicate { seq: position.seq(0), time: record.time };
    assert_eq!(successor.act_outcomes(), [duplicate, reused]);
}

#[test]
fn a_full_table_refuses_also_within_one_message() {
    let mut harness = OwnerHarness::new();
    for number in 0..31 {
        harness.act(number + 1, (0..64).map(|rule| mute(64 * number + rule, 0)).collect());
    }
    harness.act(40, (0..17).map(|rule| mute(1_984 + rule, 0)).collect());
    let outcomes = harness.act_outcomes();
    assert!(outcomes[..16].iter().all(|outcome| matches!(outcome, Outcome::Done(_))), "{outcomes:?}");
    assert_eq!(outcomes[16], Outcome::Refused(Refusal::TooMany));
}

#[test]
fn what_is_not_committed_has_no_effect() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.act(1, Vec::new());
    let state = harness.owner.walk(Until::Checkpoint).is_some();
    assert!(state);
    // Another server appends meanwhile.
    let mut successor = harness.successor();
    successor.propose(2, 1, vec![join(2, "bob")]);
    successor.run();
    harness.act(2, vec![expel("ann"), mute(1, 0)]);
    harness.tick(60_000);
    harness.run();
    harness.act(2, vec![expel("ann"), mute(1, 0)]);
    assert_eq!(harness.act_outcomes(), [Outcome::Done(0), Outcome::Done(1)]);
}

/// A room with rules of which the records between are too old.
fn aged() -> OwnerHarness {
    let mut harness = OwnerHarness::new();
    // A state so large that no record behind these has a checkpoint: the rules are in their own alone.
    harness.propose(1, 1, (1..=200).map(|session| join(session, &format!("member-{session}"))).collect());
    harness.run();
    for number in 1..60 {
        harness.act(number, vec![if number % 20 == 0 { mute(number, 0) } else { say("hi") }]);
    }
    harness.log.age();
    harness
}

#[test]
fn rules_are_found_behind_the_age_of_the_log() {
    let mut successor = aged().successor();
    successor.act_at_second_look(60, vec![mute(60, 0)]);
    assert!([20, 40, 60].iter().all(|number| successor.holds(*number)));
    // Behind missing records the state is written anew.
    successor.log.age();
    let mut third = successor.successor();
    third.act_at_second_look(61, vec![say("hi")]);
    assert!([20, 40, 60].iter().all(|number| third.holds(*number)));
}

#[test]
fn what_is_too_old_was_not_lost() {
    let missing = |hours: u64| {
        let mut successor = aged().successor();
        successor.now.wall_ms += hours * 3_600_000;
        successor.act_at_second_look(60, vec![say("hi")]);
        successor.missing() > 0
    };
    assert_eq!((missing(24), missing(8 * 24)), (true, false));
}

/// The log evicts the oldest records of a room by their number, too, whatever their lifetime.
#[test]
fn rules_are_found_behind_the_age_of_a_log_that_is_full_of_newer_records() {
    const RECORDS: usize = 512;
    let mut settings = Settings::default();
    settings.log.max_records = RECORDS;
    let mut harness = OwnerHarness::with(TestLog::retaining(1, RECORDS), &settings, SizeLimits::default());
    harness.act(1, vec![mute(1, 0)]);
    for number in 2..1_500 {
        // The room forgets ids, so its state stays small, and all of its checkpoints are in one record.
        harness.now.wall_ms += 10_000;
        harness.act(number, vec![say("hi")]);
    }
    harness.log.age();
    let mut successor = harness.successor();
    successor.act_at_second_look(1_500, vec![say("hi")]);
    assert!(successor.holds(1));
}
