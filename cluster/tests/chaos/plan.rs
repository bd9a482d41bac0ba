//! What breaks and when: a pure function of the seed.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Chat servers, connectors.
pub(crate) const SERVERS: usize = 3;

/// Faults of an act that is not short; about two minutes.
const FAULTS: usize = 20;

/// What can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
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
    /// Many clients lose their connections with messages on the way, and come back at once, or too late, or elsewhere.
    ClientsCut,
    /// `kill -9` of a chat server, and an immediate start.
    ChatKilled,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::BrokerKilled,
        Self::BrokerFrozen,
        Self::ChatCut,
        Self::ConnectorCut,
        Self::RecordLost,
        Self::ClientsCut,
        Self::ChatKilled,
    ];
}

/// One thing that breaks, after people talked for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) talk_ms: u64,
    pub(crate) kind: Kind,
    /// Which of the servers of its type, where it concerns one.
    pub(crate) server: usize,
    /// How long it lasts, where it lasts.
    pub(crate) lasts_ms: u64,
}

/// The faults of an act. Each kind occurs; in a short act, once.
pub(crate) fn act(seed: u64, number: u64, is_short: bool) -> Vec<Step> {
    let mut chance = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut kinds = Kind::ALL.to_vec();
    if !is_short {
        kinds.extend((Kind::ALL.len()..FAULTS).map(|_| Kind::ALL[chance.random_range(0..Kind::ALL.len())]));
    }
    kinds.shuffle(&mut chance);
    let talk = if is_short { 500..1_500 } else { 1_000..5_000 };
    let step = |kind| Step {
        talk_ms: chance.random_range(talk.clone()),
        kind,
        server: chance.random_range(0..SERVERS),
        lasts_ms: chance.random_range(200..4_000),
    };
    kinds.into_iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_function_of_its_seed() {
        assert_eq!(act(1, 2, false), act(1, 2, false));
        assert_ne!(act(1, 2, false), act(1, 3, false));
        assert_ne!(act(1, 2, false), act(2, 2, false));
    }

    #[test]
    fn every_kind_occurs() {
        for is_short in [true, false] {
            let steps = act(5, 0, is_short);
            assert!(Kind::ALL.iter().all(|kind| steps.iter().any(|step| step.kind == *kind)));
            assert_eq!(steps.len(), if is_short { Kind::ALL.len() } else { FAULTS });
        }
    }
}
