//! Every reason for which an owner refuses a client's request, with the code and the text of the
//! response.

use serde::{Deserialize, Serialize};

/// The reason for the refusal of a proposal's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Another session has the name in this room.
    NameTaken,
    /// The room has as many members as it may.
    RoomFull,
    /// The session is not in the room.
    NotMember,
    /// A whisper's target is not in the room.
    NoSuchMember,
    /// `rid` of the message is not the session's room.
    WrongRoom,
    /// `content` is missing, an object or a list.
    BadContent,
    /// `target` is missing, or neither a string nor a whole number.
    BadTarget,
    /// `id` is neither a string of 1 to 64 characters nor a whole number.
    BadId,
    /// `data` is longer than allowed.
    BadData,
    /// The body is not a JSON object.
    BadBody,
    /// `content` is longer than allowed.
    TooLong,
    /// `content` has a forbidden word.
    Forbidden,
    /// The log is nearly full, and the room has written more than its share of it.
    RoomShare,
    /// The log is so full that it takes no messages.
    LogReserve,
    /// The room's table for such an act is full.
    TooMany,
    /// The id of an act was used for another act.
    KeyReused,
    /// The member has no right to it, or the target is a moderator.
    NotAllowed,
    /// A rule forbids the member to send, until then in Unix milliseconds; 0: without an end.
    Muted(u64),
    /// A rule forbids the user to be in the room, until then; 0: without an end.
    Banned(u64),
    /// The member sent less long ago than the room demands; milliseconds until it may again.
    Slow(u64),
}

impl Refusal {
    /// The `code` of the client's response: 500 where Pomelo's demo has that, HTTP's codes
    /// elsewhere.
    pub fn code(self) -> u16 {
        match self {
            Self::TooLong => 413,
            Self::Forbidden | Self::NotAllowed | Self::Muted(_) | Self::Banned(_) => 403,
            Self::RoomShare | Self::Slow(_) => 429,
            Self::LogReserve => 507,
            Self::KeyReused => 409,
            // The code of errors in Pomelo's demo, which its clients expect.
            Self::NameTaken
            | Self::RoomFull
            | Self::NotMember
            | Self::NoSuchMember
            | Self::WrongRoom
            | Self::BadContent
            | Self::BadTarget
            | Self::BadId
            | Self::BadData
            | Self::BadBody
            | Self::TooMany => 500,
        }
    }

    /// The `reason` of the client's response.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NameTaken => "name-taken: another session has this name in the room",
            Self::RoomFull => "room-full: the room has as many members as it may",
            Self::NotMember => "not-in-room: enter a room first",
            Self::NoSuchMember => "no-such-member: the target is not in the room",
            Self::WrongRoom => "wrong-room: rid is not the room that this session entered",
            Self::BadContent => {
                "bad-content: content must be a string, a number or a boolean; send an object or a list as its JSON text"
            }
            Self::BadTarget => "bad-target: target must be \"*\" or the name of a member",
            Self::BadId => "bad-id: id must be a string of 1 to 64 characters, or a whole number",
            Self::BadData => "bad-data: data is longer than 4,096 bytes as JSON",
            Self::BadBody => "bad-body: the body must be a JSON object, with numbers that a double holds",
            Self::TooLong => "too-long: content is longer than allowed",
            Self::Forbidden => "forbidden: content has a word that may not be said",
            Self::RoomShare => "room-share: the log is nearly full, and this room has written its share of it",
            Self::LogReserve => "log-reserve: the log is nearly full, and takes no messages now",
            Self::TooMany => "too-many: the room has as many of these as it may",
            Self::KeyReused => "key-reused: this idempotency key belongs to another request",
            Self::NotAllowed => "not-allowed: this client has no right to this, or the target is a moderator",
            Self::Muted(_) => "muted: a moderator muted this user",
            Self::Banned(_) => "banned: this user may not enter the room",
            Self::Slow(_) => "slow: the room allows fewer messages of one member",
        }
    }

    /// The end of the rule that refuses, in Unix milliseconds; 0 for one without an end.
    pub fn until(self) -> Option<u64> {
        match self {
            Self::Muted(until) | Self::Banned(until) => Some(until),
            _ => None,
        }
    }

    /// Milliseconds after which a repeat is not refused for this reason.
    pub fn retry(self) -> Option<u64> {
        if let Self::Slow(retry) = self { Some(retry) } else { None }
    }
}
