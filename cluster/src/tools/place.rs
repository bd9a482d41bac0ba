//! `shaddock place`: prints the home of rooms, and the subjects to trace, as NATS knows them.

use anyhow::Context;
use chat::log::jetstream::balance::division;
use model::ids::RoomId;
use model::log_parts::Slot;
use model::placement::{self, CHAT};
use model::subjects;
use model::subjects::SubjectPrefix;

use super::operator;
use super::table::align;
use crate::args::Options;

/// Prints a line per room. The streams are those of `log.streams`, or those that the log has now if
/// `asks`.
pub(crate) fn run(options: &Options, rooms: &[RoomId], asks: bool) -> anyhow::Result<()> {
    let config = options.load()?;
    let parts = if asks {
        operator::run(options, async |bus, log| Ok(division(bus, log).await?))?
    } else {
        config.settings.log.parts()
    };
    let prefix = SubjectPrefix::new(&config.settings.nats.prefix);
    let subject = |subject: String| prefix.apply(&subject).into_owned();
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
