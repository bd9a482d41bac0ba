//! Starts the servers of an environment, or one of them, and stops them in order: gates, connectors, chat servers, bus.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chat::Chat;
use chat::log::Log;
use chat::log::jetstream::JetStream;
use chat::log::memory::Memory;
use clap::ValueEnum;
use connector::Connector;
use gate::Gate;
use shared::bus::{Bus, MemoryLimits};
use shared::config::{Config, Server, Servers};
use shared::dispatcher::{CHAT, CONNECTOR, GATE};
use shared::ids::ServerId;
use shared::lifecycle::Lifecycle;
use shared::metrics::Metrics;
use shared::node::Node;
use shared::room::Checkpoint;
use tokio::net::TcpListener;
use tracing::{info, warn};

/// Time that the bus has to deliver what was accepted, when all servers ended.
const DRAIN: Duration = Duration::from_secs(5);

/// Bytes that a message of a room's state has besides its members.
const STATE_OVERHEAD: usize = 64 * 1024;

/// Where the rooms' log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogKind {
    /// In the NATS server's JetStream, on disk: outlives every process
    #[value(name = "jetstream")]
    JetStream,
    /// In the chat servers' processes: gone when they end
    Memory,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configuration, checked.
    pub config: Config,
    /// URL of the NATS server; none for the bus inside this process.
    pub nats: Option<String>,
    /// Where the log is kept; JetStream needs `nats`.
    pub log: LogKind,
    /// The one server to start; none for all of them.
    pub only: Option<ServerId>,
}

/// Running servers.
pub struct Cluster {
    servers: Arc<Servers>,
    bus: Bus,
    metrics: Arc<Metrics>,
    grace: Duration,
    gates: Vec<Lifecycle>,
    connectors: Vec<Lifecycle>,
    chats: Vec<Lifecycle>,
}

/// What is to be started in this process.
struct Parts {
    log: LogKind,
    chats: Vec<Server>,
    connectors: Vec<Front>,
    gates: Vec<Front>,
}

/// A server that clients connect to, with its listener.
struct Front {
    server: Server,
    listener: TcpListener,
}

impl Cluster {
    /// Starts what the plan says. When this returns, clients can connect.
    ///
    /// # Errors
    /// If a server of the plan is not in the configuration, an address is taken, or the bus or the log is not
    /// there. Nothing that was started is left running then.
    pub async fn start(plan: Plan) -> anyhow::Result<Self> {
        let Plan { mut config, nats, log, only } = plan;
        check_only(&config, nats.as_deref(), only.as_ref())?;
        let wanted = |server: &Server| only.as_ref().is_none_or(|id| *id == server.id);
        let gates = listen(&mut config, GATE, wanted).await?;
        let connectors = listen(&mut config, CONNECTOR, wanted).await?;
        let chats: Vec<Server> = config.servers.chat().iter().filter(|server| wanted(server)).cloned().collect();
        let metrics = Metrics::new();
        let name = only.as_ref().map_or("shaddock", ServerId::as_str);
        let bus = bus(nats.as_deref(), &config, name, &metrics).await?;
        check_payload(&config, &bus)?;
        let grace = Duration::from_secs(config.settings.lifecycle.grace_secs.into());
        let node = Node {
            servers: Arc::new(config.servers),
            settings: Arc::new(config.settings),
            bus: bus.clone(),
            metrics: metrics.clone(),
            lifecycle: Lifecycle::new(),
        };
        let mut cluster = Self {
            servers: node.servers.clone(),
            bus,
            metrics,
            grace,
            gates: Vec::new(),
            connectors: Vec::new(),
            chats: Vec::new(),
        };
        match cluster.start_all(&node, Parts { log, chats, connectors, gates }).await {
            Ok(()) => Ok(cluster),
            Err(error) => {
                cluster.stop().await;
                Err(error)
            }
        }
    }

    async fn start_all(&mut self, node: &Node, parts: Parts) -> anyhow::Result<()> {
        let Parts { log, chats, connectors, gates } = parts;
        self.start_chats(node, log, chats).await?;
        for Front { server, listener } in connectors {
            let node = node.for_server();
            self.connectors.push(node.lifecycle.clone());
            let id = server.id.clone();
            Connector::start(&server, node, listener).await.with_context(|| format!("{id} cannot start"))?;
        }
        for Front { server, listener } in gates {
            let node = node.for_server();
            self.gates.push(node.lifecycle.clone());
            Gate::start(server, node, listener);
        }
        Ok(())
    }

