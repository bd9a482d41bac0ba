//! `shaddock log split` and `shaddock log purge`: divide a log that is in use into twice as many
//! streams, and remove what each has of the others.

use std::io;

use bus::Bus;
use chat::log::jetstream::split;
use model::settings::LogSettings;

use super::operator;
use crate::args::Options;

/// Splits the log, or takes a split back, and prints each step when it is done.
pub(crate) fn split(options: &Options, takes_back: bool) -> anyhow::Result<()> {
    let task = async |bus: &Bus, log: &LogSettings| {
        if takes_back { undo(bus, log).await } else { go_on(bus, log).await }
    };
    operator::run(options, task)
}

async fn go_on(bus: &Bus, log: &LogSettings) -> anyhow::Result<()> {
    let mut printed = Printed::default();
    let streams = split::split(bus, log, |step| printed.line(step)).await;
    printed.line(&format!(
        "the log has {} streams; run `shaddock log purge` tomorrow, and before the next split",
        streams?
    ));
    printed.end()
}

async fn undo(bus: &Bus, log: &LogSettings) -> anyhow::Result<()> {
    let mut printed = Printed::default();
    let was_begun = split::undo(bus, log, |step| printed.line(step)).await?;
    printed.line(if was_begun { "the log is as before the split" } else { "there is no split to take back" });
    printed.end()
}

/// Removes what each stream has of others since the last split, and prints each stream that is done.
pub(crate) fn purge(options: &Options, is_forced: bool) -> anyhow::Result<()> {
    let task = async |bus: &Bus, log: &LogSettings| {
        let mut printed = Printed::default();
        let was_split = split::purge(bus, log, is_forced, |step| printed.line(step)).await?;
        printed.line(if was_split { "each stream has its own rooms alone" } else { "there is nothing to remove" });
        printed.end()
    };
    operator::run(options, task)
}

/// Lines on stdout, each visible at once. A task goes on when its output cannot be written.
#[derive(Default)]
struct Printed {
    failure: Option<io::Error>,
}

impl Printed {
    fn line(&mut self, text: &str) {
        let written = super::ignore_broken_pipe(super::write(format!("{text}\n").as_bytes()));
        self.failure = self.failure.take().or(written.err());
    }

    fn end(self) -> anyhow::Result<()> {
        self.failure.map_or(Ok(()), |failure| Err(failure.into()))
    }
}
