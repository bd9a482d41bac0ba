//! `shaddock place`: prints the home of rooms, and the subjects to trace, as NATS knows them.

use anyhow::Context;
use model::ids::RoomId;
use model::log_parts::Slot;
use model::placement::{self, CHAT};
use model::subjects;
use model::subjects::SubjectPrefix;
use runtime::config::Config;

use super::table::align;

/// Prints a line per room.
pub(crate) fn run(config: &Config, rooms: &[RoomId]) -> anyhow::Result<()> {
    let prefix = SubjectPrefix::new(&config.settings.nats.prefix);
    let subject = |subject: String| prefix.apply(&subject).into_owned();
    let parts = config.settings.log.parts();
    let head = ["room", "home", "subject", "slot", "stream", "log subject"].map(str::to_owned);
    let mut rows = vec![head];
    for room in rooms {
        let home = placement::route(CHAT, room.as_str(), &config.servers).context("no room has a home")?;
        let subjects = [subjects::chat(&home.id), subjects::log(room)].map(subject);
        let [chat, log] = subjects;
        let (slot, stream) = (Slot::of(room).to_string(), prefix.stream(&subjects::log_stream(parts, parts.of(room))));
        rows.push([room.to_string(), home.id.to_string(), chat, slot, stream, log]);
    }
    Ok(super::print(align(&rows).as_bytes())?)
}
