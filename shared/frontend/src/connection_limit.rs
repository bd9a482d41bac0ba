//! The limits of client connections, in all and for each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;

use model::settings::FrontendSettings;
use runtime::metrics::Metrics;

/// Counts connections of one server. Clones count the same.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimit {
    counts: Arc<Mutex<Counts>>,
    most: usize,
    most_per_address: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    connection_limit: ConnectionLimit,
    address: IpAddr,
}

impl ConnectionLimit {
    pub(super) fn new(settings: &FrontendSettings, metrics: Arc<Metrics>) -> Self {
        let (most, most_per_address) = (settings.max_connections, settings.max_connections_per_address);
        Self { counts: Arc::default(), most, most_per_address, metrics }
    }

    /// Counts a connection, or returns the status with which it is refused.
    pub(super) fn admit(&self, address: IpAddr) -> Result<ConnectionPermit, StatusCode> {
        let mut counts = self.counts();
        if counts.all >= self.most {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let count = counts.by_address.entry(address).or_default();
        if *count >= self.most_per_address {
            return Err(StatusCode::TOO_MANY_REQUESTS);
        }
        *count += 1;
        counts.all += 1;
        drop(counts);
        self.metrics.connections.add();
        Ok(ConnectionPermit { connection_limit: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing panics while holding the lock.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.connection_limit.counts();
        counts.all -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            // Without this the map would grow with every address that ever connected.
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
        self.connection_limit.metrics.connections.sub();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disconnect_frees_a_place() {
        let settings =
            FrontendSettings { max_connections: 3, max_connections_per_address: 2, ..FrontendSettings::default() };
        let connection_limit = ConnectionLimit::new(&settings, Metrics::new());
        let [a, b] = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2])];
        let first = connection_limit.admit(a).unwrap();
        let _second = connection_limit.admit(a).unwrap();
        assert_eq!(connection_limit.admit(a).unwrap_err(), StatusCode::TOO_MANY_REQUESTS);
        let _third = connection_limit.admit(b).unwrap();
        assert_eq!(connection_limit.admit(b).unwrap_err(), StatusCode::SERVICE_UNAVAILABLE);
        drop(first);
        assert!(connection_limit.admit(a).is_ok());
        assert_eq!(connection_limit.metrics.connections.get(), 2);
    }
}
