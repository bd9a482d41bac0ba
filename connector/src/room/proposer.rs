//! What a connector proposes to one room: what waits, and the one proposal in flight, repeated unchanged until the log
//! holds it.

mod queue;

use shared::ids::{Incarnation, Name};
use shared::membership::{Membership, Token};
use shared::record::{Epoch, RecordId};
use shared::rpc::messages::{Claim, Item};

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
}

/// Proposals of one connector to one room.
#[derive(Debug)]
pub struct Proposer {
    queue: Queue,
    head: Option<Head>,
    most: usize,
    /// Bytes of a proposal with more than one item.
    most_bytes: usize,
    /// This connector's run.
    incarnation: Incarnation,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Proposer {
    /// Nothing waits; at most `most` requests of clients may. Items go together up to so many bytes.
    pub fn new(incarnation: Incarnation, most: usize, most_bytes: usize) -> Self {
        Self { queue: Queue::new(incarnation), head: None, most, most_bytes, incarnation }
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

    /// Queues a client's request.
    pub fn request(&mut self, wanted: Wanted) -> Result<(), Full> {
        if self.queue.len() >= self.most {
            return Err(Full);
        }
        self.queue.push_back(wanted);
        Ok(())
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

    /// Makes the next proposal from what waits, if none is in flight. `number` must be above all numbers given before. Clients
    /// that come back, and asked to before the room was read, do so from the record `at`.
    pub fn begin(&mut self, number: u64, at: RecordId) -> Option<&mut Head> {
        if !self.waits() {
            return None;
        }
        let mut bytes = 0;
        let mut wanted = Vec::new();
        while wanted.len() < MAX_ITEMS
            && let Some(next) = self.queue.front()
        {
            bytes += next.item.size();
            if bytes > self.most_bytes && !wanted.is_empty() {
                break;
            }
            wanted.extend(self.queue.pop_front());
        }
        for Wanted { item, .. } in &mut wanted {
            if let Item::Join { claim: Claim::Back, seen, .. } = item {
                seen.get_or_insert(at);
            }
        }
        Some(self.head.insert(Head { number, wanted, repeat_at: 0 }))
    }

    /// When the proposal in flight is to be sent again.
    pub fn repeat_at(&mut self, at: u64) {
        if let Some(head) = &mut self.head {
            head.repeat_at = at;
        }
    }

    /// The log holds the proposal with this number, or a later one: the head is done.
    pub fn committed(&mut self, number: u64) -> Option<Vec<Wanted>> {
        let head = self.head.take_if(|head| head.number <= number)?;
        self.queue.decided();
        Some(head.wanted)
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
mod tests {
    use super::*;

    const MOST_BYTES: usize = 96 * 1024;

    fn send(session: u64, deadline: u64) -> Wanted {
        let ask = Some(Ask { session, id: Some(1), deadline, entering: None });
        Wanted { item: Item::Send { session, membership: Token::new(1).membership(), body: vec![0; 1_000] }, ask }
    }

    fn proposer(requests: usize) -> Proposer {
        let mut proposer = Proposer::new(Incarnation(1), 1_000, MOST_BYTES);
        for session in 0..requests as u64 {
            proposer.request(send(session, 10)).unwrap();
        }
        proposer
    }

    #[test]
    fn one_proposal_is_in_flight_and_the_rest_gathers() {
        let mut proposer = proposer(1);
        assert_eq!(proposer.begin(1, RecordId::NONE).map(|h| h.wanted.len()), Some(1));
        proposer.request(send(7, 10)).unwrap();
        proposer.request(send(8, 10)).unwrap();
        assert!(proposer.begin(2, RecordId::NONE).is_none());
        assert!(proposer.committed(0).is_none());
        assert_eq!(proposer.committed(1).map(|w| w.len()), Some(1));
        assert_eq!(proposer.begin(2, RecordId::NONE).map(|h| h.wanted.len()), Some(2));
    }

    #[test]
    fn a_proposal_is_bounded_in_bytes() {
        let mut proposer = proposer(200);
        let first = proposer.begin(1, RecordId::NONE).map(|h| h.wanted.len()).unwrap();
        let size = send(0, 10).item.size();
        assert!(first * size <= MOST_BYTES && (first + 1) * size > MOST_BYTES, "{first}");
    }

    #[test]
    fn a_full_queue_refuses_requests_but_no_leaves() {
        let mut proposer = Proposer::new(Incarnation(1), 1, MOST_BYTES);
        proposer.request(send(1, 10)).unwrap();
        assert_eq!(proposer.request(send(2, 10)), Err(Full));
        proposer.leave(1, Incarnation(1));
        proposer.leave(1, Incarnation(1));
        assert_eq!(proposer.begin(1, RecordId::NONE).map(|h| h.wanted.len()), Some(2));
    }

    #[test]
    fn going_after_coming_back_is_not_the_going_before() {
        let mut proposer = proposer(0);
        proposer.leave(1, Incarnation(1));
        proposer.begin(1, RecordId::NONE);
        let name = Name::new("ann").unwrap();
        let back =
            Item::Join { session: 1, name, membership: Token::new(1).membership(), claim: Claim::Heal, seen: None };
        proposer.request(Wanted { item: back, ask: None }).unwrap();
        assert!(proposer.has_join(1));
        proposer.leave(1, Incarnation(1));
        assert!(!proposer.has_join(1));
        proposer.committed(1);
        assert_eq!(proposer.begin(2, RecordId::NONE).map(|h| h.wanted.len()), Some(2));
    }

    #[test]
    fn what_is_late_is_taken_back_unless_it_was_proposed() {
        let mut proposer = proposer(1);
        proposer.begin(1, RecordId::NONE);
        proposer.request(send(5, 10)).unwrap();
        proposer.request(send(6, 20)).unwrap();
        let expired: Vec<u64> = proposer.expire(10).iter().map(Wanted::session).collect();
        assert_eq!(expired, [0, 5]);
        assert_eq!(proposer.head().unwrap().wanted.len(), 1, "the head stays as it is");
        assert!(proposer.expire(11).is_empty(), "each is said once");
        proposer.committed(1);
        assert_eq!(proposer.begin(2, RecordId::NONE).map(|h| h.wanted[0].session()), Some(6));
    }

    #[test]
    fn a_client_that_comes_back_names_the_record_from_which_it_is_proposed() {
        let mut proposer = proposer(0);
        let join = |session, claim, seen| {
            let (name, membership) = (Name::new("ann").unwrap(), Token::new(1).membership());
            Wanted { item: Item::Join { session, name, membership, claim, seen }, ask: None }
        };
        proposer.request(join(1, Claim::New, None)).unwrap();
        proposer.request(join(2, Claim::Back, None)).unwrap();
        proposer.request(join(3, Claim::Back, Some(RecordId(7)))).unwrap();
        proposer.join_again(join(4, Claim::Back, Some(RecordId(7))), RecordId(8));
        let seen = |wanted: &Wanted| match wanted.item {
            Item::Join { seen, .. } => seen,
            _ => None,
        };
        let head = proposer.begin(1, RecordId(9)).unwrap();
        let seen: Vec<_> = head.wanted.iter().map(|wanted| (wanted.session(), seen(wanted))).collect();
        assert_eq!(seen, [(4, Some(RecordId(8))), (1, None), (2, Some(RecordId(9))), (3, Some(RecordId(7)))]);
    }
}
