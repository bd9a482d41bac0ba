//! A connector, a chat server and a nats-server as processes, and the processor time that each used. What is started
//! here ends with its value.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use shared::testing::{NatsServer, eventually};

use crate::senders::MAX_IN_FLIGHT;

const ENVIRONMENT: &str = "bench";
const CHAT: &str = "chat-server-1";
const CONNECTOR: &str = "connector-server-1";

/// The longest that a start may take.
const START_WITHIN: Duration = Duration::from_secs(20);

/// Starts, when others take the port in between.
const ATTEMPTS: usize = 5;

/// Linux counts the time of processes in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

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

/// A running `shaddock`, killed when dropped.
struct Process {
    child: Child,
    output: PathBuf,
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
        let start = |server| Process::start(&directory.path, server, &["--nats", nats.url(), "--log", log]);
        let mut chat = start(CHAT);
        assert!(chat.is_ready().await, "{}", chat.said());
        let mut connector = start(CONNECTOR);
        if !connector.is_ready().await {
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
        [self.connector.child.id(), self.chat.child.id(), self.nats.id()].map(processor_time)
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

impl Process {
    /// Starts this server alone; what it says goes to a file in the directory.
    fn start(directory: &Path, server: &str, args: &[&str]) -> Self {
        let output = directory.join(format!("{server}.log"));
        let file = File::create(&output).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_shaddock"));
        command.env_clear().arg("--config").arg(directory).args(["--env", ENVIRONMENT, "--only", server]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Self { child: command.spawn().unwrap(), output }
    }

    /// Waits until it is ready; `false` if it ended before.
    async fn is_ready(&mut self) -> bool {
        let mut ready = false;
        eventually(START_WITHIN, "a server is ready", async || {
            let ended = self.child.try_wait().unwrap().is_some();
            ready = self.said().contains("ready");
            ready || ended
        })
        .await;
        ready
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a process used so far, in user and kernel mode.
fn processor_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name, in parentheses, may hold anything; the two times are the 12th and 13th field behind it.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u32 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap()).sum();
    TICK * ticks
}
