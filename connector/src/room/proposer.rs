//! What a connector proposes to one room: what waits, and the one proposal in flight, repeated unchanged until the log
//! holds it.

mod queue;

use shared::ids::{Incarnation, Name};
use shared::lineage::Lineage;
use shared::membership::{Membership, Token};
use shared::record::{Epoch, RecordId};
use shared::rpc::messages::{Claim, Item, is_plausible_number};
use shared::size_limits::SizeLimits;

use queue::{Move, Queue};

/// Most items of one proposal.
const MAX_ITEMS: usize = 256;

/// A client's request that waits for its item's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
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
    pub comes_back: bool,
    /// Up to where its client knows the room.
    pub since: Option<Since>,
    /// Its client will come back with the token should the connection end.
    pub resumes: bool,
}

/// A place in a room's log, as clients name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// Of which log.
    pub epoch: Epoch,
    /// Where.
    pub seq: u64,
}

/// An item, and who waits for it; nobody for what the connector itself wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What is proposed.
    pub item: Item,
    /// Who waits.
    pub ask: Option<Ask>,
}

impl Wanted {
    /// The session that it is about.
    pub fn session(&self) -> u64 {
        match self.item {
            Item::Join { session, .. } | Item::Leave { session, .. } | Item::Send { session, .. } => session,
        }
    }
}

/// The proposal in flight.
#[derive(Debug)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// What it proposes, in order.
    pub wanted: Vec<Wanted>,
    /// When it is to be sent again.
    pub repeat_at: u64,
    /// Bytes of what it proposes.
    bytes: usize,
    /// The number of an empty proposal that is sent instead, because this one is too large now.
    fence: Option<u64>,
}

impl Head {
    /// The number and the items to send.
    pub fn proposal(&self) -> (u64, Vec<Item>) {
        match self.fence {
            Some(fence) => (fence, Vec::new()),
            None => (self.number, self.wanted.iter().map(|wanted| wanted.item.clone()).collect()),
        }
    }
}

/// Proposals of one connector to one room.
#[derive(Debug)]
pub struct Proposer {
    queue: Queue,
    head: Option<Head>,
    most: usize,
    /// Items, first of all that wait, that the owner could not append together: they are cut to what every broker takes.
    cut: usize,
    /// This connector's run.
    incarnation: Incarnation,
    /// The highest number that was given here, or that the log has of this run.
    floor: u64,
}

impl Proposer {
    /// Nothing waits; at most `most` requests of clients may.
    pub fn new(incarnation: Incarnation, most: usize) -> Self {
        Self { queue: Queue::new(incarnation), head: None, most, cut: 0, incarnation, floor: 0 }
    }

    /// The connector goes on as another run: what waits and what is in flight is that run's.
    pub fn go_on_as(&mut self, lineage: &Lineage) {
        self.incarnation = lineage.present();
        let in_flight = self.head.iter_mut().flat_map(|head| &mut head.wanted);
        in_flight.for_each(|wanted| queue::unify(lineage, wanted));
        self.queue.go_on_as(lineage);
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.head.is_none()
    }

    /// Whether something waits that can be proposed now.
    pub fn waits(&self) -> bool {
        self.head.is_none() && !self.queue.is_empty()
    }

    /// Whether a client waits for something here.
    pub fn has_clients(&self) -> bool {
        let in_flight = self.head.iter().flat_map(|head| &head.wanted);
        in_flight.chain(self.queue.iter()).any(|wanted| wanted.ask.is_some())
    }

    /// The proposal in flight.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Returns true if as many requests wait as may. To be asked before anything is changed for a
    /// client's request.
    pub fn is_full(&self) -> bool {
        self.queue.len() >= self.most
    }

