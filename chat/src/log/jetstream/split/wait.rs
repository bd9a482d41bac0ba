//! The waits of a split: their time, their reports, and copies that stand still.

use std::collections::BTreeMap;
use std::time::Duration;

use model::record::Position;
use tokio::time::Instant;

use super::plan::{Step, Streams};

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
        for pair in pairs {
            report(&format!("waits for {}: it is at {} of {}", pair.copy, last(&pair.copy), last(&pair.origin)));
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
