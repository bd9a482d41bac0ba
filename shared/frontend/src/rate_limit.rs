//! The limits of a session's input, in the order in which they are checked: package size, flood,
//! and what its requests cost: units, moves between rooms, bytes. Pure; times are arguments.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::settings::SessionSettings;
use runtime::metrics::{Counter, OverloadRefusals};
use tokio::time::Instant;
use wire::routes;

/// Packages of any kind are a flood above this many times the rate of requests.
// Heartbeats and acks are packages, too, and are not counted as requests.
const FLOOD: u32 = 10;

/// Bytes of a message that one unit pays.
const BYTES_PER_UNIT: usize = 4 * 1024;

/// Bytes per unit of the request rate that the byte rate allows at least.
// An operator who raises the one raises the other by it.
const LEAST_BYTES: u32 = 160;

/// The byte rate of a public address, in those of a session.
const SESSIONS_PER_ADDRESS: f64 = 16.0;

/// Moves between rooms at once.
const MOVES: f64 = 20.0;

/// Moves between rooms per second.
// Each is two records of a room's log, which has room for some thousands.
const MOVES_PER_SEC: f64 = 1.0;

/// Tokens that come back with time.
#[derive(Debug)]
pub struct TokenBucket {
    per_sec: f64,
    most: f64,
    tokens: f64,
    at: Instant,
}

impl TokenBucket {
    /// Returns a bucket with the most tokens.
    pub fn full(per_sec: f64, most: f64, now: Instant) -> Self {
        Self { per_sec, most, tokens: most, at: now }
    }

    fn refill(&mut self, now: Instant) {
        let back = now.saturating_duration_since(self.at).as_secs_f64() * self.per_sec;
        self.tokens = (self.tokens + back).min(self.most);
        self.at = self.at.max(now);
    }

    /// Returns true if there are so many tokens.
    pub fn has(&mut self, tokens: f64, now: Instant) -> bool {
        self.refill(now);
        self.tokens >= tokens
    }

    /// Returns true if it is as if nothing had been taken.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.has(self.most, now)
    }

    /// Takes tokens. Returns false, and takes none, if there are fewer.
    pub fn take(&mut self, tokens: f64, now: Instant) -> bool {
        let enough = self.has(tokens, now);
        if enough {
            self.tokens -= tokens;
        }
        enough
    }
}

/// Price of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Price {
    units: u32,
    moves: u32,
    /// Bytes that may be appended to a log.
    bytes: usize,
}

impl Price {
    fn of(route: &str, body: usize) -> Self {
        let units = |units| Self { units, moves: 0, bytes: 0 };
        match route {
            routes::SEND => {
                let steps = u32::try_from(body / BYTES_PER_UNIT).unwrap_or(u32::MAX);
                Self { units: steps.saturating_add(1), moves: 0, bytes: body }
            }
            routes::ENTER => Self { moves: 1, ..units(5) },
            routes::LEAVE => Self { moves: 1, ..units(1) },
            // A page may cost its chat server a thousand reads.
            // A signature takes as long as some messages.
            routes::HISTORY | routes::REFRESH => units(10),
            routes::MEMBERS => units(3),
            _ => units(1),
        }
    }
}

/// The bytes that all sessions of a public address may send.
#[derive(Debug, Clone)]
pub(crate) struct AddressRate(Arc<Mutex<TokenBucket>>);

impl AddressRate {
    pub(crate) fn new(settings: &SessionSettings, now: Instant) -> Self {
        let (per_sec, most) = byte_rate(settings);
        let bucket = TokenBucket::full(per_sec * SESSIONS_PER_ADDRESS, most * SESSIONS_PER_ADDRESS, now);
        Self(Arc::new(Mutex::new(bucket)))
    }

    /// Returns true if it is as if nothing had been sent.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.bucket().is_full(now)
    }

    fn take(&self, bytes: f64, now: Instant) -> bool {
        self.bucket().take(bytes, now)
    }

    fn bucket(&self) -> MutexGuard<'_, TokenBucket> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns bytes per second, and at once.
