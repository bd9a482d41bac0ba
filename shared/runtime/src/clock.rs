//! The wall clock, the only place that reads it. Everything that waits uses `tokio::time` instead.

use std::time::{SystemTime, UNIX_EPOCH};

use model::ids::Incarnation;

/// Unix time in milliseconds.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now_ms() -> u64 {
    // A clock before 1970 reads as 0: a wrong clock must not stop a server.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Epochs of logs per millisecond.
const EPOCHS_PER_MS: u64 = 1_024;

/// The lowest epoch of a log that begins at this time, in Unix milliseconds.
pub fn first_epoch(ms: u64) -> u64 {
    ms.saturating_mul(EPOCHS_PER_MS)
}

/// The epoch of a log that begins now, above those of all logs that began before.
pub fn new_epoch() -> u64 {
    // Where the clock was set back to the same millisecond, epochs differ by chance. Browsers read
    // them as numbers, so they must stay below 2^53: they do until 2248.
    first_epoch(now_ms()).saturating_add(rand::random_range(0..EPOCHS_PER_MS))
}

/// The incarnation of a server that starts now.
pub fn incarnation() -> Incarnation {
    Incarnation::new(now_ms(), rand::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_rise_and_are_numbers_that_browsers_read() {
        let (before, epoch) = (now_ms() * EPOCHS_PER_MS, new_epoch());
        let after = (now_ms() + 1) * EPOCHS_PER_MS;
        assert!((before..after).contains(&epoch) && after < 1 << 53, "{before} {epoch} {after}");
    }
}
