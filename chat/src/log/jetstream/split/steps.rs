//! The steps of a split, performed.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use model::record::Position;
use runtime::clock;
use tokio::time::{Instant, sleep};
use tokio::try_join;

use super::plan::{Knowledge, Pair, Step};
use super::{Refusal, Splitter};

/// Time in which all chat servers see the announcement: they look every three seconds. One that was
/// frozen does not trust a look that is older than four.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Time in which records that expire are gone on both sides of a comparison.
const SAME_WITHIN: Duration = Duration::from_secs(2);

/// Interval between two comparisons.
const COMPARE_EVERY: Duration = Duration::from_millis(10);

impl Splitter<'_> {
    /// Performs a step; returns the text that reports it.
    pub(super) async fn perform(&self, step: &Step, known: &mut Knowledge) -> Result<String, Refusal> {
        match step {
            Step::Copy(pairs) => self.copy(pairs).await,
            Step::Replicate(pairs) => self.replicate(pairs).await,
            Step::Announce(pairs) => self.announce(pairs).await,
            Step::AwaitServers => self.await_servers(known).await,
            Step::Narrow(pairs) => self.narrow(pairs).await,
            Step::FindEnd(pairs) => self.find_end(pairs, known).await,
            Step::Compare(pairs) => self.compare(pairs, known).await,
            Step::Promote(pairs) => self.promote(pairs).await,
            Step::AwaitCopies(_) | Step::AwaitReplicas(_) | Step::AwaitRest(_) | Step::Done => Ok(String::new()),
        }
    }

    async fn copy(&self, pairs: &[Pair]) -> Result<String, Refusal> {
        for pair in pairs {
            // A copy gets no position at which there is no message any more, as behind a purge. So
            // there is one at the end.
            self.stream(&pair.origin).append_probe(&pair.probe).await?;
            self.stream(&pair.copy).mirror(&self.stream(&pair.origin), self.division.to.count()).await?;
        }
        Ok(format!("created copies: {}", both(pairs)))
    }

    async fn replicate(&self, pairs: &[Pair]) -> Result<String, Refusal> {
        for pair in pairs {
            self.stream(&pair.copy).replicate(&self.stream(&pair.origin)).await?;
        }
        Ok(format!("gave the copies all replicas: {}", copies(pairs)))
    }

    async fn announce(&self, pairs: &[Pair]) -> Result<String, Refusal> {
        for pair in pairs {
            self.stream(&pair.origin).announce(Some(self.division.to.count())).await?;
        }
        Ok(format!("announced the split: {}", origins(pairs)))
    }

    async fn await_servers(&self, known: &mut Knowledge) -> Result<String, Refusal> {
        // A copy that stands still does not get these, also in a log in which nothing happens.
        known.probes.extend(self.append_probes(&self.pairs).await?);
        sleep(SEEN_WITHIN).await;
        // A user who may not compare, and streams that take too long for it, show before rooms wait.
        try_join_all(self.pairs.iter().map(|pair| self.difference_of(pair))).await?;
        known.is_known = true;
        Ok(format!("waited {} s for chat servers to see that", SEEN_WITHIN.as_secs()))
    }

    /// Takes rooms from the origins, from all at once: their rooms wait until the last one is done.
    async fn narrow(&self, pairs: &[Pair]) -> Result<String, Refusal> {
        let narrowed = pairs.iter().map(|pair| async move { self.stream(&pair.origin).set_subjects(&pair.kept).await });
        first_error(join_all(narrowed).await)?;
        Ok(format!("took the rooms that move, which wait now: {}", origins(pairs)))
    }

    pub(super) async fn widen(&self, pairs: &[Pair]) -> Result<(), Refusal> {
        let widened = pairs.iter().map(|pair| async move { self.stream(&pair.origin).set_subjects(&pair.all).await });
        first_error(join_all(widened).await)
    }

    async fn find_end(&self, pairs: &[Pair], known: &mut Knowledge) -> Result<String, Refusal> {
        known.ends.extend(self.append_probes(pairs).await?);
        Ok(format!("found the last positions: {}", origins(pairs)))
    }

    /// Appends a message of no room to each origin; returns their positions.
    async fn append_probes(&self, pairs: &[Pair]) -> Result<Vec<(String, Position)>, Refusal> {
        let probes = pairs.iter().map(|pair| async {
            Ok((pair.origin.clone(), self.stream(&pair.origin).append_probe(&pair.probe).await?))
        });
        try_join_all(probes).await
    }

    async fn compare(&self, pairs: &[Pair], known: &mut Knowledge) -> Result<String, Refusal> {
        if let Some((pair, difference)) = self.difference(pairs).await? {
            return Err(Refusal::Differs { stream: pair.copy, origin: pair.origin, difference });
        }
        known.compared.extend(pairs.iter().map(|pair| pair.copy.clone()));
        Ok(format!("compared the rooms that move, and found the same records: {}", both(pairs)))
    }

    async fn promote(&self, pairs: &[Pair]) -> Result<String, Refusal> {
        let (count, now) = (self.division.to.count(), clock::now_ms());
        let promoted = pairs.iter().map(|pair| async move { self.stream(&pair.copy).promote(pair, count, now).await });
        first_error(join_all(promoted).await)?;
        Ok(format!("made the copies streams of their rooms, which go on: {}", copies(pairs)))
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
            sleep(COMPARE_EVERY).await;
        }
    }

    async fn difference_of(&self, pair: &Pair) -> Result<Option<String>, Refusal> {
        let (origin, copy) = (self.stream(&pair.origin), self.stream(&pair.copy));
        // Counts and last positions together: a record that is missing in the middle changes the count, and
        // two differences that cancel out still leave another end.
        let (of_origin, of_copy) = try_join!(origin.count(&pair.moved), copy.count(&pair.moved))?;
        if of_origin != of_copy {
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

fn first_error(results: Vec<Result<(), Refusal>>) -> Result<(), Refusal> {
    results.into_iter().find(Result::is_err).unwrap_or(Ok(()))
}

pub(super) fn origins(pairs: &[Pair]) -> String {
    names(pairs, |pair| pair.origin.clone())
}

pub(super) fn copies(pairs: &[Pair]) -> String {
    names(pairs, |pair| pair.copy.clone())
}

/// Returns the names of copies with those of their origins.
fn both(pairs: &[Pair]) -> String {
    names(pairs, |pair| format!("{} of {}", pair.copy, pair.origin))
}

fn names(pairs: &[Pair], name: impl Fn(&Pair) -> String) -> String {
    pairs.iter().map(name).collect::<Vec<_>>().join(", ")
}
