//! Backpressure towards the log: bounds the requests in flight and chooses the operation that
//! starts next. Pure.

use std::collections::VecDeque;

use owner::log_operation::LogOp;

/// Most requests to the log in flight; further operations wait.
// More requests in flight would not raise the log's throughput, only the latency of each.
pub(crate) const MAX_IN_FLIGHT: usize = 256;

/// Operations in flight, and a queue of waiting ones, first come first served.
///
/// At most one operation waits per room, besides history reads, which [`owner::rooms`] bounds.
#[derive(Debug)]
pub(crate) struct Operations<T> {
    in_flight: usize,
    waiting: VecDeque<(T, LogOp)>,
}

impl<T> Default for Operations<T> {
    fn default() -> Self {
        Self { in_flight: 0, waiting: VecDeque::new() }
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
    /// Adds an operation to the end of the queue.
    pub(crate) fn add(&mut self, asked: T, op: LogOp) {
        // Always behind the others, even if the bound allows a start: a busy room must not overtake
        // rooms that wait.
        self.waiting.push_back((asked, op));
    }

    /// Starts the next operation if the bound allows it.
    pub(crate) fn begin(&mut self) -> Option<(T, LogOp)> {
        // Counted in log requests, so a read of 32 records may exceed the bound by 31.
        if self.in_flight >= MAX_IN_FLIGHT {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.in_flight += requests(&next.1);
        Some(next)
    }

    /// Ends an operation with so many requests.
    pub(crate) fn end(&mut self, requests: usize) {
        debug_assert!(requests <= self.in_flight, "more operations ended than began");
        self.in_flight = self.in_flight.saturating_sub(requests);
    }

    /// Returns the number of waiting operations.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
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
        (0..1_000).for_each(|room| operations.add(room, LogOp::Last { certain: false }));
        let mut first = begun(&mut operations);
        assert_eq!(first.len(), MAX_IN_FLIGHT);
        let mut served: Vec<usize> = first.clone();
        while served.len() < 1_000 {
            let room = first.remove(0);
            operations.end(1);
            operations.add(room, LogOp::Last { certain: false });
            let next = begun(&mut operations);
            assert_eq!(next.len(), 1);
            served.extend(&next);
            first.extend(next);
        }
        assert_eq!(served, (0..1_000).collect::<Vec<_>>(), "each room once before any room twice");
    }

    #[test]
    fn an_operation_counts_as_the_questions_that_it_asks() {
        let mut operations = Operations::default();
        (0..100).for_each(|room| operations.add(room, LogOp::Read(vec![Position(1); 32])));
        assert_eq!(begun(&mut operations).len(), MAX_IN_FLIGHT / 32);
        operations.end(32);
        assert_eq!(begun(&mut operations).len(), 1);
        assert_eq!(operations.waiting(), 100 - 9);
    }
}
