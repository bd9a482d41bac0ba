//! The senders of the messages in a deduplication window: each one's messages, and the sender that
//! has the most.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};

use super::list::{MessageList, Slot};
use super::{KEPT_IDS, MAX_IDS};
use crate::membership::Sender;

/// Messages below which the ranks are dropped.
const FEW: usize = MAX_IDS / 2;

/// The messages of each sender.
#[derive(Debug, Clone, Default)]
pub(super) struct Senders {
    /// Each sender's messages, oldest first; none is empty.
    queues: HashMap<Sender, VecDeque<Slot>>,
    /// The ranks of the senders with more than [`KEPT_IDS`] messages.
    // Kept only while the window is full or was lately: all other rooms do not need them.
    ranks: Option<BTreeSet<Rank>>,
    messages: usize,
}

/// Number of messages, `seq` of the oldest one, its slot. The highest one is to be given up first.
type Rank = (usize, Reverse<u64>, Slot);

fn rank(queue: &VecDeque<Slot>, list: &MessageList) -> Option<Rank> {
    let oldest = *queue.front().filter(|_| queue.len() > KEPT_IDS)?;
    Some((queue.len(), Reverse(list.get(oldest)?.seq), oldest))
}

impl Senders {
    /// Adds a sender's newest message, which is in the list.
    pub(super) fn add(&mut self, sender: Sender, slot: Slot, list: &MessageList) {
        self.messages += 1;
        self.change(sender, list, |queue| queue.push_back(slot));
    }

    /// Removes a message that is still in the list.
    pub(super) fn remove(&mut self, sender: Sender, slot: Slot, list: &MessageList) {
        self.messages -= 1;
        if self.messages < FEW {
            self.ranks = None;
        }
        self.change(sender, list, |queue| match queue.front() {
            Some(oldest) if *oldest == slot => {
                queue.pop_front();
            }
            _ => queue.retain(|other| *other != slot),
        });
    }

    /// Returns the oldest message of the sender that has the most, if it has more than [`KEPT_IDS`];
    /// of several, of the one whose message is the oldest.
    pub(super) fn oldest_of_busiest(&mut self, list: &MessageList) -> Option<Slot> {
        let ranks = self.ranks.get_or_insert_with(|| {
            // By the list, since maps by hashes have no order.
            let senders: BTreeSet<Sender> = list.iter().filter_map(|message| message.sender).collect();
            senders.iter().filter_map(|sender| rank(self.queues.get(sender)?, list)).collect()
        });
        ranks.last().map(|(_, _, oldest)| *oldest)
    }

    /// Number of messages with a sender.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Number of senders.
    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }

    fn change(&mut self, sender: Sender, list: &MessageList, change: impl FnOnce(&mut VecDeque<Slot>)) {
        let queue = self.queues.entry(sender).or_default();
        let before = self.ranks.as_ref().and_then(|_| rank(queue, list));
        change(queue);
        if let Some(ranks) = &mut self.ranks {
            before.iter().for_each(|before| _ = ranks.remove(before));
            ranks.extend(rank(queue, list));
        }
        if queue.is_empty() {
            self.queues.remove(&sender);
        }
    }
}
