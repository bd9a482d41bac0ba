//! `shaddock place`: prints the home of rooms, and the subjects to trace, as NATS knows them.

use anyhow::Context;
use model::ids::RoomId;
use model::placement::{self, CHAT};
use model::subjects;
use model::subjects::SubjectPrefix;
use runtime::config::Config;

use super::table::align;

/// Prints a line per room.
pub(crate) fn run(config: &Config, rooms: &[RoomId]) -> anyhow::Result<()> {
    let prefix = SubjectPrefix::new(&config.settings.nats.prefix);
    let subject = |subject: String| prefix.apply(&subject).into_owned();
    let head = ["room", "home", "subject", "log subject"].map(str::to_owned);
    let mut rows = vec![head];
    for room in rooms {
        let home = placement::route(CHAT, room.as_str(), &config.servers).context("no room has a home")?;
        let subjects = [subjects::chat(&home.id), subjects::log(room)].map(subject);
        let [chat, log] = subjects;
        rows.push([room.to_string(), home.id.to_string(), chat, log]);
    }
    Ok(super::print(align(&rows).as_bytes())?)
}
