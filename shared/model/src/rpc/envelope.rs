//! Reads of a message what is needed before it is believed: its sender, and where the record in it
//! begins. Pure; wrong bytes have no sender and no record.

use crate::ids::ServerId;

/// The sender, which every message names first, behind its version: as `connector`, `chat` or
/// `gate`.
pub fn sender(payload: &[u8], field: &str) -> Option<ServerId> {
    // Only in that place: readers of the whole message refuse a field that comes twice, so both see
    // the same sender.
    let mut walk = Walk(payload);
    walk.map()?;
    (walk.text()? == "v").then_some(())?;
    walk.skip()?;
    (walk.text()? == field).then_some(())?;
    ServerId::new(walk.text()?).ok()
}

/// The offset of the record that ends a chat server's message; the end of a message without one.
///
/// The record is the last field of the last field, one bin: `{.., "answer": {"record": {..,
/// "record": BIN}}}`.
pub fn record_offset(payload: &[u8]) -> usize {
    record_bytes(payload).map_or(payload.len(), |record| payload.len() - record)
}

fn record_bytes(payload: &[u8]) -> Option<usize> {
    let mut walk = Walk(payload);
    walk.last_value("answer")?;
    // Other responses, which may be large, are not parsed.
    (walk.map()? == 1 && walk.text()? == "record").then_some(())?;
    walk.last_value("record")?;
    let length = walk.bin()?;
    (walk.0.len() == length).then_some(length)
}

/// The rest of a message that is being read.
struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    /// Goes to the value of a map's last field, which must have this name.
    fn last_value(&mut self, field: &str) -> Option<()> {
        for _ in 1..self.map()? {
            self.skip()?;
            self.skip()?;
        }
        (self.text()? == field).then_some(())
    }

    /// The number of fields of a map of up to fifteen; no message has more.
    fn map(&mut self) -> Option<u8> {
        let marker = self.byte()?;
        (marker & 0xf0 == 0x80).then_some(marker & 0x0f)
    }

    /// A text of up to 255 bytes; no name and no id has more.
    fn text(&mut self) -> Option<&'a str> {
        let length = match self.byte()? {
            marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
            0xd9 => self.length(1)?,
            _ => return None,
        };
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// The length of the bin that begins here.
    fn bin(&mut self) -> Option<usize> {
        match self.byte()? {
            0xc4 => self.length(1),
            0xc5 => self.length(2),
            0xc6 => self.length(4),
            _ => None,
        }
    }

    /// Passes over one value with all that is in it.
    fn skip(&mut self) -> Option<()> {
        let mut values: usize = 1;
        while values > 0 {
            let (bytes, within) = self.head()?;
            self.take(bytes)?;
            values = (values - 1).saturating_add(within);
        }
        Some(())
    }

    /// The number of bytes that follow a value's marker, and of values that are inside of it.
    fn head(&mut self) -> Option<(usize, usize)> {
        Some(match self.byte()? {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => (0, 0),
            marker @ 0x80..=0x8f => (0, 2 * usize::from(marker & 0x0f)),
            marker @ 0x90..=0x9f => (0, usize::from(marker & 0x0f)),
            marker @ 0xa0..=0xbf => (usize::from(marker & 0x1f), 0),
            0xc4 | 0xd9 => (self.length(1)?, 0),
            0xc5 | 0xda => (self.length(2)?, 0),
            0xc6 | 0xdb => (self.length(4)?, 0),
            // Extensions have a byte for their kind.
            0xc7 => (self.length(1)? + 1, 0),
            0xc8 => (self.length(2)? + 1, 0),
            0xc9 => (self.length(4)?.saturating_add(1), 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            marker @ 0xd4..=0xd8 => ((1 << (marker - 0xd4)) + 1, 0),
            0xdc => (0, self.length(2)?),
            0xdd => (0, self.length(4)?),
            0xde => (0, 2 * self.length(2)?),
            0xdf => (0, self.length(4)?.saturating_mul(2)),
            0xc1 => return None,
        })
    }

    fn length(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)))
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(value: &rmpv::Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, value).unwrap();
        bytes
    }

    fn values() -> impl Strategy<Value = rmpv::Value> {
        use rmpv::Value;
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<f32>().prop_map(Value::from),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::from),
            "[a-z]{0,300}".prop_map(Value::from),
            (any::<i8>(), proptest::collection::vec(any::<u8>(), 0..40))
                .prop_map(|(kind, bytes)| Value::Ext(kind, bytes)),
        ];
        leaf.prop_recursive(3, 40, 18, |inner| {
            let many = proptest::collection::vec(inner.clone(), 0..18).prop_map(Value::Array);
            let fields = proptest::collection::vec((inner.clone(), inner), 0..18).prop_map(Value::Map);
            prop_oneof![many, fields]
        })
    }

    proptest! {
        #[test]
        fn every_value_is_skipped_whole(value in values(), more in proptest::collection::vec(any::<u8>(), 0..4)) {
            let bytes = [pack(&value), more.clone()].concat();
            let mut walk = Walk(&bytes);
            prop_assert_eq!(walk.skip(), Some(()));
            prop_assert_eq!(walk.0, &more[..]);
        }

        #[test]
        fn any_bytes_have_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(record_offset(&bytes) <= bytes.len());
            sender(&bytes, "chat");
        }
    }

    fn map(fields: Vec<(&str, rmpv::Value)>) -> rmpv::Value {
        rmpv::Value::Map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    #[test]
    fn a_sender_stands_behind_the_version_and_nowhere_else() {
        let of = |fields| sender(&pack(&map(fields)), "chat").map(|id| id.to_string());
        let id = "x".repeat(64);
        assert_eq!(of(vec![("v", 2.into()), ("chat", "chat-server-1".into())]).unwrap(), "chat-server-1");
        assert_eq!(of(vec![("v", 2.into()), ("chat", id.as_str().into()), ("a", 1.into())]).unwrap(), id);
        for fields in [
            vec![("v", 2.into()), ("connector", "a".into()), ("chat", "a".into())],
            vec![("chat", "a".into()), ("v", 2.into())],
            vec![("v", 2.into()), ("chat", "a.b".into())],
            vec![("v", 2.into()), ("chat", rmpv::Value::from(&b"a"[..]))],
            vec![("v", 2.into())],
        ] {
            assert_eq!(of(fields), None);
        }
    }

    #[test]
    fn a_record_is_the_last_bin() {
        let record = vec![7; 300];
        let answer = map(vec![("room", "a".into()), ("record", record.clone().into())]);
        let ended = |answer: rmpv::Value| pack(&map(vec![("v", 2.into()), ("answer", answer)]));
        let bytes = ended(map(vec![("record", answer.clone())]));
        assert_eq!(record_offset(&bytes), bytes.len() - record.len());
        let followed = pack(&map(vec![("answer", map(vec![("record", answer.clone())])), ("v", 2.into())]));
        for bytes in
            [ended("alive".into()), ended(map(vec![("attached", answer)])), followed, [&bytes[..], &[0]].concat()]
        {
            assert_eq!(record_offset(&bytes), bytes.len());
        }
    }
}
