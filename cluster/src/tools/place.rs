//! `shaddock place`: which chat server is a room's home, and the subjects to trace.

use anyhow::Context;
use shared::config::Config;
use shared::dispatcher::{CHAT, Router};
use shared::ids::RoomId;
use shared::subjects;

use super::table::align;

/// Prints a line per room.
pub(crate) fn run(config: &Config, rooms: &[RoomId]) -> anyhow::Result<()> {
    let head = ["room", "home", "subject", "log subject"].map(str::to_owned);
    let mut rows = vec![head];
    for room in rooms {
        let home = Router::default().route(CHAT, room.as_str(), &config.servers).context("no room has a home")?;
        rows.push([room.to_string(), home.id.to_string(), subjects::chat(&home.id), subjects::log(room)]);
    }
    Ok(super::print(align(&rows).as_bytes())?)
}
