//! What a connector proposes to one room: what waits, and the one proposal in flight, repeated unchanged until the log
//! holds it.

mod queue;

use model::ids::{Incarnation, Name};
use model::lineage::Lineage;
use model::membership::{Membership, Token};
use model::record::{Epoch, RecordId};
use model::rpc::messages::{Claim, Item, is_plausible_number};
use model::size_limits::SizeLimits;

use queue::{PendingMove, Queue};

/// Most items of one proposal.
const MAX_ITEMS: usize = 256;

/// A client's request that waits for its item's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRequest {
    /// Who asked.
    pub session: u64,
    /// The request's id; none for a notify, which is not answered.
    pub id: Option<u32>,
    /// When it is answered 503, in the caller's ticks.
    pub deadline: u64,
    /// For a request to enter.
    pub entering: Option<Entering>,
}

/// How a session enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entering {
    /// Names its membership: its client's, or a new one.
    pub token: Token,
    /// The token is its client's: if another session has the membership, it is taken over.
    pub is_resuming: bool,
    /// Up to where its client knows the room.
    pub since: Option<ClientPosition>,
    /// Its client will come back with the token should the connection end.
    pub resumes: bool,
}

/// A place in a room's log, as clients name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientPosition {
    /// Of which log.
    pub epoch: Epoch,
    /// Where.
    pub seq: u64,
}

/// An item, and who waits for it; nobody for what the connector itself wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedItem {
    /// What is proposed.
    pub item: Item,
    /// Who waits.
    pub pending: Option<PendingRequest>,
}

impl QueuedItem {
    /// The session that it is about.
    pub fn session(&self) -> u64 {
        match self.item {
            Item::Join { session, .. } | Item::Leave { session, .. } | Item::Send { session, .. } => session,
        }
    }
}

/// The proposal in flight.
#[derive(Debug)]
pub struct InFlight {
    /// Its number.
    pub number: u64,
    /// What it proposes, in order.
    pub queued: Vec<QueuedItem>,
    /// When it is to be sent again.
    pub repeat_at: u64,
    /// Bytes of what it proposes.
    bytes: usize,
    /// The number of an empty proposal that is sent instead, because this one is too large now.
    fence: Option<u64>,
}

impl InFlight {
    /// The number and the items to send.
    pub fn proposal(&self) -> (u64, Vec<Item>) {
        match self.fence {
            Some(fence) => (fence, Vec::new()),
            None => (self.number, self.queued.iter().map(|queued| queued.item.clone()).collect()),
        }
    }
}

/// Proposals of one connector to one room.
#[derive(Debug)]
pub struct Proposer {
    queue: Queue,
    in_flight: Option<InFlight>,
    max_waiting: usize,
    /// Items, first of all that wait, that the owner could not append together: they are cut to what every broker takes.
    items_to_split: usize,
    /// This connector's run.
    incarnation: Incarnation,
    /// The highest number that was given here, or that the log has of this run.
    highest_number: u64,
}

impl Proposer {
    /// Nothing waits; at most `most` requests of clients may.
    pub fn new(incarnation: Incarnation, max_waiting: usize) -> Self {
        Self {
            queue: Queue::new(incarnation),
            in_flight: None,
            max_waiting,
            items_to_split: 0,
            incarnation,
            highest_number: 0,
        }
    }

    /// The connector goes on as another run: what waits and what is in flight is that run's.
    pub fn continue_as(&mut self, lineage: &Lineage) {
        self.incarnation = lineage.present();
        let sent = self.in_flight.iter_mut().flat_map(|in_flight| &mut in_flight.queued);
        sent.for_each(|queued| queue::unify(lineage, queued));
        self.queue.continue_as(lineage);
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_none()
    }

    /// Whether something waits that can be proposed now.
    pub fn has_waiting(&self) -> bool {
        self.in_flight.is_none() && !self.queue.is_empty()
    }

    /// Whether a client waits for something here.
    pub fn has_clients(&self) -> bool {
        let sent = self.in_flight.iter().flat_map(|in_flight| &in_flight.queued);
        sent.chain(self.queue.iter()).any(|queued| queued.pending.is_some())
    }

    /// The proposal in flight.
    pub fn in_flight(&self) -> Option<&InFlight> {
        self.in_flight.as_ref()
    }

    /// Returns true if as many requests wait as may. To be asked before anything is changed for a
    /// client's request.
    pub fn is_full(&self) -> bool {
        self.queue.len() >= self.max_waiting
    }

