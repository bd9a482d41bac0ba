//! A person's messages whose outcome is not known yet. Pure: says what to send next, sends nothing.

use std::collections::VecDeque;

/// Messages that a person has on the way at most.
pub(crate) const WINDOW: usize = 20;

/// A message to be sent, again perhaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) number: u64,
    pub(crate) to: String,
    /// Whether it was sent before: then it may have been said already.
    pub(crate) again: bool,
}

/// Messages in the order of their numbers.
///
/// After an outcome that stayed unknown nothing new is sent. When nothing is on the way any more, the unknown ones are
/// sent again, oldest first, each alone. So nothing that is sent later can come before what was sent again.
#[derive(Debug)]
pub(crate) struct Drafts {
    open: VecDeque<(Draft, bool)>,
    next: u64,
    window: usize,
}

impl Drafts {
    /// No messages yet; up to `window` will be on the way at once.
    pub(crate) fn new(window: usize) -> Self {
        Self { open: VecDeque::new(), next: 1, window }
    }

    /// Whether all outcomes are known.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The number that the next new message will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// A new message; `None` when it has to wait.
    pub(crate) fn start(&mut self, to: &str) -> Option<Draft> {
        if self.open.len() >= self.window || self.open.iter().any(|(draft, flying)| draft.again || !flying) {
            return None;
        }
        let draft = Draft { number: self.next, to: to.to_owned(), again: false };
        self.next += 1;
        self.open.push_back((draft.clone(), true));
        Some(draft)
    }

    /// A message to be sent again; `None` when there is none, or it has to wait.
    pub(crate) fn repeat(&mut self) -> Option<Draft> {
        if self.open.iter().any(|(_, flying)| *flying) {
            return None;
        }
        let (draft, flying) = self.open.front_mut()?;
        *flying = true;
        draft.again = true;
        Some(draft.clone())
    }

    /// The outcome of a message is known.
    pub(crate) fn decided(&mut self, number: u64) {
        self.open.retain(|(draft, _)| draft.number != number);
    }

    /// The outcome of a try stayed unknown.
    pub(crate) fn unknown(&mut self, number: u64) {
        if let Some((_, flying)) = self.open.iter_mut().find(|(draft, _)| draft.number == number) {
            *flying = false;
        }
    }

    /// The connection is gone, and with it every answer that has not come.
    pub(crate) fn all_unknown(&mut self) {
        self.open.iter_mut().for_each(|(_, flying)| *flying = false);
    }

    /// What is unknown stays so: the membership is over, and with it the ids.
    pub(crate) fn abandon(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(drafts: &mut Drafts, count: usize) -> Vec<u64> {
        (0..count).map_while(|_| drafts.start("*")).map(|draft| draft.number).collect()
    }

    #[test]
    fn a_window_is_filled() {
        let mut drafts = Drafts::new(3);
        assert_eq!(numbers(&mut drafts, 9), [1, 2, 3]);
        drafts.decided(2);
        assert_eq!(numbers(&mut drafts, 9), [4]);
        assert_eq!(drafts.repeat(), None);
    }

    #[test]
    fn unknown_ones_are_repeated_in_order_before_anything_new() {
        let mut drafts = Drafts::new(9);
        assert_eq!(numbers(&mut drafts, 3), [1, 2, 3]);
        drafts.unknown(3);
        drafts.unknown(1);
        assert_eq!((drafts.start("*"), drafts.repeat()), (None, None), "2 is on the way");
        drafts.decided(2);
        for number in [1, 3] {
            assert_eq!(drafts.repeat(), Some(Draft { number, to: "*".to_owned(), again: true }));
            assert_eq!((drafts.start("*"), drafts.repeat()), (None, None));
            drafts.unknown(number);
            assert_eq!(drafts.repeat().map(|draft| draft.number), Some(number));
            drafts.decided(number);
        }
        assert!(drafts.is_empty());
        assert_eq!(numbers(&mut drafts, 1), [4]);
    }
}
