//! What one user heard of the others in its room: what is missing, came twice, or in the wrong order. Pure.

use std::ops::Range;

/// Numbers that may be missing at one user before it stops telling which.
const MAX_MISSING: usize = 65_536;

/// What a message is to the user who hears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The sender's next one, perhaps after some that are missing until now.
    Next,
    /// One that was missing: it came behind a later one.
    Reordered,
    /// One that was heard before.
    Doubled,
}

/// What one user heard. Senders are counted within the room.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// By sender, the number that comes next.
    next: Vec<u32>,
    /// Numbers below `next` that were not heard.
    missing: Vec<(u32, u32)>,
    /// How many more are missing than `missing` has place for.
    beyond: u64,
    /// The room's place of the last message.
    last_seq: u64,
}

impl Ear {
    /// Of a user in a room with so many senders.
    pub(super) fn new(senders: usize) -> Self {
        Self { next: vec![0; senders], ..Self::default() }
    }

    /// Hears the message with this number; `None` if there is no such sender. `seq` has to rise from message to message,
    /// where there is one.
    pub(super) fn hear(&mut self, sender: u32, number: u32, seq: Option<u64>) -> Option<Order> {
        let order = self.place(sender, number)?;
        let rises = seq.is_none_or(|seq| std::mem::replace(&mut self.last_seq, seq) < seq);
        Some(if order == Order::Next && !rises { Order::Reordered } else { order })
    }

    fn place(&mut self, sender: u32, number: u32) -> Option<Order> {
        let next = self.next.get_mut(sender as usize)?;
        if number < *next {
            let found = self.missing.iter().position(|missing| *missing == (sender, number));
            return Some(found.map_or(Order::Doubled, |place| {
                self.missing.swap_remove(place);
                Order::Reordered
            }));
        }
        let skipped = *next..number;
        *next = number.saturating_add(1);
        self.skip(sender, skipped);
        Some(Order::Next)
    }

    fn skip(&mut self, sender: u32, numbers: Range<u32>) {
        let place = MAX_MISSING - self.missing.len();
        self.beyond += (numbers.len() as u64).saturating_sub(place as u64);
        self.missing.extend(numbers.take(place).map(|number| (sender, number)));
    }

    /// What was not heard, as sender and number, if so many messages were said by each sender.
    pub(super) fn unheard<'a>(&'a self, said: &'a [u32]) -> impl Iterator<Item = (u32, u32)> + 'a {
        let tails = (0..).zip(self.next.iter().zip(said));
        let tails = tails.flat_map(|(sender, (next, said))| (*next..*said).map(move |number| (sender, number)));
        self.missing.iter().copied().chain(tails)
    }

    /// How many are missing that [`Self::unheard`] does not list.
    pub(super) fn beyond(&self) -> u64 {
        self.beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(ear: &mut Ear, numbers: &[u32]) -> Vec<Order> {
        numbers.iter().map(|number| ear.hear(1, *number, None).unwrap()).collect()
    }

    fn unheard(ear: &Ear, said: u32) -> Vec<u32> {
        ear.unheard(&[0, said]).map(|(_, number)| number).collect()
    }

    #[test]
    fn all_in_order_is_fine() {
        let mut ear = Ear::new(2);
        assert_eq!(hear(&mut ear, &[0, 1, 2]), [Order::Next; 3]);
        assert_eq!(unheard(&ear, 3), [0; 0]);
    }

    #[test]
    fn lost_ones_stay_unheard() {
        let mut ear = Ear::new(2);
        assert_eq!(hear(&mut ear, &[0, 3]), [Order::Next; 2]);
        assert_eq!(unheard(&ear, 6), [1, 2, 4, 5]);
        assert_eq!(ear.unheard(&[1, 0]).collect::<Vec<_>>(), [(1, 1), (1, 2), (0, 0)]);
    }

    #[test]
    fn late_ones_are_reordered_and_not_lost() {
        let mut ear = Ear::new(2);
        assert_eq!(hear(&mut ear, &[1, 0, 2]), [Order::Next, Order::Reordered, Order::Next]);
        assert_eq!(unheard(&ear, 3), [0; 0]);
    }

    #[test]
    fn doubled_ones_are_told_from_late_ones() {
        let mut ear = Ear::new(2);
        assert_eq!(
            hear(&mut ear, &[0, 0, 2, 1, 1])[1..],
            [Order::Doubled, Order::Next, Order::Reordered, Order::Doubled]
        );
    }

    #[test]
    fn a_place_in_the_room_that_does_not_rise_is_a_wrong_order() {
        let mut ear = Ear::new(2);
        assert_eq!(ear.hear(0, 0, Some(2_000)), Some(Order::Next));
        assert_eq!(ear.hear(1, 0, Some(1_000)), Some(Order::Reordered));
        assert_eq!(ear.hear(1, 1, Some(3_000)), Some(Order::Next));
    }

    #[test]
    fn what_is_missing_takes_bounded_memory() {
        let mut ear = Ear::new(2);
        hear(&mut ear, &[100_000]);
        assert_eq!(unheard(&ear, 100_001).len(), MAX_MISSING);
        assert_eq!(ear.beyond(), 100_000 - MAX_MISSING as u64);
        assert_eq!(ear.hear(2, 0, None), None);
    }
}
