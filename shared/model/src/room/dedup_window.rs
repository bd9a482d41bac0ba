//! The deduplication window: messages that were sent with an id lately. The owner answers a repeat
//! and does not append it again.
//!
//! The age of an id is counted from the times of the messages behind it, and each step counts one
//! second at most.

use std::collections::{HashMap, VecDeque};

use crate::membership::MessageId;

/// Milliseconds for which an id is remembered, at least.
const ID_MS: u64 = 60_000;

/// Most ids that a room remembers; with more within a minute, the oldest are forgotten sooner.
pub const MAX_IDS: usize = 4_096;

/// Most milliseconds that one message ages those before it.
// So no clock that is set forward, and no owner with another clock, makes a room forget: a leap of
// any length costs a second.
const MAX_STEP_MS: u64 = 1_000;

/// Messages that came with an id, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
// Two collections: one gives the oldest message to forget, the other finds a repeat without a
// search.
pub(super) struct DedupWindow {
    order: VecDeque<(MessageId, u64, u64)>,
    seqs: HashMap<MessageId, (u64, u64)>,
    /// Age of the oldest one.
    age: u64,
}

impl DedupWindow {
    /// `seq` and time of the message with this id.
    pub(super) fn find(&self, id: MessageId) -> Option<(u64, u64)> {
        self.seqs.get(&id).copied()
    }

    /// Notes a message, and forgets those that are too old then, or too many.
    pub(super) fn insert(&mut self, id: MessageId, seq: u64, time: u64) {
        self.age += self.order.back().map_or(0, |(.., before)| step(*before, time));
        self.order.push_back((id, seq, time));
        self.seqs.insert(id, (seq, time));
        while self.age > ID_MS || self.order.len() > MAX_IDS {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((id, seq, time)) = self.order.pop_front() else { return };
        self.age -= self.order.front().map_or(self.age, |(.., next)| step(time, *next));
        // An id that was sent again when it was forgotten stands further back.
        if self.seqs.get(&id).is_some_and(|(last, _)| *last == seq) {
            self.seqs.remove(&id);
        }
    }

    /// All, oldest first.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &(MessageId, u64, u64)> {
        self.order.iter()
    }
}

/// Milliseconds from one message to the next, as far as they count.
fn step(before: u64, time: u64) -> u64 {
    time.saturating_sub(before).min(MAX_STEP_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Token;

    fn id(number: usize) -> MessageId {
        Token::new(7).membership().message(&number.to_string())
    }

    fn with_times(times: impl IntoIterator<Item = u64>) -> DedupWindow {
        let mut window = DedupWindow::default();
        times.into_iter().enumerate().for_each(|(number, time)| window.insert(id(number), number as u64, time));
        window
    }

    #[test]
    fn ids_are_remembered_for_a_minute() {
        let window = with_times((0..).map(|number| 5 + number * 500).take(121));
        assert_eq!(window.find(id(0)), Some((0, 5)));
        let window = with_times((0..).map(|number| 5 + number * 500).take(122));
        assert_eq!((window.find(id(0)), window.find(id(1))), (None, Some((1, 505))));
    }

    #[test]
    fn a_leap_costs_a_second() {
        const DAY: u64 = 86_400_000;
        let leaps = (0..).map(|number| number * DAY);
        assert_eq!(with_times(leaps.clone().take(61)).find(id(0)), Some((0, 0)));
        assert_eq!(with_times(leaps.take(62)).find(id(0)), None);
    }

    #[test]
    fn those_that_are_left_have_the_age_of_a_list_of_their_own() {
        let times: Vec<_> = (0..400).map(|number| number * 700 + (number % 7) * 90).collect();
        let window = with_times(times);
        let mut again = DedupWindow::default();
        window.iter().for_each(|(id, seq, time)| again.insert(*id, *seq, *time));
        assert_eq!(window, again);
    }

    #[test]
    fn there_is_a_most() {
        let window = with_times(std::iter::repeat_n(0, MAX_IDS + 1));
        assert_eq!((window.find(id(0)), window.find(id(1))), (None, Some((1, 0))));
    }
}
