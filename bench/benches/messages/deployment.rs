//! A connector, a chat server and a nats-server as processes, and the processor time that each
//! used. What is started here ends with its value.

use std::time::Duration;

use model::ids::ServerId;
use node::signing::KeyFiles;
use testkit::{NatsServer, chat_id, connector_id};

use crate::Setup;
use crate::configuration::Configuration;
use crate::process::{self, Process, processor_time};
use crate::senders::MAX_IN_FLIGHT;

/// Servers that run, ended from first to last when dropped.
pub(crate) struct Deployment {
    connector: Process,
    chat: Process,
    nats: NatsServer,
    configuration: Configuration,
}

impl Deployment {
    /// Starts all servers.
    pub(crate) async fn start(setup: Setup) -> Self {
        // With JetStream for both: what differs is who uses it.
        let nats = NatsServer::start_with_jetstream().await;
        let configuration = Configuration::new(1, 1, &settings());
        let path = configuration.path();
        let keys = path.join("keys");
        let ids = [chat_id(1), connector_id(0)].map(|id| ServerId::new(&id).unwrap());
        KeyFiles::within(&keys).write_missing(&ids).unwrap();
        let key_dir = format!("rpc.key_dir={}", keys.display());
        let signatures = if setup.signatures { "rpc.signatures=require" } else { "rpc.signatures=off" };
        let signing = ["--set", key_dir.as_str(), "--set", signatures];
        let start = |id: &str| {
            let args = [&["--only", id, "--nats", nats.url(), "--log", setup.log][..], &signing].concat();
            process::start(id, path, path, &args)
        };
        let chat = start(&chat_id(1));
        assert!(chat.wait_for_output("ready").await, "{}", chat.output());
        let connector = start(&connector_id(0));
        assert!(connector.wait_for_output("ready").await, "{}", connector.output());
        Self { connector, chat, nats, configuration }
    }

    /// `host:port` of the connector.
    pub(crate) fn connector(&self) -> String {
        self.configuration.connector_address(0)
    }

    /// Returns the processor time of connector, chat server and nats-server, in user and kernel
    /// mode.
    pub(crate) fn processor_times(&self) -> [Duration; 3] {
        [self.connector.id(), self.chat.id(), self.nats.id()].map(processor_time)
    }

    /// Returns the processes' output.
    pub(crate) fn output(&self) -> String {
        format!("--- connector\n{}--- chat server\n{}", self.connector.output(), self.chat.output())
    }
}

/// The default settings without rate limits, so that servers accept all that they can process.
fn settings() -> String {
    format!(
        "session.requests_per_sec = 1_000_000\n\
         session.request_burst = 1_000_000\n\
         session.max_in_flight = {MAX_IN_FLIGHT}\n\
         session.max_outbound_bytes = 16_777_216\n"
    )
}
