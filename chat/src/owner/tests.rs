//! An owner on a log in memory whose answers come when the test says so.

use shared::config::Settings;
use shared::config::settings::LogSettings;
use shared::ids::{Incarnation, Name};
use shared::membership::Token;
use shared::record::{Entry, Outcome, Record, RecordId, VERSION};
use shared::room::RoomState;
use shared::rpc::messages::{CatchUp, Claim, Unavailable};
use shared::size_limits::SizeLimits;

use super::*;
use crate::log::memory::Memory;

mod clocks;
mod failing;
mod incarnations;
mod large;
mod poison;
mod shrinking;
mod viewing;

/// An owner, its log, and what it did that is not about the log.
struct Bench {
    owner: Owner,
    log: Memory,
    operation: Option<LogOp>,
    said: Vec<Act>,
    now: Now,
    /// The place that connectors propose from.
    at: LogPosition,
    /// The run of connectors that ask.
    run: Incarnation,
}

fn room() -> RoomId {
    RoomId::new("lobby").unwrap()
}

fn connector(number: u8) -> ServerId {
    ServerId::new(&format!("connector-server-{number}")).unwrap()
}

fn asker(number: u8) -> Asker {
    Asker { connector: connector(number), reply: format!("connector.{number}.reply.1"), trace: Trace::new() }
}

fn join(session: u64, name: &str) -> Item {
    let membership = Token::new(session.into()).membership();
    Item::Join { session, name: Name::new(name).unwrap(), membership, claim: Claim::New, seen: None }
}

fn say(session: u64) -> Item {
    let membership = Token::new(session.into()).membership();
    Item::Send { session, membership, body: br#"{"content":"hi","target":"*"}"#.to_vec() }
}

impl Bench {
    fn new() -> Self {
        Self::on(Memory::starting_at(1, &LogSettings::default()))
    }

    fn on(log: Memory) -> Self {
        Self::with(log, &Settings::default(), SizeLimits::default())
    }

    fn with(log: Memory, settings: &Settings, size_limits: SizeLimits) -> Self {
        let judge = Arc::new(Judge::new(settings, size_limits));
        let me = ServerId::new("chat-server-1").unwrap();
        let at = LogPosition { epoch: Epoch(1), ..LogPosition::default() };
        let ids = RecordIds::new(&me, Incarnation(1), 1);
        let owner = Owner::new(me, room(), ids, judge, Metrics::new());
        let now = Now { ticks: 0, wall_ms: 1_000 };
        Self { owner, log, operation: None, said: Vec::new(), now, at, run: Incarnation(1) }
    }

    fn take(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Log(operation) => {
                    assert!(self.operation.is_none(), "one operation at a time");
                    self.operation = Some(operation);
                }
                said => self.said.push(said),
            }
        }
    }

    fn attach(&mut self, number: u8, at: LogPosition) {
        let mut acts = Vec::new();
        self.owner.attach(Attach { asker: asker(number), incarnation: self.run, at }, self.now, &mut acts);
        self.take(acts);
    }

    fn propose(&mut self, who: u8, number: u64, items: Vec<Item>) {
        let author = Author { connector: connector(who), incarnation: self.run };
        let at = self.at;
        let mut acts = Vec::new();
        self.owner.propose(Proposal { asker: asker(who), author, at, number, items }, self.now, &mut acts);
        self.take(acts);
    }

    fn done(&mut self, done: LogDone) {
        let mut acts = Vec::new();
        self.owner.done(done, self.now, &mut acts);
        self.take(acts);
    }

    fn perform(&mut self, operation: LogOp) -> LogDone {
        match operation {
            LogOp::Last { .. } => LogDone::Last(Ok(self.log.last(&room()))),
            LogOp::Before(position) => LogDone::Last(Ok(self.log.before(&room(), position))),
            LogOp::Append { expected, record } => LogDone::Append(self.log.append(&room(), expected, record)),
            LogOp::Read(positions) => {
                let read = self.log.read(&room(), &positions);
                LogDone::Read(Ok(positions.into_iter().zip(read).collect()))
            }
            LogOp::Epoch => LogDone::Epoch(Ok(self.log.look().epoch)),
        }
    }

    /// The id of the room's record at a position.
    fn id_at(&self, position: Position) -> RecordId {
        let record = self.log.read(&room(), &[position]).remove(0);
        Record::decode(&record.unwrap()).unwrap().id
    }

    /// Performs log operations until none is asked for; returns how many.
    fn run(&mut self) -> usize {
        self.run_some(usize::MAX)
    }

    /// Performs log operations until none is asked for, or so many are done.
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
        let mut acts = Vec::new();
        self.owner.tick(self.now, &mut acts);
        self.take(acts);
    }

    fn look_after(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        let mut acts = Vec::new();
        self.owner.look_after(self.now, &mut acts);
        self.take(acts);
    }

    /// Records said to a connector, as answer or as news.
    fn records_to(&self, number: u8) -> Vec<(Position, Arc<Record>)> {
        let record = |act: &Act| match act {
            Act::Answer(Asker { connector: to, .. }, RpcResponse::Record { position, record, .. })
            | Act::Tell(to, RpcResponse::Record { position, record, .. }, _)
                if *to == connector(number) =>
            {
                Some((*position, Arc::new(Record::clone(record))))
            }
            _ => None,
        };
        self.said.iter().filter_map(record).collect()
    }

    /// The last answer to an attach.
    fn news(&self) -> (LogPosition, CatchUp) {
        let news = |act: &Act| match act {
            Act::Answer(_, RpcResponse::Attached { now, news, .. }) => Some((*now, news.clone())),
            _ => None,
        };
        self.said.iter().rev().find_map(news).unwrap()
    }

    fn outcomes(&self, number: u8) -> Vec<Outcome> {
        let (_, record) = self.records_to(number).pop().unwrap();
        record.proposals.iter().find(|d| d.connector == connector(number)).unwrap().outcomes.clone()
    }
}

