//! Failure detector for homes: a failover candidate probes the home itself before it takes a room
//! over, and releases the room when the home responds. Pure.
//!
//! It does not use [`model::failure_detector`], which counts misses of heartbeats that are sent all
//! the time: here a request needs one result now, and that result expires.

use std::collections::BTreeMap;

use model::ids::ServerId;

/// Milliseconds for which the result of a probe is valid: a home is probed at most once per second.
const PROBE_VALID_MS: u64 = 1_000;

/// The last probe of each home for which this server was asked to take over.
#[derive(Debug, Default)]
pub(crate) struct HomeLiveness {
    homes: BTreeMap<ServerId, HomeStatus>,
}

#[derive(Debug, Default, Clone, Copy)]
struct HomeStatus {
    /// Ticks and result of the last probe; true if the home responded.
    last_probe: Option<(u64, bool)>,
    is_probing: bool,
}

/// The state of a home as far as the probes show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HomeState {
    /// The home responds: it owns its rooms.
    Up,
    /// The home is down: this server may take its rooms over.
    Down,
    /// The state is unknown; the caller must send a probe now.
    ProbeNow,
    /// A probe is in flight.
    Probing,
}

impl HomeLiveness {
    /// Returns the state of a home. After [`HomeState::ProbeNow`] the caller reports the result to
    /// [`Self::record_probe`].
    // The candidate does not rely on the connector's verdict: a connector that cannot reach the
    // home may be alone with that. A wrong verdict here costs time, not consistency, because
    // appends are compare-and-set.
    pub(crate) fn check(&mut self, home: &ServerId, ticks: u64) -> HomeState {
        let known = self.homes.entry(home.clone()).or_default();
        match known.last_probe {
            Some((at, alive)) if ticks.saturating_sub(at) < PROBE_VALID_MS => {
                if alive {
                    HomeState::Up
                } else {
                    HomeState::Down
                }
            }
            _ if std::mem::replace(&mut known.is_probing, true) => HomeState::Probing,
            _ => HomeState::ProbeNow,
        }
    }

    /// Records the result of a probe.
    pub(crate) fn record_probe(&mut self, home: &ServerId, is_alive: bool, ticks: u64) {
        self.homes.insert(home.clone(), HomeStatus { last_probe: Some((ticks, is_alive)), is_probing: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_probed_at_most_once_per_second() {
        let (mut homes, home) = (HomeLiveness::default(), ServerId::new("chat-server-1").unwrap());
        assert_eq!(homes.check(&home, 0), HomeState::ProbeNow);
        assert_eq!(homes.check(&home, 400), HomeState::Probing);
        homes.record_probe(&home, false, 500);
        assert_eq!(homes.check(&home, 1_499), HomeState::Down);
        assert_eq!(homes.check(&home, 1_500), HomeState::ProbeNow);
        homes.record_probe(&home, true, 1_510);
        assert_eq!(homes.check(&home, 2_000), HomeState::Up);
    }
}
