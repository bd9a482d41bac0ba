//! A deployment of a test's own: its processes, and what they answer over HTTP.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::{NatsServer, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::configuration::{Address, Configuration};
use crate::process::{DEADLINE, Process};
use crate::wall_clock::WallClock;

/// Starts of a deployment, when others take its ports in between.
const ATTEMPTS: usize = 5;

/// How the seven servers are spread over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// All in one, the bus inside.
    OneProcess,
    /// Each in its own, over a nats-server.
    SevenProcesses,
}

/// The servers of a deployment; the gate last: it asks the connectors at once.
pub(crate) const SERVERS: [&str; 7] = [
    "chat-server-1",
    "chat-server-2",
    "chat-server-3",
    "connector-server-1",
    "connector-server-2",
    "connector-server-3",
    "gate-server-1",
];

/// Servers that run.
pub(crate) struct Deployment {
    /// By what they run: `all`, or a server's id.
    processes: Vec<(String, Process)>,
    pub(crate) configuration: Configuration,
    pub(crate) nats: Option<NatsServer>,
    /// By server; empty where all processes show the machine's time.
    clocks: BTreeMap<String, WallClock>,
}

impl Layout {
    /// Starts all servers, with the defaults but for `settings`; returns when clients can connect.
    pub(crate) async fn start(self, settings: &str) -> Deployment {
        self.start_with(settings, |_| BTreeMap::new()).await
    }

    /// The same; the wall clock of each process is this many milliseconds ahead, and can be set.
    pub(crate) async fn start_with_clocks(self, settings: &str, ahead_ms: i64) -> Deployment {
        let clock = |configuration: &Configuration, server: &str| {
            let clock = WallClock::new(&configuration.path, server);
            clock.set(ahead_ms);
            (server.to_owned(), clock)
        };
        self.start_with(settings, |configuration| SERVERS.iter().map(|server| clock(configuration, server)).collect())
            .await
    }

    async fn start_with(
        self,
        settings: &str,
        clocks: impl Fn(&Configuration) -> BTreeMap<String, WallClock>,
    ) -> Deployment {
        for _ in 0..ATTEMPTS {
            let nats = if self == Self::SevenProcesses { Some(NatsServer::start_with_jetstream().await) } else { None };
            let configuration = Configuration::new(settings);
            let clocks = clocks(&configuration);
            let mut deployment = Deployment { processes: Vec::new(), configuration, nats, clocks };
            if deployment.start().await {
                return deployment;
            }
        }
        panic!("others took the ports {ATTEMPTS} times");
    }
}

impl Deployment {
    /// Starts the processes; `false` if somebody else has a port now.
    async fn start(&mut self) -> bool {
        let groups: &[&[&str]] = match self.nats {
            None => &[&["all"]],
            Some(_) => &[&SERVERS[..3], &SERVERS[3..6], &SERVERS[6..]],
        };
        for group in groups {
            let first = self.processes.len();
            group.iter().for_each(|name| self.launch(name));
            for (_, process) in &mut self.processes[first..] {
                if !process.wait_for_output("ready").await {
                    assert!(process.output().contains("the port is taken"), "{}", process.output());
                    return false;
                }
            }
        }
        eventually(DEADLINE, "the gate names a connector", async || self.entry("somebody").await.is_some()).await;
        true
    }

    fn launch(&mut self, name: &str) {
        let mut args = vec!["--env".to_owned(), "development".to_owned()];
        if let Some(nats) = &self.nats {
            args.extend(["--only", name, "--nats", nats.url()].map(str::to_owned));
        }
        let environment = self.clocks.get(name).map(WallClock::environment);
        let environment = environment.iter().flatten().copied().collect::<Vec<_>>();
        self.processes.push((name.to_owned(), Process::start(&self.configuration.path, name, args, &environment)));
    }

    /// Waits until the gate is ready: it has heard of connectors.
    pub(crate) async fn wait_until_ready(&self) {
        eventually(DEADLINE, "the gate is ready", async || {
            get(self.gate(), "/readyz").await.is_some_and(|answer| answer.contains(r#""ready":true"#))
        })
        .await;
    }

    /// The wall clock of a server's processes.
    pub(crate) fn clock(&self, server: &str) -> &WallClock {
        &self.clocks[server]
    }

    /// Starts the process of a server that ended; returns when it is ready.
    pub(crate) async fn restart(&mut self, server: &str) {
        self.processes.retain(|(name, _)| name != server);
        self.launch(server);
        assert!(self.process(server).wait_for_output("ready").await, "{}", self.process(server).output());
    }

    /// The process that runs this server.
    pub(crate) fn process(&mut self, server: &str) -> &mut Process {
        let found = self.processes.iter_mut().find(|(name, _)| name == server || name == "all");
        &mut found.unwrap_or_else(|| panic!("no process runs {server}")).1
    }

    /// All processes, in the order in which they were started.
    pub(crate) fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        self.processes.iter_mut().map(|(_, process)| process)
    }

    pub(crate) fn gate(&self) -> Address {
        self.configuration.frontends[0]
    }

    /// A connector, counted from 0.
    pub(crate) fn connector(&self, index: usize) -> Address {
        self.configuration.frontends[1 + index]
    }

    /// The connector that the gate names for this user.
    pub(crate) async fn entry(&self, uid: &str) -> Option<Address> {
        let answer = get(self.gate(), &format!("/entry?uid={uid}")).await?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        let port = answer["port"].as_u64()?;
        self.configuration.frontends.iter().find(|at| u64::from(at.port()) == port).copied()
    }
}

/// The body of an HTTP answer; `None` if there is none.
pub(crate) async fn get(from: Address, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(from).await.ok()?;
    // HTTP/1.0: the answer comes in one piece and ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {from}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// The names in an answer to `enter`.
pub(crate) fn users(answer: &Value) -> BTreeSet<&str> {
    answer["users"].as_array().unwrap().iter().map(|user| user.as_str().unwrap()).collect()
}
