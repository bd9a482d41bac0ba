//! Homes of rooms that another chat server is asked about: whether they live, as this server itself finds. Pure.
//!
//! A connector that takes a home for down may be wrong. So a candidate asks the home itself before it acts, once a second at most,
//! and lets go of the home's rooms when it answers. Whoever is wrong about it, the log has one chain.

use std::collections::BTreeMap;

use model::ids::ServerId;

/// Milliseconds for which an answer, or its absence, is believed.
const PROBE_VALID_MS: u64 = 1_000;

/// What is known of the homes that this server was asked to stand in for.
#[derive(Debug, Default)]
pub(crate) struct HomeLiveness {
    homes: BTreeMap<ServerId, HomeStatus>,
}

#[derive(Debug, Default, Clone, Copy)]
struct HomeStatus {
    /// When it was asked last, and whether it answered.
    last_probe: Option<(u64, bool)>,
    is_probing: bool,
}

/// What a candidate is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HomeState {
    /// The home lives: its rooms are its own.
    Alive,
    /// The home is down: stand in for it.
    Down,
    /// The home is to be asked now.
    ProbeNow,
    /// The home is being asked.
    Probing,
}

impl HomeLiveness {
    /// Whether a home lives. After [`HomeState::ProbeNow`] the answer is awaited.
    pub(crate) fn check(&mut self, home: &ServerId, ticks: u64) -> HomeState {
        let known = self.homes.entry(home.clone()).or_default();
        match known.last_probe {
            Some((at, alive)) if ticks.saturating_sub(at) < PROBE_VALID_MS => {
                if alive {
                    HomeState::Alive
                } else {
                    HomeState::Down
                }
            }
            _ if std::mem::replace(&mut known.is_probing, true) => HomeState::Probing,
            _ => HomeState::ProbeNow,
        }
    }

    /// The home answered, or did not.
    pub(crate) fn record_probe(&mut self, home: &ServerId, is_alive: bool, ticks: u64) {
        self.homes.insert(home.clone(), HomeStatus { last_probe: Some((ticks, is_alive)), is_probing: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_asked_once_a_second_at_most() {
        let (mut homes, home) = (HomeLiveness::default(), ServerId::new("chat-server-1").unwrap());
        assert_eq!(homes.check(&home, 0), HomeState::ProbeNow);
        assert_eq!(homes.check(&home, 400), HomeState::Probing);
        homes.record_probe(&home, false, 500);
        assert_eq!(homes.check(&home, 1_499), HomeState::Down);
        assert_eq!(homes.check(&home, 1_500), HomeState::ProbeNow);
        homes.record_probe(&home, true, 1_510);
        assert_eq!(homes.check(&home, 2_000), HomeState::Alive);
    }
}
