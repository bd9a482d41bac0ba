//! An owner on a log in memory whose results arrive when the test performs them.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::ids::{Incarnation, Name};
use model::membership::Token;
use model::record::{Entry, Outcome, Record, RecordId, VERSION};
use model::room::RoomState;
use model::rpc::messages::{CatchUp, Claim, FromChat, Item, RpcResponse, Unavailable};
use model::rpc::{self, Trace};
use model::settings::Settings;
use model::size_limits::SizeLimits;

use super::*;
use crate::draft::Author;
use crate::log_operation::{AppendError, ReadError};
use crate::rooms::history_readers::HistoryReaders;
use crate::rooms::outgoing::Outgoing;
use crate::rooms::{Effect, LogRequester, OutgoingReply};
use crate::test_log::TestLog;

mod acts;
mod catch_up;
mod clocks;
mod history_access;
mod incarnations;
mod large;
mod log_failures;
mod log_space;
mod names;
mod payload_limit;
mod poison;
mod presence;
mod users;

/// An effect besides log operations and events.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    /// A response to a request.
    Respond(Requester, RpcResponse),
    /// A message that was not requested.
    Notify(ServerId, RpcResponse, Option<Trace>),
    /// The requested messages are read, or were at hand.
    Read,
}

/// An owner, its log, and its effects besides log operations.
struct OwnerHarness {
    owner: Owner,
    log: TestLog,
    operation: Option<LogOp>,
    sent: Vec<Sent>,
    events: Vec<Event>,
    now: Now,
    /// The position that connectors propose from.
    at: LogPosition,
    /// The incarnation of the requesting connectors.
    run: Incarnation,
    space: LogSpace,
}

fn room() -> RoomId {
    RoomId::new("lobby").unwrap()
}

fn connector(number: u8) -> ServerId {
    ServerId::new(&format!("connector-server-{number}")).unwrap()
}

fn requester(number: u8) -> Requester {
    Requester {
        server: connector(number),
        reply: format!("connector.{number}.reply.1"),
        trace: Trace::new(1, 1),
        is_numbered: true,
    }
}

fn join(session: u64, name: &str) -> Item {
    let membership = Token::new(session.into()).membership();
    Item::Join { session, name: Name::new(name).unwrap(), membership, claim: Claim::New, seen: None, profile: None }
}

