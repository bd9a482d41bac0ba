//! What waits to be proposed, in order, and who is to come and to go by it: neither is found by looking at all of it.

use std::collections::BTreeMap;

use shared::ids::Incarnation;
use shared::lineage::Lineage;
use shared::rpc::messages::Item;

use super::Wanted;

/// A session of a run of this connector.
pub(super) type Mover = (u64, Incarnation);

/// What a join or a leave does to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Comes,
    Goes,
}

/// What waits, first come first served.
#[derive(Debug)]
pub(super) struct Queue {
    /// This connector's run.
    incarnation: Incarnation,
    /// By place: lower ones are taken first.
    waiting: BTreeMap<i64, Wanted>,
    // Invariant: these are the joins and leaves of `waiting`, under its places.
    moves: BTreeMap<(Mover, i64), Move>,
    /// The last move of each session in what was taken from here and is not decided.
    taken: BTreeMap<Mover, Move>,
}

impl Queue {
    /// Nothing waits.
    pub(super) fn new(incarnation: Incarnation) -> Self {
        Self { incarnation, waiting: BTreeMap::new(), moves: BTreeMap::new(), taken: BTreeMap::new() }
    }

    /// The connector goes on as another run: its sessions are that run's.
    pub(super) fn go_on_as(&mut self, lineage: &Lineage) {
        self.incarnation = lineage.present();
        self.waiting.values_mut().for_each(|wanted| unify(lineage, wanted));
        let present = |(session, run): Mover| (session, lineage.unify(run));
        self.taken = std::mem::take(&mut self.taken).into_iter().map(|(mover, what)| (present(mover), what)).collect();
        let moves = std::mem::take(&mut self.moves).into_iter();
        self.moves = moves.map(|((mover, place), what)| ((present(mover), place), what)).collect();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn push_back(&mut self, wanted: Wanted) {
        let place = self.waiting.last_key_value().map_or(0, |(last, _)| last + 1);
        self.put(place, wanted);
    }

    pub(super) fn push_front(&mut self, wanted: Wanted) {
        let place = self.waiting.first_key_value().map_or(0, |(first, _)| first - 1);
        self.put(place, wanted);
    }

    fn put(&mut self, place: i64, wanted: Wanted) {
        if let Some((mover, what)) = self.move_of(&wanted) {
            self.moves.insert((mover, place), what);
        }
        self.waiting.insert(place, wanted);
    }

    /// All that waits, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Wanted> {
        self.waiting.values()
    }

    /// What is first.
    pub(super) fn front(&self) -> Option<&Wanted> {
        self.waiting.first_key_value().map(|(_, wanted)| wanted)
    }

    /// Takes what is first, to be decided: until [`Queue::decided`] it counts as pending.
    pub(super) fn pop_front(&mut self) -> Option<Wanted> {
        let place = *self.waiting.first_key_value()?.0;
        let wanted = self.remove(place)?;
        self.taken.extend(self.move_of(&wanted));
        Some(wanted)
    }

    /// What was taken is decided, or waits again.
    pub(super) fn decided(&mut self) {
        self.taken.clear();
    }

    /// Takes back what is of this kind, in order.
    pub(super) fn withdraw(&mut self, is_of_kind: impl Fn(&Wanted) -> bool) -> Vec<Wanted> {
        let places = self.waiting.iter().filter(|(_, wanted)| is_of_kind(wanted)).map(|(place, _)| *place);
        places.collect::<Vec<_>>().into_iter().filter_map(|place| self.remove(place)).collect()
    }

    /// Takes a session's joins back, and says whether there was one.
    pub(super) fn withdraw_joins(&mut self, mover: Mover) -> bool {
        let joins = self.moves_of(mover).filter(|(_, what)| *what == Move::Comes).map(|(place, _)| place);
        joins.collect::<Vec<_>>().into_iter().filter_map(|place| self.remove(place)).count() > 0
    }

    /// The last pending move of a session.
    pub(super) fn last_move(&self, mover: Mover) -> Option<Move> {
        let waiting = self.moves_of(mover).next_back().map(|(_, what)| what);
        waiting.or_else(|| self.taken.get(&mover).copied())
    }

