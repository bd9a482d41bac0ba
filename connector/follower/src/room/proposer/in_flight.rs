//! The proposal in flight.

use model::rpc::messages::Item;

use super::QueuedItem;

/// Milliseconds after which the owner seems to hold a proposal.
// An append takes less, as a rule. Sooner, most messages behind a join would cost a request that
// comes too late.
const APPEND_MS: u64 = 20;

/// The proposal in flight.
#[derive(Debug)]
pub struct InFlight {
    /// Number of the proposal.
    pub number: u64,
    /// Its items, in order.
    pub queued: Vec<QueuedItem>,
    /// Time at which it is sent again.
    pub repeat_at: u64,
    /// Bytes of its items.
    pub(super) bytes: usize,
    /// Number of an empty proposal that is sent instead, because this one is too large now.
    pub(super) fence: Option<u64>,
    /// Time at which it was sent first.
    pub(super) sent_at: Option<u64>,
    /// The owner may hold it, for others of its kind: it has joins and leaves alone.
    may_wait: bool,
    /// The owner was told not to.
    is_urgent: bool,
}

impl InFlight {
    /// Returns a proposal that was not sent so far.
    pub(super) fn new(number: u64, queued: Vec<QueuedItem>, bytes: usize) -> Self {
        let may_wait = !queued.iter().any(|queued| matches!(queued.item, Item::Send { .. }));
        Self { number, queued, repeat_at: 0, bytes, fence: None, sent_at: None, may_wait, is_urgent: false }
    }

    /// Returns true, once, if it is to be sent again as urgent, because its owner seems to hold it.
    pub(super) fn becomes_urgent(&mut self, now: u64) -> bool {
        let is_held = self.sent_at.is_some_and(|sent_at| now.saturating_sub(sent_at) >= APPEND_MS);
        let becomes_urgent = is_held && self.may_wait && !self.is_urgent && self.fence.is_none();
        self.is_urgent |= becomes_urgent;
        becomes_urgent
    }

    /// Returns the number and the items to send, and if others behind them must not wait.
    pub fn proposal(&self) -> (u64, Vec<Item>, bool) {
        match self.fence {
            Some(fence) => (fence, Vec::new(), false),
            None => (self.number, self.queued.iter().map(|queued| queued.item.clone()).collect(), self.is_urgent),
        }
    }
}
