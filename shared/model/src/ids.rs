//! Identifiers, parsed once at the edge. An invalid one cannot be built, so no client can inject a
//! subject.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest room id or member name, in characters (Unicode scalar values).
pub const MAX_NAME_CHARS: usize = 64;

/// Longest server id, in bytes; it becomes a token of NATS subjects.
pub const MAX_SERVER_ID_BYTES: usize = 64;

/// Longest id of a user or of the author of an act, in bytes.
pub const MAX_UID_BYTES: usize = 128;

/// The room of all rooms: its rules, revocations and erasures concern every room.
const ALL_ROOMS: &str = "~all";

/// The fault of a text that is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdError {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text has more characters than the kind of id allows.
    #[error("is longer than {0} characters")]
    TooLong(usize),
    /// The text has more bytes than the kind of id allows.
    #[error("is longer than {0} bytes")]
    TooLarge(usize),
    /// The text has a character that the kind of id does not allow.
    #[error("contains {0:?}, which is not allowed")]
    BadChar(char),
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and keeps `text`.
            pub fn new(text: &str) -> Result<Self, IdError> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The id as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

id!(
    /// The `id` of an entry of `servers.json`, for example `chat-server-1`.
    ///
    /// ASCII letters, digits, `-` and `_`, at most [`MAX_SERVER_ID_BYTES`]: it is a NATS subject
    /// token as it is.
    ServerId,
    check_server_id
);
id!(
    /// A room's name, `rid` in Pomelo's words: 1 to [`MAX_NAME_CHARS`] characters, no control
    /// characters, no `*`.
    RoomId,
    check_name
);
id!(
    /// A member's name in a room, `username` or `uid` in Pomelo's words; the same rules as
    /// [`RoomId`].
    Name,
    check_name
);

id!(
    /// A user: the `sub` of a token, 1 to [`MAX_UID_BYTES`] bytes without control characters.
    Uid,
    check_uid
);
id!(
    /// The author of an act: a moderator's [`Uid`], or the id of an API key.
    Actor,
    check_uid
);

/// Begins the ids of rooms that clients cannot enter.
const RESERVED: char = '~';

impl RoomId {
    /// Returns the room of all rooms.
    pub fn of_all_rooms() -> Self {
        Self(ALL_ROOMS.into())
    }

    /// Returns true if this is the room of all rooms.
    pub fn is_of_all_rooms(&self) -> bool {
        self.as_str() == ALL_ROOMS
    }

    /// Returns true for a room of the system, which clients cannot enter.
    pub fn is_reserved(&self) -> bool {
        self.as_str().starts_with(RESERVED)
    }
}

fn check_uid(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_UID_BYTES {
        return Err(IdError::TooLarge(MAX_UID_BYTES));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(bad) => Err(IdError::BadChar(bad)),
        None => Ok(()),
    }
}

fn check_server_id(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_SERVER_ID_BYTES {
        return Err(IdError::TooLong(MAX_SERVER_ID_BYTES));
    }
    // A dot would split the token of a subject, and `*` and `>` are wildcards.
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-' && *c != '_') {
        Some(bad) => Err(IdError::BadChar(bad)),
        None => Ok(()),
    }
}

fn check_name(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.chars().nth(MAX_NAME_CHARS).is_some() {
        return Err(IdError::TooLong(MAX_NAME_CHARS));
    }
    // `*` addresses every member of a room, so it cannot name one.
    match text.chars().find(|c| c.is_control() || *c == '*') {
        Some(bad) => Err(IdError::BadChar(bad)),
        None => Ok(()),
    }
}

/// One run of a server: the milliseconds of its start above 16 random bits. A server that learns of
/// a higher incarnation of its own id continues as the next one above that.
// Time first, so that a later run is higher where the clock is right.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// Start of the year 2100 in Unix milliseconds.
// Incarnations beyond it come from wrong clocks or wrong senders.
const YEAR_2100_MS: u64 = 4_102_444_800_000;

