//! What an attacker knows and measures. Attackers run in a process of their own, at a lower
//! priority than the servers and the innocent users.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use testkit::TlsClient;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::session::Session;
use crate::socket::Via;

/// The variable with the orders of an attacker's process.
pub(crate) const ORDERS: &str = "SHADDOCK_ATTACK";

/// The line in which it reports, behind this word.
pub(crate) const REPORT: &str = "ATTACK-REPORT ";

/// Most faults that are reported.
const MOST_FAULTS: usize = 6;

/// The orders of an attacker's process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) row: String,
    pub(crate) gate: SocketAddr,
    pub(crate) connectors: Vec<SocketAddr>,
    /// The broker, if there is one.
    pub(crate) nats: Option<String>,
    pub(crate) via: Via,
    /// The files of servers with TLS.
    pub(crate) tls: Option<TlsFiles>,
    /// The folder of the provider's files, if servers read tokens.
    pub(crate) provider: Option<String>,
    /// The ids of the servers' processes.
    pub(crate) processes: Vec<u32>,
    /// Seconds of the attack.
    pub(crate) secs: u64,
}

/// A certificate's file, and its key's.
pub(crate) type Pair = (String, String);

/// The files of the servers' certificate, and others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TlsFiles {
    /// The authority of all of them.
    pub(crate) authority: String,
    /// The files that servers read.
    pub(crate) served: Pair,
    /// Pairs that could take their place.
    pub(crate) valid: Vec<Pair>,
    /// A pair whose time is over.
    pub(crate) expired: Pair,
}

/// What an attacker did and saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Per second.
    pub(crate) planned: f64,
    pub(crate) reached: f64,
    pub(crate) unit: String,
    /// What the servers should not have done.
    pub(crate) faults: BTreeSet<String>,
    /// A figure worth a place in the table.
    pub(crate) note: String,
}

/// Where an attack takes place. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Arena {
    pub(crate) orders: Arc<Orders>,
    faults: Arc<Mutex<BTreeSet<String>>>,
    pace: Arc<Pace>,
}

#[derive(Debug)]
struct Pace {
    /// Begin and end of the attack.
    time: Mutex<(Instant, Instant)>,
    planned: Mutex<(f64, &'static str)>,
    begun: AtomicU64,
    done: AtomicU64,
}

impl Arena {
    pub(crate) fn new(orders: Orders) -> Self {
        let time = Mutex::new(span(orders.secs));
        let pace = Pace { time, planned: Mutex::new((0.0, "")), begun: AtomicU64::new(0), done: AtomicU64::new(0) };
        Self { orders: Arc::new(orders), faults: Arc::default(), pace: Arc::new(pace) }
    }

    /// Begins anew: what was before only prepared the attack.
    pub(crate) fn begin(&self) {
        *lock(&self.pace.time) = span(self.orders.secs);
        self.pace.begun.store(0, Ordering::Relaxed);
        self.pace.done.store(0, Ordering::Relaxed);
    }

    /// A connector, taken in turn.
    pub(crate) fn connector(&self, number: usize) -> SocketAddr {
        self.orders.connectors[number % self.orders.connectors.len()]
    }

    /// An attacker's public address. Innocent users have others.
    pub(crate) fn address(number: usize) -> IpAddr {
        let [.., high, low] = number.to_be_bytes();
        // 198.18.0.0/15 is for benchmarks, 203.0.113.0/24 the users' own.
        if number < 100 { Ipv4Addr::new(203, 0, 113, 100 + low) } else { Ipv4Addr::new(198, 18, high, low) }.into()
    }

    /// Plans so many attempts per second.
    pub(crate) fn plan(&self, per_sec: f64, unit: &'static str) {
        *lock(&self.pace.planned) = (per_sec, unit);
    }

    /// Waits for the next attempt. Returns false if the attack is over.
    pub(crate) async fn attempt(&self) -> bool {
        self.next_attempt().await.is_some()
    }

    /// Waits for the next attempt. Returns its number, among those of all workers; `None` if the
    /// attack is over.
    pub(crate) async fn next_attempt(&self) -> Option<usize> {
        let (per_sec, _) = *lock(&self.pace.planned);
        let number = self.pace.begun.fetch_add(1, Ordering::Relaxed);
        let (began, ends) = *lock(&self.pace.time);
        let due = began + Duration::from_secs_f64(number as f64 / per_sec);
        if due >= ends {
            return None;
        }
        sleep_until(due).await;
        let in_time = Instant::now() < ends;
        if in_time {
            self.pace.done.fetch_add(1, Ordering::Relaxed);
        }
        in_time.then(|| usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// Returns true while the attack lasts.
    pub(crate) fn lasts(&self) -> bool {
        Instant::now() < lock(&self.pace.time).1
    }

    /// Notes a fault unless the servers did right.
    pub(crate) fn expect(&self, is_right: bool, fault: impl FnOnce() -> String) {
        let mut faults = lock(&self.faults);
        if !is_right && faults.len() < MOST_FAULTS {
            faults.insert(fault());
        }
    }

    /// Runs workers until all have ended, mostly at the end of the attack.
    pub(crate) async fn work<F>(&self, count: usize, worker: impl Fn(usize, Self) -> F)
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let mut workers = JoinSet::new();
        for number in 0..count {
            workers.spawn(worker(number, self.clone()));
        }
        while let Some(ended) = workers.join_next().await {
            if let Err(error) = ended {
                self.expect(false, || format!("the attacker failed: {error}"));
            }
        }
    }

    /// Opens a session from an address, at one of the connectors in turn.
    ///
    /// # Errors
    /// If the server refuses it, or the network fails.
    pub(crate) async fn session(&self, number: usize, address: IpAddr) -> io::Result<Session> {
        let tls = self.orders.tls.is_some().then(|| self.tls_client());
        let session = Session::open(self.connector(number), self.orders.via, address, tls.as_ref()).await?;
        session.map_err(|status| io::Error::other(format!("refused: {status}")))
    }

    /// A client that trusts the servers' certificates.
    pub(crate) fn tls_client(&self) -> TlsClient {
        TlsClient::trusting(self.orders.tls.as_ref().map_or("", |files| &files.authority))
    }

    /// The report of the attack.
    pub(crate) fn report(&self, note: String) -> Report {
        let (planned, unit) = *lock(&self.pace.planned);
        let (began, ends) = *lock(&self.pace.time);
        let secs = Instant::now().min(ends).saturating_duration_since(began).as_secs_f64().max(0.001);
        let reached = self.pace.done.load(Ordering::Relaxed) as f64 / secs;
        Report { planned, reached, unit: unit.to_owned(), faults: lock(&self.faults).clone(), note }
    }
}

fn span(secs: u64) -> (Instant, Instant) {
    let began = Instant::now();
    (began, began + Duration::from_secs(secs))
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