    /// The methods of the items that wait.
    #[cfg(test)]
    pub fn queued_methods(&self) -> Vec<&'static str> {
        self.queue.iter().map(|queued| queued.item.method()).collect()
    }

    /// Queues a client's request, for which there is room.
    pub fn queue_request(&mut self, queued: QueuedItem) {
        self.queue.push_back(queued);
    }

    /// Queues a leave that the connector itself wants, unless the session's going is pending already.
    ///
    /// There is no bound to refuse it by: sessions bound it, one leave each.
    pub fn queue_leave(&mut self, session: u64, incarnation: Incarnation) {
        if self.queue.last_move((session, incarnation)) != Some(PendingMove::Leave) {
            let item = Item::Leave { session, incarnation };
            self.queue.push_back(QueuedItem { item, pending: None });
        }
    }

    /// Queues a join that the connector itself wants, ahead of all that waits, unless the session's coming is pending.
    /// `seen` is the last record that was applied.
    pub fn queue_rejoin(&mut self, session: u64, name: Name, membership: Membership, seen: RecordId) {
        if !self.has_join(session) {
            let item = Item::Join { session, name, membership, claim: Claim::Heal, seen: Some(seen) };
            self.queue.push_front(QueuedItem { item, pending: None });
        }
    }

    /// Whether the session of this run will have joined when all that is pending is decided.
    pub fn has_join(&self, session: u64) -> bool {
        self.queue.last_move((session, self.incarnation)) == Some(PendingMove::Join)
    }

    /// Takes back a session's join that was not proposed yet, and says whether there was one.
    pub fn withdraw_join(&mut self, session: u64) -> bool {
        self.queue.withdraw_joins((session, self.incarnation))
    }

    /// Queues a join again that was overtaken for all that its owner knew, ahead of all that waits: its connector has read on
    /// to the record `seen`, and knows better.
    pub fn requeue_join(&mut self, mut queued: QueuedItem, at: RecordId) {
        if let Item::Join { seen, .. } = &mut queued.item {
            *seen = Some(at);
        }
        self.queue.push_front(queued);
    }

    /// A number above all given before, of which `last` was the last one of the connector, and above
    /// what the log has: a proposal that was made in this connector's name must not make its own look
    /// like old ones.
    pub fn next_number(&self, last: u64) -> u64 {
        last.max(self.highest_number).saturating_add(1)
    }

    /// The log has this number of this run. One that cannot be is passed over.
    fn note_number(&mut self, number: u64) -> bool {
        let is_plausible = is_plausible_number(number, self.highest_number);
        if is_plausible {
            self.highest_number = self.highest_number.max(number);
        }
        is_plausible
    }

    /// Makes the next proposal from what waits, if none is in flight. `number` must be above all numbers given before. Clients
    /// that come back, and asked to before the room was read, do so from the record `at`.
    pub fn begin(&mut self, number: u64, at: RecordId, size_limits: SizeLimits) -> Option<&mut InFlight> {
        if !self.has_waiting() {
            return None;
        }
        let most_bytes = self.most_bytes(size_limits);
        let mut bytes = 0;
        let mut queued = Vec::new();
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
        Some(self.in_flight.insert(InFlight { number, queued, repeat_at: 0, bytes, fence: None }))
    }

    /// Bytes of a proposal with more than one item.
    fn most_bytes(&self, size_limits: SizeLimits) -> usize {
        if self.items_to_split > 0 { SizeLimits::smallest().proposal() } else { size_limits.proposal() }
    }

    /// Gives the head up if it is larger than a proposal may be now: an empty proposal with this number goes instead, which
    /// must be above all numbers given before. Returns whether it did.
    ///
    /// A copy of the head may be at the owner, so its items must not be proposed under another number as long as it may be
    /// committed: they would be said twice. Once the log holds a higher number, the owner refuses it for ever.
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

    /// The owner cannot append the head. Its broker may take less than ours: what every broker takes is proposed instead.
    pub fn split_in_flight(&mut self) {
        if let Some(in_flight) =
            self.in_flight.as_ref().filter(|in_flight| in_flight.bytes > SizeLimits::smallest().proposal())
        {
            self.items_to_split = in_flight.queued.len();
        }
    }

    /// Takes what is first if it cannot be proposed: it is larger than any record may be now.
    pub fn take_oversize(&mut self, size_limits: SizeLimits) -> Option<QueuedItem> {
        self.queue.front().filter(|queued| queued.item.size() > size_limits.record())?;
        self.queue.pop_front()
    }

    /// When the proposal in flight is to be sent again.
    pub fn set_repeat_at(&mut self, at: u64) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.repeat_at = at;
        }
    }

    /// A record decided the proposal with this number, and all records before it were seen: the head is done, or a higher
    /// number was committed instead, its fence or one that was given by another process in this connector's name. Then it
    /// never will be, and its items wait again.
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

    /// Returns true if the log has another proposal under the number of the head: of another process,
    /// in this connector's name. The owner takes the head for a copy of that, so its items wait again.
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

    /// The log holds the proposal with this number, or a later one: the head is done.
    pub fn on_committed(&mut self, number: u64) -> Option<Vec<QueuedItem>> {
        if !self.note_number(number) {
            return None;
        }
        let in_flight = self.in_flight.take_if(|in_flight| in_flight.number <= number)?;
        self.queue.clear_undecided();
        if in_flight.bytes > SizeLimits::smallest().proposal() {
            // Its own items are done, and no others are to be cut.
            self.items_to_split = 0;
        }
        Some(in_flight.queued)
    }

    /// The head cannot be committed any more: its items wait again, first of all.
    fn requeue_in_flight(&mut self) {
        if let Some(in_flight) = self.in_flight.take() {
            self.queue.clear_undecided();
            for queued in in_flight.queued.into_iter().rev() {
                self.queue.push_front(queued);
            }
        }
    }

    /// Requests past their deadline. What was not proposed yet is taken back; what was stays, with nobody waiting for it.
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