fn say(session: u64) -> Item {
    let membership = Token::new(session.into()).membership();
    Item::Send { session, membership, body: br#"{"content":"hi","target":"*"}"#.to_vec().into() }
}

impl OwnerHarness {
    fn new() -> Self {
        Self::on(TestLog::new(1))
    }

    fn on(log: TestLog) -> Self {
        Self::with(log, &Settings::default(), SizeLimits::default())
    }

    fn with(log: TestLog, settings: &Settings, size_limits: SizeLimits) -> Self {
        let policy = Arc::new(RoomPolicy::new(settings, size_limits));
        let me = ServerId::new("chat-server-1").unwrap();
        let at = LogPosition { epoch: Epoch(1), ..LogPosition::default() };
        let ids = RecordIds::new(&me, Incarnation(1), 1);
        let owner = Owner::new(me, room(), ids, policy);
        let now = Now { ticks: 0, wall_ms: 1_000 };
        let (operation, sent, events, run) = (None, Vec::new(), Vec::new(), Incarnation(1));
        Self { owner, log, operation, sent, events, now, at, run, space: LogSpace::new(settings) }
    }

    fn call(&mut self, action: impl FnOnce(&mut Owner, &mut Context<'_>)) {
        let (mut links, mut effects, mut readers) = (BTreeMap::new(), Vec::new(), HistoryReaders::default());
        let me = ServerId::new("chat-server-1").unwrap();
        let out = Outgoing { me: &me, incarnation: Incarnation(1), links: &mut links, effects: &mut effects };
        action(&mut self.owner, &mut Context { room: &room(), out, readers: &mut readers, log: &mut self.space });
        for effect in effects {
            match effect {
                Effect::Log { requester: LogRequester::Owner, op, .. } => {
                    assert!(self.operation.is_none(), "one operation at a time");
                    self.operation = Some(op);
                }
                Effect::Log { requester: LogRequester::Reader(_), .. } => self.sent.push(Sent::Read),
                Effect::Report(event) => self.events.push(event),
                Effect::Send(OutgoingReply { server, reply, trace, body, .. }) => {
                    let message: FromChat = rpc::decode(&body).unwrap();
                    self.sent.push(match (message.response, reply) {
                        (RpcResponse::History { .. }, _) => Sent::Read,
                        (response, Some(reply)) => {
                            let (trace, is_numbered) = (trace.unwrap(), message.number > 0);
                            Sent::Respond(Requester { server, reply, trace, is_numbered }, response)
                        }
                        (response, None) => Sent::Notify(server, response, trace),
                    });
                }
                Effect::Probe(_) | Effect::RequestRecheck | Effect::ListRooms { .. } => {
                    unreachable!("an owner probes no home")
                }
            }
        }
    }

    fn attach(&mut self, number: u8, at: LogPosition) {
        let (now, incarnation) = (self.now, self.run);
        self.call(|owner, cx| owner.attach(Attach { requester: requester(number), incarnation, at }, now, cx));
    }

    fn propose(&mut self, who: u8, number: u64, items: Vec<Item>) {
        let author = Author { connector: connector(who), incarnation: self.run };
        let at = self.at;
        let now = self.now;
        self.call(|owner, cx| {
            owner.propose(Proposal { requester: requester(who), author, at, number, items, is_urgent: false }, now, cx)
        });
    }

    fn done(&mut self, done: LogResult) {
        let now = self.now;
        self.call(|owner, cx| owner.on_log_result(done, now, cx));
    }

    fn perform(&mut self, operation: LogOp) -> LogResult {
        match operation {
            LogOp::Last { .. } => LogResult::Last(Ok(self.log.last(&room()))),
            LogOp::Before(position) => LogResult::Last(Ok(self.log.before(&room(), position))),
            LogOp::Append { expected, record, lifetime } => {
                LogResult::Append(self.log.append_for(&room(), expected, record, lifetime))
            }
            LogOp::Read(positions) => {
                let read = self.log.read(&room(), &positions);
                LogResult::Read(Ok(positions.into_iter().zip(read).collect()))
            }
            LogOp::Epoch => LogResult::Epoch(Ok(self.log.epoch())),
        }
    }

    /// Returns the id of the room's record at a position.
    fn id_at(&self, position: Position) -> RecordId {
        let record = self.log.read(&room(), &[position]).remove(0);
        Record::decode(&record.unwrap()).unwrap().id
    }

    /// Performs log operations until none is requested; returns their number.
    fn run(&mut self) -> usize {
        self.run_some(usize::MAX)
    }

    /// Performs log operations until none is requested, or so many are done.
    fn run_some(&mut self, most: usize) -> usize {
        let mut count = 0;
        while count < most
            && let Some(operation) = self.operation.take()
        {
            let done = self.perform(operation);
            self.done(done);
            count += 1;
        }
        count
    }

    fn tick(&mut self, ms: u64) {
        self.now.ticks += ms;
        self.now.wall_ms += ms;
        let now = self.now;
        self.call(|owner, cx| owner.tick(now, cx));
    }

    fn maintain(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        let now = self.now;
        self.call(|owner, cx| owner.maintain(now, cx));
    }

    /// Returns the records sent to a connector, as responses or notifications.
    fn records_to(&self, number: u8) -> Vec<(Position, Arc<Record>)> {
        let record = |effect: &Sent| match effect {
            Sent::Respond(Requester { server: to, .. }, RpcResponse::Record { position, record, .. })
            | Sent::Notify(to, RpcResponse::Record { position, record, .. }, _)
                if *to == connector(number) =>
            {
                Some((*position, Arc::new(Record::clone(record))))
            }
            _ => None,
        };
        self.sent.iter().filter_map(record).collect()
    }

    /// Returns the last response to an attach.
    fn catch_up(&self) -> (LogPosition, CatchUp) {
        let catch_up = |effect: &Sent| match effect {
            Sent::Respond(_, RpcResponse::Attached { now, catch_up, .. }) => Some((*now, catch_up.clone())),
            _ => None,
        };
        self.sent.iter().rev().find_map(catch_up).unwrap()
    }

    /// Returns the number of events of a kind.
    fn events(&self, is_kind: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| is_kind(event)).count()
    }

    /// Returns the number of records that were reported as missing.
    fn missing(&self) -> usize {
        let count = |event: &Event| match event {
            Event::RecordsMissing { positions, .. } => positions.len(),
            _ => 0,
        };
        self.events.iter().map(count).sum()
    }

    fn outcomes(&self, number: u8) -> Vec<Outcome> {
        let (_, record) = self.records_to(number).pop().unwrap();
        record.proposals.iter().find(|d| d.connector == connector(number)).unwrap().outcomes.clone()
    }
}

#[test]
fn a_new_room_is_opened_before_an_attach_is_answered() {
    let mut harness = OwnerHarness::new();
    harness.attach(1, LogPosition::default());
    assert!(harness.sent.is_empty());
    assert_eq!(harness.run(), 2, "one read and one append");
    let (now, catch_up) = harness.catch_up();
    assert_eq!(now, LogPosition { epoch: Epoch(1), position: Position(1), id: harness.id_at(Position(1)) });
    assert!(matches!(catch_up, CatchUp::State(_)));
}

#[test]
fn a_proposal_is_answered_with_its_record_and_followers_get_it() {
    let mut harness = OwnerHarness::new();
    harness.attach(2, LogPosition::default());
    harness.run();
    harness.propose(1, 1, vec![join(1, "ann"), say(1)]);
    assert!(harness.records_to(1).is_empty(), "nothing is sent before it is committed");
    harness.run();
    assert_eq!(harness.outcomes(1), [Outcome::Done(0), Outcome::Done(1)]);
    assert_eq!(harness.records_to(2).last(), harness.records_to(1).last());
}

#[test]
fn proposals_during_an_append_form_the_next_record() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.propose(1, 2, vec![say(1)]);
    harness.propose(2, 1, vec![join(1, "bob")]);
    harness.propose(3, 1, vec![join(1, "cid")]);
    assert_eq!(harness.run(), 2);
    let (_, record) = harness.records_to(3).pop().unwrap();
    assert_eq!((record.proposals.len(), record.entries.len()), (2, 2));
}

