//! A user as the application knows it: what a token of the application says.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::act::Profile;
use crate::ids::{Name, Uid};
use crate::permissions::Grants;

/// The code of a refused token.
const DENIED: u16 = 401;

/// A user whose token was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user's id, the claim `sub`.
    pub uid: Uid,
    /// The name in rooms; `None` if the client may choose one.
    pub name: Option<Name>,
    /// JSON that member lists show, the claim `info`.
    pub info: Option<Arc<str>>,
    /// The claims `rooms` and `roles`; `None` if they grant nothing.
    pub grants: Option<Arc<Grants>>,
    /// The time at which the token was issued, Unix seconds; 0 if it does not say.
    pub issued_at: u64,
    /// The end of the token's time, Unix seconds.
    pub expires_at: u64,
}

impl Principal {
    /// Returns what members and entries have of it, but for the rights in a room.
    pub fn profile(&self) -> Profile {
        Profile { uid: Some(self.uid.clone()), rights: None, info: self.info.clone() }
    }

    /// Returns what the token grants.
    pub fn grants(&self) -> &Grants {
        static NONE: Grants = Grants { rooms: Vec::new(), roles: Vec::new() };
        self.grants.as_deref().unwrap_or(&NONE)
    }
}

/// The user of a session, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Content of the token.
    pub principal: Principal,
    /// The time at which the token was verified, in ticks of the connector.
    pub since: u64,
    /// The end of the token's time, in ticks of the connector.
    // The wall clock is read once, when the token is verified: a session does not end because a
    // clock is set.
    pub until: u64,
}

/// The reason for which a client is not the user that its token names: a stable word, a colon, a
/// sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRefusal {
    code: u16,
    reason: Cow<'static, str>,
}

impl LoginRefusal {
    /// The token is refused for a reason.
    pub fn new(word: &str, reason: &dyn fmt::Display) -> Self {
        Self { code: DENIED, reason: format!("{word}: {reason}").into() }
    }

    /// There is no token, and there must be one.
    pub fn missing() -> Self {
        Self::denied("token-missing: log in with a token of the application")
    }

    /// The token's time is over.
    pub fn expired() -> Self {
        Self::denied("token-expired: the token's time is over; get a new one")
    }

    /// The servers read no tokens.
    pub fn off() -> Self {
        Self::denied("token-bad: the servers read no tokens")
    }

    /// The servers have no keys yet, so no token can be verified; a client tries again.
    pub fn no_keys() -> Self {
        Self { code: 503, reason: Cow::Borrowed("no-keys: the servers have no keys for tokens yet; try again") }
    }

    const fn denied(reason: &'static str) -> Self {
        Self { code: DENIED, reason: Cow::Borrowed(reason) }
    }

    /// The code of the response.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The reason of the response.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