fn byte_rate(settings: &SessionSettings) -> (f64, f64) {
    let least = |units: u32| f64::from(units) * f64::from(LEAST_BYTES);
    // Settings are bounded far below where f64 loses units.
    let (rate, burst) = (settings.bytes_per_sec as f64, settings.byte_burst as f64);
    (rate.max(least(settings.requests_per_sec)), burst.max(least(settings.request_burst)))
}

/// The limit that refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateRefusal {
    /// `session.requests_per_sec`.
    Requests,
    /// Moves between rooms.
    Moves,
    /// `session.bytes_per_sec`.
    Bytes,
    /// The same of the client's address.
    AddressBytes,
}

impl RateRefusal {
    /// The counter of the limit.
    pub(crate) fn counter(self, refused: &OverloadRefusals) -> &Counter {
        match self {
            Self::Requests => &refused.requests,
            Self::Moves => &refused.moves,
            Self::Bytes => &refused.bytes,
            Self::AddressBytes => &refused.address_bytes,
        }
    }

    /// The reason, as clients get it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Requests => "rate: more requests than a session may send",
            Self::Moves => "rate: a session may enter and leave rooms once a second",
            Self::Bytes => "rate: more bytes than a session may send",
            Self::AddressBytes => "rate: more bytes than the sessions of an address may send",
        }
    }
}

/// The filters of one session.
#[derive(Debug)]
pub(crate) struct RateLimit {
    before_enter: usize,
    after_enter: usize,
    packages: TokenBucket,
    requests: TokenBucket,
    moves: TokenBucket,
    bytes: TokenBucket,
    address: Option<AddressRate>,
}

impl RateLimit {
    /// Filters of a session that begins now; `address` is shared by the sessions of its address.
    pub(crate) fn new(settings: &SessionSettings, address: Option<AddressRate>, now: Instant) -> Self {
        let (rate, burst) = (f64::from(settings.requests_per_sec), f64::from(settings.request_burst));
        let (bytes_per_sec, byte_burst) = byte_rate(settings);
        Self {
            before_enter: settings.max_package_before_enter,
            after_enter: settings.max_package,
            packages: TokenBucket::full(rate * f64::from(FLOOD), burst * f64::from(FLOOD), now),
            requests: TokenBucket::full(rate, burst, now),
            moves: TokenBucket::full(MOVES_PER_SEC, MOVES, now),
            bytes: TokenBucket::full(bytes_per_sec, byte_burst, now),
            address,
        }
    }

    /// First: bytes that a package's body may have.
    pub(crate) fn max_body(&self, entered: bool) -> usize {
        if entered { self.after_enter } else { self.before_enter }
    }

    /// Second: takes a token of the flood limit. Returns false if the package is one too many.
    pub(crate) fn take_package(&mut self, now: Instant) -> bool {
        self.packages.take(1.0, now)
    }

