//! Acts at an owner: each is decided once, and their effects outlive the owner.

use model::act::{Act, IdentifiedAct, MessageMeta, Rights, RuleKind, Target};
use model::ids::{Actor, SessionId, Uid};
use model::record::{DecidedActs, Refusal};
use model::rpc::messages::{ActOutcome, LookAbout, LookResult, Unavailable};

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

/// An api server: its messages have no numbers.
fn api_server(number: u8) -> Requester {
    let server = ServerId::new(&format!("api-server-{number}")).unwrap();
    let reply = format!("api.api-server-{number}.reply.1");
    Requester { server, reply, trace: Trace::new(1, 1), is_numbered: false }
}

impl OwnerHarness {
    /// Sends a message of acts whose keys are their numbers in it, above a multiple of 100.
    fn act(&mut self, number: u64, acts: Vec<Act>) {
        let acts = (100 * number..).zip(acts).map(|(key, act)| identified(key, act)).collect();
        self.act_identified(number, acts);
    }

    fn act_identified(&mut self, number: u64, acts: Vec<IdentifiedAct>) {
        self.send_acts(1, number, acts);
        self.run();
    }

    fn send_acts(&mut self, api: u8, number: u64, acts: Vec<IdentifiedAct>) {
        let message = ActMessage { requester: api_server(api), incarnation: Incarnation(1), number, acts };
        let now = self.now;
        self.call(|owner, cx| owner.act(message, now, cx));
    }

    fn look(&mut self, number: u64, about: LookAbout) {
        let (requester, now) = (api_server(1), self.now);
        self.call(|owner, cx| owner.look(Look { requester, number, about }, now, cx));
    }

    /// Takes the responses to an api server.
    fn responses(&mut self, api: u8) -> Vec<RpcResponse> {
        let (its, others) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|sent| matches!(sent, Sent::Respond(requester, _) if *requester == api_server(api)));
        self.sent = others;
        let response = |sent| match sent {
            Sent::Respond(_, response) => Some(response),
            _ => None,
        };
        Vec::into_iter(its).filter_map(response).collect()
    }

    /// Takes the outcomes of the only response to an api server, to a message with this number.
    fn acted(&mut self, number: u64) -> Vec<ActOutcome> {
        match &self.responses(1)[..] {
            [RpcResponse::Acted { number: acted, epoch: Epoch(1), outcomes, .. }] if *acted == number => {
                outcomes.clone()
            }
            other => panic!("{other:?}"),
        }
    }

    fn looked(&mut self) -> LookResult {
        match &self.responses(1)[..] {
            [RpcResponse::Looked { found, .. }] => found.clone(),
            other => panic!("{other:?}"),
        }
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
fn each_message_gets_the_outcome_of_its_first_decision() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.act(2, vec![say("hi"), expel("ann"), expel("ann")]);
    let (position, record) = harness.last_record();
    let done = |index| ActOutcome::Done { seq: position.seq(index), time: record.time };
    let outcomes = [done(0), done(1), ActOutcome::Refused(Refusal::NoSuchMember)];
    assert_eq!(harness.acted(2), outcomes);
    // The room changes, and with it the reason of the refusal.
    harness.now.wall_ms += 9_000;
    harness.propose(1, 2, vec![join(1, "ann")]);
    harness.run();
    harness.act(2, vec![say("hi"), expel("ann"), expel("ann")]);
    assert_eq!(harness.acted(2), outcomes);
    let mut successor = harness.successor();
    successor.act(2, vec![say("hi"), expel("ann"), expel("ann")]);
    assert_eq!(successor.acted(2), outcomes, "also after a failover");
    assert_eq!(successor.last_record().1.acts, [], "it decided nothing");
    successor.act(1, vec![say("late")]);
    let stale = RpcResponse::ActStale { room: room(), incarnation: Incarnation(1), number: 2 };
    assert_eq!(successor.responses(1), [stale]);
}