/// Latest start of a server; a clock that is further ahead counts as this.
// Far enough below the year 2100 for all the incarnations that servers continue as, each one above
// another.
const LATEST_START_MS: u64 = YEAR_2100_MS - 366 * 24 * 3_600_000;

/// Bits of a start that are added where a process continues above a known incarnation; fewer than
/// [`PLAUSIBLE_STEPS`] allows.
const MOST_ABOVE: u64 = (1 << 15) - 1;

/// Distance above a known incarnation up to which one from after the year 2100 is plausible.
const PLAUSIBLE_STEPS: u64 = 1 << 16;

impl Incarnation {
    /// The incarnation of a server that starts at `start_ms` (Unix milliseconds).
    pub fn new(start_ms: u64, random: u16) -> Self {
        Self((start_ms.min(LATEST_START_MS) << 16) | u64::from(random))
    }

    /// The incarnation above this one for a process that started as `start`.
    pub fn above(self, start: Self) -> Self {
        // Two processes that learn of the same incarnation must differ: the distance has bits of
        // the random part of `start`.
        Self(self.0.saturating_add(1 + (start.0 & MOST_ABOVE)))
    }

    /// Returns false for an incarnation that a server with the known one `known` must refuse.
    pub fn is_plausible(self, known: Self) -> bool {
        // The present time is not compared, since the clock may be wrong.
        self.0 < YEAR_2100_MS << 16 || self.0 <= known.0.saturating_add(PLAUSIBLE_STEPS)
    }
}

/// One client connection on one connector, unique for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId {
    /// The connector of the connection.
    pub connector: ServerId,
    /// The run of that connector.
    pub incarnation: Incarnation,
    /// The number of the connection within that run.
    pub number: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_by_characters_not_bytes() {
        assert!(Name::new(&"😀".repeat(MAX_NAME_CHARS)).is_ok());
        assert_eq!(Name::new(&"a".repeat(MAX_NAME_CHARS + 1)), Err(IdError::TooLong(MAX_NAME_CHARS)));
        assert_eq!(Name::new(""), Err(IdError::Empty));
        assert_eq!(Name::new("a*b"), Err(IdError::BadChar('*')));
        assert_eq!(RoomId::new("a\u{7}"), Err(IdError::BadChar('\u{7}')));
    }

    #[test]
    fn server_ids_are_subject_tokens() {
        assert!(ServerId::new("chat-server_1").is_ok());
        assert_eq!(ServerId::new("chat.1"), Err(IdError::BadChar('.')));
        assert_eq!(ServerId::new("chat >"), Err(IdError::BadChar(' ')));
    }

    #[test]
    fn uids_are_checked_by_bytes() {
        assert!(Uid::new(&"a".repeat(MAX_UID_BYTES)).is_ok());
        assert_eq!(Uid::new(&"é".repeat(MAX_UID_BYTES / 2 + 1)), Err(IdError::TooLarge(MAX_UID_BYTES)));
        assert_eq!(Uid::new(""), Err(IdError::Empty));
        assert_eq!(Uid::new("a\n"), Err(IdError::BadChar('\n')));
    }

    #[test]
    fn later_incarnations_are_higher() {
        assert!(Incarnation::new(1_700_000_000_001, 0) > Incarnation::new(1_700_000_000_000, u16::MAX));
    }

    #[test]
    fn incarnations_of_the_far_future_are_refused_unless_they_are_close_to_a_known_one() {
        let unknown = Incarnation::default();
        let own = Incarnation::new(u64::MAX >> 16, u16::MAX);
        assert!(own.is_plausible(unknown), "a server whose clock is wrong starts with a plausible one");
        let far = Incarnation(YEAR_2100_MS << 16);
        assert!(!far.is_plausible(unknown) && !far.is_plausible(own));
        assert!(far.is_plausible(Incarnation(far.0 - PLAUSIBLE_STEPS)));
        assert!(!far.is_plausible(Incarnation(far.0 - PLAUSIBLE_STEPS - 1)));
        assert!(!Incarnation(u64::MAX).is_plausible(own) && Incarnation(u64::MAX).is_plausible(Incarnation(u64::MAX)));
    }
}
