//! Backpressure towards the log: bounds the requests in flight and chooses the operation that
//! starts next, apart for each part of the log. Pure.

use std::collections::VecDeque;

use model::log_parts::{LogPart, LogParts, PerPart};
use owner::log_operation::LogOp;
use owner::rooms::LogRequester;

/// Most requests to a part of the log in flight for owners of rooms; further operations wait.
// More requests in flight would not raise the log's throughput, only the latency of each. Per part:
// a stream that stalls would otherwise take all places, and the rooms of the others would wait.
pub const MAX_IN_FLIGHT: usize = 256;

/// The same for requests that the leader of a stream must answer.
// They wait in one queue of the broker, which drops all of them when 10,000 wait: forty chat
// servers may not fill it.
const MAX_LEADER_READS: usize = 64;

/// The same for readers of history.
// Twenty clients that read the past of a long room need thousands of records a second: without a
// bound of its own that work is before every append.
const MAX_HISTORY_IN_FLIGHT: usize = 64;

/// The work that an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A room's owner: appends, and what comes before them.
    Owner,
    /// A room's owner whose read must be of the leader.
    LeaderRead,
    /// A page of history.
    History,
}

impl Work {
    /// All kinds, the most urgent first.
    const ALL: [Self; 3] = [Self::Owner, Self::LeaderRead, Self::History];

    /// Returns the kind of work that an operation is for.
    pub fn of(requester: LogRequester, op: &LogOp) -> Self {
        match (requester, op) {
            (LogRequester::Reader(_), _) => Self::History,
            (LogRequester::Owner, LogOp::Last { certain: true } | LogOp::Before(_) | LogOp::Epoch) => Self::LeaderRead,
            (LogRequester::Owner, _) => Self::Owner,
        }
    }
}

/// Operations in flight, and queues of waiting ones, one for each part and kind of work: first come
/// first served within each.
///
/// At most one operation waits per room, besides history reads, which [`owner::rooms`] bounds.
#[derive(Debug)]
pub struct Operations<T> {
    division: LogParts,
    parts: PerPart<PartOperations<T>>,
}

#[derive(Debug)]
struct PartOperations<T> {
    owners: Queue<T>,
    leader_reads: Queue<T>,
    history: Queue<T>,
}

#[derive(Debug)]
struct Queue<T> {
    most: usize,
    in_flight: usize,
    waiting: VecDeque<(T, LogOp)>,
}

impl<T> Queue<T> {
    fn new(most: usize) -> Self {
        Self { most, in_flight: 0, waiting: VecDeque::new() }
    }

    fn begin(&mut self) -> Option<(T, LogOp)> {
        // Counted in log requests, so a read of 32 records may exceed the bound by 31.
        if self.in_flight >= self.most {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.in_flight += requests(&next.1);
        Some(next)
    }
}

/// Returns the number of log requests of an operation: one per record that it reads.
pub fn requests(op: &LogOp) -> usize {
    match op {
        LogOp::Last { .. } | LogOp::Before(_) | LogOp::Append { .. } | LogOp::Epoch => 1,
        LogOp::Read(positions) => positions.len().max(1),
    }
}

impl<T> PartOperations<T> {
    fn new() -> Self {
        Self {
            owners: Queue::new(MAX_IN_FLIGHT),
            leader_reads: Queue::new(MAX_LEADER_READS),
            history: Queue::new(MAX_HISTORY_IN_FLIGHT),
        }
    }

    fn queue(&mut self, work: Work) -> &mut Queue<T> {
        match work {
            Work::Owner => &mut self.owners,
            Work::LeaderRead => &mut self.leader_reads,
            Work::History => &mut self.history,
        }
    }

    fn begin(&mut self, work: Work) -> Option<(Work, T, LogOp)> {
        self.queue(work).begin().map(|(origin, op)| (work, origin, op))
    }

    fn waiting(&self) -> usize {
        self.owners.waiting.len() + self.leader_reads.waiting.len()
    }
}

impl<T> Operations<T> {
    /// Creates empty queues for each part.
    pub fn new(parts: LogParts) -> Self {
        Self { division: parts, parts: PerPart::new(parts, |_| PartOperations::new()) }
    }

    /// Sets another division of the log, which has more parts by now. What waits goes to the part that
    /// `part_of` names; what is in flight counts for the first piece of its part.
    pub fn divide(&mut self, parts: LogParts, part_of: impl Fn(&T) -> LogPart) {
        let new = PerPart::new(parts, |_| PartOperations::new());
        let (before, old) = (std::mem::replace(&mut self.division, parts), std::mem::replace(&mut self.parts, new));
        for (part, mut operations) in before.iter().zip(old.into_values()) {
            for work in Work::ALL {
                let Queue { in_flight, waiting, .. } = std::mem::replace(operations.queue(work), Queue::new(0));
                self.parts.get_mut(before.in_division(part, parts)).queue(work).in_flight = in_flight;
                for (origin, op) in waiting {
                    self.add(part_of(&origin), work, origin, op);
                }
            }
        }
    }

    /// Adds an operation on a part to the end of its queue.
    pub fn add(&mut self, part: LogPart, work: Work, origin: T, op: LogOp) {
        // Always behind the others, even if the bound allows a start: a busy room must not overtake
        // rooms that wait.
        self.parts.get_mut(part).queue(work).waiting.push_back((origin, op));
    }

    /// Starts the next operation that the bounds of a part allow, those of owners first.
    pub fn begin(&mut self, part: LogPart) -> Option<(Work, T, LogOp)> {
        let part = self.parts.get_mut(part);
        Work::ALL.into_iter().find_map(|work| part.begin(work))
    }

