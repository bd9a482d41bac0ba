//! Failure detectors: the state of another server, from the misses since its last sign of life.
//! Pure; the caller decides when a miss is due, and passes ticks.
//!
//! Connectors, chat servers and gates each have one; ARCHITECTURE.md has a table of what is a sign
//! of life and a miss to them. A server that is *leaving* announces that itself, so it is no result
//! of a detector.

/// State of a server, as the failure detector of another one sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerState {
    /// It has given a sign of life lately, or was never expected to.
    Up,
    /// It has missed some, which may be chance.
    Suspected,
    /// It counts as ended until its next sign of life.
    Down,
}

/// Misses in a row after which a server is suspected, and after which it is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// First misses of a suspected server.
    pub suspected: u32,
    /// First misses of a server that is down.
    pub down: u32,
}

impl Thresholds {
    /// Of heartbeats and probes, which are sent twice a second.
    // A dead server is down after 1 to 1.5 seconds. With one miss alone every lost message would
    // reroute rooms or users.
    pub const HEARTBEATS: Self = Self { suspected: 1, down: 2 };

    /// Of the silence of a connector, in seconds; `lease_secs` is `room.lease_secs`.
    // Connectors send two heartbeats a second, so four in a row were lost when one is suspected.
    // That is much shorter than the lease: a wrong suspicion costs a member its name only if
    // another client asks for it, while a wrong "down" removes the member.
    pub const fn silence(lease_secs: u32) -> Self {
        Self { suspected: 2, down: lease_secs }
    }

    /// Returns the state of a server after this many misses in a row.
    pub fn state(self, misses: u32) -> PeerState {
        match misses {
            misses if misses >= self.down => PeerState::Down,
            misses if misses >= self.suspected => PeerState::Suspected,
            _ => PeerState::Up,
        }
    }
}

/// Failure detector for one server: counts its misses in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailureDetector {
    misses: u32,
}

impl FailureDetector {
    /// Returns the state of the server.
    pub fn state(self, thresholds: Thresholds) -> PeerState {
        thresholds.state(self.misses)
    }

    /// Returns true if the server is down.
    pub fn is_down(self, thresholds: Thresholds) -> bool {
        self.state(thresholds) == PeerState::Down
    }

    /// Records a sign of life. Returns true if there were misses before it.
    pub fn record_alive(&mut self) -> bool {
        std::mem::take(&mut self.misses) > 0
    }

    /// Records a miss.
    pub fn record_miss(&mut self) {
        self.misses = self.misses.saturating_add(1);
    }

    /// Records a proof that the server is down, which is as good as all misses.
    pub fn record_down(&mut self, thresholds: Thresholds) {
        self.misses = self.misses.max(thresholds.down);
    }
}

/// Ticks of the last two messages of one incarnation of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastMessages {
    last_at: Option<u64>,
    previous_at: Option<u64>,
}

impl LastMessages {
    /// Records a message.
    pub fn record(&mut self, ticks: u64) {
        self.previous_at = self.last_at.replace(ticks);
    }

    /// Returns the milliseconds since the last message, or since the start.
    pub fn silence(self, ticks: u64) -> u64 {
        ticks.saturating_sub(self.last_at.unwrap_or_default())
    }

    /// Returns true until there were two messages.
    pub fn is_single(self) -> bool {
        self.previous_at.is_none()
    }

    /// Returns true if the last two messages arrived within the lease.
    // A single message may be a stray one of a run that has ended.
    pub fn is_live(self, ticks: u64, lease_ms: u64) -> bool {
        self.previous_at.is_some_and(|before| ticks.saturating_sub(before) < lease_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const LEASE: Thresholds = Thresholds::silence(10);

    #[test]
    fn one_missed_heartbeat_is_a_suspicion_and_two_are_down() {
        use PeerState::{Down, Suspected, Up};
        let states = |thresholds: Thresholds| [0, 1, 2, 9, 10, u32::MAX].map(|misses| thresholds.state(misses));
        assert_eq!(states(Thresholds::HEARTBEATS), [Up, Suspected, Down, Down, Down, Down]);
        assert_eq!(states(LEASE), [Up, Up, Suspected, Suspected, Down, Down]);
    }

    #[test]
    fn a_proof_is_as_good_as_all_misses_and_no_better() {
        let mut detector = FailureDetector::default();
        detector.record_down(LEASE);
        assert!(detector.is_down(LEASE));
        detector.record_alive();
        assert_eq!(detector, FailureDetector::default());
    }

    #[test]
    fn a_run_is_live_after_two_messages_within_the_lease() {
        let mut messages = LastMessages::default();
        assert!(!messages.is_live(0, 10_000) && messages.is_single());
        messages.record(1_000);
        assert!(!messages.is_live(1_000, 10_000) && messages.is_single());
        messages.record(1_500);
        assert!(messages.is_live(10_999, 10_000) && !messages.is_live(11_000, 10_000) && !messages.is_single());
        assert_eq!(messages.silence(11_000), 9_500);
    }

    proptest! {
        /// The state depends on the misses since the last sign of life alone, and only gets worse
        /// until the next one.
        #[test]
        fn only_misses_in_a_row_count(misses in vec(any::<bool>(), 0..40), suspected in 1_u32..5, more in 0_u32..5) {
            let thresholds = Thresholds { suspected, down: suspected + more };
            let (mut detector, mut in_a_row, mut before) = (FailureDetector::default(), 0, PeerState::Up);
            for is_miss in misses {
                if is_miss {
                    detector.record_miss();
                    in_a_row += 1;
                    prop_assert!(detector.state(thresholds) >= before);
                } else {
                    detector.record_alive();
                    in_a_row = 0;
                    prop_assert_eq!(detector.state(thresholds), PeerState::Up);
                }
                before = detector.state(thresholds);
                prop_assert_eq!(before == PeerState::Down, in_a_row >= thresholds.down);
                prop_assert_eq!(before >= PeerState::Suspected, in_a_row >= thresholds.suspected);
            }
        }

        #[test]
        fn a_run_is_live_by_its_last_two_messages(steps in vec(0_u64..4_000, 0..20), later in 0_u64..12_000) {
            let (mut messages, mut times) = (LastMessages::default(), Vec::new());
            for step in steps {
                let at = times.last().unwrap_or(&0) + step;
                times.push(at);
                messages.record(at);
            }
            let now = times.last().unwrap_or(&0) + later;
            let recent = times.iter().rev().take(2).filter(|at| now - **at < 10_000).count();
            prop_assert_eq!(messages.is_live(now, 10_000), recent == 2);
            prop_assert_eq!(messages.silence(now), later);
        }
    }
}
