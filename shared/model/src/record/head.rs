//! The numbers that every record has, as one run of bytes: LEB128, without names and types.

use std::borrow::Cow;

use super::{Position, RecordId};

/// Bits of a number in a byte of LEB128.
const BITS: u32 = 7;

/// Place and time of a record.
// As MessagePack fields they would take thirty bytes more of each record: most of them are large,
// and there are many links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) prev: Position,
    pub(super) prev_id: RecordId,
    pub(super) id: RecordId,
    pub(super) time: u64,
    pub(super) links: Cow<'a, [Position]>,
}

impl Head<'_> {
    /// In this order: `prev`; `prev_id`, eight bytes; how far `id` is above it, modulo 2^64, which
    /// is 1 within an activation; the time; for each link how far it is below the one before, for
    /// the first how far it is below `prev`. No link is above that.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        write(&mut bytes, self.prev.0);
        bytes.extend(self.prev_id.0.to_be_bytes());
        write(&mut bytes, self.id.0.wrapping_sub(self.prev_id.0));
        write(&mut bytes, self.time);
        let mut newer = self.prev;
        for link in &*self.links {
            write(&mut bytes, newer.0.saturating_sub(link.0));
            newer = *link;
        }
        bytes
    }

    /// `None` if the bytes end too early, or a number has more than 64 bits.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        let prev = Position(read(rest)?);
        let (prev_id, behind) = rest.split_first_chunk()?;
        *rest = behind;
        let prev_id = RecordId(u64::from_be_bytes(*prev_id));
        let id = RecordId(prev_id.0.wrapping_add(read(rest)?));
        let time = read(rest)?;
        let (mut links, mut newer) = (Vec::new(), prev);
        while !rest.is_empty() {
            newer = Position(newer.0.saturating_sub(read(rest)?));
            links.push(newer);
        }
        Some(Self { prev, prev_id, id, time, links: links.into() })
    }
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 1 << BITS {
        // The lowest bits, and the mark that more follow.
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= BITS;
    }
    bytes.push(number as u8);
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..u64::BITS).step_by(BITS as usize) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head() -> Head<'static> {
        let (prev_id, id) = (RecordId(u64::MAX), RecordId(0));
        Head { prev: Position(300), prev_id, id, time: 5, links: vec![Position(299), Position(99)].into() }
    }

    #[test]
    fn usual_distances_take_a_byte_or_two() {
        let bytes = head().encode();
        assert_eq!(bytes[..2], [0xac, 0x02]);
        assert_eq!(bytes[2..10], [0xff; 8]);
        assert_eq!(bytes[10..], [1, 5, 1, 0xc8, 0x01]);
    }

    #[test]
    fn bytes_that_end_too_early_are_no_head() {
        let bytes = head().encode();
        // Behind the time, and behind each link, a head may end.
        let whole: Vec<_> = (0..=bytes.len()).filter(|end| Head::decode(&bytes[..*end]).is_some()).collect();
        assert_eq!(whole, [12, 13, 15]);
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read(&mut &largest[..]), Some(u64::MAX));
        assert_eq!(read(&mut &[&largest[..9], &[0x02]].concat()[..]), None);
        assert_eq!(read(&mut &[0xff; 11][..]), None);
    }

    proptest! {
        #[test]
        fn it_comes_back(prev: u64, prev_id: u64, id: u64, time: u64, below in prop::collection::vec(any::<u32>(), 0..20)) {
            let mut newer = prev;
            let links = below.into_iter().map(|below| {
                newer = newer.saturating_sub(below.into());
                Position(newer)
            });
            let links = links.collect::<Vec<_>>().into();
            let head = Head { prev: Position(prev), prev_id: RecordId(prev_id), id: RecordId(id), time, links };
            prop_assert_eq!(Head::decode(&head.encode()), Some(head));
        }

        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            if let Some(head) = Head::decode(&bytes) {
                prop_assert_eq!(Head::decode(&head.encode()), Some(head));
            }
        }
    }
}
