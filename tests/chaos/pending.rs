//! A user's messages whose outcome is not known yet. Pure: decides what to send next, sends
//! nothing.

use std::collections::VecDeque;

/// The most messages that a user has in flight.
pub(crate) const WINDOW: usize = 20;

/// A message to be sent, again perhaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingMessage {
    pub(crate) number: u64,
    pub(crate) to: String,
    /// The message was sent before, so it may be committed already.
    pub(crate) is_retry: bool,
}

/// Messages in the order of their numbers.
///
/// After an outcome that stayed unknown nothing new is sent. When nothing is on the way any more,
/// the unknown ones are sent again, oldest first, each alone. So nothing that is sent later can
/// come before what was sent again.
#[derive(Debug)]
pub(crate) struct PendingMessages {
    open: VecDeque<(PendingMessage, bool)>,
    next: u64,
    window: usize,
}

impl PendingMessages {
    /// No messages yet; up to `window` will be on the way at once.
    pub(crate) fn new(window: usize) -> Self {
        Self { open: VecDeque::new(), next: 1, window }
    }

    /// Returns true if all outcomes are known.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The number that the next new message will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// A new message; `None` when it has to wait.
    pub(crate) fn next_new(&mut self, to: &str) -> Option<PendingMessage> {
        if self.open.len() >= self.window || self.open.iter().any(|(message, in_flight)| message.is_retry || !in_flight)
        {
            return None;
        }
        let message = PendingMessage { number: self.next, to: to.to_owned(), is_retry: false };
        self.next += 1;
        self.open.push_back((message.clone(), true));
        Some(message)
    }

    /// A message to be sent again; `None` when there is none, or it has to wait.
    pub(crate) fn next_retry(&mut self) -> Option<PendingMessage> {
        if self.open.iter().any(|(_, in_flight)| *in_flight) {
            return None;
        }
        let (message, in_flight) = self.open.front_mut()?;
        *in_flight = true;
        message.is_retry = true;
        Some(message.clone())
    }

    /// The outcome of a message is known.
    pub(crate) fn settle(&mut self, number: u64) {
        self.open.retain(|(message, _)| message.number != number);
    }

    /// The outcome of a try stayed unknown.
    pub(crate) fn mark_unknown(&mut self, number: u64) {
        if let Some((_, in_flight)) = self.open.iter_mut().find(|(message, _)| message.number == number) {
            *in_flight = false;
        }
    }

    /// The connection is gone, and with it every answer that has not come.
    pub(crate) fn mark_all_unknown(&mut self) {
        self.open.iter_mut().for_each(|(_, in_flight)| *in_flight = false);
    }

    /// Gives up all unknown outcomes: the membership has ended, and with it the ids.
    pub(crate) fn abandon(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(pending: &mut PendingMessages, count: usize) -> Vec<u64> {
        (0..count).map_while(|_| pending.next_new("*")).map(|message| message.number).collect()
    }

    #[test]
    fn a_window_is_filled() {
        let mut pending = PendingMessages::new(3);
        assert_eq!(numbers(&mut pending, 9), [1, 2, 3]);
        pending.settle(2);
        assert_eq!(numbers(&mut pending, 9), [4]);
        assert_eq!(pending.next_retry(), None);
    }

    #[test]
    fn unknown_ones_are_repeated_in_order_before_anything_new() {
        let mut pending = PendingMessages::new(9);
        assert_eq!(numbers(&mut pending, 3), [1, 2, 3]);
        pending.mark_unknown(3);
        pending.mark_unknown(1);
        assert_eq!((pending.next_new("*"), pending.next_retry()), (None, None), "2 is on the way");
        pending.settle(2);
        for number in [1, 3] {
            assert_eq!(pending.next_retry(), Some(PendingMessage { number, to: "*".to_owned(), is_retry: true }));
            assert_eq!((pending.next_new("*"), pending.next_retry()), (None, None));
            pending.mark_unknown(number);
            assert_eq!(pending.next_retry().map(|message| message.number), Some(number));
            pending.settle(number);
        }
        assert!(pending.is_empty());
        assert_eq!(numbers(&mut pending, 1), [4]);
    }
}
