//! Splits the streams of a log that is in use: performs the steps of the plan, and reports each. For
//! operators: a chat server may do none of them.

mod plan;
mod purge;
mod refusal;
mod steps;
mod streams;
mod wait;

use std::time::Duration;

use bus::Bus;
use futures_util::future::{join_all, try_join_all};
use model::log_parts::{LogPart, LogParts};
use model::record::Position;
use model::settings::LogSettings;
use tokio::time::sleep;

use super::api::Api;
use plan::{Division, Knowledge, Pair, Step, Streams, UndoStep};
pub use purge::purge;
pub use refusal::Refusal;
use steps::{copies, origins};
use streams::{Found, Managed};
use wait::Wait;

/// Interval between two looks at streams while no room waits, and while rooms do.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOK_OFTEN_EVERY: Duration = Duration::from_millis(10);

/// Time in which all chat servers see the announcement: they look every three seconds. One that was
/// frozen does not trust a look that is older than four.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Time for which rooms may wait for their copies' last records. Connectors refuse their requests
/// after as long.
const REST_WITHIN: Duration = Duration::from_secs(5);

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
/// If the split cannot begin or go on. What is done stays done, and the next call goes on.
pub async fn split(bus: &Bus, settings: &LogSettings, mut report: impl FnMut(&str)) -> Result<usize, Refusal> {
    let client = bus.nats_client().ok_or(Refusal::NoNats)?;
    plan::check_version(&client.server_info().version)?;
    let splitter = Splitter::new(bus, settings).await?;
    let mut known = Knowledge::default();
    let mut wait = Wait::default();
    loop {
        let streams = splitter.look().await?;
        let step = plan::next(splitter.division, &splitter.pairs, &streams, &known)?;
        wait.note(&step, &streams, &mut report);
        match step {
            Step::Done => return Ok(splitter.division.to.count()),
            Step::AwaitCopies(pairs) => {
                splitter.restart_copies(&pairs, &streams, &mut wait, &mut report).await;
                sleep(LOOK_EVERY).await;
            }
            Step::AwaitReplicas(_) => sleep(LOOK_EVERY).await,
            Step::AwaitRest(pairs) => {
                splitter.restart_copies(&pairs, &streams, &mut wait, &mut report).await;
                splitter.await_rest(pairs, &wait).await?;
            }
            step => report(&splitter.perform(step, &mut known).await?),
        }
    }
}

/// Takes a split back that is not complete. Passes each step that is done to `report`. Returns false
/// if there was none.
///
/// # Errors
/// If a stream of the split has its rooms already, or a request failed; the next call goes on.
pub async fn undo(bus: &Bus, settings: &LogSettings, mut report: impl FnMut(&str)) -> Result<bool, Refusal> {
    let splitter = Splitter::new(bus, settings).await?;
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

    /// Makes copies begin anew that stand still, all at once: rooms may wait for them.
    async fn restart_copies(&self, pairs: &[Pair], streams: &Streams, wait: &mut Wait, report: &mut impl FnMut(&str)) {
        let mut stands_still = |pair: &&Pair| {
            let (Some(origin), Some(copy)) = (streams.get(&pair.origin), streams.get(&pair.copy)) else { return false };
            // Positions tell it, not the lag that the copy reports: a mirror that stands still may report that
            // it lacks nothing. With one replica there is no other leader.
            wait.stands_still(&pair.copy, copy.last) && copy.last < origin.last && copy.replicas > 1
        };
        let still: Vec<_> = pairs.iter().filter(&mut stands_still).map(|pair| self.stream(&pair.copy)).collect();
        let begun = join_all(still.iter().map(Managed::change_leader)).await;
        for (copy, outcome) in still.iter().zip(begun) {
            report(&match outcome {
                Ok(()) => format!("began anew with a copy that stood still: {}", copy.name()),
                Err(refusal) => format!("a copy stands still, and does not begin anew: {refusal}"),
            });
        }
    }

    /// Waits for a moment while rooms wait, or gives them back if they waited for too long.
    async fn await_rest(&self, pairs: Vec<Pair>, wait: &Wait) -> Result<(), Refusal> {
        // Rooms wait meanwhile, so their requests end with an answer before this does.
        if wait.lasts() < REST_WITHIN {
            sleep(LOOK_OFTEN_EVERY).await;
            return Ok(());
        }
        let secs = REST_WITHIN.as_secs();
        Err(self.give_up(pairs, |stream, origin| Refusal::TooSlow { stream, origin, secs }).await)
    }

    /// Gives all origins their rooms again; returns the reason, or that this is not possible either.
    async fn give_up(&self, pairs: Vec<Pair>, reason: impl FnOnce(String, String) -> Refusal) -> Refusal {
        let widened = match self.look().await.and_then(|streams| plan::next_undo(&self.pairs, &streams)) {
            Ok(UndoStep::Widen(narrow)) => self.widen(&narrow).await,
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal),
        };
        let pair = pairs.into_iter().next();
        let (stream, origin) = pair.map(|pair| (pair.copy, pair.origin)).unwrap_or_default();
        widened.err().unwrap_or_else(|| reason(stream, origin))
    }
}
