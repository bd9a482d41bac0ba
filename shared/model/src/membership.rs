//! Tokens and memberships. A membership is a name in a room from its join to its leave: the
//! client keeps the secret token, the log keeps its digest. Pure.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::{Actor, Name, RoomId, Uid};

/// Hexadecimal digits of a token.
const TOKEN_DIGITS: usize = 32;

/// The secret with which a client comes back to its membership: 128 random bits, 32 hexadecimal
/// digits towards clients. In the hands of a user it proves a membership of that user alone.
// Bytes, so that an absent one takes one byte more, not sixteen: each session has two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token {
    random: [u8; 16],
    /// First bytes of a digest of the user; zeros for a client without one.
    user: [u8; 8],
}

impl Token {
    /// The token of these bits, which must come from an unpredictable generator, for a client
    /// without a user.
    pub fn new(random: u128) -> Self {
        Self { random: random.to_be_bytes(), user: NO_USER }
    }

    /// The same token, of a user.
    #[must_use]
    pub fn of_user(self, uid: Option<&Uid>) -> Self {
        let user = uid.map(|uid| first_bytes(&[b"user", uid.as_str().as_bytes()]));
        Self { user: user.unwrap_or(NO_USER), ..self }
    }

    /// Reads what [`Token::to_string`](ToString) wrote; `None` for everything else.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digits = text.len() == TOKEN_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_digits.then(|| u128::from_str_radix(text, 16).ok())?.map(Self::new)
    }

    /// The membership that this token proves, as the log names it. The token cannot be derived from
    /// it.
    pub fn membership(&self) -> Membership {
        // The log keeps a digest, so a reader of the log cannot enter as a member. The words keep
        // it apart from digests of messages, and memberships of users from others.
        Membership(match self.user {
            NO_USER => first_bytes(&[b"membership", &self.random]),
            // A stolen token proves nothing: neither the place in the room, nor that whispers were
            // for its holder, which no owner could check later.
            user => first_bytes(&[b"membership of", &self.random, &user]),
        })
    }
}

/// The user of a client that has none.
const NO_USER: [u8; 8] = [0; 8];

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.random))
    }
}

/// Shows nothing of the secret, which must not appear in logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token of {:?}", self.membership())
    }
}

/// A membership, as the log names it: the first 16 bytes of a SHA-256 over its [`Token`].
#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Membership(#[serde(with = "serde_bytes")] [u8; 16]);

impl Membership {
    /// The idempotency key of a message with this client `id`: the same for a repeat by this
    /// membership, and for no other message.
    pub fn message(&self, id: &str) -> MessageId {
        MessageId(u64::from_be_bytes(first_bytes(&[b"message", &self.0, id.as_bytes()])))
    }

