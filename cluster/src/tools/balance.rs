//! `shaddock log balance`: spreads the leaders of the log's streams over the servers of a NATS
//! cluster.

use bus::Bus;
use chat::log::jetstream::balance::{change_leader, stream_servers};
use chat::log::jetstream::leaders::moves;
use model::settings::LogSettings;

use super::operator;
use super::table::align;
use crate::args::Options;

/// Changes leaders, and prints each stream with its leaders before and afterwards.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    operator::run(options, spread)
}

async fn spread(bus: &Bus, log: &LogSettings) -> anyhow::Result<()> {
    let streams = stream_servers(bus, log).await?;
    let moves = moves(&streams);
    let mut rows = vec![["stream", "leader", "before"].map(str::to_owned)];
    for servers in &streams {
        let change = moves.iter().find(|change| change.stream == servers.stream);
        // One after the other: the rooms of a stream wait for a moment, those of the others do not.
        if let Some(change) = change {
            change_leader(bus, log, change).await?;
        }
        let leader = change.map_or(&servers.leader, |change| &change.to);
        let before = change.map_or("", |change| &change.from);
        rows.push([servers.stream.clone(), shown(leader), before.to_owned()]);
    }
    Ok(super::print(align(&rows).as_bytes())?)
}

/// Returns the name of a leader as it is printed.
fn shown(leader: &str) -> String {
    if leader.is_empty() { "no cluster".to_owned() } else { leader.to_owned() }
}
