//! The messages of a deduplication window: a list whose elements can be removed anywhere, in
//! constant time.

use std::iter;
use std::num::NonZeroU32;

use super::MAX_IDS;
use crate::membership::{MessageId, Sender};

/// A message that came with an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct SentMessage {
    pub(in super::super) id: MessageId,
    pub(in super::super) seq: u64,
    pub(in super::super) time: u64,
    /// The sender, if its ids are counted.
    pub(in super::super) sender: Option<Sender>,
}

/// The place of a message in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(NonZeroU32);

impl Slot {
    fn new(index: usize) -> Option<Self> {
        NonZeroU32::new(u32::try_from(index + 1).ok()?).map(Self)
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

#[derive(Debug, Clone)]
struct Element {
    message: SentMessage,
    older: Option<Slot>,
    /// In a free slot the next free one.
    newer: Option<Slot>,
}

/// Messages, oldest first.
// Links instead of a tree by `seq`, which took three times as long for each message.
#[derive(Debug, Clone, Default)]
pub(super) struct MessageList {
    elements: Vec<Element>,
    free: Option<Slot>,
    oldest: Option<Slot>,
    newest: Option<Slot>,
    len: usize,
}

impl MessageList {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&SentMessage> {
        self.elements.get(slot.index()).map(|element| &element.message)
    }

    pub(super) fn oldest(&self) -> Option<Slot> {
        self.oldest
    }

    pub(super) fn newest(&self) -> Option<&SentMessage> {
        self.get(self.newest?)
    }

    /// All messages, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &SentMessage> {
        self.slots().filter_map(|slot| self.get(slot))
    }

    /// The slots of all messages, oldest first.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        iter::successors(self.oldest, |slot| self.elements.get(slot.index())?.newer)
    }

    /// Adds the newest message; `None` if there is no slot for it, which is far above the bound of
    /// the window.
    pub(super) fn push(&mut self, message: SentMessage) -> Option<Slot> {
        let element = Element { message, older: self.newest, newer: None };
        let slot = match self.free.and_then(|free| Some((free, self.elements.get_mut(free.index())?))) {
            Some((free, place)) => {
                self.free = place.newer;
                *place = element;
                free
            }
            None => {
                let slot = Slot::new(self.elements.len())?;
                if self.elements.len() == self.elements.capacity() && self.elements.len() >= MAX_IDS {
                    // A full window has one more for a moment, and needs no second half.
                    self.elements.reserve_exact(1);
                }
                self.elements.push(element);
                slot
            }
        };
        self.link(self.newest, Some(slot));
        self.newest = Some(slot);
        self.oldest = self.oldest.or(self.newest);
        self.len += 1;
        Some(slot)
    }

    /// Removes a message. Returns it, and the times of those before and after it.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<(SentMessage, [Option<u64>; 2])> {
        let Element { message, older, newer } = self.elements.get(slot.index())?.clone();
        self.link(older, newer);
        if self.oldest == Some(slot) {
            self.oldest = newer;
        }
        if self.newest == Some(slot) {
            self.newest = older;
        }
        let free = self.free.replace(slot);
        self.elements.get_mut(slot.index()).into_iter().for_each(|element| element.newer = free);
        self.len -= 1;
        Some((message, [older, newer].map(|slot| Some(self.get(slot?)?.time))))
    }

    fn link(&mut self, older: Option<Slot>, newer: Option<Slot>) {
        if let Some(element) = older.and_then(|slot| self.elements.get_mut(slot.index())) {
            element.newer = newer;
        }
        if let Some(element) = newer.and_then(|slot| self.elements.get_mut(slot.index())) {
            element.older = older;
        }
    }
}
