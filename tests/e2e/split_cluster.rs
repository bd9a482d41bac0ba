//! A cluster whose servers are started one by one over NATS, as processes would be.

use client::{ChatClient, Events, Options};
use cluster::{Cluster, LogKind, Plan};
use model::ids::ServerId;
use model::placement::CONNECTOR;
use runtime::config::{Config, Server, Servers, Settings};
use testkit::{NatsServer, TcpProxy, free_addresses};
use tokio::runtime::{Builder, Runtime};

use crate::test_cluster::{Member, address, servers, settings};

/// A cluster of servers that are started one by one, as processes would be.
pub(crate) struct SplitCluster {
    pub(crate) nats: NatsServer,
    pub(crate) servers: Servers,
    pub(crate) settings: Settings,
    log: LogKind,
}

impl SplitCluster {
    pub(crate) async fn new(log: LogKind) -> Self {
        Self::on(NatsServer::start_with_jetstream().await, log)
    }

    pub(crate) fn on(nats: NatsServer, log: LogKind) -> Self {
        let mut settings = settings();
        settings.rpc.request_ms = 1_500;
        settings.rpc.repeat_ms = 200;
        settings.rpc.heartbeat_ms = 100;
        settings.lifecycle.drain_secs = 0;
        Self { nats, servers: servers(), settings, log }
    }

    fn plan(&self, id: &str) -> Plan {
        let servers = self.servers.clone();
        let config = Config { environment: "test".to_owned(), servers, settings: self.settings.clone() };
        let (nats, only) = (Some(self.nats.url().to_owned()), Some(ServerId::new(id).unwrap()));
        Plan { config, nats, log: self.log, only }
    }

    /// A chat server in a runtime of its own; shut down, it ends as a killed process does.
    pub(crate) async fn start_killable(&self, id: &str) -> Runtime {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        drop(runtime.spawn(Cluster::start(self.plan(id))).await.unwrap().unwrap());
        runtime
    }

    /// The same for a server that clients connect to.
    pub(crate) async fn start_killable_frontend(&mut self, id: &str) -> Runtime {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        self.reserve_port(id);
        drop(runtime.spawn(Cluster::start(self.plan(id))).await.unwrap().unwrap());
        runtime
    }

    pub(crate) async fn start(&mut self, id: &str) -> Cluster {
        self.start_at(id, self.nats.url().to_owned()).await
    }

    /// Why a server does not start.
    pub(crate) async fn start_error(&self, id: &str) -> String {
        match Cluster::start(self.plan(id)).await {
            Ok(_) => panic!("{id} starts"),
            Err(error) => format!("{error:#}"),
        }
    }

    /// The same, with its way to the broker through a proxy.
    pub(crate) async fn start_behind(&mut self, id: &str, proxy: &TcpProxy) -> Cluster {
        self.start_at(id, format!("nats://{}", proxy.address())).await
    }

    /// The same, with a list of brokers of its own.
    pub(crate) async fn start_at(&mut self, id: &str, urls: String) -> Cluster {
        self.reserve_port(id);
        Cluster::start(Plan { nats: Some(urls), ..self.plan(id) }).await.unwrap()
    }

    /// Gives a server its port for clients before its first start: servers that start later know it,
    /// and it is the same when the server starts again. The operators' ports are not in the list, so
    /// a server that starts again gets another.
    fn reserve_port(&mut self, id: &str) {
        let server = self.servers.find(&ServerId::new(id).unwrap()).unwrap().1.clone();
        if server.client_port == Some(0) {
            let client_port = Some(free_addresses(1)[0].port());
            self.servers.replace(Server { client_port, ..server });
        }
    }

    /// A connection that entered no room.
    pub(crate) async fn connect(&self, connector: usize) -> (ChatClient, Events) {
        let address = address(&self.servers, CONNECTOR, connector);
        ChatClient::connect(&address, Options::default()).await.unwrap()
    }

    pub(crate) async fn join(&self, connector: usize, name: &str, room: &str) -> Member {
        let address = address(&self.servers, CONNECTOR, connector);
        let (chat, events) = ChatClient::connect(&address, Options::default()).await.unwrap();
        let entered = chat.enter(name, room).await.unwrap();
        Member { name: name.to_owned(), chat, events, entered }
    }
}

/// The chat server of this room.
pub(crate) fn home(servers: &Servers, room: &str) -> String {
    model::placement::place(room, servers.chat()).unwrap().id.to_string()
}
