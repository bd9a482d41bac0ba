//! Slots of rooms, and the parts of the log that hold the slots: in JetStream a stream each. Pure.

use std::fmt;
use std::ops::RangeInclusive;

use crate::ids::RoomId;

/// Slots that all rooms are spread over; there are at most as many parts.
pub const SLOTS: u8 = 1 << SLOT_BITS;

const SLOT_BITS: u32 = 6;

/// The slot of a room: the top six bits of the CRC-32 of its name. It never changes.
// The home is the CRC modulo the number of chat servers. Low bits would tie the slot to it: of 4
// chat servers and 4 parts only 4 of 16 pairs would occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// Returns the slot of a room.
    pub fn of(room: &RoomId) -> Self {
        let top = crc32fast::hash(room.as_str().as_bytes()) >> (u32::BITS - SLOT_BITS);
        Self(u8::try_from(top).unwrap_or_default())
    }

    /// Returns its number, below [`SLOTS`].
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A part of the log, by its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPart(u8);

impl LogPart {
    /// Returns its index among all parts.
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// The division of the log into 2^k parts, each with as many slots, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogParts {
    bits: u32,
}

impl LogParts {
    /// A log of one part.
    pub const ONE: Self = Self { bits: 0 };

    /// Returns the division into so many parts; `None` unless it is a power of two up to
    /// [`SLOTS`].
    pub fn new(count: usize) -> Option<Self> {
        (count.is_power_of_two() && count <= SLOTS.into()).then(|| Self { bits: count.trailing_zeros() })
    }

    /// Returns all divisions, the one with the fewest parts first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=SLOT_BITS).map(|bits| Self { bits })
    }

    /// Returns the number of parts.
    pub fn count(self) -> usize {
        1 << self.bits
    }

    /// Returns the part that holds a room.
    pub fn of(self, room: &RoomId) -> LogPart {
        // The usual log has one part, and this is asked with each message.
        if self == Self::ONE { LogPart(0) } else { LogPart(Slot::of(room).0 >> (SLOT_BITS - self.bits)) }
    }

    /// Returns the parts, in order.
    pub fn iter(self) -> impl Iterator<Item = LogPart> {
        (0..SLOTS >> (SLOT_BITS - self.bits)).map(LogPart)
    }

    /// Returns the slots of a part.
    pub fn slots(self, part: LogPart) -> RangeInclusive<u8> {
        let width = SLOT_BITS - self.bits;
        part.0 << width..=(part.0 << width) + ((1 << width) - 1)
    }

    /// Returns the division into twice as many parts; `None` if each slot has a part already.
    pub fn doubled(self) -> Option<Self> {
        Self::new(2 * self.count())
    }

    /// Returns the division into half as many parts; `None` for a whole log.
    pub fn halved(self) -> Option<Self> {
        self.bits.checked_sub(1).map(|bits| Self { bits })
    }

    /// Returns the part that a part is, or becomes, in another division: in one of more parts its
    /// first piece, which keeps its name, and in one of fewer parts the one that has its slots.
    pub fn in_division(self, part: LogPart, other: Self) -> LogPart {
        match other.bits.checked_sub(self.bits) {
            Some(more) => LogPart(part.0 << more),
            None => LogPart(part.0 >> (self.bits - other.bits)),
        }
    }

    /// Returns true if a room is in another part, by name, once the log is divided into `more`
    /// parts.
    pub fn moves(self, room: &RoomId, more: Self) -> bool {
        more.of(room) != self.in_division(self.of(room), more)
    }

    /// Returns the number of a part in binary, without the zeros at its end: the first half of a
    /// part that is divided keeps it.
    pub(crate) fn path(self, part: LogPart) -> String {
        let bits = (0..self.bits).rev().map(|bit| if part.0 >> bit & 1 == 1 { '1' } else { '0' });
        bits.collect::<String>().trim_end_matches('0').to_owned()
    }
}

/// A value for each part of a log.
#[derive(Debug, Clone)]
pub struct PerPart<T> {
    // The first apart from the others: there always is one, and in the usual log no other.
    first: T,
    others: Vec<T>,
}

impl<T> PerPart<T> {
    /// Makes a value for each part.
    pub fn new(parts: LogParts, mut make: impl FnMut(LogPart) -> T) -> Self {
        let first = make(LogPart(0));
        Self { first, others: parts.iter().skip(1).map(make).collect() }
    }

    /// Takes the values of the first part and of the others, in order.
    pub fn of_values(first: T, others: Vec<T>) -> Self {
        Self { first, others }
    }

    /// Returns the value of a part.
    pub fn get(&self, part: LogPart) -> &T {
        debug_assert!(part.index() <= self.others.len(), "{part:?} is of another log");
        part.index().checked_sub(1).and_then(|other| self.others.get(other)).unwrap_or(&self.first)
    }

