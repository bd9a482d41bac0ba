//! Every reason for a kick. A kick carries its reason to the client;
//! after a plain close clients reconnect.

use bytes::Bytes;
use runtime::metrics::{Counter, KickCounters};
use wire::Kick;

/// The reason for a kick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KickReason {
    /// It reads too slowly: more waited for it than may.
    Slow,
    /// Its name in its room is another session's.
    NameTaken,
    /// Its client came back through another connection.
    Resumed,
    /// Its token expired, and its client brought no new one.
    Expired,
    /// Its user has a newer session under its name, or too many of them.
    Replaced,
    /// A moderator or the application made it leave its room.
    Expelled,
    /// Its user may not be in its room.
    Banned,
    /// It used a route that only an attacker uses.
    Attack,
    /// It sends packages at many times the allowed rate.
    Flood,
}

impl KickReason {
    /// The reason, as clients receive it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::NameTaken => "name-taken",
            Self::Resumed => "resumed",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Expelled => "expelled",
            Self::Banned => "banned",
            Self::Attack => "attack",
            Self::Flood => "flood",
        }
    }

    /// The counter of its kicks.
    pub(super) fn counter(self, kicked: &KickCounters) -> &Counter {
        match self {
            Self::Slow => &kicked.slow,
            Self::NameTaken => &kicked.name_taken,
            Self::Resumed => &kicked.resumed,
            Self::Expired => &kicked.expired,
            Self::Replaced => &kicked.replaced,
            Self::Expelled => &kicked.expelled,
            Self::Banned => &kicked.banned,
            Self::Attack => &kicked.attack,
            Self::Flood => &kicked.flood,
        }
    }

    /// The kick, framed.
    pub(super) fn package(self) -> Bytes {
        let kick = Kick { reason: self.as_str().to_owned() };
        // A text always has a JSON form, so the default, no bytes, is never sent.
        kick.to_package().and_then(|package| package.encode()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kick_has_the_bytes_that_the_original_client_parses() {
        assert_eq!(&KickReason::Attack.package()[..], b"\x05\x00\x00\x13{\"reason\":\"attack\"}");
    }
}
