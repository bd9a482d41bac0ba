//! The time for which connectors hold requests, so that requests that arrive meanwhile share their
//! work: none under light load, longer the more work there is, up to a limit. Pure; times are
//! arguments.

use std::time::Duration;

use tokio::time::Instant;

/// Time over which the rates of requests and pushes are estimated.
const WINDOW: Duration = Duration::from_millis(50);

/// Pushes to sessions that are as much work as one request.
// A batch of requests shares the writes to the sessions of a room, so few requests in a large room
// gain as much from a hold as many in small rooms.
const PUSHES_PER_REQUEST: f64 = 128.0;

/// Work, in requests, whose arrival within the limit makes holds as long as the limit. With less
/// work, holds are shorter in proportion.
// Steeper would hold the requests of middling work for longer than the next one takes to arrive,
// which costs the median more than it saves; flatter would wake the processes more often just when
// processors are busy.
const FULL_WORK: f64 = 7.0;

/// Requests that fill a hold.
// A batch of twice as many saves little more, and clients that wait for responses before they send
// again would send less.
const FULL: f64 = 32.0;

/// Least number of requests that are expected to arrive during a hold; with fewer, there is none.
const COMPANIONS: f64 = 1.0;

/// The rule of the holds.
#[derive(Debug)]
pub struct AdaptiveHold {
    limit: Duration,
    /// Start of the current window.
    since: Instant,
    current: Work,
    /// Work in the window before the current one.
    previous: Work,
    end: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Work {
    requests: u64,
    pushes: u64,
}

impl AdaptiveHold {
    /// Creates the rule at `now`, before any work. No hold is longer than `limit`.
    pub fn new(limit: Duration, now: Instant) -> Self {
        Self { limit, since: now, current: Work::default(), previous: Work::default(), end: None }
    }

    /// Counts requests.
    pub fn record_requests(&mut self, count: usize, now: Instant) {
        self.advance(now);
        self.current.requests = self.current.requests.saturating_add(count as u64);
    }

    /// Counts pushes to sessions.
    pub fn record_pushes(&mut self, count: usize, now: Instant) {
        self.advance(now);
        self.current.pushes = self.current.pushes.saturating_add(count as u64);
    }

    /// Returns the end of the hold for requests of which the first arrived at `first`; `None` if
    /// they need not wait. A hold that lasts is joined, so that all connectors of a process work at
    /// the same times.
    pub fn begin(&mut self, first: Instant, now: Instant) -> Option<Instant> {
        if self.end(now).is_none() {
            self.end = Some(first + self.length(now));
        }
        self.end(now)
    }

    /// Returns the end of the hold that lasts at `now`.
    pub fn end(&self, now: Instant) -> Option<Instant> {
        self.end.filter(|end| *end > now)
    }

    fn length(&mut self, now: Instant) -> Duration {
        self.advance(now);
        // A window that has just begun says little, so the one before it counts for the part that
        // the new one lacks.
        let elapsed = now.saturating_duration_since(self.since);
        let lacking = WINDOW.saturating_sub(elapsed).div_duration_f64(WINDOW);
        let per_second =
            |current: u64, previous: u64| (current as f64 + previous as f64 * lacking) / WINDOW.as_secs_f64();
        let requests = per_second(self.current.requests, self.previous.requests);
        let pushes = per_second(self.current.pushes, self.previous.pushes);
        let work = requests + pushes / PUSHES_PER_REQUEST;
        let length = self.limit.mul_f64((work * self.limit.as_secs_f64() / FULL_WORK).min(1.0));
        let length = length.min(Duration::try_from_secs_f64(FULL / requests).unwrap_or(Duration::MAX));
        if requests * length.as_secs_f64() < COMPANIONS { Duration::ZERO } else { length }
    }

