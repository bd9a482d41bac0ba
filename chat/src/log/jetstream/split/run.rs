//! A run of the split: performs the next step again and again. While rooms wait it tries again
//! after failures for a moment, and then gives the rooms back.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::plan::{self, Knowledge, Pair, Step, Streams};
use super::streams::Managed;
use super::wait::Wait;
use super::{Refusal, Splitter};

/// Interval between two looks at streams while no room waits, and while rooms do.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOK_OFTEN_EVERY: Duration = Duration::from_millis(10);

/// Time for which rooms may wait for their copies' last records, or for requests that fail. Connectors
/// refuse their requests after as long.
const REST_WITHIN: Duration = Duration::from_secs(5);

/// Time in which rooms get their streams again. An election takes up to nine seconds.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(20);

/// A run of the split.
pub(super) struct Run<'a, R> {
    splitter: Splitter<'a>,
    report: R,
    known: Knowledge,
    wait: Wait,
    /// Rooms wait, as the last look showed.
    has_waiting_rooms: bool,
    /// The time at which a step failed first while rooms waited.
    failed: Option<Instant>,
}

impl<'a, R: FnMut(&str)> Run<'a, R> {
    pub(super) fn new(splitter: Splitter<'a>, report: R) -> Self {
        let (known, wait) = (Knowledge::default(), Wait::default());
        Self { splitter, report, known, wait, has_waiting_rooms: false, failed: None }
    }

    /// Goes on until the split is complete; returns the number of streams.
    pub(super) async fn complete(mut self) -> Result<usize, Refusal> {
        loop {
            match self.advance().await {
                Ok(Step::Done) => return Ok(self.splitter.division.to.count()),
                Ok(_) => {}
                Err(refusal) if self.has_waiting_rooms && refusal.is_failed_step() => self.try_again(refusal).await?,
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Performs the next step, and returns it.
    async fn advance(&mut self) -> Result<Step, Refusal> {
        let Self { splitter, known, .. } = self;
        let streams = splitter.look().await?;
        let step = plan::next(splitter.division, &splitter.pairs, &streams, known)?;
        self.has_waiting_rooms = plan::has_waiting_rooms(&splitter.pairs, &streams);
        self.wait.note(&step, &streams, &mut self.report);
        match &step {
            Step::Done => {}
            Step::AwaitCopies(pairs) | Step::AwaitRest(pairs) => {
                self.restart_copies(pairs, &streams).await;
                self.pause(pairs).await?;
            }
            Step::AwaitReplicas(pairs) => self.pause(pairs).await?,
            step => {
                // They do from the request on, also if there is no response.
                self.has_waiting_rooms |= matches!(step, Step::Narrow(_));
                let done = self.splitter.perform(step, &mut self.known).await?;
                (self.report)(&done);
            }
        }
        Ok(step)
    }

    /// Waits for a moment.
    async fn pause(&self, pairs: &[Pair]) -> Result<(), Refusal> {
        match pairs.first() {
            Some(Pair { origin, copy, .. }) if self.has_waiting_rooms && self.wait.lasts() >= REST_WITHIN => {
                let (stream, origin) = (copy.clone(), origin.clone());
                Err(Refusal::TooSlow { stream, origin, secs: REST_WITHIN.as_secs() })
            }
            _ => {
                sleep(if self.has_waiting_rooms { LOOK_OFTEN_EVERY } else { LOOK_EVERY }).await;
                Ok(())
            }
        }
    }

    /// Makes copies begin anew that stand still, all at once: rooms may wait for them.
    async fn restart_copies(&mut self, pairs: &[Pair], streams: &Streams) {
        let mut stands_still = |pair: &&Pair| {
            let (Some(origin), Some(copy)) = (streams.get(&pair.origin), streams.get(&pair.copy)) else { return false };
            // Positions tell it, not the lag that the copy reports: a mirror that stands still may report that
            // it lacks nothing. With one replica there is no other leader.
            self.wait.stands_still(&pair.copy, copy.last) && copy.last < origin.last && copy.replicas > 1
        };
        let still: Vec<_> =
            pairs.iter().filter(&mut stands_still).map(|pair| self.splitter.stream(&pair.copy)).collect();
        let begun = join_all(still.iter().map(Managed::change_leader)).await;
        for (copy, outcome) in still.iter().zip(begun) {
            (self.report)(&match outcome {
                Ok(()) => format!("began anew with a copy that stood still: {}", copy.name()),
                Err(refusal) => format!("a copy stands still, and does not begin anew: {refusal}"),
            });
        }
    }

    /// Waits for the next attempt after a failure that may pass; gives the rooms back after others, and
    /// when they waited for too long.
    async fn try_again(&mut self, failure: Refusal) -> Result<(), Refusal> {
        // A leader changes, or a server restarts. Steps that are done in between do not count: another
        // one may fail each time.
        let is_too_long = self.failed.is_some_and(|since| since.elapsed() >= REST_WITHIN);
        if !matches!(failure, Refusal::Request { .. }) || is_too_long {
            return Err(self.give_back(failure).await);
        }
        if self.failed.is_none() {
            self.failed = Some(Instant::now());
            (self.report)(&format!("tries again while rooms wait: {failure}"));
        }
        // A server that restarts may lack what it had last.
        self.known.forget_ends();
        sleep(LOOK_EVERY).await;
        Ok(())
    }

    /// Gives all origins their rooms again; returns the cause, and that rooms wait if this is not
    /// possible either.
    async fn give_back(&mut self, cause: Refusal) -> Refusal {
        (self.report)(&format!("gives the rooms back: {cause}"));
        let (until, cause) = (Instant::now() + GIVEN_BACK_WITHIN, Box::new(cause));
        loop {
            match self.widen().await {
                Ok(()) => return Refusal::GivenBack(cause),
                Err(Refusal::Request { .. }) if Instant::now() < until => sleep(LOOK_EVERY).await,
                Err(failure) => return Refusal::RoomsWait { cause, failure: Box::new(failure) },
            }
        }
    }

    async fn widen(&self) -> Result<(), Refusal> {
        plan::next_undo(&self.splitter.pairs, &self.splitter.look().await?)?;
        // All of them: one that has its rooms may lose them to a request that got no response yet.
        self.splitter.widen(&self.splitter.pairs).await
    }
}