    fn moves_of(&self, mover: Mover) -> impl DoubleEndedIterator<Item = (i64, Move)> {
        self.moves.range((mover, i64::MIN)..=(mover, i64::MAX)).map(|((_, place), what)| (*place, *what))
    }

    fn remove(&mut self, place: i64) -> Option<Wanted> {
        let wanted = self.waiting.remove(&place)?;
        if let Some((mover, _)) = self.move_of(&wanted) {
            self.moves.remove(&(mover, place));
        }
        Some(wanted)
    }

    fn move_of(&self, wanted: &Wanted) -> Option<(Mover, Move)> {
        match wanted.item {
            Item::Join { session, .. } => Some(((session, self.incarnation), Move::Comes)),
            Item::Leave { session, incarnation } => Some(((session, incarnation), Move::Goes)),
            Item::Send { .. } => None,
        }
    }
}

/// Names the connector's present run where an item names one that this continues.
pub(super) fn unify(lineage: &Lineage, wanted: &mut Wanted) {
    if let Item::Leave { incarnation, .. } = &mut wanted.item {
        *incarnation = lineage.unify(*incarnation);
    }
}

#[cfg(test)]
mod tests {
    use shared::ids::Name;
    use shared::membership::Token;
    use shared::rpc::messages::Claim;

    use super::*;

    const RUN: Incarnation = Incarnation(2);

    fn leave(session: u64, incarnation: Incarnation) -> Wanted {
        Wanted { item: Item::Leave { session, incarnation }, ask: None }
    }

    fn join(session: u64) -> Wanted {
        let (name, membership) = (Name::new("ann").unwrap(), Token::new(1).membership());
        Wanted { item: Item::Join { session, name, membership, claim: Claim::New, seen: None }, ask: None }
    }

    #[test]
    fn the_order_is_that_of_a_queue() {
        let mut queue = Queue::new(RUN);
        [2, 3].into_iter().for_each(|session| queue.push_back(join(session)));
        [1, 0].into_iter().for_each(|session| queue.push_front(join(session)));
        queue.push_back(join(4));
        assert_eq!(queue.withdraw(|wanted| wanted.session() % 2 == 1).len(), 2);
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop_front()).map(|wanted| wanted.session()).collect();
        assert_eq!((order, queue.is_empty()), (vec![0, 2, 4], true));
    }

    #[test]
    fn what_was_taken_is_pending_until_it_is_decided() {
        let mut queue = Queue::new(RUN);
        queue.push_back(join(1));
        queue.push_back(leave(1, RUN));
        queue.push_back(leave(1, Incarnation(1)));
        assert_eq!(queue.last_move((1, RUN)), Some(Move::Goes));
        queue.pop_front();
        queue.pop_front();
        assert_eq!(queue.last_move((1, RUN)), Some(Move::Goes));
        queue.push_back(join(1));
        assert_eq!(queue.last_move((1, RUN)), Some(Move::Comes));
        assert!(queue.withdraw_joins((1, RUN)) && !queue.withdraw_joins((1, RUN)));
        queue.decided();
        assert_eq!((queue.last_move((1, RUN)), queue.last_move((1, Incarnation(1)))), (None, Some(Move::Goes)));
    }

    #[test]
    fn what_waits_goes_on_as_another_run() {
        let mut queue = Queue::new(RUN);
        queue.push_back(leave(1, RUN));
        queue.push_back(leave(1, Incarnation(1)));
        queue.push_back(join(2));
        queue.pop_front();
        let mut lineage = Lineage::new(RUN);
        lineage.continue_above(Incarnation(6));
        queue.go_on_as(&lineage);
        let goes = |queue: &Queue, session, run| queue.last_move((session, Incarnation(run)));
        assert_eq!([9, 1, 2].map(|run| goes(&queue, 1, run)), [Some(Move::Goes), Some(Move::Goes), None]);
        assert_eq!(goes(&queue, 2, 9), Some(Move::Comes));
        let earlier = queue.pop_front().map(|wanted| wanted.item);
        assert_eq!(earlier, Some(leave(1, Incarnation(1)).item), "of an earlier process");
        assert!(queue.withdraw_joins((2, lineage.present())));
    }
}
