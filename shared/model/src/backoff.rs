//! Exponential backoff with jitter for one operation that is retried. Pure; time and chance are
//! arguments.

/// Milliseconds of jitter of the first retry, at most.
// The first retry comes as soon as without backoff: most failures are short.
const FIRST_JITTER_MS: u64 = 50;

/// Milliseconds that a policy waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Before the first retry. Each further delay is twice the one before.
    pub first_ms: u64,
    /// Longest delay without its jitter, which adds up to half as much.
    pub longest_ms: u64,
}

/// The failures of one operation in a row, and the time of its next retry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    retry_at: u64,
}

impl Policy {
    /// The delay after this many failures before the present one, drawn with these random bits.
    pub fn delay(self, failures: u32, chance: u64) -> u64 {
        // Bounded, because a shift by 64 would overflow: an operation may fail for days.
        let doubled = self.first_ms.saturating_mul(1 << failures.min(32));
        let delay = doubled.min(self.longest_ms.max(self.first_ms));
        let jitter = if failures == 0 { (delay / 2).min(FIRST_JITTER_MS) } else { delay / 2 };
        delay + chance % jitter.max(1)
    }
}

impl Backoff {
    /// Notes a failure and returns the time of the next retry. A failure before that time is the
    /// same one: several requests that fail together count once.
    pub fn fail(&mut self, policy: Policy, now: u64, chance: u64) -> u64 {
        if self.retry_at <= now {
            self.retry_at = now + policy.delay(self.failures, chance);
            self.failures = self.failures.saturating_add(1);
        }
        self.retry_at
    }

    /// Notes a success: the next failure is the first one.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Derives random bits for one of several members from the bits that all of them were given.
pub fn draw(chance: u64, member: u64) -> u64 {
    // Each member draws its own bits, and the same ones again when a simulation is repeated. The
    // finalizer of SplitMix64, in which each bit of the input changes half of the output.
    let mut bits = chance.wrapping_add(member.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const POLICY: Policy = Policy { first_ms: 100, longest_ms: 1_300 };

    /// The delays of retries that all fail.
    fn delays(seed: u64, retries: u64) -> Vec<u64> {
        let (mut backoff, mut now) = (Backoff::default(), 0);
        let delay = |retry| {
            let before = now;
            now = backoff.fail(POLICY, now, draw(seed, retry));
            now - before
        };
        (0..retries).map(delay).collect()
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        for seed in 0..100 {
            let delays = delays(seed, 20);
            for (retry, delay) in delays.iter().enumerate() {
                let low = (100 << retry.min(10)).min(1_300);
                assert!((low..=low + low / 2).contains(delay), "{delays:?}");
            }
            assert!(delays[0] < 150, "the first retry is soon: {delays:?}");
        }
    }

    #[test]
    fn members_draw_delays_of_their_own() {
        let late: BTreeSet<u64> = (0..1_000).map(|seed| delays(seed, 10)[9]).collect();
        assert!(late.len() > 400, "{} of 650 possible delays", late.len());
        let drawn: BTreeSet<u64> = (0..1_000).map(|member| draw(7, member) % 1_000).collect();
        assert!(drawn.len() > 550, "{}", drawn.len());
    }

    #[test]
    fn failures_before_the_retry_count_once() {
        let mut backoff = Backoff::default();
        let retry_at = backoff.fail(POLICY, 1_000, 0);
        assert_eq!(backoff.fail(POLICY, 1_001, 99), retry_at);
        assert_eq!(backoff.fail(POLICY, retry_at, 0) - retry_at, 200);
    }

    #[test]
    fn a_success_begins_anew() {
        let mut backoff = Backoff::default();
        let mut now = 0;
        (0..10).for_each(|_| now = backoff.fail(POLICY, now, 0));
        backoff.reset();
        assert_eq!(backoff.fail(POLICY, now, 0), now + 100);
    }
}
