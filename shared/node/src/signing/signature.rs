//! The signed content of a message, its signature, and verification. Pure.

use std::fmt;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use model::ids::ServerId;

/// Prefix of a signature, an HMAC-SHA256 over [`Signed`].
const VERSION: &str = "v1=";

/// Signatures that a header may have: one per key of the receiver, which has two while it changes
/// them.
pub(super) const MOST: usize = 2;

/// The common key of two servers. Shows nothing of itself.
#[derive(Clone)]
pub struct PairKey(Hmac<Sha256>);

impl PairKey {
    /// With the key hashed in, once for all messages.
    pub(super) fn new(key: &[u8; 32]) -> Self {
        // As HMAC has it: a key that is shorter than a block is followed by zeros.
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        Self(Hmac::new(&block.into()))
    }

    /// The signature of a message between the two.
    pub fn sign(&self, signed: &Signed<'_>) -> String {
        let tag = self.mac(signed).finalize().into_bytes();
        format!("{VERSION}{}", HEXLOWER.encode(&tag))
    }

    /// Returns true if a signature in the header's value is of this message, by the other of the
    /// two servers.
    pub fn verifies(&self, signed: &Signed<'_>, header: &str) -> bool {
        // Bounded: an attacker writes the header, and each signature in it costs an HMAC.
        let tags = header.split(',').take(MOST).filter_map(|signature| signature.strip_prefix(VERSION));
        let mut tags = tags.filter_map(|tag| HEXLOWER.decode(tag.as_bytes()).ok());
        // Compared in constant time: a wrong tag reveals nothing of the right one.
        tags.any(|tag| self.mac(signed).verify_slice(&tag).is_ok())
    }

    fn mac(&self, Signed { sender, subject, reply, head, record }: &Signed<'_>) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for text in [sender.as_str(), subject, reply.unwrap_or_default()] {
            mac.update(text.as_bytes());
            mac.update(&[0]);
        }
        mac.update(head);
        mac.update(record);
        mac
    }
}

impl fmt::Debug for PairKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairKey(..)")
    }
}

/// The signed content of a message: sender 0x00 subject 0x00 reply 0x00 SHA-256(head)
/// SHA-256(record).
///
/// The record ends the payload, and the head is all before it. So a record is hashed once for all
/// its receivers.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    sender: &'a ServerId,
    subject: &'a str,
    reply: Option<&'a str>,
    head: [u8; 32],
    record: [u8; 32],
}

impl<'a> Signed<'a> {
    /// A message of `sender` to `subject` that wants its response at `reply`. `record` is the
    /// digest of its last part, which is not in `head`; none for a message without one.
    pub fn new(
        sender: &'a ServerId,
        (subject, reply): (&'a str, Option<&'a str>),
        head: &[u8],
        record: Option<[u8; 32]>,
    ) -> Self {
        let record = record.unwrap_or_else(|| Sha256::digest([]).into());
        Self { sender, subject, reply, head: Sha256::digest(head).into(), record }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;

    use super::*;
    use crate::signing::Seed;

    fn id(text: &str) -> ServerId {
        ServerId::new(text).unwrap()
    }

    fn digest(bytes: &[u8]) -> Option<[u8; 32]> {
        Some(Sha256::digest(bytes).into())
    }

    /// The pair's key, as each of the two has it. Made once: agreements take long without
    /// optimisation.
    fn pair() -> &'static [PairKey; 2] {
        static PAIR: OnceLock<[PairKey; 2]> = OnceLock::new();
        PAIR.get_or_init(|| {
            let (a, b) = (Seed::new([1; 32]), Seed::new([2; 32]));
            [a.pair(&id("a"), &id("b"), &b.public()), b.pair(&id("b"), &id("a"), &a.public())]
        })
    }

