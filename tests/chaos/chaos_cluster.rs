//! Real processes over a real broker, each with a way to it of its own that can be cut; and what
//! breaks them.

mod keys;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use client::{ClientError, Options, query_entry};
use rand::RngExt;
use rand::rngs::StdRng;
use testkit::{Deployment, Launch, Layout, TcpProxy, Topology, WallClock, chat_id, connector_id};
use tokio::time::sleep;

use crate::lossy_proxy::LossyProxy;
use crate::plan::{Fault, SERVERS, Step};

/// The time for which the broker is frozen.
const FROZEN: Duration = Duration::from_secs(3);

/// A request without a response fails soon, so that the client repeats it while the fault lasts. A
/// lease is short, but longer than a connector is cut or frozen.
const SETTINGS: &str = "[rpc]\nrequest_ms = 1500\n[room]\nlease_secs = 7\n[lifecycle]\ndrain_secs = 1";

/// The chat server that is not always there.
const ADDED: &str = "chat-server-4";

/// The addresses that clients connect to.
#[derive(Debug, Clone)]
pub(crate) struct EntryPoints {
    gate: String,
    connectors: Vec<String>,
}

/// The connection of one server to the broker.
struct Link {
    proxy: TcpProxy,
    lossy_proxy: LossyProxy,
}

pub(crate) struct ChaosCluster {
    deployment: Deployment,
    /// By server.
    links: BTreeMap<String, Link>,
    /// The chat servers in the order of `servers.json`.
    chats: Vec<String>,
    /// Messages between servers must be signed, from the start on.
    is_signed: bool,
}

