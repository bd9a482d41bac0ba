//! A connector, a chat server and a nats-server as processes, and the processor time that each used. What is started
//! here ends with its value.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use shared::testing::NatsServer;

use crate::process::{Process, processor_time};
use crate::senders::MAX_IN_FLIGHT;

const ENVIRONMENT: &str = "bench";
const CHAT: &str = "chat-server-1";
const CONNECTOR: &str = "connector-server-1";

/// Starts, when others take the port in between.
const ATTEMPTS: usize = 5;

/// Servers that run, ended from first to last when dropped.
pub(crate) struct Deployment {
    connector: Process,
    chat: Process,
    nats: NatsServer,
    directory: Directory,
}

/// Configuration and output of the processes; removed when dropped.
struct Directory {
    path: PathBuf,
    /// Where the connector listens.
    connector: String,
}

impl Deployment {
    /// Starts all servers, with the log there.
    pub(crate) async fn start(log: &str) -> Self {
        for _ in 0..ATTEMPTS {
            if let Some(deployment) = Self::try_start(log).await {
                return deployment;
            }
        }
        panic!("others took the port {ATTEMPTS} times");
    }

    /// `None` if somebody else has the connector's port now.
    async fn try_start(log: &str) -> Option<Self> {
        // With JetStream for both: what differs is who uses it.
        let nats = NatsServer::start_with_jetstream().await;
        let directory = Directory::new();
        let start = |server| {
            let options = ["--env", ENVIRONMENT, "--only", server, "--nats", nats.url(), "--log", log];
            Process::start(server, &directory.path, &directory.path, &options)
        };
        let mut chat = start(CHAT);
        assert!(chat.says("ready").await, "{}", chat.said());
        let mut connector = start(CONNECTOR);
        if !connector.says("ready").await {
            assert!(connector.said().contains("the port is taken"), "{}", connector.said());
            return None;
        }
        Some(Self { connector, chat, nats, directory })
    }

    /// `host:port` of the connector.
    pub(crate) fn connector(&self) -> &str {
        &self.directory.connector
    }

    /// What connector, chat server and nats-server used so far, in user and kernel mode.
    pub(crate) fn processor_times(&self) -> [Duration; 3] {
        [self.connector.id(), self.chat.id(), self.nats.id()].map(processor_time)
    }

    /// What the processes wrote.
    pub(crate) fn output(&self) -> String {
        format!("--- {CONNECTOR}\n{}--- {CHAT}\n{}", self.connector.said(), self.chat.said())
    }
}

impl Directory {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("messages-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&path).unwrap();
        // Free a moment later, too, as a rule.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        fs::write(path.join("servers.json"), servers(free.port()).to_string()).unwrap();
        fs::write(path.join("settings.toml"), settings()).unwrap();
        Self { path, connector: free.to_string() }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.path));
    }
}

/// The gate has to be there, and is not started: senders know their connector.
fn servers(port: u16) -> Value {
    let front = |id, port| json!([{"id": id, "host": "127.0.0.1", "clientPort": port, "frontend": true}]);
    json!({ENVIRONMENT: {
        "gate": front("gate-server-1", 1),
        "connector": front(CONNECTOR, port),
        "chat": [{"id": CHAT, "host": "127.0.0.1"}],
    }})
}

/// The defaults, but nobody is refused for sending as fast as the servers answer.
fn settings() -> String {
    format!(
        "bind = '127.0.0.1'\n\
         session.requests_per_sec = 1_000_000\n\
         session.request_burst = 1_000_000\n\
         session.max_in_flight = {MAX_IN_FLIGHT}\n\
         session.max_outbound_bytes = 16_777_216\n"
    )
}
