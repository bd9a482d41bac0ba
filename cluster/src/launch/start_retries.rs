//! Servers of this process that could not start after `servers.json` changed. Retries them with
//! backoff, since ports and brokers come back.

use std::collections::BTreeMap;

use anyhow::bail;
use model::backoff::{Backoff, Policy};
use model::ids::ServerId;
use runtime::log_rate_limit::LogRateLimit;
use tokio::time::Instant;
use tracing::{error, info};

use super::Cluster;
use crate::bind::BoundServer;
use crate::keys;

/// Delays between the attempts to start a server.
const POLICY: Policy = Policy { first_ms: 1_000, longest_ms: 30_000 };

/// Servers of this process that could not start, each with its next attempt.
#[derive(Debug)]
pub(super) struct StartRetries {
    since: Instant,
    servers: BTreeMap<ServerId, (Backoff, u64)>,
}

impl Default for StartRetries {
    fn default() -> Self {
        Self { since: Instant::now(), servers: BTreeMap::new() }
    }
}

impl StartRetries {
    /// Notes that a server could not start.
    pub(super) fn record_failure(&mut self, id: &ServerId) {
        let now = self.now();
        let (backoff, retry_at) = self.servers.entry(id.clone()).or_default();
        *retry_at = backoff.fail(POLICY, now, rand::random());
    }

    /// Returns true if a server could not start.
    pub(super) fn contains(&self, id: &ServerId) -> bool {
        self.servers.contains_key(id)
    }

    /// The servers that are to be tried now.
    fn due(&self) -> Vec<ServerId> {
        let now = self.now();
        self.servers.iter().filter(|(_, (_, retry_at))| *retry_at <= now).map(|(id, _)| id.clone()).collect()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Cluster {
    /// Retries the servers whose next attempt is due. Logs failures at a bounded rate.
    pub async fn retry_failed_starts(&mut self) {
        let wanted = keys::own_servers(&self.keeper.now(), self.only.as_ref());
        self.start_retries.servers.retain(|id, _| wanted.contains(id));
        for id in self.start_retries.due() {
            match self.retry_start(&id).await {
                Ok(()) => info!(server = %id, "a server that could not start runs now"),
                Err(error) => {
                    static UNSTARTED: LogRateLimit = LogRateLimit::new();
                    if let Some(suppressed) = UNSTARTED.pass() {
                        error!(suppressed, "a server still cannot start, it is tried again: {error:#}");
                    }
                }
            }
        }
    }

    /// Starts a server whose entry others know already.
    pub(super) async fn retry_start(&mut self, id: &ServerId) -> anyhow::Result<()> {
        let mut servers = (*self.keeper.now()).clone();
        let mut bound = BoundServer::bind_all(&mut servers, &self.node.settings, |wanted| wanted == id).await;
        let started = match bound.pop() {
            Some(Ok(bound)) => {
                // A port that the system picked is known now.
                if servers != *self.keeper.now() {
                    self.keeper.replace(servers);
                }
                self.start_or_remove(bound).await
            }
            Some(Err(error)) => Err(error),
            None => bail!("{id} is not in servers.json"),
        };
        match &started {
            Ok(()) => drop(self.start_retries.servers.remove(id)),
            Err(_) => self.start_retries.record_failure(id),
        }
        started
    }
}