    async fn start_chats(&mut self, node: &Node, log: LogKind, chats: Vec<Server>) -> anyhow::Result<()> {
        if chats.is_empty() {
            return Ok(());
        }
        let log = open_log(log, node).await?;
        for server in chats {
            let node = node.for_server();
            self.chats.push(node.lifecycle.clone());
            let id = server.id.clone();
            Chat::start(server.id, node, log.clone()).await.with_context(|| format!("{id} cannot start"))?;
        }
        Ok(())
    }

    /// The servers, with the ports that were taken where the configuration says 0.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// What is counted in this process.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Stops in order, each kind of server when the one before has ended. Nothing is left running afterwards.
    ///
    /// What clients were promised is kept unless a server needs more than its grace time, which is logged.
    pub async fn stop(self) {
        for (kind, lifecycles) in [(GATE, self.gates), (CONNECTOR, self.connectors), (CHAT, self.chats)] {
            lifecycles.iter().for_each(Lifecycle::begin_stop);
            for lifecycle in lifecycles {
                if !lifecycle.stop(self.grace).await {
                    warn!(kind, "a server did not end in time: raise lifecycle.grace_secs if this was no surprise");
                }
            }
        }
        if let Err(error) = self.bus.drain(DRAIN).await {
            warn!(%error, "the bus did not deliver all that it had accepted");
        }
        info!("stopped");
    }
}

fn check_only(config: &Config, nats: Option<&str>, only: Option<&ServerId>) -> anyhow::Result<()> {
    let Some(id) = only else { return Ok(()) };
    let Some((kind, _)) = config.servers.find(id) else {
        let known: Vec<&str> = config.servers.all().map(|(_, server)| server.id.as_str()).collect();
        bail!("--only {id}: servers.json has no such server in {:?}; it has {}", config.environment, known.join(", "));
    };
    ensure!([GATE, CONNECTOR, CHAT].contains(&kind), "--only {id}: a server of type {kind:?} is not one of ours");
    ensure!(nats.is_some(), "--only {id}: a server alone needs a bus to the others: add --nats URL");
    Ok(())
}

/// Binds every wanted server of a kind, and notes the ports that the system chose.
async fn listen(config: &mut Config, kind: &str, wanted: impl Fn(&Server) -> bool) -> anyhow::Result<Vec<Front>> {
    let mut fronts = Vec::new();
    for mut server in config.servers.of_type(kind).to_vec() {
        if !wanted(&server) {
            continue;
        }
        let port = server.client_port.with_context(|| format!("{} has no clientPort in servers.json", server.id))?;
        let address = SocketAddr::new(config.settings.bind, port);
        let listener = TcpListener::bind(address).await.map_err(|error| cannot_listen(&server, address, &error))?;
        server.client_port = Some(listener.local_addr()?.port());
        config.servers.replace(server.clone());
        fronts.push(Front { server, listener });
    }
    Ok(fronts)
}

fn cannot_listen(server: &Server, address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let id = &server.id;
    match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{id} cannot listen on {address}: the port is taken. End the program that has it, or change clientPort of \
             {id} in servers.json"
        ),
        io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "{id} cannot listen on {address}: this machine has no such address. Change `bind` in settings.toml"
        ),
        _ => anyhow::anyhow!("{id} cannot listen on {address}: {error}"),
    }
}

async fn bus(nats: Option<&str>, config: &Config, name: &str, metrics: &Arc<Metrics>) -> anyhow::Result<Bus> {
    match nats {
        None => Ok(Bus::memory(MemoryLimits::default(), metrics.clone())),
        Some(url) => Ok(Bus::nats(url, &config.settings.nats, name, metrics.clone()).await?),
    }
}

/// The log of all chat servers of this process.
async fn open_log(kind: LogKind, node: &Node) -> anyhow::Result<Log> {
    let settings = &node.settings.log;
    Ok(match kind {
        LogKind::JetStream => JetStream::open(node.bus.clone(), settings).await?.into(),
        LogKind::Memory => Memory::new(settings).into(),
    })
}

/// No message may need more than half of what the broker takes.
fn check_payload(config: &Config, bus: &Bus) -> anyhow::Result<()> {
    let members = config.settings.room.max_members;
    let needed = members * Checkpoint::MEMBER_BYTES + STATE_OVERHEAD;
    let most = bus.max_payload() / 2;
    ensure!(
        needed <= most,
        "room.max_members = {members} makes messages of up to {needed} bytes, and the NATS server's max_payload is \
         {}: lower the setting, or raise max_payload to {}",
        bus.max_payload(),
        needed * 2
    );
    Ok(())
}
