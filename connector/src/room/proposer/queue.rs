//! What waits to be proposed, in order, and who is to come and to go by it: neither is found by looking at all of it.

use std::collections::BTreeMap;

use model::ids::Incarnation;
use model::lineage::Lineage;
use model::rpc::messages::Item;

use super::QueuedItem;

/// A session of a run of this connector.
pub(super) type SessionRun = (u64, Incarnation);

/// What a join or a leave does to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingMove {
    Join,
    Leave,
}

/// What waits, first come first served.
#[derive(Debug)]
pub(super) struct Queue {
    /// This connector's run.
    incarnation: Incarnation,
    /// By place: lower ones are taken first.
    waiting: BTreeMap<i64, QueuedItem>,
    // Invariant: these are the joins and leaves of `waiting`, under its places.
    pending_moves: BTreeMap<(SessionRun, i64), PendingMove>,
    /// The last move of each session in what was taken from here and is not decided.
    undecided: BTreeMap<SessionRun, PendingMove>,
}

impl Queue {
    /// Nothing waits.
    pub(super) fn new(incarnation: Incarnation) -> Self {
        Self { incarnation, waiting: BTreeMap::new(), pending_moves: BTreeMap::new(), undecided: BTreeMap::new() }
    }

    /// The connector goes on as another run: its sessions are that run's.
    pub(super) fn continue_as(&mut self, lineage: &Lineage) {
        self.incarnation = lineage.present();
        self.waiting.values_mut().for_each(|queued| unify(lineage, queued));
        let present = |(session, run): SessionRun| (session, lineage.unify(run));
        self.undecided =
            std::mem::take(&mut self.undecided).into_iter().map(|(run, pending)| (present(run), pending)).collect();
        let pending_moves = std::mem::take(&mut self.pending_moves).into_iter();
        self.pending_moves = pending_moves.map(|((run, order), pending)| ((present(run), order), pending)).collect();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn push_back(&mut self, queued: QueuedItem) {
        let order = self.waiting.last_key_value().map_or(0, |(last, _)| last + 1);
        self.put(order, queued);
    }

    pub(super) fn push_front(&mut self, queued: QueuedItem) {
        let order = self.waiting.first_key_value().map_or(0, |(first, _)| first - 1);
        self.put(order, queued);
    }

    fn put(&mut self, order: i64, queued: QueuedItem) {
        if let Some((run, pending)) = self.move_of(&queued) {
            self.pending_moves.insert((run, order), pending);
        }
        self.waiting.insert(order, queued);
    }

    /// All that waits, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedItem> {
        self.waiting.values()
    }

    /// What is first.
    pub(super) fn front(&self) -> Option<&QueuedItem> {
        self.waiting.first_key_value().map(|(_, queued)| queued)
    }

    /// Takes what is first, to be decided: until [`Queue::decided`] it counts as pending.
    pub(super) fn pop_front(&mut self) -> Option<QueuedItem> {
        let order = *self.waiting.first_key_value()?.0;
        let queued = self.remove(order)?;
        self.undecided.extend(self.move_of(&queued));
        Some(queued)
    }

    /// What was taken is decided, or waits again.
    pub(super) fn clear_undecided(&mut self) {
        self.undecided.clear();
    }

    /// Takes back what is of this kind, in order.
    pub(super) fn withdraw(&mut self, is_of_kind: impl Fn(&QueuedItem) -> bool) -> Vec<QueuedItem> {
        let orders = self.waiting.iter().filter(|(_, queued)| is_of_kind(queued)).map(|(order, _)| *order);
        orders.collect::<Vec<_>>().into_iter().filter_map(|order| self.remove(order)).collect()
    }

    /// Takes a session's joins back, and says whether there was one.
    pub(super) fn withdraw_joins(&mut self, run: SessionRun) -> bool {
        let joins = self.moves_of(run).filter(|(_, pending)| *pending == PendingMove::Join).map(|(order, _)| order);
        joins.collect::<Vec<_>>().into_iter().filter_map(|order| self.remove(order)).count() > 0
    }