    /// Ends an operation with so many requests.
    pub fn end(&mut self, part: LogPart, work: Work, requests: usize) {
        let queue = self.parts.get_mut(part).queue(work);
        debug_assert!(requests <= queue.in_flight, "more operations ended than began");
        queue.in_flight = queue.in_flight.saturating_sub(requests);
    }

    /// Returns the number of waiting operations of owners, which are signs of an overload.
    pub fn waiting(&self) -> usize {
        self.parts.iter().map(|(_, part)| part.waiting()).sum()
    }

    /// Returns their number at the part where most wait.
    pub fn most_waiting(&self) -> usize {
        self.parts.iter().map(|(_, part)| part.waiting()).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use model::record::Position;

    use super::*;

    const LAST: LogOp = LogOp::Last { certain: false };

    fn whole() -> (Operations<usize>, LogPart) {
        (Operations::new(LogParts::ONE), LogPart::default())
    }

    fn begun(operations: &mut Operations<usize>, part: LogPart) -> Vec<usize> {
        std::iter::from_fn(|| operations.begin(part)).map(|(_, asked, _)| asked).collect()
    }

    /// Busy rooms that always have a next operation, and rooms with a single one.
    #[test]
    fn a_room_that_goes_on_at_once_does_not_overtake_those_that_wait() {
        let (mut operations, part) = whole();
        (0..1_000).for_each(|room| operations.add(part, Work::Owner, room, LAST));
        let mut first = begun(&mut operations, part);
        assert_eq!(first.len(), MAX_IN_FLIGHT);
        let mut served: Vec<usize> = first.clone();
        while served.len() < 1_000 {
            let room = first.remove(0);
            operations.end(part, Work::Owner, 1);
            operations.add(part, Work::Owner, room, LAST);
            let next = begun(&mut operations, part);
            assert_eq!(next.len(), 1);
            served.extend(&next);
            first.extend(next);
        }
        assert_eq!(served, (0..1_000).collect::<Vec<_>>(), "each room once before any room twice");
    }

    #[test]
    fn an_operation_counts_as_the_requests_that_it_makes() {
        let (mut operations, part) = whole();
        (0..100).for_each(|room| operations.add(part, Work::Owner, room, LogOp::Read(vec![Position(1); 32])));
        assert_eq!(begun(&mut operations, part).len(), MAX_IN_FLIGHT / 32);
        operations.end(part, Work::Owner, 32);
        assert_eq!(begun(&mut operations, part).len(), 1);
        assert_eq!(operations.waiting(), 100 - 9);
    }

    /// Readers of long histories, and an append that comes after all of them.
    #[test]
    fn history_delays_no_append() {
        let (mut operations, part) = whole();
        (0..100).for_each(|reader| operations.add(part, Work::History, reader, LogOp::Read(vec![Position(1); 32])));
        assert_eq!(begun(&mut operations, part), [0, 1]);
        operations.add(part, Work::Owner, 999, LAST);
        assert_eq!(begun(&mut operations, part), [999]);
        operations.end(part, Work::History, 32);
        assert_eq!(begun(&mut operations, part), [2], "and readers take turns");
        assert_eq!(operations.waiting(), 0);
    }

    /// All rooms start over at once, and one that has nothing to prove appends.
    #[test]
    fn reads_of_the_leader_are_few_and_delay_no_append() {
        let (mut operations, part) = whole();
        let certain = || LogOp::Last { certain: true };
        (0..1_000).for_each(|room| operations.add(part, Work::LeaderRead, room, certain()));
        assert_eq!(begun(&mut operations, part).len(), MAX_LEADER_READS);
        operations.add(part, Work::Owner, 1_000, LAST);
        assert_eq!(begun(&mut operations, part), [1_000]);
        operations.end(part, Work::LeaderRead, 1);
        assert_eq!(begun(&mut operations, part), [MAX_LEADER_READS]);
    }

    /// Half of the rooms move to another part while operations wait and are in flight.
    #[test]
    fn waiting_operations_follow_their_rooms_to_another_part() {
        let (mut operations, part) = whole();
        (0..1_000).for_each(|room| operations.add(part, Work::Owner, room, LAST));
        assert_eq!(begun(&mut operations, part).len(), MAX_IN_FLIGHT);
        let two = LogParts::new(2).unwrap();
        let [first, second] = [0, 1].map(|index| two.iter().nth(index).unwrap());
        operations.divide(two, |room| if room % 2 == 0 { first } else { second });
        assert_eq!((operations.waiting(), begun(&mut operations, first)), (1_000 - MAX_IN_FLIGHT, vec![]));
        assert_eq!(begun(&mut operations, second), (257..769).step_by(2).collect::<Vec<_>>());
        operations.end(first, Work::Owner, 2);
        assert_eq!(begun(&mut operations, first), [256, 258]);
    }

    /// Appends to one part hang, all of its places are taken, and more wait.
    #[test]
    fn a_part_that_stalls_delays_no_other() {
        let two = LogParts::new(2).unwrap();
        let mut operations = Operations::new(two);
        let [stalled, other] = [0, 1].map(|index| two.iter().nth(index).unwrap());
        (0..1_000).for_each(|room| operations.add(stalled, Work::Owner, room, LAST));
        assert_eq!(begun(&mut operations, stalled).len(), MAX_IN_FLIGHT);
        operations.add(other, Work::Owner, 2_000, LAST);
        assert_eq!(begun(&mut operations, other), [2_000]);
        assert_eq!((operations.waiting(), operations.most_waiting()), (1_000 - MAX_IN_FLIGHT, 1_000 - MAX_IN_FLIGHT));
    }
}
