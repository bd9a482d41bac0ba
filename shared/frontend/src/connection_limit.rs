//! The limits of client connections: in all, for each address, and before their handshake is
//! complete.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use model::network::AddressGroup;
use model::settings::{FrontendSettings, SessionSettings};
use runtime::metrics::Metrics;
use tokio::time::Instant;

use super::open_files::max_process_connections;
use super::peer::Peer;
use super::rate_limit::AddressRate;

/// The last tenth of all connections is for addresses that have few.
// Otherwise a handful of addresses could keep all others out for as long as they like.
const SHARED_TENTHS: usize = 9;

/// Most connections of an address that has few.
const FEW: usize = 10;

/// Counts connections of one server. Clones count the same.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    counts: Mutex<Counts>,
    limits: Limits,
    session: SessionSettings,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Limits {
    all: usize,
    /// Of all gates and connectors of the process together.
    process: usize,
    per_address: usize,
    per_public_address: usize,
    handshakes: usize,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    handshakes: usize,
    by_address: HashMap<AddressGroup, AddressCount>,
    /// Addresses at which those without connections are looked for.
    sweep_at: usize,
}

#[derive(Debug)]
struct AddressCount {
    connections: usize,
    /// Only of public addresses. Outlives the connections until it is full again.
    // A client that connects anew would have a full one again and again.
    rate: Option<AddressRate>,
}

impl AddressCount {
    fn is_forgettable(&self, now: Instant) -> bool {
        self.connections == 0 && self.rate.as_ref().is_none_or(|rate| rate.is_full(now))
    }
}

/// Fewest addresses at which those without connections are looked for.
const SWEEP: usize = 1_024;

/// The limit that refuses a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `frontend.max_connections`, or the part of it that addresses with many connections may have.
    All,
    /// The limit of open files.
    Process,
    /// `frontend.max_connections_per_address`, or that of public addresses.
    Address,
    /// `frontend.max_handshakes`.
    Handshakes,
}

impl Refusal {
    /// The status of the response.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::All | Self::Process | Self::Handshakes => StatusCode::SERVICE_UNAVAILABLE,
            Self::Address => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The reason for operators, with the setting.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::All => {
                "there are frontend.max_connections connections, or nine tenths of them and its address has many"
            }
            Self::Process => "the process has as many connections as its limit of open files holds",
            Self::Address => {
                "its address has frontend.max_connections_per_address connections, or those of a public address"
            }
            Self::Handshakes => "frontend.max_handshakes connections have not completed their handshake",
        }
    }
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limit: ConnectionLimit,
    address: Option<AddressGroup>,
    rate: Option<AddressRate>,
    is_handshaking: bool,
}

impl ConnectionLimit {
    pub(super) fn new(settings: &FrontendSettings, session: SessionSettings, metrics: Arc<Metrics>) -> Self {
        let limits = Limits {
            all: settings.max_connections,
            process: max_process_connections(),
            per_address: settings.max_connections_per_address,
            per_public_address: settings.max_connections_per_public_address.min(settings.max_connections_per_address),
            handshakes: settings.max_handshakes,
        };
        Self(Arc::new(Inner { counts: Mutex::default(), limits, session, metrics }))
    }

    /// Counts a connection whose handshake is not complete; that of a proxy counts for no address
    /// until [`ConnectionPermit::resolve`].
    pub(super) fn admit(&self, peer: Peer) -> Result<ConnectionPermit, Refusal> {
        let mut counts = self.counts();
        if counts.all >= self.0.limits.all {
            return Err(Refusal::All);
        }
        let open = usize::try_from(self.0.metrics.connections.get()).unwrap_or_default();
        if open >= self.0.limits.process {
            return Err(Refusal::Process);
        }
        if counts.handshakes >= self.0.limits.handshakes {
            return Err(Refusal::Handshakes);
        }
        let (address, rate) = self.0.add_address(&mut counts, peer)?;
        counts.all += 1;
        counts.handshakes += 1;
        drop(counts);
        self.0.metrics.connections.add();
        Ok(ConnectionPermit { limit: self.clone(), address, rate, is_handshaking: true })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing panics while holding the lock.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add_address(
        &self,
        counts: &mut Counts,
        peer: Peer,
    ) -> Result<(Option<AddressGroup>, Option<AddressRate>), Refusal> {
        if peer.is_proxy {
            return Ok((None, None));
        }
        let (address, limits) = (AddressGroup::of(peer.address.ip()), &self.limits);
        let count = counts.by_address.get(&address).map_or(0, |count| count.connections);
        let most = if address.is_public() { limits.per_public_address } else { limits.per_address };
        if count >= most {
            return Err(Refusal::Address);
        }
        // Only public addresses are known to be one client's.
        let has_many = address.is_public() && count >= FEW;
        if has_many && counts.all >= limits.all / 10 * SHARED_TENTHS {
            return Err(Refusal::All);
        }
        let now = Instant::now();
        counts.sweep(now);
        let new =
            || AddressCount { connections: 0, rate: address.is_public().then(|| AddressRate::new(&self.session, now)) };
        let count = counts.by_address.entry(address).or_insert_with(new);
        count.connections += 1;
        Ok((Some(address), count.rate.clone()))
    }
}

impl Counts {
    /// Forgets addresses without connections once there are twice as many as were left last time.
    fn sweep(&mut self, now: Instant) {
        if self.by_address.len() >= self.sweep_at.max(SWEEP) {
            self.by_address.retain(|_, count| !count.is_forgettable(now));
            self.sweep_at = 2 * self.by_address.len();
        }
    }
}

impl ConnectionPermit {
    /// Counts the connection for the client that a proxy named in a request.
    pub(super) fn resolve(&mut self, client: Peer) -> Result<(), Refusal> {
        if self.address.is_none() {
            let inner = &self.limit.0;
            (self.address, self.rate) = inner.add_address(&mut self.limit.counts(), client)?;
        }
        Ok(())
    }

