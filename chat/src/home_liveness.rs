//! Homes of rooms that another chat server is asked about: whether they live, as this server itself finds. Pure.
//!
//! A connector that takes a home for down may be wrong. So a candidate asks the home itself before it acts, once a second at most,
//! and lets go of the home's rooms when it answers. Whoever is wrong about it, the log has one chain.

use std::collections::BTreeMap;

use shared::ids::ServerId;

/// Milliseconds for which an answer, or its absence, is believed.
const BELIEVED_MS: u64 = 1_000;

/// What is known of the homes that this server was asked to stand in for.
#[derive(Debug, Default)]
pub(crate) struct Homes {
    homes: BTreeMap<ServerId, Home>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Home {
    /// When it was asked last, and whether it answered.
    seen: Option<(u64, bool)>,
    is_asked: bool,
}

/// What a candidate is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The home lives: its rooms are its own.
    Alive,
    /// The home is down: stand in for it.
    Down,
    /// The home is to be asked now.
    Ask,
    /// The home is being asked.
    Wait,
}

impl Homes {
    /// Whether a home lives. After [`Verdict::Ask`] the answer is awaited.
    pub(crate) fn look(&mut self, home: &ServerId, ticks: u64) -> Verdict {
        let known = self.homes.entry(home.clone()).or_default();
        match known.seen {
            Some((at, alive)) if ticks.saturating_sub(at) < BELIEVED_MS => {
                if alive {
                    Verdict::Alive
                } else {
                    Verdict::Down
                }
            }
            _ if std::mem::replace(&mut known.is_asked, true) => Verdict::Wait,
            _ => Verdict::Ask,
        }
    }

    /// The home answered, or did not.
    pub(crate) fn record_probe(&mut self, home: &ServerId, is_alive: bool, ticks: u64) {
        self.homes.insert(home.clone(), Home { seen: Some((ticks, is_alive)), is_asked: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_asked_once_a_second_at_most() {
        let (mut homes, home) = (Homes::default(), ServerId::new("chat-server-1").unwrap());
        assert_eq!(homes.look(&home, 0), Verdict::Ask);
        assert_eq!(homes.look(&home, 400), Verdict::Wait);
        homes.record_probe(&home, false, 500);
        assert_eq!(homes.look(&home, 1_499), Verdict::Down);
        assert_eq!(homes.look(&home, 1_500), Verdict::Ask);
        homes.record_probe(&home, true, 1_510);
        assert_eq!(homes.look(&home, 2_000), Verdict::Alive);
    }
}
