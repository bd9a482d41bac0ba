//! The deduplication window: messages that were sent with an id lately. The owner answers a repeat
//! and does not append it again.
//!
//! The age of an id is counted from the times of the remembered messages behind it, and each step
//! counts one second at most.
//!
//! A full window is shared fairly: the sender with the most ids gives up its oldest, so no sender
//! makes the room forget the newest ids of another one.

mod list;
mod senders;

use std::collections::HashMap;

use crate::membership::MessageId;
use list::{MessageList, Slot};
use senders::Senders;

pub(super) use list::SentMessage;

/// Milliseconds for which an id is remembered, at least.
const ID_MS: u64 = 60_000;

/// Most ids that a room remembers; with more within a minute, those with the most give up their
/// oldest.
pub const MAX_IDS: usize = 4_096;

/// Ids that a sender does not give up while another one has more.
const KEPT_IDS: usize = 8;

/// Ids that a room remembers without their senders.
// The states of rooms with few messages, most of all, are as small as without senders. The price:
// so many ids of any sender are not counted as its own until they are forgotten.
const UNCOUNTED_IDS: usize = 64;

/// Most milliseconds that one message ages those before it.
// A leap of any length costs a second.
const MAX_STEP_MS: u64 = 1_000;

/// Messages that came with an id.
#[derive(Debug, Clone, Default)]
pub(super) struct DedupWindow {
    messages: MessageList,
    // Invariant: what follows is derived from the list. So windows with the same messages are equal,
    // and a checkpoint needs no more than these.
    slots: HashMap<MessageId, Slot>,
    senders: Senders,
    /// Age of the oldest one.
    age: u64,
}

impl PartialEq for DedupWindow {
    fn eq(&self, other: &Self) -> bool {
        self.messages.iter().eq(other.messages.iter())
    }
}

impl Eq for DedupWindow {}

impl DedupWindow {
    /// `seq` and time of the message with this id.
    pub(super) fn find(&self, id: MessageId) -> Option<(u64, u64)> {
        self.messages.get(*self.slots.get(&id)?).map(|message| (message.seq, message.time))
    }

    /// Returns true if the next message is to be inserted with its sender.
    pub(super) fn counts_senders(&self) -> bool {
        self.messages.len() >= UNCOUNTED_IDS
    }

    /// Notes a message, and forgets those that are too old then, or too many.
    pub(super) fn insert(&mut self, message: SentMessage) {
        if let Some(newest) = self.messages.newest() {
            if newest.seq >= message.seq {
                // The positions of a log rise. Only a checkpoint that no owner wrote can have this.
                return;
            }
            self.age += step(newest.time, message.time);
        }
        let Some(slot) = self.messages.push(message) else { return };
        message.sender.into_iter().for_each(|sender| self.senders.add(sender, slot, &self.messages));
        if let Some(before) = self.slots.insert(message.id, slot) {
            // An owner that lacks records may take a repeat for a new message.
            self.forget(before);
        }
        while self.age > ID_MS
            && let Some(oldest) = self.messages.oldest()
        {
            self.forget(oldest);
        }
        while self.messages.len() > MAX_IDS
            && let Some(slot) = self.senders.oldest_of_busiest(&self.messages).or_else(|| self.messages.oldest())
        {
            self.forget(slot);
        }
    }

    fn forget(&mut self, slot: Slot) {
        if let Some(sender) = self.messages.get(slot).and_then(|message| message.sender) {
            self.senders.remove(sender, slot, &self.messages);
        }
        let Some((message, [before, next])) = self.messages.remove(slot) else { return };
        let steps = |from: Option<u64>, to: Option<u64>| from.zip(to).map_or(0, |(from, to)| step(from, to));
        let time = Some(message.time);
        // The two steps beside it become one.
        self.age += steps(before, next);
        self.age = self.age.saturating_sub(steps(before, time) + steps(time, next));
        // Its id may be that of a newer message.
        if self.slots.get(&message.id) == Some(&slot) {
            self.slots.remove(&message.id);
        }
    }

    /// All, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &SentMessage> {
        self.messages.iter()
    }

    /// Number of messages.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Number of messages whose senders are counted, and of those senders.
    pub(super) fn counted(&self) -> (usize, usize) {
        (self.senders.messages(), self.senders.len())
    }
}

/// Milliseconds from one message to the next, as far as they count.
fn step(before: u64, time: u64) -> u64 {
    counted_step(before, time, MAX_STEP_MS)
}

/// Milliseconds between the times of two records, of which at most `most` age what is remembered. So
/// no clock that is set forward, and no owner with another clock, makes a room forget.
pub(super) fn counted_step(before: u64, time: u64, most: u64) -> u64 {
    time.saturating_sub(before).min(most)
}

#[cfg(test)]
mod tests;
