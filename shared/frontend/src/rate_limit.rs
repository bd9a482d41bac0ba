//! The limits of a session's input, in the order in which they are checked: package size, flood,
//! rate limit. Pure; times are arguments.

use tokio::time::Instant;

use model::settings::SessionSettings;

/// Packages of any kind are a flood above this many times the rate of requests.
// Heartbeats and acks are packages, too, and are not counted as requests.
const FLOOD: u32 = 10;

/// Tokens that come back with time.
#[derive(Debug)]
struct TokenBucket {
    per_sec: f32,
    most: f32,
    tokens: f32,
    at: Instant,
}

impl TokenBucket {
    fn full(per_sec: u32, most: u32, now: Instant) -> Self {
        // Settings are bounded far below where f32 loses units.
        let (per_sec, most) = (per_sec as f32, most as f32);
        Self { per_sec, most, tokens: most, at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let back = now.saturating_duration_since(self.at).as_secs_f32() * self.per_sec;
        self.tokens = (self.tokens + back).min(self.most);
        self.at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// The filters of one session.
#[derive(Debug)]
pub struct RateLimit {
    before_enter: usize,
    after_enter: usize,
    packages: TokenBucket,
    requests: TokenBucket,
}

impl RateLimit {
    /// Filters of a session that begins now.
    pub fn new(settings: &SessionSettings, now: Instant) -> Self {
        let (rate, burst) = (settings.requests_per_sec, settings.request_burst);
        Self {
            before_enter: settings.max_package_before_enter,
            after_enter: settings.max_package,
            packages: TokenBucket::full(rate.saturating_mul(FLOOD), burst.saturating_mul(FLOOD), now),
            requests: TokenBucket::full(rate, burst, now),
        }
    }

    /// First: bytes that a package's body may have.
    pub fn max_body(&self, entered: bool) -> usize {
        if entered { self.after_enter } else { self.before_enter }
    }

    /// Second: takes a token of the flood limit. Returns false if the package is one too many.
    pub fn take_package(&mut self, now: Instant) -> bool {
        self.packages.take(now)
    }

    /// Third: takes a token of the rate limit. Returns false if the request is one too many.
    pub fn take_message(&mut self, now: Instant) -> bool {
        self.requests.take(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_the_rate() {
        let settings = SessionSettings { requests_per_sec: 2, request_burst: 3, ..SessionSettings::default() };
        let start = Instant::now();
        let mut rate_limit = RateLimit::new(&settings, start);
        let allowed = (0..10).filter(|_| rate_limit.take_message(start)).count();
        assert_eq!(allowed, 3);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..10).filter(|_| rate_limit.take_message(later)).count(), 2);
        let much_later = start + Duration::from_secs(100);
        assert_eq!((0..10).filter(|_| rate_limit.take_message(much_later)).count(), 3);
        assert_eq!((0..100).filter(|_| rate_limit.take_package(start)).count(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn less_is_taken_before_entering() {
        let rate_limit = RateLimit::new(&SessionSettings::default(), Instant::now());
        assert_eq!((rate_limit.max_body(false), rate_limit.max_body(true)), (4 * 1024, 64 * 1024));
    }
}
