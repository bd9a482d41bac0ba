//! The shared parts of a process that every server gets when it starts.

pub mod auth;
mod fingerprint;
pub mod http_request;
pub mod payload;
pub mod signing;
pub mod tls;

use std::sync::Arc;

use bus::Bus;
use model::ids::ServerId;
use model::settings::Settings;
use model::size_limits::SizeLimits;
use runtime::health::{Check, Health, Report};
use runtime::lifecycle::Lifecycle;
use runtime::metrics::Metrics;
use runtime::server_list::ServerList;
use runtime::shared_hold::SharedHold;

use crate::auth::Authenticator;
use crate::payload::PayloadWatch;
use crate::signing::Signing;
use crate::tls::ClientTls;

/// Configuration, bus and counters of a process. Clones are the same things; lifecycle and health
/// are a server's own.
#[derive(Debug, Clone)]
pub struct Node {
    /// Name of the environment, a key of `servers.json`.
    pub environment: Arc<str>,
    /// The servers of the environment.
    pub server_list: ServerList,
    /// All settings.
    pub settings: Arc<Settings>,
    /// The way to the other servers.
    pub bus: Bus,
    /// Signing of messages between servers.
    pub signing: Signing,
    /// TLS of client connections.
    pub tls: ClientTls,
    /// Logins of clients by tokens.
    pub auth: Authenticator,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// The broker's message size limit, and the settings checked against it.
    pub payload: PayloadWatch,
    /// The holds of requests, common to all connectors of the process.
    pub hold: SharedHold,
    /// Owner of the server's tasks.
    pub lifecycle: Lifecycle,
    /// The readiness of the server.
    pub health: Health,
}

impl Node {
    /// The present size limits. A broker whose limit is too low is refused when the process starts;
    /// the limit may fall later.
    pub fn size_limits(&self) -> SizeLimits {
        SizeLimits::for_running_broker(self.bus.max_payload())
    }

    /// The same, for a server whose tasks start and stop by themselves.
    #[must_use]
    pub fn for_server(&self) -> Self {
        Self { lifecycle: self.lifecycle.sibling(), health: Health::default(), ..self.clone() }
    }

    /// The logins of gates, which read tokens only if `auth.gate` says so.
    pub fn gate_auth(&self) -> Authenticator {
        if self.settings.auth.gate { self.auth.clone() } else { Authenticator::off() }
    }

    /// Notes what shows of a server's readiness from outside its task. Done before each report, and
    /// by the task, for a fault's beginning to be known.
    pub fn update_health(&self, id: &ServerId) {
        let is_known = self.server_list.now().find(id).is_some();
        let away = (!self.bus.is_up()).then(|| "the connection to the bus is away".to_owned());
        self.health.set(Check::Bus, away.or_else(|| self.bus.fault().map(|fault| fault.to_string())));
        self.health.set(Check::Staying, self.lifecycle.is_ending().then_some("the server is about to end"));
        self.health.set(Check::Payload, self.payload.check(&self.settings, self.bus.max_payload()));
        self.health.set(Check::View, (!is_known).then_some("servers.json has no such server any more"));
    }

    /// The readiness of a server.
    pub fn readiness(&self, id: &ServerId) -> Report {
        self.update_health(id);
        self.health.report()
    }
}
