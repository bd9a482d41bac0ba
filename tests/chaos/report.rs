//! The report at the end of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::checker;
use crate::counts::Counts;
use crate::plan::Fault;

/// From when on recovery is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// It is broken; what is made whole at once is so again.
    Broken,
    /// The server that stayed down is back.
    Back,
}

/// Figures of all phases.
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) phases: u64,
    pub(crate) counts: Arc<Counts>,
    /// The times until all users had recovered.
    recoveries: BTreeMap<(Fault, Moment), Vec<Duration>>,
    violations: BTreeMap<checker::ViolationKind, usize>,
}

impl Report {
    pub(crate) fn new(seed: u64) -> Self {
        let (recoveries, violations) = (BTreeMap::new(), BTreeMap::new());
        Self { seed, phases: 0, counts: Arc::default(), recoveries, violations }
    }

    pub(crate) fn add_recovery(&mut self, kind: Fault, since: Moment, within: Duration) {
        self.recoveries.entry((kind, since)).or_default().push(within);
    }

    pub(crate) fn add_violation(&mut self, kind: checker::ViolationKind) {
        *self.violations.entry(kind).or_default() += 1;
    }
}

/// The value that `percent` of the sorted durations do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, phases, counts, recoveries, violations } = self;
        writeln!(f, "seed {seed}, {phases} phases")?;
        writeln!(f, "{:<15} {:>5} {:>16} {:>16}", "fault", "count", "recovery p50 ms", "recovery p99 ms")?;
        for ((kind, since), recoveries) in recoveries {
            let mut sorted = recoveries.clone();
            sorted.sort_unstable();
            let [p50, p99] = [50, 99].map(|percent| percentile(&sorted, percent).as_millis());
            let fault = format!("{kind:?}{}", if *since == Moment::Back { ", back" } else { "" });
            writeln!(f, "{fault:<15} {:>5} {p50:>16} {p99:>16}", sorted.len())?;
        }
        let found = |kind| violations.get(&kind).copied().unwrap_or_default();
        let totals = [
            ("sent", counts.sent.get()),
            ("acknowledged", counts.acknowledged.get()),
            ("refused", counts.refused.get()),
            ("unknown, then repeated", counts.repeated.get()),
            ("deliveries", counts.deliveries.get()),
            ("of these missed at first", counts.missed.get()),
            ("resumes", counts.resumes.get()),
            ("gone for good", counts.gone.get()),
            ("gaps", counts.gaps.get()),
            ("lost", found(checker::ViolationKind::Lost) as u64),
            ("doubled", found(checker::ViolationKind::Doubled) as u64),
            ("reordered", found(checker::ViolationKind::Reordered) as u64),
            ("violations of all kinds", violations.values().sum::<usize>() as u64),
        ];
        for (what, count) in totals {
            writeln!(f, "{what:<24} {count:>9}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let sorted: Vec<Duration> = (1..=10).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50).as_millis(), 5);
        assert_eq!(percentile(&sorted, 99).as_millis(), 10);
        assert_eq!(percentile(&sorted[..1], 50).as_millis(), 1);
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