    /// The membership as the sender of messages.
    pub fn sender(&self) -> Sender {
        // Already a digest: its first bytes are as good as another one.
        Sender::new(std::array::from_fn(|at| self.0.get(at).copied().unwrap_or_default()))
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A client's `id` of a message, within its membership.
// 8 bytes, so that a state with thousands of them stays small. Two of the `MAX_IDS` ids that a room
// remembers are the same by chance with a probability of one in 2^40.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(u64);

impl MessageId {
    /// The id of an act of the application: the same for a repeat with this idempotency key by this
    /// API key, in this room and at this index of a batch, and for no other act.
    pub fn of_act(by: &Actor, room: &RoomId, idempotency_key: &str, index: u32) -> Self {
        let length = |text: &str| (text.len() as u64).to_be_bytes();
        let (by, room) = (by.as_str(), room.as_str());
        let parts = [
            b"api",
            &length(by)[..],
            by.as_bytes(),
            &length(room),
            room.as_bytes(),
            &index.to_be_bytes(),
            idempotency_key.as_bytes(),
        ];
        Self(u64::from_be_bytes(first_bytes(&parts)))
    }
}

/// The sender of a message, as the deduplication window counts ids.
// 8 bytes, as of an id, also where there may be none: a state has thousands of them. A client that
// wants to be counted with another one would have to find its digest, which only the log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sender(NonZeroU64);

impl Sender {
    /// The sender of which only the name is known.
    pub fn named(name: &Name) -> Self {
        Self::new(first_bytes(&[b"sender", name.as_str().as_bytes()]))
    }

    fn new(digest: [u8; 8]) -> Self {
        Self(NonZeroU64::new(u64::from_be_bytes(digest)).unwrap_or(NonZeroU64::MIN))
    }
}

/// The first bytes of SHA-256 over parts of which only the last may vary in length.
pub(crate) fn first_bytes<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    // Only the last part varies in length, so no two lists of parts have the same bytes.
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let digest = hash.finalize();
    std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_from_its_text() {
        let token = Token::new(0xfeed);
        assert_eq!(token.to_string().len(), TOKEN_DIGITS);
        assert_eq!(Token::parse(&token.to_string()), Some(token));
        for bad in ["", "feed", "+000000000000000000000000000feed", &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(Token::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_secret() {
        let token = Token::new(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        assert!(!format!("{token:?}").contains("9abc"));
    }

    #[test]
    fn a_token_proves_the_membership_of_its_user_alone() {
        let [ann, bob] = ["4711", "4712"].map(|uid| Uid::new(uid).unwrap());
        let token = Token::new(0xfeed);
        let of_ann = token.of_user(Some(&ann));
        assert_eq!(of_ann.to_string(), token.to_string(), "clients see nothing of it");
        let memberships = [token, of_ann, token.of_user(Some(&bob))].map(|token| token.membership());
        assert_eq!(std::collections::BTreeSet::from(memberships).len(), 3);
        assert_eq!(of_ann.of_user(Some(&bob)).membership(), memberships[2]);
        assert_eq!(of_ann.of_user(None), token);
    }

    /// Stored in logs: another release must come to the same.
    #[test]
    fn digests_never_change() {
        let membership = Token::new(1).membership();
        assert_eq!(format!("{membership:?}"), GOLDEN_MEMBERSHIP);
        assert_eq!(membership.message("m1"), MessageId(GOLDEN_MESSAGE));
        assert_ne!(membership.message("m1"), Token::new(2).membership().message("m1"));
        let uid = Uid::new("4711").unwrap();
        assert_eq!(format!("{:?}", Token::new(1).of_user(Some(&uid)).membership()), GOLDEN_MEMBERSHIP_OF_USER);
        assert_eq!(membership.sender().0.get(), GOLDEN_SENDER);
        assert_eq!(Sender::named(&Name::new("ann").unwrap()).0.get(), GOLDEN_NAMED_SENDER);
        let (by, room) = (Actor::new("shop").unwrap(), RoomId::new("lobby").unwrap());
        assert_eq!(MessageId::of_act(&by, &room, "order-1", 0), MessageId(GOLDEN_ACT));
    }

    #[test]
    fn an_act_has_the_id_of_its_key_room_and_index() {
        let id = |by: &str, room: &str, key: &str, index| {
            MessageId::of_act(&Actor::new(by).unwrap(), &RoomId::new(room).unwrap(), key, index)
        };
        let ids = [id("a", "b", "c", 0), id("ab", "b", "c", 0), id("a", "bb", "c", 0), id("a", "b", "c", 1)];
        let more = [id("a", "b", "bc", 0), id("a", "bc", "", 0), id("a", "b", "d", 0)];
        assert_eq!(std::collections::BTreeSet::from_iter(ids.into_iter().chain(more)).len(), 7);
    }

    const GOLDEN_MEMBERSHIP: &str = "75fb41127ada2ee98c0e0b527cb68054";
    const GOLDEN_MEMBERSHIP_OF_USER: &str = "8c2ea7f52b3c7c470955077f3e40e580";
    const GOLDEN_SENDER: u64 = 0x75fb_4112_7ada_2ee9;
    const GOLDEN_NAMED_SENDER: u64 = 0xf922_2af2_b58c_f595;
    const GOLDEN_ACT: u64 = 0xe7d5_31a8_b4c6_f6eb;
    const GOLDEN_MESSAGE: u64 = 0xacd0_7f32_1cc0_4f30;
}
