//! Splits the streams of a log that is in use: performs the steps of the plan, and reports each. For
//! operators: a chat server may do none of them.

mod plan;
mod purge;
mod refusal;
mod run;
mod steps;
mod streams;
mod wait;

use bus::Bus;
use futures_util::future::try_join_all;
use model::log_parts::{LogPart, LogParts};
use model::settings::LogSettings;

use super::api::Api;
use plan::{Division, Pair, Streams, UndoStep};
pub use purge::purge;
pub use refusal::Refusal;
use run::Run;
use steps::{copies, origins};
use streams::{Found, Managed};

/// A split of one log.
struct Splitter<'a> {
    bus: &'a Bus,
    settings: &'a LogSettings,
    division: Division,
    pairs: Vec<Pair>,
}

/// Splits the streams of a log into twice as many, or goes on with a split. Passes each step that is
/// done to `report`. Returns the number of streams.
///
/// # Errors
/// If the split cannot begin or go on; rooms that wait then get their streams again, if that is still
/// possible. What else is done stays done, and the next call goes on.
pub async fn split(bus: &Bus, settings: &LogSettings, mut report: impl FnMut(&str)) -> Result<usize, Refusal> {
    let client = bus.nats_client().ok_or(Refusal::NoNats)?;
    plan::check_version(&client.server_info().version)?;
    Run::new(Splitter::new(bus, settings).await?, &mut report).complete().await
}

/// Takes a split back that is not complete. Passes each step that is done to `report`. Returns false
/// if there was none.
///
/// # Errors
/// If a stream of the split has its rooms already, or a request failed; the next call goes on.
pub async fn undo(bus: &Bus, settings: &LogSettings, mut report: impl FnMut(&str)) -> Result<bool, Refusal> {
    let Some(splitter) = Splitter::of_split(bus, settings).await? else { return Ok(false) };
    let mut was_begun = false;
    loop {
        let step = plan::next_undo(&splitter.pairs, &splitter.look().await?)?;
        let text = match step {
            UndoStep::Done => return Ok(was_begun),
            UndoStep::Widen(pairs) => {
                splitter.widen(&pairs).await?;
                format!("gave the streams all of their rooms again: {}", origins(&pairs))
            }
            UndoStep::Withdraw(pairs) => {
                for pair in &pairs {
                    splitter.stream(&pair.origin).announce(None).await?;
                }
                format!("took the announcement back: {}", origins(&pairs))
            }
            UndoStep::Delete(pairs) => {
                for pair in &pairs {
                    splitter.stream(&pair.copy).delete().await?;
                }
                format!("deleted the copies: {}", copies(&pairs))
            }
        };
        was_begun = true;
        report(&text);
    }
}

impl<'a> Splitter<'a> {
    /// Finds the split that the log is in, or the next one.
    async fn new(bus: &'a Bus, settings: &'a LogSettings) -> Result<Self, Refusal> {
        let (first, prefix) = (Self::first(bus, settings).await?, bus.prefix());
        let division = Division::of(&first.seen(), &prefix)?;
        Ok(Self { bus, settings, division, pairs: Pair::of(division, &prefix) })
    }

    /// Finds the split that the log is in, or the next one; none if there can be none.
    async fn of_split(bus: &'a Bus, settings: &'a LogSettings) -> Result<Option<Self>, Refusal> {
        match Self::new(bus, settings).await {
            Err(Refusal::Most) => Ok(None),
            splitter => splitter.map(Some),
        }
    }

    async fn first(bus: &Bus, settings: &LogSettings) -> Result<Found, Refusal> {
        let name = Api::new(bus, settings, (LogParts::ONE, LogPart::default())).stream().to_owned();
        let found = Managed::new(bus, settings, &name).find().await?;
        found.ok_or(Refusal::Missing { stream: name })
    }

    fn stream(&self, name: &str) -> Managed {
        Managed::new(self.bus, self.settings, name)
    }

    /// Reads all streams of the log that exist.
    async fn find_all(&self) -> Result<Vec<(String, Found)>, Refusal> {
        let names = self.division.names(&self.bus.prefix());
        let find = |name: String| async move { Ok((name.clone(), self.stream(&name).find().await?)) };
        let found: Vec<_> = try_join_all(names.into_iter().map(find)).await?;
        Ok(found.into_iter().filter_map(|(name, found)| Some((name, found?))).collect())
    }

    async fn look(&self) -> Result<Streams, Refusal> {
        Ok(self.find_all().await?.into_iter().map(|(name, found)| (name, found.seen())).collect())
    }
}
