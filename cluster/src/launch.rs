//! Starts the servers of an environment and stops them in order.

use shared::config::Config;

use crate::args::Args;

/// Runs servers until they are told to stop.
pub(crate) fn run(_config: Config, _args: Args) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