impl EntryPoints {
    /// Returns the address of a connector: the one that the gate names for a user, or a random one.
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
        let layout = Layout::new(Topology::ProcessPerServer, SETTINGS);
        let mut links = BTreeMap::new();
        let program = testkit::shaddock();
        let deployment = Deployment::start_with(program, &layout, async |deployment| {
            if is_signed {
                keys::write(&deployment.installation);
                keys::set_signatures(&deployment.installation, "require");
            }
            for id in layout.ids() {
                let link = Link::start(deployment, &id).await;
                links.insert(id, link);
            }
        })
        .await;
        Self { deployment, links, chats: (1..=SERVERS).map(chat_id).collect(), is_signed }
    }

    pub(crate) fn entry_points(&self) -> EntryPoints {
        let connectors = self.deployment.installation.connectors();
        EntryPoints {
            gate: self.deployment.gate().to_string(),
            connectors: connectors.iter().map(ToString::to_string).collect(),
        }
    }

    /// Returns the directory of the processes' logs, which is kept when the test fails.
    pub(crate) fn logs(&self) -> &Path {
        self.deployment.installation.path()
    }

    /// Breaks something and makes it whole again; returns when that is done, whether or not it
    /// works again. A dead server stays dead until [`ChaosCluster::restart_dead`].
    pub(crate) async fn inject(&mut self, step: &Step) {
        let duration = Duration::from_millis(step.duration_ms);
        let (chat, connector) = (chat_id(step.server + 1), connector_id(step.server));
        match step.kind {
            Fault::BrokerKilled => {
                if let Some(nats) = &mut self.deployment.nats {
                    nats.restart().await;
                }
            }
            Fault::BrokerFrozen => {
                if let Some(nats) = &self.deployment.nats {
                    nats.pause().await;
                    sleep(FROZEN).await;
                    nats.resume();
                }
            }
            Fault::ChatCut => self.cut(&chat, duration).await,
            Fault::ConnectorCut => self.cut(&connector, duration).await,
            Fault::RecordLost => self.lose_record(step.server).await,
            Fault::ChatKilled => self.kill_and_restart(&chat),
            Fault::ConnectorKilled => self.kill_and_restart(&connector),
            Fault::ChatStopped => self.restart_in_order(&chat).await,
            Fault::ConnectorStopped => self.restart_in_order(&connector).await,
            Fault::ChatDead => self.deployment.process(&chat).kill(),
            Fault::ConnectorDead => self.deployment.process(&connector).kill(),
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

    /// Drops a record on its way to a connector: to the one of this index, or to the next one that
    /// has clients. A connector that was stopped has none until some come back.
    async fn lose_record(&self, first: usize) {
        for index in (first..first + SERVERS).map(|index| index % SERVERS) {
            if self.links[&connector_id(index)].lossy_proxy.drop_next_record().await {
                return;
            }
        }
        panic!("no connector has clients: no record could be lost");
    }

    async fn cut(&self, id: &str, duration: Duration) {
        let proxy = &self.links[id].proxy;
        proxy.cut();
        sleep(duration).await;
        proxy.heal();
    }

    async fn freeze(&self, id: &str, duration: Duration) {
        let process = self.deployment.process(id);
        process.signal("STOP");
        sleep(duration).await;
        process.signal("CONT");
    }

    /// Takes a chat server out of the list, and puts it back a place further on.
    async fn move_in_list(&mut self, index: usize, absent: Duration) {
        let moved = self.chats.remove(index);
        self.deployment.installation.set_chats(&self.chats);
        sleep(absent).await;
        self.chats.insert((index + 1) % SERVERS, moved);
        self.deployment.installation.set_chats(&self.chats);
    }

    /// Lets another chat server have its share of the rooms for a while.
    async fn add_chat(&mut self, duration: Duration) {
        self.start_added().await;
        sleep(duration).await;
        self.deployment.installation.set_chats(&self.chats);
        let added = self.deployment.process(ADDED);
        assert!(added.wait_for_output("it owns nothing, and can be stopped").await);
        added.stop().await;
        self.deployment.remove(ADDED);
        self.links.remove(ADDED);
    }

    /// Lists and starts the chat server that is not always there.
    async fn start_added(&mut self) {
        self.deployment.installation.set_chats(self.chats.iter().map(String::as_str).chain([ADDED]));
        if self.is_signed {
            keys::write(&self.deployment.installation);
        }
        let link = Link::start(&mut self.deployment, ADDED).await;
        self.links.insert(ADDED.to_owned(), link);
        self.deployment.run(ADDED).await;
    }

    fn kill_and_restart(&mut self, id: &str) {
        self.deployment.process(id).kill();
        self.deployment.launch(id);
    }

    /// Stops a server gracefully, as for a new version, and starts it again.
    async fn restart_in_order(&mut self, id: &str) {
        self.deployment.process(id).stop().await;
        self.deployment.launch(id);
    }

    /// Starts the server that a step left dead; returns when it is ready.
    pub(crate) async fn restart_dead(&mut self, step: &Step) {
        let is_connector = step.kind == Fault::ConnectorDead;
        let id = if is_connector { connector_id(step.server) } else { chat_id(step.server + 1) };
        self.deployment.run(&id).await;
    }

    /// Sets a server's clock while it runs, and again before its next run, which comes after a
    /// while. A clock that is behind its last run's stays so.
    async fn set_clocks(&mut self, id: &str, step: &Step) {
        let [now, next] = step.ahead_ms;
        self.deployment.clock(id).set(now);
        sleep(Duration::from_millis(step.duration_ms)).await;
        self.deployment.clock(id).set(next);
        self.restart_in_order(id).await;
    }

    /// Stops everything gracefully; each process must end well.
    pub(crate) async fn stop(self) {
        for (_, process) in self.deployment.processes().rev() {
            process.stop().await;
        }
    }
}

impl Link {
    /// Puts proxies between a server and the broker, and gives the server a clock of its own.
    async fn start(deployment: &mut Deployment, id: &str) -> Self {
        let broker = deployment.nats.as_ref().unwrap().address();
        let lossy_proxy = LossyProxy::start(broker).await;
        let proxy = TcpProxy::start(lossy_proxy.address()).await;
        let (nats, clock) = (format!("nats://{}", proxy.address()), WallClock::new(deployment.installation.path(), id));
        deployment.set_launch(id, Launch { nats: Some(nats), clock: Some(clock), ..Launch::default() });
        Self { proxy, lossy_proxy }
    }
}
