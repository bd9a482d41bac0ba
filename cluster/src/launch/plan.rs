//! The servers that a process is to start, and the bus and log that they are to use.

use std::fmt;
use std::sync::Arc;

use anyhow::{bail, ensure};
use bus::{Bus, MemoryLimits};
use chat::log::Log;
use chat::log::jetstream::JetStream;
use chat::log::memory::Memory;
use clap::ValueEnum;
use model::ids::ServerId;
use model::placement::{API, CHAT, CONNECTOR, GATE};
use node::Node;
use runtime::config::{Config, Settings};
use runtime::metrics::Metrics;

/// The storage of the rooms' log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogKind {
    /// In the NATS server's JetStream, on disk: outlives every process
    #[value(name = "jetstream")]
    JetStream,
    /// In the chat servers' processes: gone when they end
    Memory,
}

/// The servers to start, and their bus and log.
#[derive(Clone)]
pub struct Plan {
    /// The configuration, checked.
    pub config: Config,
    /// URL of the NATS server; none for the bus inside this process.
    pub nats: Option<String>,
    /// The storage of the log; JetStream needs `nats`.
    pub log: LogKind,
    /// The one server to start; none for all of them.
    pub only: Option<ServerId>,
}

/// Without the URLs, which may hold a password.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, nats: _, log, only } = self;
        let mut plan = f.debug_struct("Plan");
        plan.field("config", config).field("log", log).field("only", only).finish_non_exhaustive()
    }
}

/// Checks that `only` is a server of the configuration, and can reach the others.
pub(super) fn check_only(config: &Config, nats: Option<&str>, only: Option<&ServerId>) -> anyhow::Result<()> {
    let Some(id) = only else { return Ok(()) };
    let Some((kind, _)) = config.servers.find(id) else {
        let known: Vec<&str> = config.servers.all().map(|(_, server)| server.id.as_str()).collect();
        bail!("--only {id}: servers.json has no such server in {:?}; it has {}", config.environment, known.join(", "));
    };
    ensure!([GATE, API, CONNECTOR, CHAT].contains(&kind), "--only {id}: a server of type {kind:?} is not one of ours");
    ensure!(nats.is_some(), "--only {id}: a server alone needs a bus to the others: add --nats URL");
    Ok(())
}

/// Connects the bus of this process.
pub(super) async fn bus(
    nats: Option<&str>,
    settings: &Settings,
    name: &str,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Bus> {
    match nats {
        None => Ok(Bus::memory(MemoryLimits::default(), metrics.clone())),
        Some(url) => Ok(Bus::nats(url, &settings.nats.for_server(name), name, metrics.clone()).await?),
    }
}

/// The log of all chat servers of this process.
pub(super) async fn open_log(kind: LogKind, node: &Node) -> anyhow::Result<Log> {
    let settings = &node.settings.log;
    Ok(match kind {
        LogKind::JetStream => JetStream::open(node.bus.clone(), settings).await?.into(),
        LogKind::Memory => Memory::new(settings).into(),
    })
}