#[test]
fn a_new_room_is_opened_before_an_attach_is_answered() {
    let mut bench = Bench::new();
    bench.attach(1, LogPosition::default());
    assert!(bench.said.is_empty());
    assert_eq!(bench.run(), 2, "one read and one append");
    let (now, news) = bench.news();
    assert_eq!(now, LogPosition { epoch: Epoch(1), position: Position(1), id: bench.id_at(Position(1)) });
    assert!(matches!(news, CatchUp::State(_)));
}

#[test]
fn a_proposal_is_answered_with_its_record_and_followers_hear_it() {
    let mut bench = Bench::new();
    bench.attach(2, LogPosition::default());
    bench.run();
    bench.propose(1, 1, vec![join(1, "ann"), say(1)]);
    assert!(bench.records_to(1).is_empty(), "nothing is said before it is committed");
    bench.run();
    assert_eq!(bench.outcomes(1), [Outcome::Done(0), Outcome::Done(1)]);
    assert_eq!(bench.records_to(2).last(), bench.records_to(1).last());
}

#[test]
fn what_arrives_during_an_append_is_the_next_record() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    bench.propose(1, 2, vec![say(1)]);
    bench.propose(2, 1, vec![join(1, "bob")]);
    bench.propose(3, 1, vec![join(1, "cid")]);
    assert_eq!(bench.run(), 2);
    let (_, record) = bench.records_to(3).pop().unwrap();
    assert_eq!((record.proposals.len(), record.entries.len()), (2, 2));
}

#[test]
fn a_proposal_with_nothing_but_refusals_leaves_a_record() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![say(9)]);
    bench.run();
    assert_eq!(bench.outcomes(1), [Outcome::Refused(shared::record::Refusal::NotMember)]);
}

#[test]
fn a_repeat_is_answered_from_the_log_and_an_older_one_is_dropped() {
    let mut bench = Bench::new();
    bench.propose(1, 5, vec![join(1, "ann")]);
    bench.run();
    bench.said.clear();
    bench.propose(1, 5, vec![join(1, "ann")]);
    bench.propose(1, 4, vec![say(1)]);
    bench.run();
    let (_, news) = bench.news();
    assert!(matches!(news, CatchUp::Since { records, more: false } if records[0].1.proposals[0].number == 5));
    assert!(bench.records_to(1).is_empty());
    assert_eq!(bench.log.last(&room()).last.unwrap().0, Position(1));
}

#[test]
fn a_repeat_during_the_append_is_not_decided_twice() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    let read = bench.operation.take().unwrap();
    let done = bench.perform(read);
    bench.done(done);
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    assert_eq!(bench.log.last(&room()).last.unwrap().0, Position(1));
}

#[test]
fn another_epochs_proposal_is_not_decided() {
    let mut bench = Bench::on(Memory::starting_at(2, &LogSettings::default()));
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    assert!(matches!(&bench.said[0], Act::Answer(_, RpcResponse::NotOwner { .. })));
}

#[test]
fn who_is_behind_gets_the_records_between() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    for number in 2..400 {
        bench.propose(1, number, vec![say(1)]);
        bench.run();
    }
    let (mut position, mut pages) = (Position(10), 0);
    loop {
        let id = bench.id_at(position);
        bench.attach(2, LogPosition { epoch: Epoch(1), position, id });
        bench.run();
        let (now, CatchUp::Since { records, more }) = bench.news() else { panic!("a state instead of records") };
        for (at, record) in records {
            assert_eq!(record.prev, position);
            position = at;
        }
        pages += 1;
        if !more {
            assert_eq!((position, pages), (now.position, 2));
            break;
        }
    }
}

