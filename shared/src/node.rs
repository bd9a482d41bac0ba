//! What every server of a process is given when it starts.

use std::sync::Arc;

use crate::budget::Budget;
use crate::bus::Bus;
use crate::config::Settings;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::roster::Roster;

/// Configuration, bus and counters of a process. Clones are the same things; the lifecycle is a server's own.
#[derive(Debug, Clone)]
pub struct Node {
    /// Who is there.
    pub roster: Roster,
    /// Every knob.
    pub settings: Arc<Settings>,
    /// The way to the other servers.
    pub bus: Bus,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Owner of the server's tasks.
    pub lifecycle: Lifecycle,
}

impl Node {
    /// How large messages may be. A broker that takes too little for any is refused when the process starts.
    pub fn budget(&self) -> Budget {
        Budget::of_payload(self.bus.max_payload()).unwrap_or_default()
    }

    /// The same, for a server whose tasks start and stop by themselves.
    #[must_use]
    pub fn for_server(&self) -> Self {
        Self { lifecycle: Lifecycle::new(), ..self.clone() }
    }
}
