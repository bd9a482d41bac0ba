//! Backpressure towards the log: bounds the requests in flight and chooses the operation that
//! starts next. Pure.

use std::collections::VecDeque;

use owner::log_operation::LogOp;

/// Most requests to the log in flight for owners of rooms; further operations wait.
// More requests in flight would not raise the log's throughput, only the latency of each.
pub(crate) const MAX_IN_FLIGHT: usize = 256;

/// The same for readers of history.
// Twenty clients that read the past of a long room need thousands of records a second: without a
// bound of its own that work is before every append.
const MAX_HISTORY_IN_FLIGHT: usize = 64;

/// The work that an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A room's owner: appends, and what comes before them.
    Owner,
    /// A page of history.
    History,
}

/// Operations in flight, and queues of waiting ones, one for each kind of work: first come first
/// served within each.
///
/// At most one operation waits per room, besides history reads, which [`owner::rooms`] bounds.
#[derive(Debug)]
pub(crate) struct Operations<T> {
    owners: Queue<T>,
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

impl<T> Default for Operations<T> {
    fn default() -> Self {
        Self { owners: Queue::new(MAX_IN_FLIGHT), history: Queue::new(MAX_HISTORY_IN_FLIGHT) }
    }
}

/// Returns the number of log requests of an operation: one per record that it reads.
pub(crate) fn requests(op: &LogOp) -> usize {
    match op {
        LogOp::Last { .. } | LogOp::Before(_) | LogOp::Append { .. } | LogOp::Epoch => 1,
        LogOp::Read(positions) => positions.len().max(1),
    }
}

impl<T> Operations<T> {
    fn queue(&mut self, work: Work) -> &mut Queue<T> {
        match work {
            Work::Owner => &mut self.owners,
            Work::History => &mut self.history,
        }
    }

    /// Adds an operation to the end of its queue.
    pub(crate) fn add(&mut self, work: Work, origin: T, op: LogOp) {
        // Always behind the others, even if the bound allows a start: a busy room must not overtake
        // rooms that wait.
        self.queue(work).waiting.push_back((origin, op));
    }

    /// Starts the next operation that the bounds allow, those of owners first.
    pub(crate) fn begin(&mut self) -> Option<(T, LogOp)> {
        self.owners.begin().or_else(|| self.history.begin())
    }

    /// Ends an operation with so many requests.
    pub(crate) fn end(&mut self, work: Work, requests: usize) {
        let queue = self.queue(work);
        debug_assert!(requests <= queue.in_flight, "more operations ended than began");
        queue.in_flight = queue.in_flight.saturating_sub(requests);
    }

    /// Returns the number of waiting operations of owners, which are signs of an overload.
    pub(crate) fn waiting(&self) -> usize {
        self.owners.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use model::record::Position;

    use super::*;

    fn begun(operations: &mut Operations<usize>) -> Vec<usize> {
        std::iter::from_fn(|| operations.begin()).map(|(asked, _)| asked).collect()
    }

    /// Busy rooms that always have a next operation, and rooms with a single one.
    #[test]
    fn a_room_that_goes_on_at_once_does_not_overtake_those_that_wait() {
        let mut operations = Operations::default();
        let add = |operations: &mut Operations<usize>, room| {
            operations.add(Work::Owner, room, LogOp::Last { certain: false });
        };
        (0..1_000).for_each(|room| add(&mut operations, room));
        let mut first = begun(&mut operations);
        assert_eq!(first.len(), MAX_IN_FLIGHT);
        let mut served: Vec<usize> = first.clone();
        while served.len() < 1_000 {
            let room = first.remove(0);
            operations.end(Work::Owner, 1);
            add(&mut operations, room);
            let next = begun(&mut operations);
            assert_eq!(next.len(), 1);
            served.extend(&next);
            first.extend(next);
        }
        assert_eq!(served, (0..1_000).collect::<Vec<_>>(), "each room once before any room twice");
    }

    #[test]
    fn an_operation_counts_as_the_requests_that_it_makes() {
        let mut operations = Operations::default();
        (0..100).for_each(|room| operations.add(Work::Owner, room, LogOp::Read(vec![Position(1); 32])));
        assert_eq!(begun(&mut operations).len(), MAX_IN_FLIGHT / 32);
        operations.end(Work::Owner, 32);
        assert_eq!(begun(&mut operations).len(), 1);
        assert_eq!(operations.waiting(), 100 - 9);
    }

    /// Readers of long histories, and an append that comes after all of them.
    #[test]
    fn history_delays_no_append() {
        let mut operations = Operations::default();
        (0..100).for_each(|reader| operations.add(Work::History, reader, LogOp::Read(vec![Position(1); 32])));
        assert_eq!(begun(&mut operations), [0, 1]);
        operations.add(Work::Owner, 999, LogOp::Last { certain: true });
        assert_eq!(begun(&mut operations), [999]);
        operations.end(Work::History, 32);
        assert_eq!(begun(&mut operations), [2], "and readers take turns");
        assert_eq!(operations.waiting(), 0);
    }
}
