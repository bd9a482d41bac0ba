//! How many questions to the log are in flight. Pure: it says which log operation is to be begun.

use std::collections::VecDeque;

use crate::owner::LogOp;

/// Questions to the log in flight; above, operations wait. More would only make each take longer.
pub(crate) const MAX_IN_FLIGHT: usize = 256;

/// Operations in flight and those that wait, first come first served.
///
/// Of those that wait there is at most one per room, and those for messages of the past, which [`crate::rooms`] bounds.
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

/// What an operation asks of the log: one question per record that it reads.
pub(crate) fn requests(op: &LogOp) -> usize {
    match op {
        LogOp::Last { .. } | LogOp::Before(_) | LogOp::Append { .. } | LogOp::Epoch => 1,
        LogOp::Read(positions) => positions.len().max(1),
    }
}

impl<T> Operations<T> {
    /// Adds an operation behind those that wait: a room that goes on at once must not overtake rooms that wait.
    pub(crate) fn add(&mut self, asked: T, op: LogOp) {
        self.waiting.push_back((asked, op));
    }

    /// Takes the next operation that may be begun.
    pub(crate) fn begin(&mut self) -> Option<(T, LogOp)> {
        if self.in_flight >= MAX_IN_FLIGHT {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.in_flight += requests(&next.1);
        Some(next)
    }

    /// An operation of so many questions ended.
    pub(crate) fn end(&mut self, requests: usize) {
        debug_assert!(requests <= self.in_flight, "more operations ended than began");
        self.in_flight = self.in_flight.saturating_sub(requests);
    }

    /// Operations that wait.
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

    /// Rooms that always go on, as ones in which people talk do, and others that want one thing.
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
