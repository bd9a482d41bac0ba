//! Removes the records of rooms that a stream does not have any more, a day after a split.

use std::time::Duration;

use bus::Bus;
use model::settings::LogSettings;
use runtime::clock;
use tokio::time::{Instant, sleep};

use super::plan::{self, Knowledge, Pair, Step, Streams};
use super::{Refusal, Splitter};

/// Time for which the streams keep the records of before a split.
const KEPT_MS: u64 = 24 * HOUR_MS;

const HOUR_MS: u64 = 3_600_000;

/// Removes from each stream the records of the rooms that are in another one since the last split,
/// and gives it its part of the space. Passes each stream that is done to `report`. Returns false if
/// there was nothing to remove.
///
/// # Errors
/// If the split is not complete, or a request failed; if the purge is not forced, also if the split is
/// younger than a day, or a stream was lost since then. The next call goes on.
pub async fn purge(
    bus: &Bus,
    settings: &LogSettings,
    is_forced: bool,
    mut report: impl FnMut(&str),
) -> Result<bool, Refusal> {
    // The streams alone say what is left to do, so a purge that died goes on where it was.
    let Some(splitter) = Splitter::of_split(bus, settings).await? else { return Ok(false) };
    let found = splitter.find_all().await?;
    let streams: Streams = found.iter().map(|(name, found)| (name.clone(), found.seen())).collect();
    let announced = |name: &str| streams.get(name).is_some_and(|stream| stream.announced.is_some());
    let Some(first) = splitter.pairs.first() else { return Ok(false) };
    if !announced(&first.origin) {
        return Ok(false);
    }
    if plan::next(splitter.division, &splitter.pairs, &streams, &Knowledge::default())? != Step::Done {
        return Err(Refusal::NotComplete);
    }
    if !is_forced {
        splitter.pairs.iter().try_for_each(|pair| check_loss(pair, &streams))?;
    }
    let split_at = found.iter().filter_map(|(_, found)| found.split_at()).max().unwrap_or_default();
    let age = clock::now_ms().saturating_sub(split_at);
    if age < KEPT_MS && !is_forced {
        return Err(Refusal::TooEarly { hours: age / HOUR_MS });
    }
    // The first stream last: it shows that there is a split, until all others are done.
    for pair in splitter.pairs.iter().rev() {
        for (name, others) in [(&pair.copy, &pair.kept), (&pair.origin, &pair.moved)] {
            if announced(name) {
                splitter.purge_stream(name, others).await?;
                report(&format!("removed the records of other rooms from {name}"));
            }
        }
    }
    Ok(true)
}

/// Refuses a pair of which one stream was lost since the split: the other one has its last records.
fn check_loss(pair: &Pair, streams: &Streams) -> Result<(), Refusal> {
    let epoch = |name| streams.get(name).map(|stream| stream.epoch);
    // Both begin with the same one.
    if epoch(&pair.origin) == epoch(&pair.copy) {
        return Ok(());
    }
    Err(Refusal::Lost { origin: pair.origin.clone(), copy: pair.copy.clone() })
}

impl Splitter<'_> {
    async fn purge_stream(&self, name: &str, others: &[String]) -> Result<(), Refusal> {
        let stream = self.stream(name);
        for subjects in others {
            let began = Instant::now();
            stream.purge(subjects).await?;
            // A stream does nothing else while it removes records: its rooms have their turn.
            sleep((began.elapsed() / 2).max(Duration::from_millis(1))).await;
        }
        let found = stream.find().await?.ok_or_else(|| Refusal::Missing { stream: name.to_owned() })?;
        let (bytes, streams) = (found.info.state.bytes, self.division.to.count() as u64);
        let most = self.settings.max_part_bytes(self.division.to) as u64;
        // With a limit below what it has the stream would be full at once: no room could append.
        if bytes > most {
            return Err(Refusal::TooSmall {
                stream: name.to_owned(),
                bytes,
                most,
                wanted: bytes.saturating_mul(streams),
            });
        }
        stream.end_split(most).await
    }
}
