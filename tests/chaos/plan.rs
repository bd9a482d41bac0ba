//! The faults and their times: a pure function of the seed.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Chat servers, connectors.
pub(crate) const SERVERS: usize = 3;

/// Faults of a phase that is not short; about three minutes.
const FAULTS: usize = 28;

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// `kill -9` of the broker, and a start with what it had stored.
    BrokerKilled,
    /// The broker stands still for three seconds; connections stay open.
    BrokerFrozen,
    /// A chat server has no connection to the broker for a while.
    ChatCut,
    /// A connector has no connection to the broker for a while.
    ConnectorCut,
    /// One record on its way to a connector is lost; connections stay as they are.
    RecordLost,
    /// Many clients lose their connections with messages on the way, and come back at once, or too
    /// late, or elsewhere.
    ClientsCut,
    /// `kill -9` of a chat server, and an immediate start.
    ChatKilled,
    /// `kill -9` of a chat server, and a start only after a while, when its rooms are served
    /// without it.
    ChatDead,
    /// A chat server is asked to end, hands its rooms over, and starts again.
    ChatStopped,
    /// A chat server is frozen, and goes on as if nothing had been.
    ChatFrozen,
    /// `kill -9` of a connector, and an immediate start. Most of its clients come back, some too
    /// late, some never.
    ConnectorKilled,
    /// A connector is asked to end, sends its clients elsewhere, and starts again.
    ConnectorStopped,
    /// A connector stands still for less than its lease; every other time clients go elsewhere as
    /// it begins.
    ConnectorFrozen,
    /// `kill -9` of a connector, and a start only when its lease is over and the users that
    /// departed with it are forgotten.
    ConnectorDead,
    /// A connector stands still for longer than its lease, and finds its sessions gone from their
    /// rooms.
    ConnectorForgotten,
    /// A chat server is taken out of `servers.json`, and put back in another place.
    ServersChanged,
    /// A chat server is started, added to `servers.json`, taken out and stopped.
    ChatAdded,
    /// The wall clock of a chat server jumps, by seconds to a day, then that of its next run, which
    /// starts at once.
    ChatClock,
    /// The same of a connector, which ends in order and starts again.
    ConnectorClock,
}

impl Fault {
    pub(crate) const ALL: [Self; 19] = [
        Self::BrokerKilled,
        Self::BrokerFrozen,
        Self::ChatCut,
        Self::ConnectorCut,
        Self::RecordLost,
        Self::ClientsCut,
        Self::ChatKilled,
        Self::ChatDead,
        Self::ChatStopped,
        Self::ChatFrozen,
        Self::ConnectorKilled,
        Self::ConnectorStopped,
        Self::ConnectorFrozen,
        Self::ConnectorDead,
        Self::ConnectorForgotten,
        Self::ServersChanged,
        Self::ChatAdded,
        Self::ChatClock,
        Self::ConnectorClock,
    ];

    /// Returns true if a server stays down until others were seen to serve without it.
    pub(crate) fn leaves_server_down(self) -> bool {
        matches!(self, Self::ChatDead | Self::ConnectorDead)
    }

    /// Returns true if servers notice the fault each at its own moment, after it was injected.
    pub(crate) fn is_seen_later(self) -> bool {
        matches!(self, Self::ServersChanged | Self::ChatAdded)
    }

    /// Returns true if the fault occurs in a phase. A lease, or a change and its opposite twice,
    /// take too long for a short one.
    fn occurs(self, is_short: bool) -> bool {
        !is_short || !matches!(self, Self::ConnectorDead | Self::ConnectorForgotten | Self::ChatAdded)
    }

    /// The range of the duration, in milliseconds.
    fn duration(self, is_short: bool) -> Range<u64> {
        match self {
            Self::ChatDead if is_short => 2_000..2_001,
            Self::ChatDead | Self::ConnectorDead => 3_000..8_000,
            Self::ChatFrozen if is_short => 3_000..3_001,
            Self::ChatFrozen => 2_000..8_000,
            Self::ConnectorFrozen if is_short => 1_000..3_000,
            Self::ConnectorFrozen => 1_000..5_000,
            Self::ConnectorForgotten => 9_000..12_000,
            // Who looks once a second sees both changes.
            Self::ServersChanged if is_short => 1_500..1_501,
            Self::ServersChanged | Self::ChatAdded => 500..6_000,
            _ if is_short => 200..3_000,
            _ => 200..4_000,
        }
    }
}

/// One fault, after a time of undisturbed talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) talk_ms: u64,
    pub(crate) kind: Fault,
    /// The index of the server of its type, for faults of one server.
    pub(crate) server: usize,
    /// The duration, for faults that have one. The least duration, where users must recover while
    /// the fault lasts.
    pub(crate) duration_ms: u64,
    /// Clients lose their connections when the fault begins.
    pub(crate) cuts_clients: bool,
    /// Milliseconds by which a wall clock is ahead from now on, and in the next run.
    pub(crate) ahead_ms: [i64; 2],
}

/// The error of a wall clock: seconds, minutes, hours, or a day, ahead or behind.
fn ahead_ms(chance: &mut StdRng) -> i64 {
    let most = [10_000, 600_000, 8 * 3_600_000, 24 * 3_600_000][chance.random_range(0..4)];
    chance.random_range(-most..=most)
}

/// Returns the faults of a phase. Each kind occurs; in a short phase once, and not those that take
/// long.
pub(crate) fn phase(seed: u64, number: u64, is_short: bool) -> Vec<Step> {
    let mut chance = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut kinds = Fault::ALL.to_vec();
    kinds.retain(|kind| kind.occurs(is_short));
    if !is_short {
        kinds.extend((Fault::ALL.len()..FAULTS).map(|_| Fault::ALL[chance.random_range(0..Fault::ALL.len())]));
    }
    kinds.shuffle(&mut chance);
    let talk = if is_short { 300..1_000 } else { 1_000..5_000 };
    let step = |kind| Step {
        ahead_ms: [ahead_ms(&mut chance), ahead_ms(&mut chance)],
        talk_ms: chance.random_range(talk.clone()),
        kind,
        server: chance.random_range(0..SERVERS),
        duration_ms: chance.random_range(kind.duration(is_short)),
        cuts_clients: kind == Fault::ClientsCut || kind == Fault::ConnectorFrozen && chance.random(),
    };
    kinds.into_iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_function_of_its_seed() {
        assert_eq!(phase(1, 2, false), phase(1, 2, false));
        assert_ne!(phase(1, 2, false), phase(1, 3, false));
        assert_ne!(phase(1, 2, false), phase(2, 2, false));
    }

    #[test]
    fn every_kind_occurs() {
        for is_short in [true, false] {
            let steps = phase(5, 0, is_short);
            let times = |kind: Fault| steps.iter().filter(|step| step.kind == kind).count();
            assert!(Fault::ALL.iter().all(|kind| (times(*kind) > 0) == kind.occurs(is_short)));
            assert!(!is_short || Fault::ALL.iter().all(|kind| times(*kind) <= 1));
            assert!(is_short || steps.len() == FAULTS);
        }
    }
}
