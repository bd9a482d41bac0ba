//! The queue of a proposer, with an index of its joins and leaves, so that a session's last move is
//! found without a search.

use std::collections::BTreeMap;

use model::ids::Incarnation;
use model::lineage::Lineage;
use model::rpc::messages::Item;

use super::QueuedItem;

/// A session of one run of this connector.
pub(super) type SessionRun = (u64, Incarnation);

/// The effect of an item on its session's membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingMove {
    Join,
    Leave,
}

/// Items that wait, first come first served.
#[derive(Debug)]
pub(super) struct Queue {
    /// This connector's incarnation.
    incarnation: Incarnation,
    /// By order: lower ones are taken first. The order is signed, so that items can be put back at
    /// the head.
    waiting: BTreeMap<i64, QueuedItem>,
    // Invariant: these are the joins and leaves of `waiting`, under its orders.
    pending_moves: BTreeMap<(SessionRun, i64), PendingMove>,
    /// The last move of each session among the items that were taken and are not decided.
    undecided: BTreeMap<SessionRun, PendingMove>,
}

impl Queue {
    /// Returns an empty queue.
    pub(super) fn new(incarnation: Incarnation) -> Self {
        Self { incarnation, waiting: BTreeMap::new(), pending_moves: BTreeMap::new(), undecided: BTreeMap::new() }
    }

    /// Continues as another run of the connector, with the same sessions.
    pub(super) fn continue_as(&mut self, lineage: &Lineage) {
        self.incarnation = lineage.present();
        self.waiting.values_mut().for_each(|queued| unify(lineage, queued));
        let present = |(session, run): SessionRun| (session, lineage.unify(run));
        self.undecided =
            std::mem::take(&mut self.undecided).into_iter().map(|(run, pending)| (present(run), pending)).collect();
        let pending_moves = std::mem::take(&mut self.pending_moves).into_iter();
        self.pending_moves = pending_moves.map(|((run, order), pending)| ((present(run), order), pending)).collect();
    }

    /// Asserts that the index has the joins and leaves that wait.
    #[cfg(debug_assertions)]
    pub(super) fn assert_sound(&self, is_in_flight: bool) {
        let moves = self.waiting.iter().filter_map(|(order, queued)| {
            let (run, pending) = self.move_of(queued)?;
            Some(((run, *order), pending))
        });
        assert_eq!(moves.collect::<BTreeMap<_, _>>(), self.pending_moves);
        assert!(is_in_flight || self.undecided.is_empty(), "undecided: {:?}", self.undecided);
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

    /// Returns all items, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedItem> {
        self.waiting.values()
    }

    /// Returns the item at the head.
    pub(super) fn front(&self) -> Option<&QueuedItem> {
        self.waiting.first_key_value().map(|(_, queued)| queued)
    }

    /// Takes the item at the head, to be decided: until [`Queue::clear_undecided`] its move counts
    /// as pending.
    pub(super) fn pop_front(&mut self) -> Option<QueuedItem> {
        let order = *self.waiting.first_key_value()?.0;
        let queued = self.remove(order)?;
        self.undecided.extend(self.move_of(&queued));
        Some(queued)
    }

    /// Forgets the moves of the items that were taken: they are decided, or wait again.
    pub(super) fn clear_undecided(&mut self) {
        self.undecided.clear();
    }

    /// Withdraws all items for which `is_of_kind` returns true, in order.
    pub(super) fn withdraw(&mut self, is_of_kind: impl Fn(&QueuedItem) -> bool) -> Vec<QueuedItem> {
        let orders = self.waiting.iter().filter(|(_, queued)| is_of_kind(queued)).map(|(order, _)| *order);
        orders.collect::<Vec<_>>().into_iter().filter_map(|order| self.remove(order)).collect()
    }

    /// Withdraws a session's joins. Returns true if there were any.
    pub(super) fn withdraw_joins(&mut self, run: SessionRun) -> bool {
        let joins = self.moves_of(run).filter(|(_, pending)| *pending == PendingMove::Join).map(|(order, _)| order);
        joins.collect::<Vec<_>>().into_iter().filter_map(|order| self.remove(order)).count() > 0
    }

    /// Returns the last pending move of a session.
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
            Item::Send { .. } | Item::Rights { .. } | Item::Moderate { .. } => None,
        }
    }
}

/// Replaces an earlier incarnation of this connector in an item by the present one.
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
        QueuedItem {
            item: Item::Join { session, name, membership, claim: Claim::New, seen: None, profile: None },
            pending: None,
        }
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
    fn taken_items_are_pending_until_they_are_decided() {
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
    fn queued_items_continue_as_another_run() {
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
