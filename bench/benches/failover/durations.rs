//! Durations, and how they are printed.

use std::fmt;
use std::time::Duration;

/// The columns of [`Durations`].
pub(crate) const COLUMNS: &str = "  p50 ms   p99 ms   max ms";

/// Durations, from the shortest to the longest.
#[derive(Debug, Default)]
pub(crate) struct Durations(Vec<Duration>);

impl Durations {
    /// The one that `percent` of them do not exceed; zero where there is none.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// The shortest; zero where there is none.
    pub(crate) fn min(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    /// The longest; zero where there is none.
    pub(crate) fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<Duration> for Durations {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut sorted: Vec<_> = durations.into_iter().collect();
        sorted.sort_unstable();
        Self(sorted)
    }
}

impl fmt::Display for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [50, 99, 100].map(|percent| self.percentile(percent).as_secs_f64() * 1e3);
        write!(f, "{p50:>8.1} {p99:>8.1} {max:>8.1}")
    }
}
