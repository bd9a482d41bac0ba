//! Splits the streams of a log that is in use: performs the steps of the plan, and reports each. For
//! operators: a chat server may do none of them.

mod plan;
mod purge;
mod refusal;
mod streams;

use std::collections::BTreeMap;
use std::time::Duration;

use bus::Bus;
use futures_util::future::{join_all, try_join_all};
use model::log_parts::{LogPart, LogParts};
use model::record::Position;
use model::settings::LogSettings;
use runtime::clock;
use tokio::time::{Instant, sleep};

use super::api::Api;
use plan::{Division, Knowledge, Pair, Step, Streams, UndoStep};
pub use purge::purge;
pub use refusal::Refusal;
use streams::{Found, Managed};

/// Interval between two looks at streams while no room waits, and while rooms do.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOK_OFTEN_EVERY: Duration = Duration::from_millis(10);

/// Time in which all chat servers see the announcement: they look every three seconds. One that was
/// frozen does not trust a look that is older than four.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Time for which rooms may wait for their copies' last records. Connectors refuse their requests
/// after as long.
const REST_WITHIN: Duration = Duration::from_secs(5);

/// Time in which records that expire are gone on both sides of a comparison.
const SAME_WITHIN: Duration = Duration::from_secs(2);

/// Time after which a copy that gets no record begins anew.
const STILL_AFTER: Duration = Duration::from_secs(1);

