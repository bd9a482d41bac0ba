//! Servers as processes, with a nats-server between them where each has its own. Everything ends
//! with its value.

#![expect(clippy::panic, reason = "fails the test that needs the servers, saying why")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use super::{GATE_ID, Installation, NatsServer, Process, WallClock, chat_id, connector_id, eventually, http_get};

/// The name of the one process that runs all servers.
const ALL: &str = "all";

/// The spread of servers over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// All servers in one process, over the bus within it.
    OneProcess,
    /// Each server in its own process, over a nats-server with JetStream.
    ProcessPerServer,
}

/// The servers of a deployment, and their settings.
#[derive(Debug, Clone)]
pub struct Layout {
    pub topology: Topology,
    pub chats: usize,
    pub connectors: usize,
    /// The gate is started. It is listed in `servers.json` in any case.
    pub has_gate: bool,
    /// Chat servers and connectors have a port for operators.
    pub has_operator_ports: bool,
    /// Lines of `settings.toml`.
    pub settings: String,
}

impl Layout {
    /// Three chat servers, three connectors and a gate, with the defaults but for `settings`.
    pub fn new(topology: Topology, settings: &str) -> Self {
        let settings = settings.to_owned();
        Self { topology, chats: 3, connectors: 3, has_gate: true, has_operator_ports: false, settings }
    }

    /// The servers' ids in the order in which they are started. The gate is last: it asks the
    /// connectors at once.
    pub fn ids(&self) -> Vec<String> {
        self.groups().concat()
    }

    /// Servers that are started at the same time.
    fn groups(&self) -> [Vec<String>; 3] {
        let gate = self.has_gate.then(|| GATE_ID.to_owned());
        [
            (1..=self.chats).map(chat_id).collect(),
            (0..self.connectors).map(connector_id).collect(),
            gate.into_iter().collect(),
        ]
    }
}

/// The start of one server's process, where it differs from that of others.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The URL of NATS, for example of a proxy before it.
    pub nats: Option<String>,
    /// A wall clock of its own.
    pub clock: Option<WallClock>,
    /// Further arguments.
    pub args: Vec<String>,
}

/// Servers that run.
#[derive(Debug)]
pub struct Deployment {
    // Processes end before the broker does: fields are dropped in this order.
    processes: Vec<(String, Process)>,
    launches: BTreeMap<String, Launch>,
    pub nats: Option<NatsServer>,
    pub installation: Installation,
    layout: Layout,
}

impl Deployment {
    /// Starts all servers of a layout. Returns when they are ready, and the gate names connectors.
    pub async fn start(program: &Path, layout: &Layout) -> Self {
        Self::start_with(program, layout, async |_| {}).await
    }

    /// Starts like [`Deployment::start`]; `prepare` is called before the first process.
    ///
    /// # Panics
    /// If a server does not start.
    pub async fn start_with(program: &Path, layout: &Layout, prepare: impl AsyncFnOnce(&mut Self)) -> Self {
        let nats = match layout.topology {
            Topology::OneProcess => None,
            Topology::ProcessPerServer => Some(NatsServer::start_with_jetstream().await),
        };
        let (installation, layout) = (Installation::new(program, layout), layout.clone());
        let mut deployment = Self { processes: Vec::new(), launches: BTreeMap::new(), nats, installation, layout };
        prepare(&mut deployment).await;
        deployment.start_all().await;
        deployment
    }

    async fn start_all(&mut self) {
        let groups = match self.layout.topology {
            Topology::OneProcess => vec![vec![ALL.to_owned()]],
            Topology::ProcessPerServer => self.layout.groups().to_vec(),
        };
        for group in groups {
            group.iter().for_each(|server| self.launch(server));
            for server in group {
                let process = self.process(&server);
                assert!(process.wait_for_output("ready").await, "{}", process.output());
            }
        }
        if self.layout.has_gate {
            let named = async || self.entry("anyone").await.is_some();
            eventually(Process::DEADLINE, "the gate names a connector", named).await;
        }
    }

    /// Sets how a server is started from now on.
    pub fn set_launch(&mut self, server: &str, launch: Launch) {
        self.launches.insert(server.to_owned(), launch);
    }

    /// Starts the process of a server, for the first time or again. Returns when it is ready.
    pub async fn run(&mut self, server: &str) {
        self.launch(server);
        let process = self.process(server);
        assert!(process.wait_for_output("ready").await, "{}", process.output());
    }

    /// Starts the process of a server without waiting for it. A process of that server which still
    /// runs is killed.
    pub fn launch(&mut self, server: &str) {
        let launch = self.launches.get(server).cloned().unwrap_or_default();
        let mut command = self.installation.command();
        command.args(["--env", "development"]);
        if let Some(nats) = &self.nats {
            command.args(["--only", server, "--nats", launch.nats.as_deref().unwrap_or(nats.url())]);
        }
        command.args(&launch.args);
        if let Some(clock) = &launch.clock {
            command.envs(clock.environment());
        }
        let started = Process::start(server, command, self.installation.path());
        match self.processes.iter_mut().find(|(name, _)| name == server) {
            Some((_, process)) => *process = started,
            None => self.processes.push((server.to_owned(), started)),
        }
    }

    /// The spread of servers over processes.
    pub fn topology(&self) -> Topology {
        self.layout.topology
    }

    /// The process that runs this server.
    pub fn process(&self, server: &str) -> &Process {
        let found = self.processes.iter().find(|(name, _)| name == server || name == ALL);
        &found.unwrap_or_else(|| panic!("no process runs {server}")).1
    }

    /// All processes by name, in the order of their first starts.
    pub fn processes(&self) -> impl DoubleEndedIterator<Item = (&str, &Process)> {
        self.processes.iter().map(|(name, process)| (name.as_str(), process))
    }

    /// Drops the process of a server that was added for a while.
    pub fn remove(&mut self, server: &str) {
        self.processes.retain(|(name, _)| name != server);
    }

    /// The wall clock of a server's processes.
    ///
    /// # Panics
    /// If its [`Launch`] has none.
    pub fn clock(&self, server: &str) -> &WallClock {
        let clock = self.launches.get(server).and_then(|launch| launch.clock.as_ref());
        clock.unwrap_or_else(|| panic!("{server} has the machine's clock"))
    }

    /// The address of the gate.
    pub fn gate(&self) -> SocketAddr {
        self.installation.gate()
    }

    /// The address of a connector, counted from 0.
    pub fn connector(&self, index: usize) -> SocketAddr {
        self.installation.connectors()[index]
    }

    /// The connector that the gate names for a user, if it names one.
    pub async fn entry(&self, uid: &str) -> Option<SocketAddr> {
        let body = self.get_from_gate(&format!("/entry?uid={uid}")).await?;
        let entry: Value = serde_json::from_str(&body).ok()?;
        let port = entry["port"].as_u64()?;
        self.installation.connectors().iter().find(|at| u64::from(at.port()) == port).copied()
    }

    /// Waits until the gate is ready: a connector has answered it.
    pub async fn wait_until_ready(&self) {
        let is_ready =
            async || self.get_from_gate("/readyz").await.is_some_and(|body| body.contains(r#""ready":true"#));
        eventually(Process::DEADLINE, "the gate is ready", is_ready).await;
    }

    async fn get_from_gate(&self, path: &str) -> Option<String> {
        let gate = self.gate();
        http_get(gate, path, &[&format!("Host: {gate}")]).await.map(|response| response.body)
    }
}
