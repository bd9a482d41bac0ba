//! Access to history by member and connector, and proposals with implausible numbers.

use model::failure_detector::PeerState;
use model::lineage::Lineage;
use model::rpc::messages::{HistoryQuery, HistoryRange};

use super::*;

impl OwnerHarness {
    /// A connector requests messages on behalf of a member that joined by this session.
    fn view(&mut self, number: u8, session: Option<u64>, member: u64) {
        let query =
            HistoryQuery { viewer: Token::new(member.into()).membership(), span: HistoryRange::Last, limit: 10 };
        let request = HistoryRequest { requester: requester(number), incarnation: self.run, number: 7, session, query };
        let now = self.now;
        self.call(|owner, cx| owner.request_history(request, now, cx));
    }

    /// Returns the numbers of granted and refused requests since the last call.
    fn views(&mut self) -> (usize, usize) {
        let before = self.sent.len();
        self.sent.retain(|effect| !matches!(effect, Sent::Read));
        (before - self.sent.len(), self.events(|event| matches!(event, Event::ViewerRefused { .. })))
    }
}

#[test]
fn a_member_is_shown_messages_at_once() {
    let mut harness = OwnerHarness::with_ann(0);
    harness.view(1, Some(1), 1);
    assert_eq!(harness.views(), (1, 0));
    harness.view(1, None, 1);
    assert_eq!(harness.views(), (1, 0), "its connector is of an earlier build");
    assert_eq!(harness.run(), 0, "the log was not asked");
}

#[test]
fn a_member_of_another_connector_is_shown_to_none() {
    for (session, member) in [(Some(1), 1), (None, 1), (Some(2), 2), (None, 2)] {
        let mut harness = OwnerHarness::with_ann(0);
        harness.view(2, session, member);
        harness.view(2, session, member);
        assert_eq!(harness.views(), (0, 0));
        harness.run();
        assert_eq!(harness.views(), (0, 1), "{session:?} {member}");
    }
}

#[test]
fn a_session_is_shown_what_its_own_stay_may_see() {
    let mut harness = OwnerHarness::with_ann(0);
    harness.propose(1, 2, vec![join(2, "bob")]);
    harness.run();
    harness.view(1, Some(2), 1);
    harness.run();
    assert_eq!(harness.views(), (0, 1));
}

/// An owner that does not know the log's end reads it before it refuses.
#[test]
fn an_owner_that_is_behind_reads_before_it_says_no() {
    let mut harness = OwnerHarness::new();
    harness.attach(1, LogPosition::default());
    harness.run();
    let mut other = OwnerHarness::on(std::mem::replace(&mut harness.log, TestLog::new(1)));
    other.propose(1, 1, vec![join(1, "ann")]);
    other.run();
    harness.log = other.log;
    harness.view(1, Some(1), 1);
    harness.run();
    harness.tick(2_000);
    harness.run();
    assert_eq!(harness.views(), (1, 0));
}

#[test]
fn a_room_that_was_not_read_is_read() {
    let mut harness = OwnerHarness::on(OwnerHarness::with_ann(0).log);
    harness.view(1, Some(1), 1);
    assert!(harness.run() > 0);
    assert_eq!(harness.views(), (1, 0));
}

#[test]
fn members_of_a_continued_run_are_its_connectors() {
    let mut harness = OwnerHarness::with_ann(0);
    let mut lineage = Lineage::new(Incarnation(1));
    lineage.continue_above(Incarnation(5));
    harness.run = lineage.present();
    let connectors = [(&connector(1), &lineage, PeerState::Up)];
    harness.owner.set_liveness(&Arc::new(ConnectorLiveness::new(connectors.into_iter())));
    harness.view(1, Some(1), 1);
    assert_eq!(harness.views(), (1, 0), "before the log says so");
}

/// Such a number in the log would make all later proposals look like copies of earlier ones.
#[test]
fn a_number_that_cannot_be_is_not_stored() {
    let mut harness = OwnerHarness::with_ann(0);
    for number in [u64::MAX, (1 << 62) + 1] {
        harness.propose(1, number, vec![say(1)]);
    }
    harness.run();
    assert_eq!(harness.events(|event| matches!(event, Event::ProposalImplausible { .. })), 2);
    harness.propose(1, 1 << 62, vec![say(1)]);
    harness.run();
    harness.propose(1, (1 << 62) + 1, vec![say(1)]);
    harness.run();
    assert_eq!(harness.outcomes(1), [Outcome::Done(0)], "close to the last one");
}