    /// Third: pays for a request with a body of this many bytes.
    pub(crate) fn take_message(&mut self, route: &str, body: usize, now: Instant) -> Result<(), RateRefusal> {
        let price = Price::of(route, body);
        // The burst is the most that a session can have: a dearer request costs that.
        let units = f64::from(price.units).min(self.requests.most);
        let bytes = (price.bytes as f64).min(self.bytes.most);
        // A refused request costs nothing: a client that asks too often would be locked out as long
        // as it does. The flood limit bounds refusals.
        if !self.requests.take(units, now) {
            return Err(RateRefusal::Requests);
        }
        if !self.moves.take(f64::from(price.moves), now) {
            return Err(RateRefusal::Moves);
        }
        if !self.bytes.has(bytes, now) {
            return Err(RateRefusal::Bytes);
        }
        if bytes > 0.0 && self.address.as_ref().is_some_and(|address| !address.take(bytes, now)) {
            return Err(RateRefusal::AddressBytes);
        }
        self.bytes.take(bytes, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings() -> SessionSettings {
        SessionSettings { requests_per_sec: 2, request_burst: 30, ..SessionSettings::default() }
    }

    /// Returns the number of such requests that are allowed now.
    fn allowed(rate_limit: &mut RateLimit, (route, body): (&str, usize), now: Instant) -> usize {
        (0..1_000).take_while(|_| rate_limit.take_message(route, body, now).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut rate_limit = RateLimit::new(&settings(), None, start);
        let send = (routes::SEND, 10);
        assert_eq!(allowed(&mut rate_limit, send, start), 30);
        assert_eq!(rate_limit.take_message(routes::SEND, 10, start), Err(RateRefusal::Requests));
        assert_eq!(allowed(&mut rate_limit, send, start + SECOND), 2);
        assert_eq!(allowed(&mut rate_limit, send, start + SECOND * 100), 30);
        assert_eq!((0..1_000).filter(|_| rate_limit.take_package(start)).count(), 300);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_cost_what_they_cost_the_servers() {
        let rows =
            [((routes::HISTORY, 0), 3), ((routes::MEMBERS, 0), 10), ((routes::ENTER, 100), 6), (("a.b.c", 9), 30)];
        let sends = [((routes::SEND, 4_095), 30), ((routes::SEND, 4_096), 15), ((routes::SEND, 16 * 1024), 6)];
        for (request, most) in rows.into_iter().chain(sends) {
            let start = Instant::now();
            let mut rate_limit = RateLimit::new(&settings(), None, start);
            assert_eq!(allowed(&mut rate_limit, request, start), most, "{request:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_dearer_than_the_burst_is_possible() {
        let start = Instant::now();
        let settings = SessionSettings { request_burst: 3, ..settings() };
        let mut rate_limit = RateLimit::new(&settings, None, start);
        assert_eq!(allowed(&mut rate_limit, (routes::HISTORY, 0), start), 1);
        assert_eq!(allowed(&mut rate_limit, (routes::HISTORY, 0), start + SECOND * 2), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_too_often_is_not_locked_out() {
        let start = Instant::now();
        let mut rate_limit = RateLimit::new(&settings(), None, start);
        let times = (0..10_000).map(|number| start + Duration::from_millis(number));
        let done = times.filter(|now| rate_limit.take_message(routes::SEND, 1, *now).is_ok()).count();
        assert_eq!(done, 30 + 19, "the burst, and two a second for ten seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn moves_between_rooms_are_rare() {
        let start = Instant::now();
        let settings = SessionSettings { requests_per_sec: 1_000, request_burst: 1_000, ..settings() };
        let mut rate_limit = RateLimit::new(&settings, None, start);
        assert_eq!(allowed(&mut rate_limit, (routes::LEAVE, 2), start), 20);
        assert_eq!(rate_limit.take_message(routes::ENTER, 9, start), Err(RateRefusal::Moves));
        assert_eq!(allowed(&mut rate_limit, (routes::ENTER, 9), start + SECOND), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_have_a_rate_per_session_and_address() {
        let start = Instant::now();
        let settings = SessionSettings {
            requests_per_sec: 10,
            request_burst: 1_000,
            bytes_per_sec: 2_000,
            byte_burst: 200_000,
            ..settings()
        };
        let send = (routes::SEND, 1_000);
        let mut rate_limit = RateLimit::new(&settings, None, start);
        assert_eq!(allowed(&mut rate_limit, send, start), 200);
        assert_eq!(rate_limit.take_message(routes::SEND, 1_000, start), Err(RateRefusal::Bytes));
        assert_eq!(allowed(&mut rate_limit, send, start + SECOND), 2);
        let address = AddressRate::new(&settings, start);
        let mut sessions: Vec<_> = (0..20).map(|_| RateLimit::new(&settings, Some(address.clone()), start)).collect();
        let sent: usize = sessions.iter_mut().map(|session| allowed(session, send, start)).sum();
        assert_eq!(sent, 16 * 200);
        assert_eq!(sessions[19].take_message(routes::SEND, 1_000, start), Err(RateRefusal::AddressBytes));
        assert_eq!(sessions[19].take_message(routes::MEMBERS, 1_000, start), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_higher_rate_of_requests_allows_more_bytes() {
        let (start, many) = (Instant::now(), 1_000_000);
        let settings = SessionSettings { requests_per_sec: many, request_burst: many, ..settings() };
        let mut rate_limit = RateLimit::new(&settings, None, start);
        assert_eq!(allowed(&mut rate_limit, (routes::SEND, 10_000), start), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn less_is_taken_before_entering() {
        let rate_limit = RateLimit::new(&SessionSettings::default(), None, Instant::now());
        assert_eq!((rate_limit.max_body(false), rate_limit.max_body(true)), (4 * 1024, 64 * 1024));
    }
}
