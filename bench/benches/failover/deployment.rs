//! A nats-server and one process per server, which can be killed, frozen, added and removed.
//! Everything ends with its value.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use testkit::{GATE_ID, NatsServer, chat_id, connector_id};

use crate::configuration::Configuration;
use crate::process::{self, Process, processor_time};
use crate::promise_report::PromiseReport;
use crate::tracer::Tracer;

/// The servers and their settings.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) chats: usize,
    pub(crate) connectors: usize,
    /// True if the gate runs, too.
    pub(crate) gate: bool,
    /// Lines of `settings.toml`.
    pub(crate) settings: String,
    /// True if a tracer subscribes to everything on the bus.
    pub(crate) traced: bool,
}

/// Servers that run.
pub(crate) struct Deployment {
    /// By server id. They end before the broker does.
    processes: BTreeMap<String, Process>,
    tracer: Option<Tracer>,
    pub(crate) nats: NatsServer,
    pub(crate) configuration: Configuration,
}

impl Layout {
    /// Three chat servers and three connectors with the default settings.
    pub(crate) fn three(traced: bool) -> Self {
        Self { chats: 3, connectors: 3, gate: false, settings: String::new(), traced }
    }
}

impl Deployment {
    /// Starts everything; returns when all are ready.
    pub(crate) async fn start(layout: &Layout) -> Self {
        let nats = NatsServer::start_with_jetstream().await;
        let tracer = if layout.traced { Some(Tracer::start(nats.url()).await) } else { None };
        let configuration = Configuration::new(layout.chats, layout.connectors, &layout.settings);
        let mut deployment = Self { processes: BTreeMap::new(), tracer, nats, configuration };
        let servers = (1..=layout.chats).map(chat_id).chain((0..layout.connectors).map(connector_id));
        let servers = servers.chain(layout.gate.then(|| GATE_ID.to_owned()));
        let path = deployment.configuration.path().to_owned();
        for server in servers {
            deployment.spawn(&server, &path);
            let process = deployment.process(&server);
            assert!(process.wait_for_output("ready").await, "{}", process.output());
        }
        deployment
    }

    /// Starts a server, for the first time or again; returns when it is ready.
    pub(crate) async fn run(&mut self, server: &str) {
        let path = self.configuration.path().to_owned();
        self.run_with(server, &path).await;
    }

    /// The same with another configuration.
    pub(crate) async fn run_with(&mut self, server: &str, configuration: &Path) {
        self.spawn(server, configuration);
        let ready = self.process(server).wait_for_output("ready").await;
        assert!(ready, "{}", self.process(server).output());
    }

    fn spawn(&mut self, server: &str, configuration: &Path) {
        let options = ["--only", server, "--nats", self.nats.url()];
        let process = process::start(server, configuration, self.configuration.path(), &options);
        self.processes.insert(server.to_owned(), process);
    }

    /// The process of a server.
    pub(crate) fn process(&self, server: &str) -> &Process {
        &self.processes[server]
    }

    /// Returns the processor time of all connectors, all chat servers, and the nats-server.
    pub(crate) fn processor_times(&self) -> [Duration; 3] {
        let of = |kind: &str| {
            let processes = self.processes.iter().filter(|(server, _)| server.starts_with(kind));
            processes.map(|(_, process)| processor_time(process.id())).sum()
        };
        [of("connector"), of("chat"), processor_time(self.nats.id())]
    }

    /// Keeps the processes' output if a promise was broken. Checks that the tracer received
    /// messages.
    pub(crate) fn end(mut self, promises: &mut PromiseReport) {
        if let Some(tracer) = &self.tracer {
            let received = tracer.received();
            promises.check(received > 0, &format!("a tracer reads everything meanwhile: {received} messages"));
        }
        if promises.is_broken() {
            self.configuration.keep();
            promises.note(&format!("what the processes wrote is in {}", self.configuration.path().display()));
        }
    }
}