    /// The last pending move of a session.
    pub(super) fn last_move(&self, run: SessionRun) -> Option<PendingMove> {
        let waiting = self.moves_of(run).next_back().map(|(_, pending)| pending);
        waiting.or_else(|| self.undecided.get(&run).copied())
    }

    fn moves_of(&self, run: SessionRun) -> impl DoubleEndedIterator<Item = (i64, PendingMove)> {
        self.pending_moves.range((run, i64::MIN)..=(run, i64::MAX)).map(|((_, order), pending)| (*order, *pending))
    }

    fn remove(&mut self, order: i64) -> Option<QueuedItem> {
        let queued = self.waiting.remove(&order)?;
        if let Some((run, _)) = self.move_of(&queued) {
            self.pending_moves.remove(&(run, order));
        }
        Some(queued)
    }

    fn move_of(&self, queued: &QueuedItem) -> Option<(SessionRun, PendingMove)> {
        match queued.item {
            Item::Join { session, .. } => Some(((session, self.incarnation), PendingMove::Join)),
            Item::Leave { session, incarnation } => Some(((session, incarnation), PendingMove::Leave)),
            Item::Send { .. } => None,
        }
    }
}

/// Names the connector's present run where an item names one that this continues.
pub(super) fn unify(lineage: &Lineage, queued: &mut QueuedItem) {
    if let Item::Leave { incarnation, .. } = &mut queued.item {
        *incarnation = lineage.unify(*incarnation);
    }
}

#[cfg(test)]
mod tests {
    use model::ids::Name;
    use model::membership::Token;
    use model::rpc::messages::Claim;

    use super::*;

    const RUN: Incarnation = Incarnation(2);

    fn leave(session: u64, incarnation: Incarnation) -> QueuedItem {
        QueuedItem { item: Item::Leave { session, incarnation }, pending: None }
    }

    fn join(session: u64) -> QueuedItem {
        let (name, membership) = (Name::new("ann").unwrap(), Token::new(1).membership());
        QueuedItem { item: Item::Join { session, name, membership, claim: Claim::New, seen: None }, pending: None }
    }

    #[test]
    fn the_order_is_that_of_a_queue() {
        let mut queue = Queue::new(RUN);
        [2, 3].into_iter().for_each(|session| queue.push_back(join(session)));
        [1, 0].into_iter().for_each(|session| queue.push_front(join(session)));
        queue.push_back(join(4));
        assert_eq!(queue.withdraw(|queued| queued.session() % 2 == 1).len(), 2);
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop_front()).map(|queued| queued.session()).collect();
        assert_eq!((order, queue.is_empty()), (vec![0, 2, 4], true));
    }

    #[test]
    fn what_was_taken_is_pending_until_it_is_decided() {
        let mut queue = Queue::new(RUN);
        queue.push_back(join(1));
        queue.push_back(leave(1, RUN));
        queue.push_back(leave(1, Incarnation(1)));
        assert_eq!(queue.last_move((1, RUN)), Some(PendingMove::Leave));
        queue.pop_front();
        queue.pop_front();
        assert_eq!(queue.last_move((1, RUN)), Some(PendingMove::Leave));
        queue.push_back(join(1));
        assert_eq!(queue.last_move((1, RUN)), Some(PendingMove::Join));
        assert!(queue.withdraw_joins((1, RUN)) && !queue.withdraw_joins((1, RUN)));
        queue.clear_undecided();
        assert_eq!((queue.last_move((1, RUN)), queue.last_move((1, Incarnation(1)))), (None, Some(PendingMove::Leave)));
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
        queue.continue_as(&lineage);
        let goes = |queue: &Queue, session, run| queue.last_move((session, Incarnation(run)));
        assert_eq!(
            [9, 1, 2].map(|run| goes(&queue, 1, run)),
            [Some(PendingMove::Leave), Some(PendingMove::Leave), None]
        );
        assert_eq!(goes(&queue, 2, 9), Some(PendingMove::Join));
        let earlier = queue.pop_front().map(|queued| queued.item);
        assert_eq!(earlier, Some(leave(1, Incarnation(1)).item), "of an earlier process");
        assert!(queue.withdraw_joins((2, lineage.present())));
    }
}
