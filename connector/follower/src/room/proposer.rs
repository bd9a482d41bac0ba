//! Proposals of a connector to one room: the queue, and the one proposal in flight, which is
//! repeated unchanged until the log holds it.

mod in_flight;
mod queue;

use model::act::Profile;
use model::ids::{Incarnation, Name};
use model::lineage::Lineage;
use model::membership::{Membership, Token};
use model::record::{Epoch, RecordId};
use model::rpc::messages::{Claim, Item, is_plausible_number};
use model::size_limits::SizeLimits;

pub use in_flight::InFlight;
use queue::{PendingMove, Queue};

/// Most items of one proposal.
const MAX_ITEMS: usize = 256;

/// A client's request that waits for the outcome of its item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRequest {
    /// The session that sent it.
    pub session: u64,
    /// The request's id; `None` for a notify, which gets no response.
    pub id: Option<u32>,
    /// Time at which it is answered 503, in the caller's ticks.
    pub deadline: u64,
    /// Set for a request to enter.
    pub entering: Option<Entering>,
}

/// The way in which a session enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entering {
    /// Token of its membership: the client's, or a new one.
    pub token: Token,
    /// The token is the client's: if another session has the membership, it is taken over.
    pub is_resuming: bool,
    /// The position up to which the client knows the room.
    pub since: Option<ClientPosition>,
    /// The client will resume with the token if its connection ends.
    pub resumes: bool,
}

/// A position in a room's log, as clients name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientPosition {
    /// Epoch of the log.
    pub epoch: Epoch,
    /// The client's `seq`.
    pub seq: u64,
}

/// An item in the queue, with the request that waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedItem {
    /// The item to propose.
    pub item: Item,
    /// The request, or `None` for an item of the connector itself.
    pub pending: Option<PendingRequest>,
}

impl QueuedItem {
    /// Returns the session of the item.
    pub fn session(&self) -> u64 {
        match self.item {
            Item::Join { session, .. }
            | Item::Leave { session, .. }
            | Item::Send { session, .. }
            | Item::Rights { session, .. }
            | Item::Moderate { session, .. } => session,
        }
    }
}

/// Proposals of one connector to one room.
#[derive(Debug)]
pub struct Proposer {
    queue: Queue,
    in_flight: Option<InFlight>,
    max_waiting: usize,
    /// Items at the head of the queue that the owner could not append together: they are split to
    /// the size that every broker takes.
    items_to_split: usize,
    /// An item that must not wait may be in the queue.
    has_urgent: bool,
    /// This connector's incarnation.
    incarnation: Incarnation,
    /// The highest number that was given here, or that the log has of this run.
    highest_number: u64,
}

impl Proposer {
    /// Returns an empty queue; at most `max_waiting` requests of clients may wait.
    pub fn new(incarnation: Incarnation, max_waiting: usize) -> Self {
        Self {
            queue: Queue::new(incarnation),
            in_flight: None,
            max_waiting,
            items_to_split: 0,
            has_urgent: false,
            incarnation,
            highest_number: 0,
        }
    }

    /// Continues as another run of the connector, with the queue and the proposal in flight.
    pub fn continue_as(&mut self, lineage: &Lineage) {
        self.incarnation = lineage.present();
        let sent = self.in_flight.iter_mut().flat_map(|in_flight| &mut in_flight.queued);
        sent.for_each(|queued| queue::unify(lineage, queued));
        self.queue.continue_as(lineage);
    }

    /// Asserts that the queue's index has its joins and leaves, and that moves are undecided only
    /// while a proposal is in flight.
    #[cfg(debug_assertions)]
    pub(super) fn assert_sound(&self) {
        self.queue.assert_sound(self.in_flight.is_some());
        let numbers = self.in_flight.iter().flat_map(|in_flight| in_flight.fence.into_iter().chain([in_flight.number]));
        numbers.for_each(|number| assert!(number <= self.highest_number, "{number} was not given"));
    }

