//! Which messages with an id were said lately, so that a repeat is answered and not said again.

use std::collections::{HashMap, VecDeque};

use crate::membership::MessageId;

/// Milliseconds of record time for which an id is remembered.
pub const ID_MS: u64 = 60_000;

/// Most ids that a room remembers; with more within [`ID_MS`], the oldest are forgotten sooner.
pub const MAX_IDS: usize = 4_096;

/// Messages that came with an id, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    order: VecDeque<(MessageId, u64, u64)>,
    seqs: HashMap<MessageId, (u64, u64)>,
}

impl Said {
    /// `seq` and time of the message with this id.
    pub(super) fn find(&self, id: MessageId) -> Option<(u64, u64)> {
        self.seqs.get(&id).copied()
    }

    /// Notes a message; times never fall.
    pub(super) fn note(&mut self, id: MessageId, seq: u64, time: u64) {
        self.order.push_back((id, seq, time));
        self.seqs.insert(id, (seq, time));
    }

    /// Forgets what is too old at `time`, or too much.
    pub(super) fn forget(&mut self, time: u64) {
        while let Some((id, seq, said_at)) = self.order.front().copied() {
            if time.saturating_sub(said_at) <= ID_MS && self.order.len() <= MAX_IDS {
                return;
            }
            self.order.pop_front();
            // An id that was said again when it was forgotten stands further back.
            if self.seqs.get(&id).is_some_and(|(last, _)| *last == seq) {
                self.seqs.remove(&id);
            }
        }
    }

    /// All, oldest first.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &(MessageId, u64, u64)> {
        self.order.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Token;

    fn id(number: usize) -> MessageId {
        Token::new(7).membership().message(&number.to_string())
    }

    #[test]
    fn ids_are_forgotten_after_a_minute() {
        let mut said = Said::default();
        said.note(id(1), 1_000, 5);
        said.forget(5 + ID_MS);
        assert_eq!(said.find(id(1)), Some((1_000, 5)));
        said.forget(6 + ID_MS);
        assert_eq!(said, Said::default());
    }

    #[test]
    fn there_is_a_most() {
        let mut said = Said::default();
        (0..=MAX_IDS).for_each(|number| said.note(id(number), number as u64, 0));
        said.forget(0);
        assert_eq!((said.find(id(0)), said.find(id(1))), (None, Some((1, 0))));
    }
}
