//! Running servers until a signal asks to stop.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use cluster::{Cluster, Plan, stop_asked};
use shared::config::{Config, Servers};
use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::args::Options;

/// What is logged unless `SHADDOCK_LOG` says otherwise. async-nats has an event line for each dropped message; we count.
const LOGGED: &str = "info,async_nats=warn";

/// Runs the servers that the options name.
///
/// # Errors
/// If the configuration is wrong, or the servers cannot start.
pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let config = options.load()?;
    let filter = EnvFilter::try_from_env("SHADDOCK_LOG").or_else(|error| {
        let unset = matches!(std::error::Error::source(&error), Some(cause) if cause.is::<std::env::VarError>());
        if unset { Ok(EnvFilter::new(LOGGED)) } else { Err(error).context("SHADDOCK_LOG is not a filter") }
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config, options))
}

async fn serve(config: Config, options: Options) -> anyhow::Result<()> {
    let mut signals = stop_asked().context("signals cannot be listened for")?;
    let all = options.only.is_none();
    let log = options.log();
    let plan = Plan { config, nats: options.nats, log, only: options.only };
    let cluster = tokio::select! {
        // Waiting for a broker may take for ever; a signal ends it.
        () = signals.next() => return Ok(()),
        started = Cluster::start(plan) => started?,
    };
    if all {
        greet(cluster.servers())?;
    }
    signals.next().await;
    info!("stopping; a second signal ends at once");
    tokio::select! {
        () = signals.next() => info!("ended at once"),
        () = cluster.stop() => {}
    }
    Ok(())
}

/// Tells a newcomer where to connect.
fn greet(servers: &Servers) -> io::Result<()> {
    let address =
        |server: &shared::config::Server| format!("{}:{}", server.host, server.client_port.unwrap_or_default());
    let gate = servers.gate().first().map(address).unwrap_or_default();
    let connectors: Vec<String> = servers.connector().iter().map(address).collect();
    let (chats, connectors) = (servers.chat().len(), connectors.join(", "));
    let mut out = io::stdout().lock();
    writeln!(out, "Shaddock runs: gate ws://{gate}, connectors {connectors}, {chats} chat servers.")?;
    writeln!(out, "  Which connector?  curl 'http://{gate}/entry?uid=ann'")?;
    writeln!(out, "  Chat:             cargo run -p client -- --gate {gate} --room lobby --user ann")?;
    writeln!(out, "  Stop:             Ctrl-C")?;
    out.flush()
}
