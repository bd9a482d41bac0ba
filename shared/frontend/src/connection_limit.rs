//! The limits of client connections: in all, for each address, and before their handshake is
//! complete.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use model::network::AddressGroup;
use model::settings::{FrontendSettings, SessionSettings};
use runtime::metrics::{ConnectionRefusals, Counter, Metrics};
use tokio::time::Instant;

use super::open_files::max_process_connections;
use super::peer::Peer;
use super::queued_bodies::{QueuedBodies, QueuedBytes};
use super::rate_limit::{AddressRate, TokenBucket};

/// The last tenth of all connections is for addresses that have few.
// Otherwise a handful of addresses could keep all others out for as long as they like.
const SHARED_TENTHS: usize = 9;

/// Most connections of an address that has few.
const FEW: usize = 10;

/// Seconds of `frontend.handshakes_per_sec` that an address may use at once.
const HANDSHAKE_BURST: f64 = 5.0;

/// Counts connections of one server. Clones count the same.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    counts: Mutex<Counts>,
    limits: Limits,
    frontend: FrontendSettings,
    session: SessionSettings,
    queued: QueuedBytes,
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
    /// Per second and public address.
    handshake_rate: Option<f64>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    handshakes: usize,
    by_address: HashMap<AddressGroup, AddressCount>,
    /// Addresses at which those without connections are looked for.
    sweep_at: usize,
}

/// Limits that the sessions of a public address share. Clones are the same.
#[derive(Debug, Clone)]
struct Shared {
    rate: AddressRate,
    queued: QueuedBytes,
}

#[derive(Debug)]
struct AddressCount {
    connections: usize,
    /// Only of public addresses. Outlives the connections until it is as if there had been none.
    // A client that connects anew would have a full rate again and again.
    shared: Option<Shared>,
    /// Only of public addresses, if their handshakes have a rate.
    handshakes: Option<TokenBucket>,
}

