//! Runs a task of an operator with a connection to NATS.

use std::time::Duration;

use anyhow::Context;
use bus::Bus;
use model::settings::{LogSettings, NatsSettings};
use runtime::metrics::Metrics;

use crate::args::Options;

/// Name of the connection, and of the user's inbox.
const NAME: &str = "operator";

/// Time for the end of the connection.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a task with a connection and the settings of the log.
pub(super) fn run<T>(
    options: &Options,
    task: impl AsyncFnOnce(&Bus, &LogSettings) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let config = options.load()?;
    let url = options.nats.as_deref().context("the log's streams are those of NATS servers: add --nats URL")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let nats = NatsSettings { wait_for_broker: false, ..config.settings.nats.for_server(NAME) };
    runtime.block_on(async {
        let bus = Bus::nats(url, &nats, NAME, Metrics::new()).await?;
        let outcome = task(&bus, &config.settings.log).await;
        // The outcome is that of the requests, which have their responses: a failed drain changes
        // nothing.
        drop(bus.drain(DRAIN_TIMEOUT).await);
        outcome
    })
}
