//! The wall clock, the only place that reads it. Everything that waits uses `tokio::time` instead.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::ids::Incarnation;

/// Unix time in milliseconds.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The incarnation of a server that starts now.
pub fn incarnation() -> Incarnation {
    Incarnation::new(now_ms(), rand::random())
}