    fn advance(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < WINDOW {
            return;
        }
        (self.previous, self.since) =
            if elapsed < WINDOW * 2 { (self.current, self.since + WINDOW) } else { (Work::default(), now) };
        self.current = Work::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(3);
    const SECOND: Duration = Duration::from_secs(1);

    /// Length of the hold after a second of requests at equal distances, each pushed to so many
    /// sessions.
    fn length_after(limit: Duration, per_second: u32, members: usize) -> Duration {
        let start = Instant::now();
        let mut hold = AdaptiveHold::new(limit, start);
        for number in 0..per_second {
            let now = start + SECOND * number / per_second;
            hold.record_requests(1, now);
            hold.record_pushes(members, now);
        }
        let now = start + SECOND;
        hold.begin(now, now).map_or(Duration::ZERO, |end| end - now)
    }

    fn is_about(length: Duration, micros: u64) -> bool {
        length.abs_diff(Duration::from_micros(micros)) < Duration::from_micros(150)
    }

    #[test]
    fn light_load_is_not_held() {
        for (per_second, members) in [(0, 4), (1, 4), (500, 4), (50, 100), (200, 100), (69, 1_000)] {
            assert_eq!(length_after(LIMIT, per_second, members), Duration::ZERO, "{per_second}/s to {members}");
        }
    }

    #[test]
    fn the_hold_grows_with_the_load_towards_the_limit() {
        for (per_second, members, micros) in
            [(1_000, 4, 1_326), (2_000, 4, 2_652), (4_000, 4, 3_000), (690, 100, 1_580)]
        {
            let length = length_after(LIMIT, per_second, members);
            assert!(is_about(length, micros), "{per_second}/s to {members}: {length:?}");
        }
    }

    #[test]
    fn a_hold_gathers_no_more_than_fill_it() {
        for (per_second, micros) in [(8_000, 3_000), (16_000, 2_000), (64_000, 500)] {
            let length = length_after(LIMIT, per_second, 4);
            assert!(is_about(length, micros), "{per_second}/s: {length:?}");
        }
    }

    #[test]
    fn a_burst_after_silence_is_not_held_at_first() {
        let start = Instant::now();
        let mut hold = AdaptiveHold::new(LIMIT, start);
        hold.record_requests(30, start);
        assert_eq!(hold.begin(start, start), None);
        hold.record_requests(70, start);
        assert!(hold.begin(start, start).is_some_and(|end| is_about(end - start, 2_571)));
    }

    #[test]
    fn load_is_forgotten_within_two_windows() {
        let start = Instant::now();
        let loaded = || {
            let mut hold = AdaptiveHold::new(LIMIT, start);
            hold.record_requests(100_000, start);
            hold
        };
        let (soon, later) = (start + WINDOW, start + WINDOW * 2);
        assert!(loaded().begin(soon, soon).is_some());
        assert_eq!(loaded().begin(later, later), None);
    }

    #[test]
    fn a_hold_begins_with_the_first_request_and_is_joined_until_it_ends() {
        let first = Instant::now();
        let mut hold = AdaptiveHold::new(LIMIT, first);
        hold.record_requests(200, first);
        let seen = first + LIMIT / 3;
        let end = hold.begin(first, seen).unwrap();
        assert!(is_about(end - first, 3_000));
        // A second connector.
        assert_eq!(hold.begin(seen, seen), Some(end));
        assert_eq!((hold.end(seen), hold.end(end)), (Some(end), None));
        // The task came so late that these requests have waited long enough.
        assert_eq!(hold.begin(first, end), None);
        assert!(hold.begin(end, end).is_some_and(|next| next > end));
    }

    #[test]
    fn a_limit_of_zero_turns_holds_off() {
        assert_eq!(length_after(Duration::ZERO, 100_000, 100), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_hold_is_never_above_its_limit(
            limit in 0_u64..100_000,
            steps in prop::collection::vec((0_u64..200_000, 0_usize..1_000_000, any::<bool>()), 0..50),
        ) {
            let limit = Duration::from_micros(limit);
            let mut now = Instant::now();
            let mut hold = AdaptiveHold::new(limit, now);
            for (micros, count, is_request) in steps {
                now += Duration::from_micros(micros);
                if is_request { hold.record_requests(count, now) } else { hold.record_pushes(count, now) }
                prop_assert!(hold.begin(now, now).is_none_or(|end| end <= now + limit));
            }
        }

        #[test]
        fn more_work_is_held_no_shorter(
            steps in prop::collection::vec((0_u64..60_000, 0_usize..1_000, 0_usize..1_000), 1..50),
            requests in 0_usize..100,
        ) {
            let mut now = Instant::now();
            let (mut less, mut more) = (AdaptiveHold::new(LIMIT, now), AdaptiveHold::new(LIMIT, now));
            for (micros, pushes, added) in steps {
                now += Duration::from_micros(micros);
                for (hold, pushes) in [(&mut less, pushes), (&mut more, pushes + added)] {
                    hold.record_requests(requests, now);
                    hold.record_pushes(pushes, now);
                }
                prop_assert!(less.length(now) <= more.length(now));
            }
        }

        #[test]
        fn silence_ends_every_hold(
            requests in 0_usize..1_000_000,
            pushes in 0_usize..1_000_000,
            silence in 100_u64..100_000,
        ) {
            let start = Instant::now();
            let mut hold = AdaptiveHold::new(LIMIT, start);
            hold.record_requests(requests, start);
            hold.record_pushes(pushes, start);
            let now = start + Duration::from_millis(silence);
            prop_assert_eq!(hold.begin(now, now), None);
        }
    }
}
