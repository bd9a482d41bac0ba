//! Ticks of work that is repeated.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

/// Returns ticks at an interval, the first at once. A late tick delays those after it.
// After a pause one tick is enough: a burst of those that were missed would only repeat the work.
pub fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