#[test]
fn an_activation_of_a_small_room_is_one_read_and_one_append() {
    let mut first = Bench::new();
    first.propose(1, 1, vec![join(1, "ann")]);
    first.run();
    for number in 2..100 {
        first.propose(1, number, vec![say(1)]);
        first.run();
    }
    let mut second = Bench::on(first.log.clone());
    second.attach(1, LogPosition::default());
    let reads = second.run();
    assert!(reads <= 3, "{reads}");
    second.propose(1, 100, vec![say(1)]);
    second.run();
    assert_eq!(second.outcomes(1), [Outcome::Done(0)], "ann is still in");
}

#[test]
fn who_was_fenced_tells_nothing_and_starts_from_the_log() {
    let mut first = Bench::new();
    first.propose(1, 1, vec![join(1, "ann")]);
    first.run();
    let mut second = Bench::on(first.log.clone());
    second.propose(2, 1, vec![join(1, "bob")]);
    second.run();
    first.said.clear();
    first.propose(1, 2, vec![join(2, "bob")]);
    first.run();
    assert_eq!(first.outcomes(1), [Outcome::Refused(shared::record::Refusal::NameTaken)]);
}

#[test]
fn an_append_that_came_through_unseen_is_found_and_told() {
    let mut bench = Bench::new();
    bench.attach(2, LogPosition::default());
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    bench.said.clear();
    bench.propose(1, 2, vec![say(1)]);
    let append = bench.operation.take().unwrap();
    bench.perform(append);
    bench.done(LogDone::Append(Err(AppendError::Unclear("no answer".to_owned()))));
    assert!(matches!(&bench.said[0], Act::Answer(_, RpcResponse::Unavailable { .. })));
    bench.tick(250);
    bench.run();
    let (_, open) = bench.records_to(2).pop().unwrap();
    assert_eq!(open.prev, Position(2), "the chain leads to what was not told");
    assert!(matches!(open.entries[..], [Entry::Open]));
    bench.propose(1, 2, vec![say(1)]);
    bench.run();
    assert_eq!(bench.log.last(&room()).last.unwrap().0, Position(3), "the repeat was not said again");
}

#[test]
fn a_full_log_is_said_and_the_proposal_may_be_repeated() {
    let full = LogSettings { max_total_bytes: 0, ..LogSettings::default() };
    let mut bench = Bench::on(Memory::starting_at(1, &full));
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    let said = RpcResponse::Unavailable { room: room(), because: Unavailable::LogFull };
    assert!(matches!(&bench.said[0], Act::Answer(_, answer) if *answer == said));
}

#[test]
fn a_room_that_nobody_follows_is_forgotten() {
    let mut bench = Bench::new();
    bench.attach(1, LogPosition::default());
    bench.run();
    bench.now.ticks += 60_000;
    assert!(!bench.owner.is_forgettable(bench.now, 60_000));
    bench.owner.detach(&connector(1));
    assert!(bench.owner.is_forgettable(bench.now, 60_000));
}

#[test]
fn a_silent_room_with_members_gets_a_checkpoint_a_day() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    bench.look_after(25 * 3_600_000);
    bench.run();
    let (position, bytes) = bench.log.last(&room()).last.unwrap();
    assert_eq!(position, Position(2));
    assert!(Record::decode(&bytes).unwrap().checkpoint.is_some());
    bench.look_after(1_000);
    assert_eq!(bench.run(), 0);
}

/// What the log keeps of a connection that was made anew, or of another log, is unknown until it is read.
#[test]
fn an_owner_that_starts_over_reads_before_it_says_anything() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    bench.owner.start_over(bench.now);
    bench.propose(1, 2, vec![say(1)]);
    assert_eq!(bench.operation, Some(LogOp::Last { certain: false }));
    assert_eq!(bench.run(), 2, "one read and one append");
}

#[test]
fn what_is_in_flight_when_it_starts_over_counts_for_nothing_and_is_found_in_the_log() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    bench.said.clear();
    bench.propose(1, 2, vec![say(1)]);
    let operation = bench.operation.take().unwrap();
    bench.owner.start_over(bench.now);
    let done = bench.perform(operation);
    bench.done(done);
    assert_eq!(bench.said, [], "the append's yes is not believed");
    assert_eq!(bench.operation, Some(LogOp::Last { certain: true }));
    bench.run();
    let (_, CatchUp::Since { records, .. }) = bench.news() else { panic!("a state instead of records") };
    let said = records.iter().filter(|(_, r)| r.entries.iter().any(|e| matches!(e, Entry::Message { .. }))).count();
    assert_eq!(said, 1, "committed once, and not said again");
}