    /// The methods of the items that wait.
    #[cfg(test)]
    pub fn queued(&self) -> Vec<&'static str> {
        self.queue.iter().map(|wanted| wanted.item.method()).collect()
    }

    /// Queues a client's request, for which there is room.
    pub fn request(&mut self, wanted: Wanted) {
        self.queue.push_back(wanted);
    }

    /// Queues a leave that the connector itself wants, unless the session's going is pending already.
    ///
    /// There is no bound to refuse it by: sessions bound it, one leave each.
    pub fn leave(&mut self, session: u64, incarnation: Incarnation) {
        if self.queue.last_move((session, incarnation)) != Some(Move::Goes) {
            let item = Item::Leave { session, incarnation };
            self.queue.push_back(Wanted { item, ask: None });
        }
    }

    /// Queues a join that the connector itself wants, ahead of all that waits, unless the session's coming is pending.
    /// `seen` is the last record that was applied.
    pub fn rejoin(&mut self, session: u64, name: Name, membership: Membership, seen: RecordId) {
        if !self.has_join(session) {
            let item = Item::Join { session, name, membership, claim: Claim::Heal, seen: Some(seen) };
            self.queue.push_front(Wanted { item, ask: None });
        }
    }

    /// Whether the session of this run will have joined when all that is pending is decided.
    pub fn has_join(&self, session: u64) -> bool {
        self.queue.last_move((session, self.incarnation)) == Some(Move::Comes)
    }

    /// Takes back a session's join that was not proposed yet, and says whether there was one.
    pub fn withdraw_join(&mut self, session: u64) -> bool {
        self.queue.withdraw_joins((session, self.incarnation))
    }

    /// Queues a join again that was overtaken for all that its owner knew, ahead of all that waits: its connector has read on
    /// to the record `seen`, and knows better.
    pub fn join_again(&mut self, mut wanted: Wanted, at: RecordId) {
        if let Item::Join { seen, .. } = &mut wanted.item {
            *seen = Some(at);
        }
        self.queue.push_front(wanted);
    }

    /// A number above all given before, of which `last` was the last one of the connector, and above
    /// what the log has: a proposal that was made in this connector's name must not make its own look
    /// like old ones.
    pub fn next_number(&self, last: u64) -> u64 {
        last.max(self.floor).saturating_add(1)
    }

    /// The log has this number of this run. One that cannot be is passed over.
    fn note_number(&mut self, number: u64) -> bool {
        let is_plausible = is_plausible_number(number, self.floor);
        if is_plausible {
            self.floor = self.floor.max(number);
        }
        is_plausible
    }

    /// Makes the next proposal from what waits, if none is in flight. `number` must be above all numbers given before. Clients
    /// that come back, and asked to before the room was read, do so from the record `at`.
    pub fn begin(&mut self, number: u64, at: RecordId, size_limits: SizeLimits) -> Option<&mut Head> {
        if !self.waits() {
            return None;
        }
        let most_bytes = self.most_bytes(size_limits);
        let mut bytes = 0;
        let mut wanted = Vec::new();
        while wanted.len() < MAX_ITEMS
            && let Some(next) = self.queue.front()
        {
            let size = next.item.size();
            if bytes + size > most_bytes && !wanted.is_empty() {
                break;
            }
            bytes += size;
            wanted.extend(self.queue.pop_front());
        }
        for Wanted { item, .. } in &mut wanted {
            if let Item::Join { claim: Claim::Back, seen, .. } = item {
                seen.get_or_insert(at);
            }
        }
        self.cut = self.cut.saturating_sub(wanted.len());
        self.floor = self.floor.max(number);
        Some(self.head.insert(Head { number, wanted, repeat_at: 0, bytes, fence: None }))
    }

    /// Bytes of a proposal with more than one item.
    fn most_bytes(&self, size_limits: SizeLimits) -> usize {
        if self.cut > 0 { SizeLimits::smallest().proposal() } else { size_limits.proposal() }
    }

    /// Gives the head up if it is larger than a proposal may be now: an empty proposal with this number goes instead, which
    /// must be above all numbers given before. Returns whether it did.
    ///
    /// A copy of the head may be at the owner, so its items must not be proposed under another number as long as it may be
    /// committed: they would be said twice. Once the log holds a higher number, the owner refuses it for ever.
    pub fn fence(&mut self, number: u64, size_limits: SizeLimits) -> bool {
        let most_bytes = self.most_bytes(size_limits);
        let is_too_large = |head: &&mut Head| {
            let most_bytes = if head.wanted.len() > 1 { most_bytes } else { size_limits.record() };
            head.fence.is_none() && head.bytes > most_bytes
        };
        match self.head.as_mut().filter(is_too_large) {
            Some(head) => (head.fence, head.repeat_at) = (Some(number), 0),
            None => return false,
        }
        self.floor = self.floor.max(number);
        true
    }

    /// The owner cannot append the head. Its broker may take less than ours: what every broker takes is proposed instead.
    pub fn cut(&mut self) {
        if let Some(head) = self.head.as_ref().filter(|head| head.bytes > SizeLimits::smallest().proposal()) {
            self.cut = head.wanted.len();
        }
    }

    /// Takes what is first if it cannot be proposed: it is larger than any record may be now.
    pub fn take_oversize(&mut self, size_limits: SizeLimits) -> Option<Wanted> {
        self.queue.front().filter(|wanted| wanted.item.size() > size_limits.record())?;
        self.queue.pop_front()
    }

    /// When the proposal in flight is to be sent again.
    pub fn repeat_at(&mut self, at: u64) {
        if let Some(head) = &mut self.head {
            head.repeat_at = at;
        }
    }

    /// A record decided the proposal with this number, and all records before it were seen: the head is done, or a higher
    /// number was committed instead, its fence or one that was given by another process in this connector's name. Then it
    /// never will be, and its items wait again.
    pub fn decided(&mut self, number: u64) -> Option<Vec<Wanted>> {
        if !self.note_number(number) {
            return None;
        }
        if self.head.as_ref().is_some_and(|head| head.number < number) {
            self.take_head_back();
            return None;
        }
        self.committed(number)
    }

    /// Returns true if the log has another proposal under the number of the head: of another process,
    /// in this connector's name. The owner takes the head for a copy of that, so its items wait again.
    pub fn is_usurped(&mut self, number: u64, outcomes: usize) -> bool {
        let is_usurped = self.head.as_ref().is_some_and(|head| head.number == number && head.wanted.len() != outcomes);
        if is_usurped {
            self.take_head_back();
        }
        is_usurped
    }

    /// The log holds the proposal with this number, or a later one: the head is done.
    pub fn committed(&mut self, number: u64) -> Option<Vec<Wanted>> {
        if !self.note_number(number) {
            return None;
        }
        let head = self.head.take_if(|head| head.number <= number)?;
        self.queue.decided();
        if head.bytes > SizeLimits::smallest().proposal() {
            // Its own items are done, and no others are to be cut.
            self.cut = 0;
        }
        Some(head.wanted)
    }

    /// The head cannot be committed any more: its items wait again, first of all.
    fn take_head_back(&mut self) {
        if let Some(head) = self.head.take() {
            self.queue.decided();
            for wanted in head.wanted.into_iter().rev() {
                self.queue.push_front(wanted);
            }
        }
    }

    /// Requests past their deadline. What was not proposed yet is taken back; what was stays, with nobody waiting for it.
    pub fn expire(&mut self, now: u64) -> Vec<Wanted> {
        let is_late = |w: &Wanted| w.ask.as_ref().is_some_and(|ask| ask.deadline <= now);
        let mut expired = Vec::new();
        for wanted in self.head.iter_mut().flat_map(|head| &mut head.wanted) {
            if is_late(wanted) {
                expired.push(wanted.clone());
                wanted.ask = None;
            }
        }
        expired.extend(self.queue.withdraw(is_late));
        expired
    }
}

#[cfg(test)]
mod tests;
