//! Real processes over a real broker, each with a way to it of its own that can be cut; and what breaks them.

mod keys;

use std::path::Path;
use std::time::Duration;

use client::{ClientError, Options, query_entry};
use rand::RngExt;
use rand::rngs::StdRng;
use testkit::{NatsServer, TcpProxy, eventually};
use tokio::time::sleep;

use crate::configuration::Configuration;
use crate::lossy_proxy::LossyProxy;
use crate::plan::{Fault, SERVERS, Step};
use crate::process::{DEADLINE, Process};
use crate::servers_file::write_chats;
use crate::wall_clock::WallClock;

/// Starts of all processes, when others take their ports in between.
const ATTEMPTS: usize = 5;

/// How long the broker stands still.
const FROZEN: Duration = Duration::from_secs(3);

/// A client is told soon when its request has no answer, so that it repeats it while the fault lasts.
/// A lease is short, but longer than a connector is cut or stands still.
const SETTINGS: &str = "[rpc]\nrequest_ms = 1500\n[room]\nlease_secs = 7\n[lifecycle]\ndrain_secs = 1";

/// The chat server that is not always there.
const ADDED: &str = "chat-server-4";

/// Where clients come in.
#[derive(Debug, Clone)]
pub(crate) struct EntryPoints {
    gate: String,
    connectors: Vec<String>,
}

/// One process, and its way to the broker.
struct Server {
    id: String,
    process: Process,
    /// Starts of it, this one included.
    runs: usize,
    proxy: TcpProxy,
    lossy_proxy: LossyProxy,
    clock: WallClock,
}

pub(crate) struct ChaosCluster {
    // Ends before the broker does.
    servers: Vec<Server>,
    nats: NatsServer,
    directory: Configuration,
    /// The chat servers in the order of `servers.json`.
    chats: Vec<String>,
    /// Messages between servers must be signed, from the start on.
    is_signed: bool,
}

impl EntryPoints {
    /// A connector for somebody, as the gate says or by chance.
    pub(crate) async fn pick(&self, name: &str, chance: &mut StdRng) -> Result<String, ClientError> {
        if chance.random_range(0..2) == 0 {
            return Ok(self.connectors[chance.random_range(0..self.connectors.len())].clone());
        }
        let entry = query_entry(&self.gate, name, &self.options()).await?;
        Ok(entry.to_string())
    }

    pub(crate) fn options(&self) -> Options {
        let connect_timeout = Duration::from_secs(2);
        let request_timeout = Duration::from_secs(4);
        Options { connect_timeout, request_timeout, ..Options::default() }
    }
}

impl ChaosCluster {
    /// Starts servers that do not sign.
    pub(crate) async fn start() -> Self {
        Self::start_with(false).await
    }

    /// Starts servers that take signed messages only.
    pub(crate) async fn start_signed() -> Self {
        Self::start_with(true).await
    }

    async fn start_with(is_signed: bool) -> Self {
        for _ in 0..ATTEMPTS {
            if let Some(cluster) = Self::try_start(is_signed).await {
                return cluster;
            }
        }
        panic!("others took the ports {ATTEMPTS} times");
    }

    /// `None` if somebody else has a port now.
    async fn try_start(is_signed: bool) -> Option<Self> {
        let nats = NatsServer::start_with_jetstream().await;
        let numbered = |kind: &'static str| (1..=SERVERS).map(move |number| format!("{kind}-server-{number}"));
        let (directory, chats) = (Configuration::new(SETTINGS), numbered("chat").collect());
        let mut cluster = Self { nats, directory, servers: Vec::new(), chats, is_signed };
        if is_signed {
            cluster.write_keys().await;
            cluster.set_signatures("require");
        }
        let ids = numbered("chat").chain(numbered("connector")).chain(["gate-server-1".to_owned()]);
        for id in ids {
            let server = cluster.launch(id).await?;
            cluster.servers.push(server);
        }
        let entry_points = cluster.entry_points();
        eventually(DEADLINE, "the gate names a connector", async || {
            query_entry(&entry_points.gate, "somebody", &entry_points.options()).await.is_ok()
        })
        .await;
        Some(cluster)
    }

    async fn launch(&self, id: String) -> Option<Server> {
        let lossy_proxy = LossyProxy::start(self.nats.address()).await;
        let proxy = TcpProxy::start(lossy_proxy.address()).await;
        let clock = WallClock::new(&self.directory.path, &id);
        let mut process = self.run(&id, 1, &proxy, &clock);
        if !process.wait_for_output("ready").await {
            assert!(process.output().contains("the port is taken"), "{}", process.output());
            return None;
        }
        Some(Server { id, process, runs: 1, proxy, lossy_proxy, clock })
    }

    fn run(&self, id: &str, run: usize, proxy: &TcpProxy, clock: &WallClock) -> Process {
        let url = format!("nats://{}", proxy.address());
        let args = ["--env", "development", "--only", id, "--nats", &url];
        Process::start(&self.directory.path, &format!("{id}.{run}"), args, &clock.environment())
    }

    pub(crate) fn entry_points(&self) -> EntryPoints {
        let mut frontends = self.directory.frontends.iter().map(ToString::to_string);
        EntryPoints { gate: frontends.next().unwrap(), connectors: frontends.collect() }
    }

    /// Where the processes' logs are; kept when the test fails.
    pub(crate) fn logs(&self) -> &Path {
        &self.directory.path
    }

