//! The waits of a split: their time, their reports, and copies that stand still.

use std::collections::BTreeMap;
use std::time::Duration;

use model::record::Position;
use tokio::time::Instant;

use super::plan::{Pair, Step, Streams};

/// Time after which a copy that gets no record begins anew.
const STILL_AFTER: Duration = Duration::from_secs(1);

/// Time between two reports of the same wait.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The wait that the split is in.
#[derive(Default)]
pub(super) struct Wait {
    began: Option<Instant>,
    reported: Option<Instant>,
    /// The last position of each copy that is waited for, and the time since when it has that.
    copies: BTreeMap<String, (Position, Instant)>,
}

impl Wait {
    /// Notes the next step, and reports waits now and then.
    pub(super) fn note(&mut self, step: &Step, streams: &Streams, report: &mut impl FnMut(&str)) {
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
        for Pair { origin, copy, .. } in pairs {
            report(&match step {
                Step::AwaitReplicas(_) => format!("waits for all replicas of {copy} to be there with all records"),
                _ => format!("waits for {copy}: it is at {} of {}", last(copy), last(origin)),
            });
        }
    }

    /// Returns true if a copy got no record for too long; then its time begins anew.
    pub(super) fn stands_still(&mut self, copy: &str, last: Position) -> bool {
        let now = Instant::now();
        let (before, since) = self.copies.entry(copy.to_owned()).or_insert((last, now));
        let is_still = *before == last && now - *since >= STILL_AFTER;
        if *before != last || is_still {
            (*before, *since) = (last, now);
        }
        is_still
    }

    pub(super) fn lasts(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::super::plan::Division;
    use super::*;
    use model::log_parts::LogParts;
    use model::subjects::SubjectPrefix;

    fn pairs() -> Vec<Pair> {
        let [from, to] = [1, 2].map(|count| LogParts::new(count).unwrap());
        Pair::of(Division { from, to }, &SubjectPrefix::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_reported_now_and_then_with_its_reason() {
        let (mut wait, mut reports) = (Wait::default(), Vec::new());
        let mut note = async |step: Step, secs: u64| {
            advance(Duration::from_secs(secs)).await;
            wait.note(&step, &Streams::new(), &mut |text| reports.push(text.to_owned()));
            (std::mem::take(&mut reports), wait.lasts().as_secs())
        };
        let copies = "waits for ROOMS-1: it is at 0 of 0".to_owned();
        let replicas = "waits for all replicas of ROOMS-1 to be there with all records".to_owned();
        assert_eq!(note(Step::AwaitCopies(pairs()), 5).await, (vec![], 0));
        assert_eq!(note(Step::AwaitCopies(pairs()), 9).await, (vec![], 9));
        assert_eq!(note(Step::AwaitCopies(pairs()), 1).await, (vec![copies], 10));
        assert_eq!(note(Step::AwaitReplicas(pairs()), 9).await, (vec![], 19));
        assert_eq!(note(Step::AwaitReplicas(pairs()), 1).await, (vec![replicas], 20));
        assert_eq!(note(Step::Announce(pairs()), 30).await, (vec![], 0));
        assert_eq!(note(Step::AwaitRest(pairs()), 30).await, (vec![], 0), "another wait");
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_gets_no_record_for_a_second_stands_still() {
        let mut wait = Wait::default();
        let mut still = async |last, millis| {
            advance(Duration::from_millis(millis)).await;
            wait.stands_still("ROOMS-1", Position(last))
        };
        assert!(!still(5, 0).await);
        assert!(!still(5, 999).await);
        assert!(!still(6, 1).await, "it goes on");
        assert!(still(6, 1_000).await);
        assert!(!still(6, 999).await, "it has a second to begin anew");
        assert!(still(6, 1).await);
    }
}