#[test]
fn a_proposal_with_nothing_but_refusals_leaves_a_record() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![say(9)]);
    harness.run();
    assert_eq!(harness.outcomes(1), [Outcome::Refused(model::record::Refusal::NotMember)]);
}

#[test]
fn a_repeat_is_answered_from_the_log_and_an_older_one_is_dropped() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 5, vec![join(1, "ann")]);
    harness.run();
    harness.sent.clear();
    harness.propose(1, 5, vec![join(1, "ann")]);
    harness.propose(1, 4, vec![say(1)]);
    harness.run();
    let (_, catch_up) = harness.catch_up();
    assert!(matches!(catch_up, CatchUp::Since { records, more: false } if records[0].1.proposals[0].number == 5));
    assert!(harness.records_to(1).is_empty());
    assert_eq!(harness.log.last(&room()).last.unwrap().0, Position(1));
}

#[test]
fn a_repeat_during_the_append_is_not_decided_twice() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    let read = harness.operation.take().unwrap();
    let done = harness.perform(read);
    harness.done(done);
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    assert_eq!(harness.log.last(&room()).last.unwrap().0, Position(1));
}

#[test]
fn another_epochs_proposal_is_not_decided() {
    let mut harness = OwnerHarness::on(TestLog::new(2));
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    assert!(matches!(&harness.sent[0], Sent::Respond(_, RpcResponse::NotOwner { .. })));
}

#[test]
fn an_activation_of_a_small_room_is_one_read_and_one_append() {
    let mut first = OwnerHarness::new();
    first.propose(1, 1, vec![join(1, "ann")]);
    first.run();
    for number in 2..100 {
        first.propose(1, number, vec![say(1)]);
        first.run();
    }
    let mut second = OwnerHarness::on(first.log.clone());
    second.attach(1, LogPosition::default());
    let reads = second.run();
    assert!(reads <= 3, "{reads}");
    second.propose(1, 100, vec![say(1)]);
    second.run();
    assert_eq!(second.outcomes(1), [Outcome::Done(0)], "ann is still in");
}

#[test]
fn a_fenced_owner_sends_nothing_and_starts_from_the_log() {
    let mut first = OwnerHarness::new();
    first.propose(1, 1, vec![join(1, "ann")]);
    first.run();
    let mut second = OwnerHarness::on(first.log.clone());
    second.propose(2, 1, vec![join(1, "bob")]);
    second.run();
    first.sent.clear();
    first.propose(1, 2, vec![join(2, "bob")]);
    first.run();
    assert_eq!(first.outcomes(1), [Outcome::Refused(model::record::Refusal::NameTaken)]);
}

#[test]
fn a_room_without_followers_is_forgotten() {
    let mut harness = OwnerHarness::new();
    harness.attach(1, LogPosition::default());
    harness.run();
    harness.now.ticks += 60_000;
    assert!(!harness.owner.is_forgettable(harness.now, 60_000, &harness.space));
    harness.owner.detach(&connector(1));
    assert!(harness.owner.is_forgettable(harness.now, 60_000, &harness.space));
}

#[test]
fn a_silent_room_with_members_gets_a_checkpoint_a_day() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.maintain(25 * 3_600_000);
    harness.run();
    let (position, bytes) = harness.log.last(&room()).last.unwrap();
    assert_eq!(position, Position(2));
    assert!(Record::decode(&bytes).unwrap().checkpoint.is_some());
    harness.maintain(1_000);
    assert_eq!(harness.run(), 0);
}
