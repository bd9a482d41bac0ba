//! The wall clock, the only place that reads it. Everything that waits uses `tokio::time` instead.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::ids::Incarnation;

/// Unix time in milliseconds.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The bits of the epoch of a log in memory that are random.
const EPOCH_CHANCE: u64 = (1 << 20) - 1;

/// The epoch of a log in memory that begins now: Unix milliseconds, the lower 20 bits of which (a
/// quarter of an hour) are random, so that a log has another epoch than one before although the
/// clock was set back to the same moment.
pub fn new_epoch_ms() -> u64 {
    (now_ms() & !EPOCH_CHANCE) | rand::random_range(0..=EPOCH_CHANCE)
}

/// The incarnation of a server that starts now.
pub fn incarnation() -> Incarnation {
    Incarnation::new(now_ms(), rand::random())
}