#[test]
fn a_message_under_way_is_neither_decided_twice_nor_overtaken() {
    let mut harness = OwnerHarness::new();
    harness.act(1, vec![say("hi")]);
    harness.responses(1);
    harness.send_acts(1, 2, vec![identified(200, say("ho"))]);
    harness.send_acts(1, 2, vec![identified(200, say("ho"))]);
    assert!(harness.responses(1).is_empty(), "not before the commit");
    harness.send_acts(1, 4, vec![identified(400, say("later"))]);
    harness.send_acts(1, 3, vec![identified(300, say("given up"))]);
    let stale = RpcResponse::ActStale { room: room(), incarnation: Incarnation(1), number: 4 };
    assert_eq!(harness.responses(1), [stale]);
    harness.run();
    let numbers = harness.responses(1).into_iter().map(|response| match response {
        RpcResponse::Acted { number, .. } => number,
        other => panic!("{other:?}"),
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn no_more_messages_wait_than_may() {
    let mut harness = OwnerHarness::new();
    harness.act(1, vec![say("hi")]);
    harness.responses(1);
    // The operation in flight is the append of the first.
    for api in 1..=66 {
        harness.send_acts(api, 2, vec![identified(api.into(), say("hi"))]);
    }
    let busy = RpcResponse::Busy { room: room() };
    assert_eq!((harness.responses(65), harness.responses(66)), (vec![], vec![busy]));
    harness.run();
    let acted = (1..=65).filter(|api| matches!(harness.responses(*api)[..], [RpcResponse::Acted { .. }]));
    assert_eq!(acted.count(), 65);
}

#[test]
fn acts_that_cannot_be_appended_are_answered() {
    let mut harness = OwnerHarness::new();
    harness.act(1, vec![say("hi")]);
    harness.responses(1);
    harness.send_acts(1, 2, vec![identified(200, say("ho"))]);
    harness.send_acts(2, 1, vec![identified(201, say("ho"))]);
    harness.look(1, LookAbout::Info);
    harness.operation = None;
    harness.done(LogResult::Append(Err(AppendError::Full)));
    let full = RpcResponse::Unavailable { room: room(), because: Unavailable::LogFull };
    assert_eq!((harness.responses(1), harness.responses(2)), (vec![full.clone(), full.clone()], vec![full]));
    // A hand-over answers what waits, too.
    harness.tick(3_000);
    harness.act(2, vec![say("ho")]);
    assert_eq!(harness.acted(2).len(), 1);
    harness.send_acts(1, 3, vec![identified(300, say("ho"))]);
    harness.send_acts(2, 1, vec![identified(201, say("ho"))]);
    harness.look(2, LookAbout::Info);
    harness.call(|owner, cx| owner.hand_over(cx));
    harness.run();
    let not_owner = RpcResponse::NotOwner { room: room() };
    let responses = harness.responses(1);
    assert!(
        matches!(&responses[..], [RpcResponse::Acted { number: 3, .. }, RpcResponse::NotOwner { .. }]),
        "{responses:?}"
    );
    assert_eq!(harness.responses(2), [not_owner]);
}

/// The log may have the record in spite of the failure: the owner reads before it decides again.
#[test]
fn an_unclear_append_is_answered_from_the_log() {
    let mut harness = OwnerHarness::new();
    harness.act(1, vec![say("hi")]);
    harness.responses(1);
    harness.send_acts(1, 2, vec![identified(200, say("ho"))]);
    let append = harness.operation.take().unwrap();
    let LogResult::Append(Ok(position)) = harness.perform(append) else { panic!("not appended") };
    harness.done(LogResult::Append(Err(AppendError::Refused)));
    harness.tick(3_000);
    harness.run();
    let acted = harness.acted(2);
    assert!(matches!(acted[..], [ActOutcome::Done { seq, .. }] if seq == position.seq(0)), "{acted:?}");
}

#[test]
fn messages_that_no_record_can_hold_are_answered_as_such() {
    let mut harness = OwnerHarness::new();
    let large = "x".repeat(SizeLimits::default().proposal());
    harness.act(1, vec![say(&large)]);
    assert!(matches!(harness.acted(1)[..], [ActOutcome::Done { .. }]), "a single one may be larger");
    let away = RpcResponse::Unavailable { room: room(), because: Unavailable::LogAway };
    harness.act(2, vec![say(&large), say("hi")]);
    assert_eq!(harness.responses(1), std::slice::from_ref(&away));
    harness.act(2, vec![say(&"x".repeat(SizeLimits::default().record()))]);
    assert_eq!(harness.responses(1), [away]);
    harness.act_identified(1 << 63, vec![identified(1, say("hi"))]);
    assert!(harness.responses(1).is_empty(), "no api server counts that far");
    harness.act(2, vec![say("hi")]);
    assert_eq!(harness.acted(2).len(), 1);
}

#[test]
fn a_look_sees_what_was_acknowledged_before_it() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann"), join(2, "bob"), join(3, "cid")]);
    harness.run();
    harness.act(1, vec![mute(1, 0), mute(2, 5_000), mute(3, 900_000)]);
    harness.responses(1);
    harness.look(1, LookAbout::Info);
    assert!(harness.responses(1).is_empty(), "not before the position is proven");
    // It comes behind the begin of the proof, so it needs another one.
    harness.look(2, LookAbout::Info);
    harness.run_some(1);
    assert_eq!(harness.responses(1).len(), 1);
    harness.run();
    harness.now.wall_ms += 60_000;
    let LookResult::Info(info) = harness.looked() else { panic!("other") };
    assert_eq!((info.members, info.rules), (3, 3));
    harness.look(3, LookAbout::Rules { after: None, limit: 1 });
    harness.run();
    let LookResult::Rules { rules, more } = harness.looked() else { panic!("other") };
    assert!(more && rules[0].until == 0, "{rules:?}");
    let after = Some((rules[0].target.clone(), rules[0].kind));
    harness.look(4, LookAbout::Rules { after, limit: 1 });
    harness.run();
    assert!(matches!(harness.looked(), LookResult::Rules { rules, more: false } if rules[0].until == 900_000));
    harness.look(5, LookAbout::Members { after: Some(Name::new("ann").unwrap()), limit: 1 });
    harness.run();
    assert!(
        matches!(harness.looked(), LookResult::Members { members, total: 3, more: true } if members[0].name.as_str() == "bob")
    );
    // Another server took the room over, and changed it.
    let mut successor = harness.successor();
    successor.act(2, vec![expel("ann"), expel("bob")]);
    harness.look(6, LookAbout::Members { after: None, limit: 9 });
    harness.run();
    assert!(matches!(harness.looked(), LookResult::Members { members, total: 1, more: false } if members.len() == 1));
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
