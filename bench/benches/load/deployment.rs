//! The measured system: servers as processes, each on its own ports. Dropping it ends all of them.

use std::fs;
use std::path::Path;

use testkit::{GATE_ID, NatsServer, chat_id, connector_id};

use crate::configuration::Configuration;
use crate::dimensions::{Component, System};
use crate::peer::Peer;
use crate::process::{self, Process};

/// Messages of a session that may be unanswered; more than any sender here has.
const MAX_IN_FLIGHT: u32 = 1_000;

/// The default settings without rate limits, so that servers accept all that they can process.
fn settings() -> String {
    format!(
        "frontend.max_connections = 100_000\n\
         frontend.max_connections_per_address = 100_000\n\
         session.requests_per_sec = 1_000_000\n\
         session.request_burst = 1_000_000\n\
         session.max_in_flight = {MAX_IN_FLIGHT}\n\
         session.max_outbound_bytes = 67_108_864\n\
         room.presence_records_per_min = 0\n"
    )
}

/// JetStream on disk, in a directory that the environment names.
const BROKER: &str = "jetstream { store_dir: $NATS_STORE_DIR }\n";

/// Servers that run.
pub(crate) struct Deployment {
    processes: Vec<(Component, Process)>,
    nats: Option<NatsServer>,
    peer: Option<Peer>,
    configuration: Configuration,
}

impl Deployment {
    /// Starts all servers of a system; returns when they are ready.
    pub(crate) async fn start(system: System) -> Self {
        Self::start_with(system, "").await
    }

    /// The same with these lines of settings.
    pub(crate) async fn start_with(system: System, more: &str) -> Self {
        let configuration = Configuration::new(1, 1, &format!("{}{more}", settings()));
        let mut deployment = Self { processes: Vec::new(), nats: None, peer: None, configuration };
        match system {
            System::OneProcess => deployment.run(Component::Shaddock, "shaddock", &["--log", "memory"]).await,
            System::NatsMemory => deployment.run_over_nats("memory").await,
            System::NatsJetStream => deployment.run_over_nats("jetstream").await,
            System::SocketIo => {
                deployment.peer = Some(Peer::start(deployment.configuration.path()).await);
            }
        }
        deployment
    }

    /// Gate, connector, chat server and nats-server, a process each. The log in memory has a broker
    /// with JetStream, too: what differs is who uses it.
    async fn run_over_nats(&mut self, log: &str) {
        let nats = start_nats(self.configuration.path()).await;
        let url = nats.url().to_owned();
        self.nats = Some(nats);
        for (component, id) in
            [(Component::Chat, &*chat_id(1)), (Component::Connector, &connector_id(0)), (Component::Gate, GATE_ID)]
        {
            self.run(component, id, &["--only", id, "--nats", &url, "--log", log]).await;
        }
    }

    async fn run(&mut self, component: Component, name: &str, options: &[&str]) {
        let path = self.configuration.path();
        let process = process::start(name, path, path, options);
        assert!(process.wait_for_output("ready").await, "{}", process.output());
        self.processes.push((component, process));
    }

    /// Returns the address for clients, as `host:port`.
    pub(crate) fn entry_address(&self) -> String {
        self.peer.as_ref().map_or_else(|| self.configuration.gate(), Peer::address)
    }

    /// All processes.
    pub(crate) fn components(&self) -> Vec<(Component, u32)> {
        let servers = self.processes.iter().map(|(component, process)| (*component, process.id()));
        let nats = self.nats.iter().map(|nats| (Component::Nats, nats.id()));
        let peer = self.peer.iter().map(|peer| (Component::Node, peer.id()));
        servers.chain(nats).chain(peer).collect()
    }

    /// Keeps the processes' output; returns its directory.
    pub(crate) fn keep(&mut self) -> &Path {
        self.configuration.keep();
        self.configuration.path()
    }
}

/// With one processor for its goroutines, as is best where it shares two with others; `directory`
/// is for its configuration.
pub(crate) async fn start_nats(directory: &Path) -> NatsServer {
    let file = directory.join("nats.conf");
    fs::write(&file, BROKER).unwrap();
    NatsServer::start_with_file(&file, &[("GOMAXPROCS", "1")]).await
}