    /// Breaks something and makes it whole again; returns when that is done, whether or not it works again. A dead server
    /// stays dead until [`ChaosCluster::restart_dead`].
    pub(crate) async fn inject(&mut self, step: &Step) {
        let duration = Duration::from_millis(step.duration_ms);
        let chat = format!("chat-server-{}", step.server + 1);
        let connector = format!("connector-server-{}", step.server + 1);
        match step.kind {
            Fault::BrokerKilled => self.nats.restart().await,
            Fault::BrokerFrozen => {
                self.nats.pause().await;
                sleep(FROZEN).await;
                self.nats.resume();
            }
            Fault::ChatCut => self.cut(&chat, duration).await,
            Fault::ConnectorCut => self.cut(&connector, duration).await,
            Fault::RecordLost => self.lose_record(step.server).await,
            Fault::ChatKilled => self.restart(&chat).await,
            Fault::ConnectorKilled => self.restart(&connector).await,
            Fault::ChatStopped => self.restart_in_order(&chat).await,
            Fault::ConnectorStopped => self.restart_in_order(&connector).await,
            Fault::ChatDead => self.kill(&chat).await,
            Fault::ConnectorDead => self.kill(&connector).await,
            Fault::ChatFrozen => self.freeze(&chat, duration).await,
            Fault::ConnectorFrozen | Fault::ConnectorForgotten => self.freeze(&connector, duration).await,
            Fault::ServersChanged => self.move_in_list(step.server, duration).await,
            Fault::ChatAdded => self.add_chat(duration).await,
            Fault::ChatClock => self.set_clocks(&chat, step).await,
            Fault::ConnectorClock => self.set_clocks(&connector, step).await,
            // The clients do that themselves.
            Fault::ClientsCut => {}
        }
    }

    /// Drops a record on its way to a connector: to the one of this index, or to the next one that has clients. A connector
    /// that was stopped has none until some come back.
    async fn lose_record(&self, first: usize) {
        for server in (first..first + SERVERS).map(|index| index % SERVERS) {
            if self.server(&format!("connector-server-{}", server + 1)).lossy_proxy.drop_next_record().await {
                return;
            }
        }
        panic!("no connector has clients: no record could be lost");
    }

    async fn cut(&self, id: &str, duration: Duration) {
        let server = self.server(id);
        server.proxy.cut();
        sleep(duration).await;
        server.proxy.heal();
    }

    async fn freeze(&self, id: &str, duration: Duration) {
        let server = self.server(id);
        server.process.signal("STOP").await;
        sleep(duration).await;
        server.process.signal("CONT").await;
    }

    /// Takes a chat server out of the list, and puts it back a place further on.
    async fn move_in_list(&mut self, index: usize, absent: Duration) {
        let moved = self.chats.remove(index);
        write_chats(&self.directory.path, &self.chats);
        sleep(absent).await;
        self.chats.insert((index + 1) % SERVERS, moved);
        write_chats(&self.directory.path, &self.chats);
    }

    /// Lets another chat server have its share of the rooms for a while.
    async fn add_chat(&mut self, duration: Duration) {
        let mut chats = self.chats.clone();
        chats.push(ADDED.to_owned());
        write_chats(&self.directory.path, &chats);
        if self.is_signed {
            self.write_keys().await;
        }
        let mut added = self.launch(ADDED.to_owned()).await.unwrap();
        sleep(duration).await;
        write_chats(&self.directory.path, &self.chats);
        assert!(added.process.wait_for_output("it owns nothing, and can be stopped").await);
        added.process.signal("TERM").await;
        assert_eq!(added.process.wait().await, Some(0));
    }

    async fn restart(&mut self, id: &str) {
        self.kill(id).await;
        self.start_again(id);
    }

    /// Ends a server in order, as one does for a new version, and starts it again.
    async fn restart_in_order(&mut self, id: &str) {
        let server = self.server_mut(id);
        server.process.signal("TERM").await;
        assert_eq!(server.process.wait().await, Some(0), "{id} hands over and ends");
        self.start_again(id);
    }

    /// Starts the server that a step left dead; returns when it says that it is ready.
    pub(crate) async fn restart_dead(&mut self, step: &Step) {
        let kind = if step.kind == Fault::ConnectorDead { "connector" } else { "chat" };
        let id = format!("{kind}-server-{}", step.server + 1);
        self.start_again(&id);
        assert!(self.server_mut(&id).process.wait_for_output("ready").await, "{id} starts again");
    }

    /// Sets a server's clock while it runs, and again before its next run, which comes after a
    /// while. A clock that is behind its last run's stays so.
    async fn set_clocks(&mut self, id: &str, step: &Step) {
        let [now, next] = step.ahead_ms;
        self.server(id).clock.set(now);
        sleep(Duration::from_millis(step.duration_ms)).await;
        self.server(id).clock.set(next);
        self.restart_in_order(id).await;
    }

    async fn kill(&mut self, id: &str) {
        let server = self.server_mut(id);
        server.process.signal("KILL").await;
        assert_eq!(server.process.wait().await, None, "ended by the signal");
    }

    fn start_again(&mut self, id: &str) {
        let Server { runs, proxy, clock, .. } = self.server(id);
        let next = self.run(id, runs + 1, proxy, clock);
        let server = self.server_mut(id);
        server.process = next;
        server.runs += 1;
    }

    fn server(&self, id: &str) -> &Server {
        self.servers.iter().find(|server| server.id == id).unwrap()
    }

    fn server_mut(&mut self, id: &str) -> &mut Server {
        self.servers.iter_mut().find(|server| server.id == id).unwrap()
    }

    /// Stops everything in order; each process must end well.
    pub(crate) async fn stop(mut self) {
        for server in self.servers.iter_mut().rev() {
            server.process.signal("TERM").await;
            assert_eq!(server.process.wait().await, Some(0), "{}", server.id);
        }
    }
}