    /// Returns true if nothing waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_none()
    }

    /// Returns true if something waits that can be proposed now.
    pub fn has_waiting(&self) -> bool {
        self.in_flight.is_none() && !self.queue.is_empty()
    }

    /// Returns true if a client waits for an item.
    pub fn has_clients(&self) -> bool {
        let sent = self.in_flight.iter().flat_map(|in_flight| &in_flight.queued);
        sent.chain(self.queue.iter()).any(|queued| queued.pending.is_some())
    }

    /// Returns the proposal in flight.
    pub fn in_flight(&self) -> Option<&InFlight> {
        self.in_flight.as_ref()
    }

    /// Returns true if as many requests wait as may. Check this before changing anything for a
    /// client's request.
    pub fn is_full(&self) -> bool {
        self.queue.len() >= self.max_waiting
    }

    /// The methods of the items that wait.
    #[cfg(test)]
    pub fn queued_methods(&self) -> Vec<&'static str> {
        self.queue.iter().map(|queued| queued.item.method()).collect()
    }

    /// Queues a client's request. The caller has checked that the queue is not full.
    pub fn queue_request(&mut self, queued: QueuedItem) {
        self.queue.push_back(queued);
    }

    /// Queues a leave of the connector itself, unless the session's leave is pending.
    // No limit refuses it: there is at most one per session, and a dropped leave would keep a
    // member in the log that is gone.
    pub fn queue_leave(&mut self, session: u64, incarnation: Incarnation) {
        if self.queue.last_move((session, incarnation)) != Some(PendingMove::Leave) {
            let item = Item::Leave { session, incarnation };
            self.queue.push_back(QueuedItem { item, pending: None });
        }
    }

    /// Queues a join of the connector itself at the head, unless the session's join is pending.
    /// `seen` is the last applied record.
    pub fn queue_rejoin(
        &mut self,
        session: u64,
        name: Name,
        (membership, profile): (Membership, Option<Box<Profile>>),
        seen: RecordId,
    ) {
        if !self.has_join(session) {
            let item = Item::Join { session, name, membership, claim: Claim::Heal, seen: Some(seen), profile };
            self.queue.push_front(QueuedItem { item, pending: None });
        }
    }

    /// Returns true if the session of this run will be in once all pending items are decided.
    pub fn has_join(&self, session: u64) -> bool {
        self.queue.last_move((session, self.incarnation)) == Some(PendingMove::Join)
    }

    /// Withdraws a session's joins that were not proposed yet. Returns true if there were any.
    pub fn withdraw_join(&mut self, session: u64) -> bool {
        self.queue.withdraw_joins((session, self.incarnation))
    }

    /// Queues a join again at the head that its owner had to take for overtaken: this connector has
    /// meanwhile applied the records up to `at`, so the join names that one.
    pub fn requeue_join(&mut self, mut queued: QueuedItem, at: RecordId) {
        if let Item::Join { seen, .. } = &mut queued.item {
            *seen = Some(at);
        }
        self.queue.push_front(queued);
    }

    /// Returns a number above `last`, the last one of the connector, and above those in the log.
    // The log may have a higher one: another process may have made a proposal in this connector's
    // name. Lower numbers would look like repeats of old proposals.
    pub fn next_number(&self, last: u64) -> u64 {
        last.max(self.highest_number).saturating_add(1)
    }

    /// Notes a number that the log has of this run. Returns false if it is implausible.
    fn note_number(&mut self, number: u64) -> bool {
        let is_plausible = is_plausible_number(number, self.highest_number);
        if is_plausible {
            self.highest_number = self.highest_number.max(number);
        }
        is_plausible
    }

    /// Makes the next proposal from the queue, if none is in flight. `number` must be above all
    /// numbers given before. Joins of resuming clients that were queued before the room was read
    /// name the record `at`.
    pub fn begin(&mut self, number: u64, at: RecordId, size_limits: SizeLimits) -> Option<&mut InFlight> {
        if !self.has_waiting() {
            return None;
        }
        debug_assert!(number > self.highest_number, "{number} was given before");
        let most_bytes = self.most_bytes(size_limits);
        let mut bytes = 0;
        let mut queued = Vec::new();
        // The first item is taken at any size: one that is larger than a proposal should be is
        // proposed alone.
        while queued.len() < MAX_ITEMS
            && let Some(next) = self.queue.front()
        {
            let size = next.item.size();
            if bytes + size > most_bytes && !queued.is_empty() {
                break;
            }
            bytes += size;
            queued.extend(self.queue.pop_front());
        }
        for QueuedItem { item, .. } in &mut queued {
            if let Item::Join { claim: Claim::Back, seen, .. } = item {
                seen.get_or_insert(at);
            }
        }
        self.items_to_split = self.items_to_split.saturating_sub(queued.len());
        self.highest_number = self.highest_number.max(number);
        self.has_urgent &= !self.queue.is_empty();
        Some(self.in_flight.insert(InFlight::new(number, queued, bytes)))
    }

    /// Notes that an item is queued that must not wait for others.
    pub fn note_urgent(&mut self) {
        self.has_urgent = true;
    }

    /// Returns true, once for each proposal, if the one in flight is to be sent again as urgent: its
    /// owner seems to hold it, and items behind it must not wait, or are many.
    pub fn becomes_urgent(&mut self, now: u64) -> bool {
        let is_awaited = self.has_urgent || self.queue.len() >= Item::FULL_PRESENCE;
        is_awaited && self.in_flight.as_mut().is_some_and(|in_flight| in_flight.becomes_urgent(now))
    }

    /// Returns the most bytes of a proposal with more than one item.
    fn most_bytes(&self, size_limits: SizeLimits) -> usize {
        if self.items_to_split > 0 { SizeLimits::smallest().proposal() } else { size_limits.proposal() }
    }

    /// Gives up the proposal in flight if it is larger than a proposal may be now: an empty
    /// proposal goes instead under `number`, which must be above all numbers given before. Returns
    /// true if it did.
    // A copy of the proposal may be at the owner and may still be committed. Its items must not be
    // proposed under another number until then, or messages would be sent twice. Once the log holds
    // a higher number, the owner refuses the copy for ever.
    pub fn fence(&mut self, number: u64, size_limits: SizeLimits) -> bool {
        let most_bytes = self.most_bytes(size_limits);
        let is_too_large = |in_flight: &&mut InFlight| {
            let most_bytes = if in_flight.queued.len() > 1 { most_bytes } else { size_limits.record() };
            in_flight.fence.is_none() && in_flight.bytes > most_bytes
        };
        match self.in_flight.as_mut().filter(is_too_large) {
            Some(in_flight) => (in_flight.fence, in_flight.repeat_at) = (Some(number), 0),
            None => return false,
        }
        self.highest_number = self.highest_number.max(number);
        true
    }

    /// Splits the proposal in flight, which the owner cannot append: its broker may take less than
    /// this one's.
    pub fn split_in_flight(&mut self) {
        if let Some(in_flight) =
            self.in_flight.as_ref().filter(|in_flight| in_flight.bytes > SizeLimits::smallest().proposal())
        {
            self.items_to_split = in_flight.queued.len();
        }
    }

    /// Takes the item at the head if it is larger than any record may be now.
    pub fn take_oversize(&mut self, size_limits: SizeLimits) -> Option<QueuedItem> {
        self.queue.front().filter(|queued| queued.item.size() > size_limits.record())?;
        self.queue.pop_front()
    }

    /// Notes that the proposal in flight is sent now, to be repeated at a time.
    pub fn note_sent(&mut self, now: u64, repeat_at: u64) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.sent_at.get_or_insert(now);
            in_flight.repeat_at = repeat_at;
        }
    }

    /// Sets the time at which the proposal in flight is sent again.
    pub fn set_repeat_at(&mut self, at: u64) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.repeat_at = at;
        }
    }

    /// Handles a record that decided the proposal with this number, when all records before it were
    /// applied. Returns the items of the proposal in flight if it is the one.
    // If a higher number was committed, that of its fence or of another process in this connector's
    // name, the proposal in flight never will be, and its items wait again.
    pub fn on_decided(&mut self, number: u64) -> Option<Vec<QueuedItem>> {
        if !self.note_number(number) {
            return None;
        }
        if self.in_flight.as_ref().is_some_and(|in_flight| in_flight.number < number) {
            self.requeue_in_flight();
            return None;
        }
        self.on_committed(number)
    }

    /// Puts the items back if the log has another proposal under the number of the one in flight,
    /// which another process made in this connector's name. Returns true if it did.
    // The owner takes the one in flight for a repeat of that other proposal and never decides it.
    pub fn requeue_if_usurped(&mut self, number: u64, outcomes: usize) -> bool {
        let is_usurped = self
            .in_flight
            .as_ref()
            .is_some_and(|in_flight| in_flight.number == number && in_flight.queued.len() != outcomes);
        if is_usurped {
            self.requeue_in_flight();
        }
        is_usurped
    }

    /// Handles that the log holds the proposal with this number, or a later one. Returns the items
    /// of the proposal in flight if it is done.
    pub fn on_committed(&mut self, number: u64) -> Option<Vec<QueuedItem>> {
        if !self.note_number(number) {
            return None;
        }
        let in_flight = self.in_flight.take_if(|in_flight| in_flight.number <= number)?;
        self.queue.clear_undecided();
        if in_flight.bytes > SizeLimits::smallest().proposal() {
            // Its own items are done, and no others must be split.
            self.items_to_split = 0;
        }
        Some(in_flight.queued)
    }

    /// Puts the items of the proposal in flight back at the head, because it cannot be committed
    /// any more.
    fn requeue_in_flight(&mut self) {
        if let Some(in_flight) = self.in_flight.take() {
            self.queue.clear_undecided();
            self.has_urgent = true;
            for queued in in_flight.queued.into_iter().rev() {
                self.queue.push_front(queued);
            }
        }
    }

    /// Returns the requests past their deadline. Items that were not proposed yet are withdrawn;
    /// others stay, without a request.
    pub fn expire(&mut self, now: u64) -> Vec<QueuedItem> {
        let is_late = |w: &QueuedItem| w.pending.as_ref().is_some_and(|pending| pending.deadline <= now);
        let mut expired = Vec::new();
        for queued in self.in_flight.iter_mut().flat_map(|in_flight| &mut in_flight.queued) {
            if is_late(queued) {
                expired.push(queued.clone());
                queued.pending = None;
            }
        }
        expired.extend(self.queue.withdraw(is_late));
        expired
    }
}

#[cfg(test)]
mod tests;