    /// Returns the rate limit that the sessions of the client's address share, if it is public.
    pub(super) fn address_rate(&self) -> Option<AddressRate> {
        self.rate.clone()
    }

    /// Notes that the handshake is complete.
    pub(super) fn end_handshake(&mut self) {
        if std::mem::take(&mut self.is_handshaking) {
            self.limit.counts().handshakes -= 1;
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.end_handshake();
        let mut counts = self.limit.counts();
        counts.all -= 1;
        if let Some(address) = self.address
            && let Some(count) = counts.by_address.get_mut(&address)
        {
            count.connections -= 1;
            if count.is_forgettable(Instant::now()) {
                counts.by_address.remove(&address);
            }
        }
        drop(counts);
        self.limit.0.metrics.connections.sub();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::rate_limit::RateLimit;

    fn limit(change: impl FnOnce(&mut FrontendSettings)) -> ConnectionLimit {
        let mut settings = FrontendSettings::default();
        change(&mut settings);
        ConnectionLimit::new(&settings, SessionSettings::default(), Metrics::new())
    }

    fn client(address: &str) -> Peer {
        Peer { address: SocketAddr::new(address.parse().unwrap(), 1), is_proxy: false }
    }

    fn proxy() -> Peer {
        Peer { is_proxy: true, ..client("10.0.0.1") }
    }

    /// Connects as often as possible, up to a thousand times.
    fn connect(limit: &ConnectionLimit, address: &str) -> Vec<ConnectionPermit> {
        std::iter::from_fn(|| limit.admit(client(address)).ok()).take(1_000).collect()
    }

    #[test]
    fn a_disconnect_frees_a_place() {
        let limit = limit(|settings| (settings.max_connections, settings.max_connections_per_address) = (3, 2));
        let first = limit.admit(client("127.0.0.1")).unwrap();
        let _second = limit.admit(client("127.0.0.1")).unwrap();
        assert_eq!(limit.admit(client("127.0.0.1")).unwrap_err(), Refusal::Address);
        let _third = limit.admit(client("127.0.0.2")).unwrap();
        assert_eq!(limit.admit(client("127.0.0.2")).unwrap_err(), Refusal::All);
        drop(first);
        assert!(limit.admit(client("127.0.0.1")).is_ok());
        assert_eq!(limit.0.metrics.connections.get(), 2);
    }

    #[test]
    fn public_addresses_have_a_limit_of_their_own() {
        let limit = limit(|settings| settings.max_connections_per_public_address = 20);
        assert_eq!(connect(&limit, "203.0.113.5").len(), 20);
        let network = connect(&limit, "2001:db8::1");
        assert_eq!(network.len(), 20);
        assert_eq!(limit.admit(client("2001:db8::ffff:2")).unwrap_err(), Refusal::Address);
        assert!(limit.admit(client("2001:db8:0:1::1")).is_ok());
        assert_eq!(connect(&limit, "10.0.0.1").len(), 1_000);
    }

    #[test]
    fn the_last_tenth_is_for_addresses_with_few_connections() {
        let limit = limit(|settings| settings.max_connections = 1_000);
        let _crowd: Vec<_> = (0..4).map(|host| connect(&limit, &format!("203.0.113.{host}"))).collect();
        assert_eq!(limit.counts().all, 920, "900, and what four addresses with few may have");
        assert_eq!(limit.admit(client("203.0.113.1")).unwrap_err(), Refusal::All);
        assert_eq!(connect(&limit, "203.0.113.9").len(), FEW);
    }

    #[test]
    fn a_proxys_connection_counts_for_its_client_once_that_is_known() {
        let limit = limit(|settings| settings.max_connections_per_public_address = 1);
        let mut permits: Vec<_> = (0..3).map(|_| limit.admit(proxy()).unwrap()).collect();
        assert_eq!(permits[0].resolve(client("203.0.113.5")), Ok(()));
        assert_eq!(permits[1].resolve(client("203.0.113.5")), Err(Refusal::Address));
        assert_eq!(permits[2].resolve(client("203.0.113.6")), Ok(()));
        drop(permits);
        assert!(limit.counts().by_address.is_empty());
        assert_eq!(limit.counts().all, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_forgotten_once_they_could_send_again() {
        let limit = limit(|_| {});
        let send = |address: &str| {
            let permit = limit.admit(client(address)).unwrap();
            let mut rate_limit = RateLimit::new(&SessionSettings::default(), permit.address_rate(), Instant::now());
            assert_eq!(rate_limit.take_message(wire::routes::SEND, 1_000, Instant::now()), Ok(()));
        };
        for number in 0..2 * SWEEP {
            send(&format!("203.0.{}.{}", number / 256, number % 256));
        }
        assert_eq!(limit.counts().by_address.len(), 2 * SWEEP, "what they sent is remembered");
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        send("198.51.100.1");
        assert_eq!(limit.counts().by_address.len(), 1);
    }

    #[test]
    fn connections_before_their_handshake_have_a_limit() {
        let limit = limit(|settings| settings.max_handshakes = 2);
        let mut first = limit.admit(client("127.0.0.1")).unwrap();
        let _second = limit.admit(client("127.0.0.1")).unwrap();
        assert_eq!(limit.admit(client("127.0.0.1")).unwrap_err(), Refusal::Handshakes);
        first.end_handshake();
        drop(limit.admit(client("127.0.0.1")).unwrap());
        drop(first);
        assert!(limit.admit(client("127.0.0.1")).is_ok());
    }
}