    /// Returns the value of a part, to change it.
    pub fn get_mut(&mut self, part: LogPart) -> &mut T {
        debug_assert!(part.index() <= self.others.len(), "{part:?} is of another log");
        match part.index().checked_sub(1).and_then(|other| self.others.get_mut(other)) {
            Some(other) => other,
            None => &mut self.first,
        }
    }

    /// Returns the values, in order.
    pub fn into_values(self) -> impl Iterator<Item = T> {
        std::iter::once(self.first).chain(self.others)
    }

    /// Returns the parts and their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (LogPart, &T)> {
        (0..).map(LogPart).zip(std::iter::once(&self.first).chain(&self.others))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        key: String,
        slot: u8,
    }

    fn room(name: &str) -> RoomId {
        RoomId::new(name).unwrap()
    }

    fn parts(count: usize) -> LogParts {
        LogParts::new(count).unwrap()
    }

    #[test]
    fn slots_are_those_of_the_golden_vectors() {
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("../golden/placement.json")).unwrap();
        let rooms = vectors.iter().filter_map(|Vector { key, slot }| Some((RoomId::new(key).ok()?, *slot)));
        let rooms: Vec<_> = rooms.collect();
        assert!(rooms.len() > 10);
        for (room, slot) in rooms {
            assert_eq!(Slot::of(&room).number(), slot, "{room}");
        }
    }

    #[test]
    fn the_number_of_parts_is_a_power_of_two_up_to_the_slots() {
        let counts: Vec<_> = (0..=200).filter_map(|count| LogParts::new(count).map(LogParts::count)).collect();
        assert_eq!(counts, [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(LogParts::all().map(LogParts::count).collect::<Vec<_>>(), counts);
        assert_eq!(LogParts::default(), LogParts::ONE);
    }

    #[test]
    fn parts_have_all_slots_in_order_and_each_room_is_in_the_part_of_its_slot() {
        for parts in LogParts::all() {
            let slots: Vec<u8> = parts.iter().flat_map(|part| parts.slots(part)).collect();
            assert_eq!(slots, (0..SLOTS).collect::<Vec<_>>());
            for room in ["lobby", "attic", "room2", "聊天室"].map(room) {
                assert!(parts.slots(parts.of(&room)).contains(&Slot::of(&room).number()), "{room} of {parts:?}");
            }
        }
    }

    #[test]
    fn the_first_half_of_a_part_keeps_its_path() {
        let paths = |count| parts(count).iter().map(|part| parts(count).path(part)).collect::<Vec<_>>();
        assert_eq!((paths(1), paths(2)), (vec![String::new()], vec![String::new(), "1".to_owned()]));
        assert_eq!(paths(4), ["", "01", "1", "11"]);
        for count in [1, 2, 4, 8, 16, 32] {
            let halves = paths(2 * count);
            assert_eq!(halves.iter().step_by(2).collect::<Vec<_>>(), paths(count).iter().collect::<Vec<_>>());
            assert!(halves.iter().skip(1).step_by(2).all(|half| half.ends_with('1')));
        }
    }

    #[test]
    fn parts_that_are_divided_keep_their_first_pieces() {
        let [one, two, four] = [1, 2, 4].map(parts);
        assert_eq!(
            (one.doubled(), four.halved(), one.halved(), parts(64).doubled()),
            (Some(two), Some(two), None, None)
        );
        let pieces =
            |from: LogParts, to| from.iter().map(|part| from.in_division(part, to).index()).collect::<Vec<_>>();
        assert_eq!((pieces(one, four), pieces(two, four), pieces(two, two)), (vec![0], vec![0, 2], vec![0, 1]));
        assert_eq!((pieces(four, two), pieces(four, one)), (vec![0, 0, 1, 1], vec![0; 4]));
        // Slots 51 and 11.
        let [lobby, other] = ["lobby", "room2"].map(room);
        assert!(one.moves(&lobby, two) && !one.moves(&other, two) && !two.moves(&lobby, two));
        for (from, to) in [(one, two), (one, four), (two, four)] {
            let stays = |room: &RoomId| from.path(from.of(room)) == to.path(to.of(room));
            assert!([&lobby, &other].iter().all(|room| from.moves(room, to) != stays(room)), "{from:?} {to:?}");
        }
    }

    #[test]
    fn each_part_has_a_value() {
        let mut values = PerPart::new(parts(4), LogPart::index);
        for part in parts(4).iter() {
            *values.get_mut(part) += 10;
        }
        assert_eq!(
            values.iter().map(|(part, value)| (part.index(), *value)).collect::<Vec<_>>(),
            [(0, 10), (1, 11), (2, 12), (3, 13)]
        );
        assert!(parts(4).iter().all(|part| *values.get(part) == part.index() + 10));
    }
}