    #[test]
    fn both_have_the_same_key_and_no_other_pair_has() {
        let [mine, theirs] = pair();
        let (sender, where_to) = (id("a"), ("chat.b", Some("connector.a.reply.1")));
        let signed = Signed::new(&sender, where_to, b"head", digest(b"record"));
        let header = mine.sign(&signed);
        assert!(theirs.verifies(&signed, &header));
        let (a, b) = (Seed::new([1; 32]), Seed::new([2; 32]));
        let other_ids = a.pair(&id("a"), &id("c"), &b.public());
        let other_key = a.pair(&id("a"), &id("b"), &Seed::new([3; 32]).public());
        assert!(!other_ids.verifies(&signed, &header) && !other_key.verifies(&signed, &header));
        assert_eq!(format!("{mine:?}"), "PairKey(..)");
    }

    #[test]
    fn one_right_signature_of_two_is_enough_and_further_ones_are_not_looked_at() {
        let [key, _] = pair();
        let sender = id("a");
        let signed = Signed::new(&sender, ("chat.b", None), b"", None);
        let (right, wrong) = (key.sign(&signed), format!("v1={}", "0".repeat(64)));
        for (header, verifies) in [
            (format!("{wrong},{right}"), true),
            (format!("{right},{wrong}"), true),
            (format!("{wrong},{wrong},{right}"), false),
            (right.to_uppercase(), false),
            (right.replace("v1=", "v2="), false),
            (right[..right.len() - 2].to_owned(), false),
            ("v1=".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(key.verifies(&signed, &header), verifies, "{header}");
        }
    }

    /// A payload, cut into head and record.
    #[derive(Debug, Clone, PartialEq)]
    struct Message {
        sender: String,
        subject: String,
        reply: String,
        payload: Vec<u8>,
        cut: usize,
    }

    impl Message {
        fn with(&self, act: impl Fn(&Signed<'_>) -> bool) -> bool {
            let (head, record) = self.payload.split_at(self.cut);
            let sender = id(&self.sender);
            let reply = Some(self.reply.as_str()).filter(|reply| !reply.is_empty());
            act(&Signed::new(&sender, (&self.subject, reply), head, digest(record)))
        }
    }

    fn messages() -> impl Strategy<Value = Message> {
        let payload = proptest::collection::vec(any::<u8>(), 1..80);
        (("[a-z0-9-]{1,9}", "[a-z.]{1,9}", "[a-z.]{0,9}"), payload, any::<prop::sample::Index>()).prop_map(
            |((sender, subject, reply), payload, cut)| {
                let cut = cut.index(payload.len() + 1);
                Message { sender, subject, reply, payload, cut }
            },
        )
    }

    proptest! {
        #[test]
        fn another_message_has_another_signature(one in messages(), other in messages()) {
            let [key, peer] = pair();
            let header = std::cell::RefCell::new(String::new());
            one.with(|signed| { *header.borrow_mut() = key.sign(signed); true });
            prop_assert!(one.with(|signed| peer.verifies(signed, &header.borrow())));
            prop_assert_eq!(other.with(|signed| peer.verifies(signed, &header.borrow())), one == other);
        }

        #[test]
        fn any_flipped_bit_is_found(one in messages(), which in 0..5_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let [key, peer] = pair();
            let header = std::cell::RefCell::new(String::new());
            one.with(|signed| { *header.borrow_mut() = key.sign(signed); true });
            let (mut other, mut header) = (one.clone(), header.into_inner());
            match which {
                0 => { let index = at.index(other.payload.len()); other.payload[index] ^= 1 << bit; }
                1 => other.sender.push('x'),
                2 => other.subject.insert(at.index(other.subject.len()), 'x'),
                3 => other.reply.push('x'),
                _ => {
                    let digits = "v1=".len() + at.index(header.len() - "v1=".len());
                    let flipped = if header.as_bytes()[digits] == b'0' { "1" } else { "0" };
                    header.replace_range(digits..=digits, flipped);
                }
            }
            prop_assert!(!other.with(|signed| peer.verifies(signed, &header)));
        }
    }
}