/// Time between two reports of the same wait.
const REPORT_EVERY: Duration = Duration::from_secs(10);

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

    /// Performs a step; returns the text that reports it.
    async fn perform(&self, step: Step, known: &mut Knowledge) -> Result<String, Refusal> {
        let count = self.division.to.count();
        Ok(match step {
            Step::Copy(pairs) => {
                for pair in &pairs {
                    // A copy gets no position at which there is no message any more, as behind a
                    // purge. So there is one at the end.
                    self.stream(&pair.origin).append_probe(&pair.probe).await?;
                    self.stream(&pair.copy).mirror(&self.stream(&pair.origin), count).await?;
                }
                format!("created copies: {}", both(&pairs))
            }
            Step::Replicate(pairs) => {
                for pair in &pairs {
                    let origin = self.stream(&pair.origin).find().await?;
                    let replicas = origin.map_or(1, |origin| origin.info.config.num_replicas);
                    self.stream(&pair.copy).set_replicas(replicas).await?;
                }
                format!("gave the copies all replicas: {}", copies(&pairs))
            }
            Step::Announce(pairs) => {
                for pair in &pairs {
                    self.stream(&pair.origin).announce(Some(count)).await?;
                }
                format!("announced the split: {}", origins(&pairs))
            }
            Step::AwaitServers => {
                // A copy that stands still does not get these, also in a log in which nothing happens.
                known.probes.extend(self.append_probes(&self.pairs).await?);
                sleep(SEEN_WITHIN).await;
                known.is_known = true;
                format!("waited {} s for chat servers to see that", SEEN_WITHIN.as_secs())
            }
            Step::Narrow(pairs) => {
                self.narrow(&pairs).await?;
                format!("took the rooms that move, which wait now: {}", origins(&pairs))
            }
            Step::FindEnd(pairs) => {
                known.ends.extend(self.append_probes(&pairs).await?);
                format!("found the last positions: {}", origins(&pairs))
            }
            Step::Compare(pairs) => {
                if let Some((pair, difference)) = self.difference(&pairs).await? {
                    return Err(self
                        .give_up(vec![pair], |stream, origin| Refusal::Differs { stream, origin, difference })
                        .await);
                }
                known.compared.extend(pairs.iter().map(|pair| pair.copy.clone()));
                format!("compared the rooms that move, and found the same records: {}", both(&pairs))
            }
            Step::Promote(pairs) => {
                let now = clock::now_ms();
                let promoted =
                    pairs.iter().map(|pair| async move { self.stream(&pair.copy).promote(pair, count, now).await });
                first_error(join_all(promoted).await)?;
                format!("made the copies streams of their rooms, which go on: {}", copies(&pairs))
            }
            Step::AwaitCopies(_) | Step::AwaitReplicas(_) | Step::AwaitRest(_) | Step::Done => String::new(),
        })
    }

    /// Appends a message of no room to each origin; returns their positions.
    async fn append_probes(&self, pairs: &[Pair]) -> Result<Vec<(String, Position)>, Refusal> {
        let probes = pairs.iter().map(|pair| async {
            Ok((pair.origin.clone(), self.stream(&pair.origin).append_probe(&pair.probe).await?))
        });
        try_join_all(probes).await
    }

    /// Makes copies begin anew that stand still.
    async fn restart_copies(&self, pairs: &[Pair], streams: &Streams, wait: &mut Wait, report: &mut impl FnMut(&str)) {
        for pair in pairs {
            // Positions tell it, not the lag that the copy reports: a mirror that stands still may report that
            // it lacks nothing.
            let last = |name| streams.get(name).map_or(Position::NONE, |stream: &plan::Stream| stream.last);
            let (of_origin, of_copy) = (last(&pair.origin), last(&pair.copy));
            if wait.stands_still(&pair.copy, of_copy) && of_copy < of_origin {
                self.stream(&pair.copy).change_leader().await;
                report(&format!("began anew with a copy that stood still: {}", pair.copy));
            }
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

    /// Takes rooms from the origins, from all at once: their rooms wait until the last one is done.
    async fn narrow(&self, pairs: &[Pair]) -> Result<(), Refusal> {
        let narrowed = pairs.iter().map(|pair| async move { self.stream(&pair.origin).set_subjects(&pair.kept).await });
        first_error(join_all(narrowed).await)
    }

    async fn widen(&self, pairs: &[Pair]) -> Result<(), Refusal> {
        let widened = pairs.iter().map(|pair| async move { self.stream(&pair.origin).set_subjects(&pair.all).await });
        first_error(join_all(widened).await)
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

    /// Returns a pair that differs in the rooms that move, and the difference.
    async fn difference(&self, pairs: &[Pair]) -> Result<Option<(Pair, String)>, Refusal> {
        let until = Instant::now() + SAME_WITHIN;
        loop {
            let found = try_join_all(pairs.iter().map(|pair| self.difference_of(pair))).await?;
            let found = pairs.iter().zip(found).find_map(|(pair, found)| Some((pair.clone(), found?)));
            // Both sides remove records that expire, and not in the same moment.
            if found.is_none() || Instant::now() >= until {
                return Ok(found);
            }
            sleep(LOOK_OFTEN_EVERY).await;
        }
    }

    async fn difference_of(&self, pair: &Pair) -> Result<Option<String>, Refusal> {
        let (origin, copy) = (self.stream(&pair.origin), self.stream(&pair.copy));
        // Counts and last positions together: a record that is missing in the middle changes the count, and
        // two differences that cancel out still leave another end.
        let counts = [origin.count(&pair.moved).await?, copy.count(&pair.moved).await?];
        if let [of_origin, of_copy] = counts
            && of_origin != of_copy
        {
            return Ok(Some(format!("{of_origin} records, and {of_copy} in the copy")));
        }
        let (origin, copy) = (&origin, &copy);
        let lasts = pair.moved.iter().map(|subjects| async move {
            let (of_origin, of_copy) = (origin.last(subjects).await?, copy.last(subjects).await?);
            Ok((of_origin != of_copy)
                .then(|| format!("the last of {subjects} is {}, and {} in the copy", of_origin.0, of_copy.0)))
        });
        Ok(try_join_all(lasts).await?.into_iter().flatten().next())
    }
}

/// The wait that the split is in.
#[derive(Default)]
struct Wait {
    began: Option<Instant>,
    reported: Option<Instant>,
    /// The last position of each copy that is waited for, and the time since when it has that.
    copies: BTreeMap<String, (Position, Instant)>,
}

impl Wait {
    /// Notes the next step, and reports waits now and then.
    fn note(&mut self, step: &Step, streams: &Streams, report: &mut impl FnMut(&str)) {
        let (Step::AwaitCopies(pairs) | Step::AwaitReplicas(pairs) | Step::AwaitRest(pairs)) = step else {
            *self = Self::default();
            return;
        };
        // The first report comes after a while: most waits are shorter than it takes to read it.
        let now = Instant::now();
        let reported = *self.reported.get_or_insert(now);
        self.began.get_or_insert(now);
        if now - reported < REPORT_EVERY {
            return;
        }
        self.reported = Some(now);
        let last = |name: &String| streams.get(name).map_or(0, |stream| stream.last.0);
        for pair in pairs {
            report(&format!("waits for {}: it is at {} of {}", pair.copy, last(&pair.copy), last(&pair.origin)));
        }
    }

    /// Returns true if a copy got no record for too long; then its time begins anew.
    fn stands_still(&mut self, copy: &str, last: Position) -> bool {
        let now = Instant::now();
        let (before, since) = self.copies.entry(copy.to_owned()).or_insert((last, now));
        let is_still = *before == last && now - *since >= STILL_AFTER;
        if *before != last || is_still {
            (*before, *since) = (last, now);
        }
        is_still
    }

    fn lasts(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }
}

fn first_error(results: Vec<Result<(), Refusal>>) -> Result<(), Refusal> {
    results.into_iter().find(Result::is_err).unwrap_or(Ok(()))
}

fn origins(pairs: &[Pair]) -> String {
    names(pairs, |pair| pair.origin.clone())
}

fn copies(pairs: &[Pair]) -> String {
    names(pairs, |pair| pair.copy.clone())
}

/// Returns the names of copies with those of their origins.
fn both(pairs: &[Pair]) -> String {
    names(pairs, |pair| format!("{} of {}", pair.copy, pair.origin))
}

fn names(pairs: &[Pair], name: impl Fn(&Pair) -> String) -> String {
    pairs.iter().map(name).collect::<Vec<_>>().join(", ")
}
