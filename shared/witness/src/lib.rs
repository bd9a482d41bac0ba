//! A listener's deliveries, checked for doubles, order, gaps and loss, for tests, benches and the load
//! generator. Pure.

use std::collections::BTreeMap;

/// The order of a delivery among those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is behind all others of its stream. Numbers before it may be missing.
    Next,
    /// It is before one that was delivered, or within what was declared as gone.
    Reordered,
    /// It was delivered before.
    Doubled,
}

/// Everything that one listener received.
///
/// A message has a number in a stream. Streams are senders who count their messages, or epochs of a
/// room's log in which positions are the numbers. The caller of [`Witness::lost`] knows which
/// numbers were published.
#[derive(Debug, Clone)]
pub struct Witness<S> {
    streams: BTreeMap<S, Stream>,
    /// The position of the last delivery, where deliveries have one.
    position: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct Stream {
    /// One above the highest received number.
    end: u64,
    /// Numbers below `end` that were not received.
    missing: Ranges,
    /// Declared as gone: their loss is known to the listener.
    gone: Ranges,
    /// Numbers from here on are expected.
    first: u64,
    /// One above the highest number that was received or passed over.
    next: u64,
}

impl<S> Default for Witness<S> {
    fn default() -> Self {
        Self { streams: BTreeMap::new(), position: None }
    }
}

impl<S: Ord> Witness<S> {
    /// Expects numbers of a stream from `first` on, as after the listener entered a room. What was
    /// declared as gone before does not count any more; doubles are still recognized.
    pub fn begin(&mut self, stream: S, first: u64) {
        let stream = self.streams.entry(stream).or_default();
        (stream.first, stream.next, stream.gone) = (first, first, Ranges::default());
    }

    /// Takes a delivery.
    pub fn receive(&mut self, stream: S, number: u64) -> Arrival {
        let stream = self.streams.entry(stream).or_default();
        let arrival = match stream.insert(number) {
            false => Arrival::Doubled,
            true if number < stream.next => Arrival::Reordered,
            true => Arrival::Next,
        };
        stream.next = stream.next.max(number.saturating_add(1));
        arrival
    }

    /// Takes a delivery whose position in the room must be above that of all deliveries before it.
    pub fn receive_at(&mut self, stream: S, number: u64, position: u64) -> Arrival {
        // Senders have numbers of their own, so only the position shows that messages of two of
        // them changed places.
        let rises = self.position.replace(position) < Some(position);
        match self.receive(stream, number) {
            Arrival::Next if !rises => Arrival::Reordered,
            arrival => arrival,
        }
    }

    /// Passes over all numbers up to `last` that were not received: the listener was informed that
    /// they are gone.
    pub fn skip(&mut self, stream: S, last: u64) {
        let stream = self.streams.entry(stream).or_default();
        stream.gone.insert_range(stream.next, last.saturating_add(1));
        stream.next = stream.next.max(last.saturating_add(1));
    }

    /// Excuses the loss of these numbers, both included. Order is not affected.
    pub fn excuse(&mut self, stream: S, first: u64, last: u64) {
        self.streams.entry(stream).or_default().gone.insert_range(first, last.saturating_add(1));
    }

    /// Expects no number up to `last` any more, as after a resume that returned all that was
    /// missed.
    pub fn advance(&mut self, stream: S, last: u64) {
        let stream = self.streams.entry(stream).or_default();
        stream.next = stream.next.max(last.saturating_add(1));
    }

    /// One above the highest number that was received or passed over; 0 for an unknown stream.
    pub fn next(&self, stream: &S) -> u64 {
        self.streams.get(stream).map_or(0, |stream| stream.next)
    }

    /// Returns the lost ones of the published numbers of a stream: expected, not received, and not
    /// declared as gone.
    pub fn lost(&self, stream: &S, published: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let stream = self.streams.get(stream);
        let is_lost = |number: &u64| {
            stream.is_none_or(|stream| {
                *number >= stream.first && !stream.has_received(*number) && !stream.gone.contains(*number)
            })
        };
        published.into_iter().filter(is_lost).collect()
    }
}

impl Stream {
    fn has_received(&self, number: u64) -> bool {
        number < self.end && !self.missing.contains(number)
    }

    /// Returns false if the number was received before.
    fn insert(&mut self, number: u64) -> bool {
        if number < self.end {
            return self.missing.remove(number);
        }
        self.missing.insert_range(self.end, number);
        self.end = number.saturating_add(1);
        true
    }
}

/// A set of numbers as ranges: first number to the one behind the last.
///
/// A listener that misses nothing has none, so a long run takes no memory.
#[derive(Debug, Clone, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// The range that has the number.
    fn find(&self, number: u64) -> Option<(u64, u64)> {
        self.0.range(..=number).next_back().map(|(first, end)| (*first, *end)).filter(|(_, end)| number < *end)
    }

