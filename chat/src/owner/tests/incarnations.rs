//! Runs of connectors that are below one that the log names, and those that go on above it.

use shared::lineage::Lineage;
use shared::rpc::messages::KnownIncarnation;

use super::*;

impl Bench {
    /// Connector 1 is heard as this.
    fn hear(&mut self, lineage: &Lineage) {
        self.run = lineage.present();
        self.owner.learn(&Arc::new(Gone::new([(&connector(1), lineage, 0)].into_iter(), 10)));
    }

    fn stale(&self) -> Vec<u64> {
        let known = |act: &Act| match act {
            Act::Answer(_, RpcResponse::Stale(KnownIncarnation { incarnation, live: false })) => Some(incarnation.0),
            _ => None,
        };
        self.said.iter().filter_map(known).collect()
    }
}

fn at(position: u64) -> LogPosition {
    LogPosition { epoch: Epoch(1), position: Position(position), id: RecordId::NONE }
}

/// A log in which connector 1 was run 9, and has a member.
fn log_of_run_9() -> Memory {
    let mut bench = Bench::new();
    bench.run = Incarnation(9);
    bench.propose(1, 40, vec![join(1, "ann")]);
    bench.run();
    bench.log
}

#[test]
fn a_run_below_one_that_the_log_names_is_told_so_and_not_accepted() {
    let mut bench = Bench::on(log_of_run_9());
    bench.hear(&Lineage::new(Incarnation(3)));
    bench.attach(1, LogPosition::default());
    bench.propose(1, 1, vec![join(1, "bob")]);
    bench.run();
    assert_eq!(bench.stale(), [9, 9]);
    assert!(bench.all()[1].1.proposals.is_empty(), "nothing is decided");
    assert!(!bench.said.iter().any(|act| matches!(act, Act::Answer(_, RpcResponse::Attached { .. }))));
    assert!(bench.owner.followers.is_empty());
}

#[test]
fn it_goes_on_above_and_is_accepted_with_the_numbers_that_it_has() {
    let mut bench = Bench::on(log_of_run_9());
    let mut lineage = Lineage::new(Incarnation(3));
    lineage.continue_above(Incarnation(9));
    bench.hear(&lineage);
    bench.attach(1, LogPosition::default());
    bench.propose(1, 1, vec![join(1, "bob")]);
    bench.run();
    assert!(bench.stale().is_empty());
    assert_eq!(bench.outcomes(1), [Outcome::Done(1)], "behind the leave of the run that it is above");
}

/// The order of proposals does not begin anew: else a repeat under the new run would be decided a
/// second time.
#[test]
fn a_proposal_of_a_continued_run_is_decided_once() {
    for until in 0..4 {
        let mut bench = Bench::new();
        let mut lineage = Lineage::new(Incarnation(3));
        bench.hear(&lineage);
        bench.propose(1, 1, vec![join(1, "ann"), say(1)]);
        // Waiting, being appended, committed.
        bench.run_some(until);
        lineage.continue_above(Incarnation(9));
        bench.hear(&lineage);
        bench.propose(1, 1, vec![join(1, "ann"), say(1)]);
        bench.run();
        bench.propose(1, 2, vec![say(1)]);
        bench.run();
        let last = RoomState::replay(&bench.all());
        assert_eq!(last.last_proposal(&connector(1)).map(|last| (last.incarnation.0, last.number)), Some((13, 2)));
        let said = bench.all().iter().flat_map(|(_, record)| record.entries.clone()).collect::<Vec<_>>();
        let count = said.iter().filter(|entry| matches!(entry, Entry::Message { .. })).count();
        assert_eq!(count, 2, "until {until}: {said:?}");
        let sessions: Vec<_> = last.runs().map(|(_, run)| run.0).collect();
        assert_eq!(sessions, [13], "its member moved");
        // A late copy of what was said under the old incarnation.
        bench.run = Incarnation(3);
        bench.propose(1, 1, vec![say(1)]);
        bench.attach(1, at(1));
        bench.run();
        assert!(bench.stale().is_empty(), "it is of the same process");
        assert_eq!(bench.all().iter().flat_map(|(_, record)| record.entries.clone()).count(), said.len());
    }
}

impl Bench {
    /// The room's records, oldest first.
    fn all(&self) -> Vec<(Position, Arc<Record>)> {
        let last = self.log.last(&room()).last.map_or(0, |(position, _)| position.0);
        let positions: Vec<_> = (1..=last).map(Position).collect();
        let read = self.log.read(&room(), &positions).into_iter().flatten();
        positions.iter().copied().zip(read.map(|bytes| Arc::new(Record::decode(&bytes).unwrap()))).collect()
    }
}
