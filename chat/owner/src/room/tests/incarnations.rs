//! Incarnations of connectors that are below one that the log names, and those that continue above
//! it.

use model::failure_detector::PeerState;
use model::lineage::Lineage;
use model::rpc::messages::KnownIncarnation;

use super::*;

impl OwnerHarness {
    /// Connector 1 sends with this lineage.
    fn hear(&mut self, lineage: &Lineage) {
        self.run = lineage.present();
        let connectors = [(&connector(1), lineage, PeerState::Up)];
        self.owner.set_liveness(&Arc::new(ConnectorLiveness::new(connectors.into_iter())));
    }

    fn stale(&self) -> Vec<u64> {
        let known = |effect: &Sent| match effect {
            Sent::Respond(_, RpcResponse::Stale(KnownIncarnation { incarnation, live: false })) => Some(incarnation.0),
            _ => None,
        };
        self.sent.iter().filter_map(known).collect()
    }
}

fn at(position: u64) -> LogPosition {
    LogPosition { epoch: Epoch(1), position: Position(position), id: RecordId::NONE }
}

/// A log in which connector 1 had incarnation 9, and has a member.
fn log_of_run_9() -> TestLog {
    let mut harness = OwnerHarness::new();
    harness.run = Incarnation(9);
    harness.propose(1, 40, vec![join(1, "ann")]);
    harness.run();
    harness.log
}

#[test]
fn a_run_below_one_that_the_log_names_is_refused_as_stale() {
    let mut harness = OwnerHarness::on(log_of_run_9());
    harness.hear(&Lineage::new(Incarnation(3)));
    harness.attach(1, LogPosition::default());
    harness.propose(1, 1, vec![join(1, "bob")]);
    harness.run();
    assert_eq!(harness.stale(), [9, 9]);
    assert!(harness.all()[1].1.proposals.is_empty(), "nothing is decided");
    assert!(!harness.sent.iter().any(|effect| matches!(effect, Sent::Respond(_, RpcResponse::Attached { .. }))));
    assert!(harness.owner.followers.is_empty());
}

#[test]
fn it_goes_on_above_and_is_accepted_with_the_numbers_that_it_has() {
    let mut harness = OwnerHarness::on(log_of_run_9());
    let mut lineage = Lineage::new(Incarnation(3));
    lineage.continue_above(Incarnation(9));
    harness.hear(&lineage);
    harness.attach(1, LogPosition::default());
    harness.propose(1, 1, vec![join(1, "bob")]);
    harness.run();
    assert!(harness.stale().is_empty());
    assert_eq!(harness.outcomes(1), [Outcome::Done(1)], "behind the leave of the run that it is above");
}

/// The order of proposals does not begin anew, or a repeat under the new incarnation would be
/// decided twice.
#[test]
fn a_proposal_of_a_continued_run_is_decided_once() {
    for until in 0..4 {
        let mut harness = OwnerHarness::new();
        let mut lineage = Lineage::new(Incarnation(3));
        harness.hear(&lineage);
        harness.propose(1, 1, vec![join(1, "ann"), say(1)]);
        // Waiting, being appended, committed.
        harness.run_some(until);
        lineage.continue_above(Incarnation(9));
        harness.hear(&lineage);
        harness.propose(1, 1, vec![join(1, "ann"), say(1)]);
        harness.run();
        harness.propose(1, 2, vec![say(1)]);
        harness.run();
        let last = RoomState::replay(&harness.all());
        assert_eq!(last.last_proposal(&connector(1)).map(|last| (last.incarnation.0, last.number)), Some((13, 2)));
        let said = harness.all().iter().flat_map(|(_, record)| record.entries.clone()).collect::<Vec<_>>();
        let count = said.iter().filter(|entry| matches!(entry, Entry::Message { .. })).count();
        assert_eq!(count, 2, "until {until}: {said:?}");
        let sessions: Vec<_> = last.runs().map(|(_, run)| run.0).collect();
        assert_eq!(sessions, [13], "its member moved");
        // A late copy of a proposal of the old incarnation.
        harness.run = Incarnation(3);
        harness.propose(1, 1, vec![say(1)]);
        harness.attach(1, at(1));
        harness.run();
        assert!(harness.stale().is_empty(), "it is of the same process");
        assert_eq!(harness.all().iter().flat_map(|(_, record)| record.entries.clone()).count(), said.len());
    }
}

impl OwnerHarness {
    /// The room's records, oldest first.
    fn all(&self) -> Vec<(Position, Arc<Record>)> {
        let last = self.log.last(&room()).last.map_or(0, |(position, _)| position.0);
        let positions: Vec<_> = (1..=last).map(Position).collect();
        let read = self.log.read(&room(), &positions).into_iter().flatten();
        positions.iter().copied().zip(read.map(|bytes| Arc::new(Record::decode(&bytes).unwrap()))).collect()
    }
}
