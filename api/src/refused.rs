//! A command that was refused or failed: the code and the reason of its response. The codes are
//! those of HTTP.

use std::borrow::Cow;
use std::fmt;

use model::record::Refusal;
use runtime::metrics::ApiResponses;

use crate::rooms::Outcome;

/// The code and the reason of a response: a stable word, a colon, a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The code, which is also the status over HTTP.
    pub code: u16,
    /// The reason.
    pub reason: Cow<'static, str>,
}

impl Refused {
    /// A refusal for a fixed reason.
    pub const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }

    /// A request that is wrong by itself.
    pub fn bad(word: &str, text: impl fmt::Display) -> Self {
        Self { code: 400, reason: format!("{word}: {text}").into() }
    }

    /// The key does not allow the command.
    pub fn scope(scope: crate::keys::Scope) -> Self {
        Self { code: 403, reason: format!("not-allowed: this key has no scope {scope:?}", scope = scope.name()).into() }
    }

    /// Seconds after which a client may try again; `None` where that would not help.
    pub fn retry_after(&self) -> Option<u32> {
        matches!(self.code, 429 | 503).then_some(1)
    }
}

/// The key is not for the room.
pub(crate) const NOT_FOR_ROOM: Refused = Refused::new(403, "not-allowed: this key is not for this room");
/// The room belongs to the servers.
pub(crate) const RESERVED_ROOM: Refused =
    Refused::new(403, "not-allowed: rooms that begin with ~ belong to the servers");
/// The command concerns all rooms.
pub(crate) const NOT_FOR_ALL_ROOMS: Refused =
    Refused::new(403, "not-allowed: the command needs a key for all rooms, \"rooms\": [\"*\"]");
/// There are no users.
pub(crate) const AUTH_OFF: Refused = Refused::new(409, "auth-off: auth.mode is \"off\", so there are no users");
/// Too many commands of the key.
pub(crate) const RATE: Refused = Refused::new(429, "rate: this key has sent more commands than its rate allows");
/// Too many commands wait.
pub(crate) const BUSY: Refused = Refused::new(429, "room-busy: too many commands wait; nothing was done");
/// Too many requests are answered.
pub(crate) const TOO_MANY_REQUESTS: Refused =
    Refused::new(429, "too-many-requests: the server answers as many requests as it may");
/// There is no response.
pub(crate) const UNKNOWN: Refused =
    Refused::new(503, "unknown: there is no response in time; repeat it with the same idempotency key");

/// Counts the response of a request.
pub(crate) fn count<T>(result: &Result<T, Refused>, counts: &ApiResponses) {
    match result.as_ref().map_err(|refused| refused.code) {
        Ok(_) => counts.done.add(),
        Err(401 | 403) => counts.key.add(),
        Err(429) => counts.overload.add(),
        Err(500..) => counts.unknown.add(),
        Err(_) => counts.refused.add(),
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.reason();
        // Clients of the chat get 500 where Pomelo's demo has that, which is a defect of the server
        // to a caller over HTTP.
        let code = match refusal.code() {
            500 if reason.starts_with("bad-") => 400,
            500 if reason.starts_with("no-such-") => 404,
            500 => 409,
            code => code,
        };
        Self { code, reason: Cow::Borrowed(reason) }
    }
}

impl<T> Outcome<T> {
    /// Returns it as the result of a command.
    pub(crate) fn into_result(self) -> Result<T, Refused> {
        match self {
            Self::Done(done) => Ok(done),
            Self::Refused(refusal) => Err(refusal.into()),
            Self::Busy => Err(BUSY),
            Self::Unknown => Err(UNKNOWN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_the_codes_of_http() {
        for (refusal, code) in [
            (Refusal::BadContent, 400),
            (Refusal::NoSuchMember, 404),
            (Refusal::NameTaken, 409),
            (Refusal::RoomFull, 409),
            (Refusal::TooMany, 409),
            (Refusal::KeyReused, 409),
            (Refusal::TooLong, 413),
            (Refusal::RoomShare, 429),
            (Refusal::LogReserve, 507),
        ] {
            assert_eq!(Refused::from(refusal).code, code, "{refusal:?}");
        }
    }
}
