//! Checks the messages that one user received: missing, doubled, out of order. Pure.

use std::ops::Range;

/// Missing numbers that are kept for one user. Above this, only their count grows.
// Bounds the memory for a user that misses very many messages.
const MAX_MISSING: usize = 65_536;

/// The order of a received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The sender's next one, perhaps after some that are missing until now.
    InOrder,
    /// A missing message that arrived behind a later one.
    Reordered,
    /// A message that was received before.
    Doubled,
}

/// Messages that one user received. Senders are counted within the room.
#[derive(Debug, Default)]
pub(super) struct ListenerCheck {
    /// The next number, by sender.
    next: Vec<u32>,
    /// Numbers below `next` that were not received.
    missing: Vec<(u32, u32)>,
    /// Missing numbers that `missing` had no space for.
    uncounted_missing: u64,
    /// The room's place of the last message.
    last_seq: u64,
}

impl ListenerCheck {
    /// Creates the check of a user in a room with this many senders.
    pub(super) fn new(senders: usize) -> Self {
        Self { next: vec![0; senders], ..Self::default() }
    }

    /// Records a received message. Returns `None` if there is no such sender. Where messages have a
    /// `seq`, it must rise.
    pub(super) fn record(&mut self, sender: u32, number: u32, seq: Option<u64>) -> Option<Arrival> {
        let order = self.classify(sender, number)?;
        // Senders have their own numbers, so a `seq` that falls is the only sign that messages of
        // two senders changed their order.
        let rises = seq.is_none_or(|seq| std::mem::replace(&mut self.last_seq, seq) < seq);
        Some(if order == Arrival::InOrder && !rises { Arrival::Reordered } else { order })
    }

    fn classify(&mut self, sender: u32, number: u32) -> Option<Arrival> {
        let next = self.next.get_mut(sender as usize)?;
        if number < *next {
            let found = self.missing.iter().position(|missing| *missing == (sender, number));
            return Some(found.map_or(Arrival::Doubled, |place| {
                self.missing.swap_remove(place);
                Arrival::Reordered
            }));
        }
        let skipped = *next..number;
        *next = number.saturating_add(1);
        self.skip(sender, skipped);
        Some(Arrival::InOrder)
    }

    fn skip(&mut self, sender: u32, numbers: Range<u32>) {
        // A late arrival of a number that has no place counts as doubled. The run is not clean
        // either way.
        let place = MAX_MISSING - self.missing.len();
        self.uncounted_missing += (numbers.len() as u64).saturating_sub(place as u64);
        self.missing.extend(numbers.take(place).map(|number| (sender, number)));
    }

    /// Returns sender and number of each message that was not received, given how many messages
    /// each sender sent.
    pub(super) fn missing_messages<'a>(&'a self, sent: &'a [u32]) -> impl Iterator<Item = (u32, u32)> + 'a {
        let tails = (0..).zip(self.next.iter().zip(sent));
        let tails = tails.flat_map(|(sender, (next, sent))| (*next..*sent).map(move |number| (sender, number)));
        self.missing.iter().copied().chain(tails)
    }

    /// Returns the count of missing messages that [`Self::missing_messages`] does not list.
    pub(super) fn uncounted_missing(&self) -> u64 {
        self.uncounted_missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record_all(check: &mut ListenerCheck, numbers: &[u32]) -> Vec<Arrival> {
        numbers.iter().map(|number| check.record(1, *number, None).unwrap()).collect()
    }

    fn missing_messages(check: &ListenerCheck, sent: u32) -> Vec<u32> {
        check.missing_messages(&[0, sent]).map(|(_, number)| number).collect()
    }

    #[test]
    fn all_in_order_is_fine() {
        let mut check = ListenerCheck::new(2);
        assert_eq!(record_all(&mut check, &[0, 1, 2]), [Arrival::InOrder; 3]);
        assert_eq!(missing_messages(&check, 3), [0; 0]);
    }

    #[test]
    fn lost_messages_stay_missing() {
        let mut check = ListenerCheck::new(2);
        assert_eq!(record_all(&mut check, &[0, 3]), [Arrival::InOrder; 2]);
        assert_eq!(missing_messages(&check, 6), [1, 2, 4, 5]);
        assert_eq!(check.missing_messages(&[1, 0]).collect::<Vec<_>>(), [(1, 1), (1, 2), (0, 0)]);
    }

    #[test]
    fn late_ones_are_reordered_and_not_lost() {
        let mut check = ListenerCheck::new(2);
        assert_eq!(record_all(&mut check, &[1, 0, 2]), [Arrival::InOrder, Arrival::Reordered, Arrival::InOrder]);
        assert_eq!(missing_messages(&check, 3), [0; 0]);
    }

    #[test]
    fn doubled_messages_differ_from_late_ones() {
        let mut check = ListenerCheck::new(2);
        assert_eq!(
            record_all(&mut check, &[0, 0, 2, 1, 1])[1..],
            [Arrival::Doubled, Arrival::InOrder, Arrival::Reordered, Arrival::Doubled]
        );
    }

    #[test]
    fn a_place_in_the_room_that_does_not_rise_is_a_wrong_order() {
        let mut check = ListenerCheck::new(2);
        assert_eq!(check.record(0, 0, Some(2_000)), Some(Arrival::InOrder));
        assert_eq!(check.record(1, 0, Some(1_000)), Some(Arrival::Reordered));
        assert_eq!(check.record(1, 1, Some(3_000)), Some(Arrival::InOrder));
    }

    #[test]
    fn what_is_missing_takes_bounded_memory() {
        let mut check = ListenerCheck::new(2);
        record_all(&mut check, &[100_000]);
        assert_eq!(missing_messages(&check, 100_001).len(), MAX_MISSING);
        assert_eq!(check.uncounted_missing(), 100_000 - MAX_MISSING as u64);
        assert_eq!(check.record(2, 0, None), None);
    }
}