#[test]
fn a_connector_that_read_further_than_the_log_goes_gets_the_state() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    let ahead = LogPosition { epoch: Epoch(1), position: Position(9), id: RecordId(9) };
    let author = Author { connector: connector(2), incarnation: Incarnation(1) };
    let proposal = Proposal { asker: asker(2), author, at: ahead, number: 1, items: vec![join(1, "bob")] };
    let mut acts = Vec::new();
    bench.owner.propose(proposal, bench.now, &mut acts);
    bench.take(acts);
    bench.run();
    assert!(matches!(bench.news(), (LogPosition { position: Position(1), .. }, CatchUp::State(_))));
    assert!(bench.records_to(2).is_empty(), "nothing was decided");
}

/// A log that lost its end gives positions to other records than before.
#[test]
fn a_record_of_another_id_at_the_same_position_is_another_record() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    bench.attach(2, LogPosition { epoch: Epoch(1), position: Position(1), id: RecordId(999) });
    bench.run();
    assert!(matches!(bench.news().1, CatchUp::State(_)));
    bench.propose(1, 2, vec![say(1)]);
    bench.run();
    bench.attach(2, LogPosition { epoch: Epoch(1), position: Position(1), id: RecordId(999) });
    bench.run();
    assert!(matches!(bench.news().1, CatchUp::State(_)));
}

#[test]
fn a_connector_that_read_another_log_gets_the_state() {
    let mut bench = Bench::on(Memory::starting_at(2, &LogSettings::default()));
    bench.attach(1, LogPosition { epoch: Epoch(1), position: Position(77), id: RecordId(5) });
    bench.run();
    let (now, CatchUp::State(_)) = bench.news() else { panic!("records instead of the state") };
    assert_eq!((now.epoch, now.position), (Epoch(2), Position(1)));
}

/// A connector that missed what named it last would keep its members in the room for ever.
#[test]
fn a_connector_with_members_that_does_not_follow_is_reminded() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.propose(2, 1, vec![join(1, "bob")]);
    bench.run();
    bench.owner.detach(&connector(1));
    bench.said.clear();
    bench.look_after(0);
    assert_eq!((bench.records_to(1).len(), bench.records_to(2).len()), (1, 0));
}

/// A log that lost all of the room gives its positions again: the first record stands below where a connector is, which would
/// never apply it.
#[test]
fn a_connector_above_the_first_record_of_an_erased_log_gets_the_state() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    for number in 2..6 {
        bench.propose(1, number, vec![say(1)]);
        bench.run();
    }
    let last = LogPosition { epoch: Epoch(1), position: Position(5), id: bench.id_at(Position(5)) };
    bench.log = Memory::starting_at(1, &LogSettings::default());
    bench.at = last;
    for number in 6..16 {
        bench.propose(1, number, vec![say(1)]);
        bench.run();
        let (position, _) = bench.records_to(1).pop().unwrap();
        bench.at = LogPosition { position, id: bench.id_at(position), ..last };
    }
    assert!(bench.at.position > last.position);
    bench.attach(2, last);
    bench.run();
    assert!(matches!(bench.news().1, CatchUp::State(_)), "{:?}", bench.news());
}

/// Its last record was removed while the owner was active: the expectation is 0 again. Members stay, and the first record carries
/// them; messages are forgotten, since their positions may be given again.
#[test]
fn an_erased_log_goes_on_with_the_members() {
    let mut bench = Bench::new();
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    let before = bench.id_at(Position(1));
    bench.said.clear();
    bench.log.expire(u64::MAX);
    bench.at = LogPosition { epoch: Epoch(1), position: Position(1), id: before };
    // It is in flight when the log is erased, and must not be in what is kept.
    bench.propose(2, 1, vec![join(1, "bob")]);
    bench.propose(1, 2, vec![say(1), join(1, "ann")]);
    bench.run();
    let (position, first) = bench.records_to(1).pop().unwrap();
    assert!(position > Position(1) && first.is_behind_erasure());
    assert!(first.follows(Position(1), before), "connectors that had the last record go on");
    assert_eq!(bench.outcomes(1), [Outcome::Done(1), Outcome::Unchanged]);
    assert_eq!(bench.outcomes(2), [Outcome::Done(0)]);
    let first = Record::decode(&bench.log.read(&room(), &[position]).remove(0).unwrap()).unwrap();
    let state = shared::room::RoomState::from(&first.checkpoint.unwrap());
    assert_eq!(state.members().keys().map(Name::as_str).collect::<Vec<_>>(), ["ann", "bob"]);
}
