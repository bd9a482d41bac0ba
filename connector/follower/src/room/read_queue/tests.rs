//! Turns, bounds and removals of reads.

use model::membership::Token;
use model::record::Epoch;
use model::rpc::messages::HistoryRange;

use super::*;
use crate::room::proposer::{ClientPosition, Entering};

#[derive(Default)]
struct QueueHarness {
    queue: ReadQueue,
    last: u64,
}

impl QueueHarness {
    fn read(session: u64, deadline: u64, is_page: bool) -> HistoryRead {
        let token = Token::new(1);
        let since = Some(ClientPosition { epoch: Epoch(1), seq: 1 });
        let entering = (!is_page).then_some(Entering { token, is_resuming: true, since, resumes: true });
        let pending = PendingRequest { session, id: None, deadline, entering };
        let query = HistoryQuery { viewer: token.membership(), span: HistoryRange::Last, limit: 1 };
        HistoryRead { pending, query, missed: (!is_page).then(MissedMessages::default) }
    }

    fn add(&mut self, session: u64, deadline: u64, is_page: bool) -> u64 {
        self.last += 1;
        self.queue.add(self.last, Self::read(session, deadline, is_page));
        self.queue.assert_sound();
        self.last
    }

    fn pages(&mut self, session: u64, count: usize) {
        for _ in 0..count {
            self.add(session, 1_000, true);
        }
    }

    /// Starts all reads that may be in flight. Returns number and session of each.
    fn start(&mut self) -> Vec<(u64, u64)> {
        let started =
            std::iter::from_fn(|| self.queue.start_next(50)).map(|sent| (sent.number, sent.session)).collect();
        self.queue.assert_sound();
        started
    }

    fn answer(&mut self, number: u64) -> Option<u64> {
        let session = self.queue.remove_answered(number).map(|read| read.pending.session);
        self.queue.assert_sound();
        session
    }
}

#[test]
fn a_session_has_two_pages_in_flight_and_a_room_a_few() {
    let mut harness = QueueHarness::default();
    harness.pages(1, 64);
    let first = harness.start();
    assert_eq!(first, [(1, 1), (2, 1)]);
    (2..=20).for_each(|session| harness.pages(session, 1));
    assert_eq!(harness.start().len(), PAGES_PER_ROOM - PAGES_PER_SESSION);
    assert_eq!(harness.answer(1), Some(1));
    assert_eq!(harness.answer(1), None, "a second answer");
    assert_eq!(harness.answer(3), None, "it was not sent");
}

/// One session asks for all pages, and each answer lets it ask for another one.
#[test]
fn a_session_that_asks_for_all_pages_delays_others_by_a_turn_each() {
    let mut harness = QueueHarness::default();
    (1..=PAGES_PER_ROOM as u64).for_each(|session| harness.pages(session, 64));
    let mut in_flight: VecDeque<_> = harness.start().into();
    harness.pages(99, 3);
    let mut served = Vec::new();
    while served.iter().filter(|session| **session == 99).count() < 3 {
        let (number, session) = in_flight.pop_front().unwrap();
        harness.answer(number).unwrap();
        harness.pages(session, 1);
        let next = harness.start();
        served.extend(next.iter().map(|(_, session)| *session));
        in_flight.extend(next);
    }
    let turns: Vec<_> = served.iter().enumerate().filter(|(_, session)| **session == 99).map(|(at, _)| at).collect();
    assert!(turns.windows(2).all(|pair| pair[1] - pair[0] <= PAGES_PER_ROOM + 1), "{served:?}");
    assert!(turns[0] <= PAGES_PER_ROOM, "{served:?}");
}

#[test]
fn missed_messages_come_before_all_pages() {
    let mut harness = QueueHarness::default();
    (1..=20).for_each(|session| harness.pages(session, 1));
    let pages = harness.start();
    let resuming: Vec<_> = (100..100 + MISSED_PER_ROOM as u64 + 1).collect();
    for session in &resuming {
        harness.add(*session, 1_000, false);
    }
    let started = harness.start();
    assert_eq!(started.iter().map(|(_, session)| *session).collect::<Vec<_>>(), resuming[..MISSED_PER_ROOM]);
    harness.answer(pages[0].0).unwrap();
    assert_eq!(harness.start(), [], "one of them waits");
    harness.answer(started[0].0).unwrap();
    let next: Vec<_> = harness.start().into_iter().map(|(_, session)| session).collect();
    assert_eq!(next, [*resuming.last().unwrap(), 9]);
}

#[test]
fn reads_are_removed_by_number_by_session_and_by_deadline() {
    for starts in [true, false] {
        let mut harness = QueueHarness::default();
        for (session, deadline) in [(7, 10), (8, 20), (7, 30), (9, 40), (7, 50)] {
            harness.add(session, deadline, true);
        }
        harness.add(6, 10, false);
        if starts {
            harness.start();
        }
        let session = |read: HistoryRead| read.pending.session;
        assert_eq!(harness.queue.remove(2).map(session), Some(8));
        assert!(harness.queue.remove_of(8).is_none());
        harness.queue.assert_sound();
        let late: Vec<_> = harness.queue.remove_expired(10).into_iter().map(session).collect();
        assert_eq!(late, [7, 6]);
        harness.queue.assert_sound();
        assert_eq!(harness.queue.remove_of(7).map(|read| read.pending.deadline), Some(30));
        assert_eq!(harness.queue.remove_of(7).map(|read| read.pending.deadline), Some(50));
        harness.queue.assert_sound();
        assert!(harness.queue.remove_of(7).is_none());
        assert_eq!(harness.queue.by_number.len(), 1);
    }
}

#[test]
fn reads_in_flight_are_repeated_and_those_that_wait_are_not() {
    let mut harness = QueueHarness::default();
    harness.pages(1, 3);
    harness.start();
    let due = |harness: &mut QueueHarness, now| {
        let due = harness.queue.take_due(now, now + 100);
        harness.queue.assert_sound();
        due.into_iter().map(|sent| sent.number).collect::<Vec<_>>()
    };
    assert_eq!((due(&mut harness, 49), due(&mut harness, 50), due(&mut harness, 51)), (vec![], vec![1, 2], vec![]));
    harness.queue.repeat_all_at(60);
    let read = harness.queue.remove_answered(1).unwrap();
    harness.queue.add_in_flight(9, read, 70);
    assert_eq!((due(&mut harness, 60), due(&mut harness, 70)), (vec![2], vec![9]));
    assert_eq!(harness.start(), [], "it kept its place");
}