impl AddressCount {
    fn is_forgettable(&mut self, now: Instant) -> bool {
        self.connections == 0
            && self.shared.as_ref().is_none_or(|Shared { rate, queued }| rate.is_full(now) && queued.is_empty())
            && self.handshakes.as_mut().is_none_or(|bucket| bucket.is_full(now))
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
    /// `frontend.handshakes_per_sec`.
    HandshakeRate,
}

impl Refusal {
    /// The status of the response.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::All | Self::Process | Self::Handshakes => StatusCode::SERVICE_UNAVAILABLE,
            Self::Address | Self::HandshakeRate => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The counter of the limit.
    pub(super) fn counter(self, refused: &ConnectionRefusals) -> &Counter {
        match self {
            Self::All => &refused.connections,
            Self::Process => &refused.open_files,
            Self::Address => &refused.address,
            Self::Handshakes => &refused.handshakes,
            Self::HandshakeRate => &refused.handshake_rate,
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
            Self::HandshakeRate => "its address connects more often than frontend.handshakes_per_sec",
        }
    }
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limit: ConnectionLimit,
    address: Option<AddressGroup>,
    shared: Option<Shared>,
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
            handshake_rate: Some(settings.handshakes_per_sec).filter(|rate| *rate > 0).map(f64::from),
        };
        let (frontend, queued) = (settings.clone(), QueuedBytes::of_server(settings));
        Self(Arc::new(Inner { counts: Mutex::default(), limits, frontend, session, queued, metrics }))
    }

    /// Counts a connection whose handshake is not complete; that of a proxy counts for no address
    /// until [`ConnectionPermit::resolve`].
    pub(super) fn admit(&self, peer: Peer) -> Result<ConnectionPermit, Refusal> {
        let mut counts = self.counts();
        // First: its refusal costs least, and a connection counts however it ends.
        self.0.take_handshake(&mut counts, peer)?;
        if counts.all >= self.0.limits.all {
            return Err(Refusal::All);
        }
        // A process may run several servers, and all of them have their descriptors from one limit.
        let open = usize::try_from(self.0.metrics.connections.get()).unwrap_or_default();
        if open >= self.0.limits.process {
            return Err(Refusal::Process);
        }
        if counts.handshakes >= self.0.limits.handshakes {
            return Err(Refusal::Handshakes);
        }
        let (address, shared) = self.0.add_address(&mut counts, peer)?;
        counts.all += 1;
        counts.handshakes += 1;
        drop(counts);
        self.0.metrics.connections.add();
        Ok(ConnectionPermit { limit: self.clone(), address, shared, is_handshaking: true })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing panics while holding the lock.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Counts a connection for the rate of its address, if that is public and its client is known.
    fn take_handshake(&self, counts: &mut Counts, peer: Peer) -> Result<(), Refusal> {
        let address = AddressGroup::of(peer.address.ip());
        if self.limits.handshake_rate.is_none() || peer.is_proxy || !address.is_public() {
            return Ok(());
        }
        let now = Instant::now();
        let bucket = &mut self.count_of(counts, address, now).handshakes;
        let is_allowed = bucket.as_mut().is_none_or(|bucket| bucket.take(1.0, now));
        if is_allowed { Ok(()) } else { Err(Refusal::HandshakeRate) }
    }

    fn add_address(&self, counts: &mut Counts, peer: Peer) -> Result<(Option<AddressGroup>, Option<Shared>), Refusal> {
        if peer.is_proxy {
            return Ok((None, None));
        }
        let (address, limits) = (AddressGroup::of(peer.address.ip()), &self.limits);
        let count = counts.by_address.get(&address).map_or(0, |count| count.connections);
        // A private address may be a proxy or a whole office behind one machine, so it may have more.
        let most = if address.is_public() { limits.per_public_address } else { limits.per_address };
        if count >= most {
            return Err(Refusal::Address);
        }
        // Only public addresses are known to be one client's.
        let has_many = address.is_public() && count >= FEW;
        if has_many && counts.all >= limits.all / 10 * SHARED_TENTHS {
            return Err(Refusal::All);
        }
        let count = self.count_of(counts, address, Instant::now());
        count.connections += 1;
        Ok((Some(address), count.shared.clone()))
    }

    /// Returns the count of an address, a new one if it is not known.
    fn count_of<'a>(&self, counts: &'a mut Counts, address: AddressGroup, now: Instant) -> &'a mut AddressCount {
        counts.sweep(now);
        counts.by_address.entry(address).or_insert_with(|| {
            let is_public = address.is_public();
            let (rate, queued) = (AddressRate::new(&self.session, now), QueuedBytes::of_address(&self.frontend));
            let bucket = |rate| TokenBucket::full(rate, rate * HANDSHAKE_BURST, now);
            AddressCount {
                connections: 0,
                shared: is_public.then_some(Shared { rate, queued }),
                handshakes: self.limits.handshake_rate.filter(|_| is_public).map(bucket),
            }
        })
    }
}

impl Counts {
    /// Forgets addresses without connections once there are twice as many as were left last time.
    fn sweep(&mut self, now: Instant) {
        // So the work for all addresses is spread over as many new ones, however many there are.
        if self.by_address.len() >= self.sweep_at.max(SWEEP) {
            self.by_address.retain(|_, count| !count.is_forgettable(now));
            self.sweep_at = 2 * self.by_address.len();
        }
    }
}

impl ConnectionPermit {
    /// Counts the connection for the client that a proxy named in a request.
    pub(super) fn resolve(&mut self, client: Peer) -> Result<(), Refusal> {
        // Once: later requests of the same connection may name other clients.
        if self.address.is_none() {
            let (inner, counts) = (&self.limit.0, &mut self.limit.counts());
            inner.take_handshake(counts, client)?;
            (self.address, self.shared) = inner.add_address(counts, client)?;
        }
        Ok(())
    }

    /// Returns the rate limit that the sessions of the client's address share, if it is public.
    pub(super) fn address_rate(&self) -> Option<AddressRate> {
        self.shared.as_ref().map(|shared| shared.rate.clone())
    }

    /// Returns the limits of the bodies of the connection's requests.
    pub(super) fn queued_bodies(&self) -> QueuedBodies {
        let address = self.shared.as_ref().map(|shared| shared.queued.clone());
        QueuedBodies::new(self.limit.0.queued.clone(), address)
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
mod tests;
