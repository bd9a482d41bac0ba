//! What every server of a process is given when it starts.

pub mod payload;
pub mod signing;

use std::sync::Arc;

use bus::Bus;
use model::ids::ServerId;
use model::size_limits::SizeLimits;
use runtime::config::Settings;
use runtime::health::{Check, Health, Report};
use runtime::lifecycle::Lifecycle;
use runtime::metrics::Metrics;
use runtime::server_list::ServerList;

use crate::payload::PayloadWatch;
use crate::signing::Signing;

/// Configuration, bus and counters of a process. Clones are the same things; lifecycle and health are a server's own.
#[derive(Debug, Clone)]
pub struct Node {
    /// Name of the environment, a key of `servers.json`.
    pub environment: Arc<str>,
    /// Who is there.
    pub server_list: ServerList,
    /// Every knob.
    pub settings: Arc<Settings>,
    /// The way to the other servers.
    pub bus: Bus,
    /// Signing of messages between servers.
    pub signing: Signing,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What the broker takes, and whether the settings fit that.
    pub payload: PayloadWatch,
    /// Owner of the server's tasks.
    pub lifecycle: Lifecycle,
    /// Whether the server is ready.
    pub health: Health,
}

impl Node {
    /// How large messages may be now. A broker that takes too little for any is refused when the process starts; it may fall
    /// later.
    pub fn size_limits(&self) -> SizeLimits {
        SizeLimits::for_running_broker(self.bus.max_payload())
    }

    /// The same, for a server whose tasks start and stop by themselves.
    #[must_use]
    pub fn for_server(&self) -> Self {
        Self { lifecycle: self.lifecycle.sibling(), health: Health::default(), ..self.clone() }
    }

    /// Notes what shows of a server's readiness from outside its task. Done before each report, and by the task, for a fault's
    /// beginning to be known.
    pub fn update_health(&self, id: &ServerId) {
        let is_known = self.server_list.now().find(id).is_some();
        let away = (!self.bus.is_up()).then(|| "the connection to the bus is away".to_owned());
        self.health.set(Check::Bus, away.or_else(|| self.bus.fault().map(|fault| fault.to_string())));
        self.health.set(Check::Staying, self.lifecycle.is_ending().then_some("the server is about to end"));
        self.health.set(Check::Payload, self.payload.check(&self.settings, self.bus.max_payload()));
        self.health.set(Check::View, (!is_known).then_some("servers.json has no such server any more"));
    }

    /// Whether a server is ready.
    pub fn readiness(&self, id: &ServerId) -> Report {
        self.update_health(id);
        self.health.report()
    }
}