    fn contains(&self, number: u64) -> bool {
        self.find(number).is_some()
    }

    /// Returns false if the number is not in the set.
    fn remove(&mut self, number: u64) -> bool {
        let Some((first, end)) = self.find(number) else { return false };
        self.0.remove(&first);
        self.insert_range(first, number);
        self.insert_range(number + 1, end);
        true
    }

    fn insert_range(&mut self, mut first: u64, mut end: u64) {
        if first >= end {
            return;
        }
        // Ranges that overlap or touch become one.
        while let Some((before, last)) = self.0.range(..=end).next_back().map(|(from, to)| (*from, *to))
            && last >= first
        {
            self.0.remove(&before);
            (first, end) = (first.min(before), end.max(last));
        }
        self.0.insert(first, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(witness: &mut Witness<u8>, numbers: &[u64]) -> Vec<Arrival> {
        numbers.iter().map(|number| witness.receive(1, *number)).collect()
    }

    #[test]
    fn all_in_order_is_fine() {
        let mut witness = Witness::default();
        assert_eq!(receive(&mut witness, &[0, 1, 2]), [Arrival::Next; 3]);
        assert_eq!(witness.lost(&1, 0..3), [0; 0]);
        assert!(witness.streams[&1].missing.0.is_empty(), "takes the memory of no range");
    }

    #[test]
    fn missing_numbers_are_lost() {
        let mut witness = Witness::default();
        assert_eq!(receive(&mut witness, &[0, 3]), [Arrival::Next; 2]);
        assert_eq!(witness.lost(&1, 0..6), [1, 2, 4, 5]);
        assert_eq!(witness.lost(&2, 0..2), [0, 1], "of a stream of which nothing was received");
    }

    #[test]
    fn late_numbers_are_reordered_and_not_lost() {
        let mut witness = Witness::default();
        assert_eq!(receive(&mut witness, &[1, 0, 2]), [Arrival::Next, Arrival::Reordered, Arrival::Next]);
        assert_eq!(witness.lost(&1, 0..3), [0; 0]);
    }

    #[test]
    fn doubled_numbers_differ_from_late_ones() {
        let mut witness = Witness::default();
        let arrivals = receive(&mut witness, &[0, 0, 2, 1, 1]);
        assert_eq!(arrivals[1..], [Arrival::Doubled, Arrival::Next, Arrival::Reordered, Arrival::Doubled]);
    }

    #[test]
    fn positions_rise_over_all_streams() {
        let mut witness = Witness::default();
        assert_eq!(witness.receive_at(0, 0, 2_000), Arrival::Next);
        assert_eq!(witness.receive_at(1, 0, 1_000), Arrival::Reordered);
        assert_eq!(witness.receive_at(1, 1, 3_000), Arrival::Next);
        assert_eq!(witness.receive_at(1, 1, 4_000), Arrival::Doubled);
    }

    #[test]
    fn what_is_declared_as_gone_is_not_lost() {
        let mut witness = Witness::default();
        witness.begin(1, 11);
        assert_eq!(witness.receive(1, 12), Arrival::Next);
        witness.skip(1, 20);
        assert_eq!((witness.receive(1, 20), witness.receive(1, 22)), (Arrival::Reordered, Arrival::Next));
        assert_eq!(witness.lost(&1, 0..25), [11, 21, 23, 24]);
        witness.excuse(1, 21, 23);
        assert_eq!(witness.lost(&1, 0..25), [11, 24]);
    }

    #[test]
    fn a_new_begin_expects_nothing_from_before() {
        let mut witness = Witness::default();
        witness.begin(1, 1);
        receive(&mut witness, &[1, 3]);
        witness.begin(1, 10);
        assert_eq!(witness.lost(&1, 0..12), [10, 11]);
        assert_eq!(witness.receive(1, 3), Arrival::Doubled, "also of what was received before");
        witness.advance(1, 15);
        assert_eq!((witness.next(&1), witness.receive(1, 12)), (16, Arrival::Reordered));
    }

    #[test]
    fn ranges_merge() {
        let mut ranges = Ranges::default();
        for (first, end) in [(5, 7), (1, 2), (9, 12), (2, 3), (6, 10), (20, 20)] {
            ranges.insert_range(first, end);
        }
        assert_eq!(ranges.0, BTreeMap::from([(1, 3), (5, 12)]));
        assert!([1, 2, 5, 11].iter().all(|number| ranges.contains(*number)));
        assert!([0, 3, 4, 12].iter().all(|number| !ranges.contains(*number)));
    }

    #[test]
    fn removed_numbers_split_ranges() {
        let mut ranges = Ranges::default();
        ranges.insert_range(1, 6);
        assert!(ranges.remove(3) && ranges.remove(1) && !ranges.remove(3) && !ranges.remove(6));
        assert_eq!(ranges.0, BTreeMap::from([(2, 3), (4, 6)]));
    }
}
