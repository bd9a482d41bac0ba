//! Health of the log, derived from the results of its use. Pure: runs no operation itself.

use std::time::Duration;

use model::record::Position;
use tokio::time::Instant;

use super::LogStatus;
use owner::log_operation::{AppendError, ReadError};

/// Time without an append after one that failed, until the server appends a probe.
// Without a probe, a log whose rooms are silent would count as failed for ever.
const PROBE_AFTER: Duration = Duration::from_secs(3);

/// The known health of the log.
#[derive(Debug, Default)]
pub struct LogHealth {
    /// The result of the last status check; none before the first.
    last_status: Option<Result<(), ReadError>>,
    /// The failure of appends since the last commit.
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    error: AppendError,
    /// Bytes of the record that failed last.
    bytes: usize,
    tried_at: Instant,
}

impl LogHealth {
    /// Records the result of appending a record of so many bytes.
    pub fn record_append(&mut self, result: &Result<Position, AppendError>, bytes: usize, now: Instant) {
        match result {
            Ok(_) => self.failed = None,
            // These depend on the single record and imply nothing for others.
            Err(AppendError::Refused | AppendError::TooLarge { .. }) => return,
            Err(error) => self.failed = Some(Failed { error: error.clone(), bytes, tried_at: now }),
        }
        if result.is_ok() {
            self.last_status = Some(Ok(()));
        }
    }

    /// Records that the log was found as it should be.
    pub fn record_found(&mut self) {
        self.last_status = Some(Ok(()));
    }

    /// Records the result of a status check.
    pub fn record_status(&mut self, result: &Result<LogStatus, ReadError>) {
        // Does not clear `failed`: a log that can be read need not take records.
        self.last_status = Some(result.as_ref().map(|_| ()).map_err(Clone::clone));
    }

    /// Returns the size of the probe that is due; none while rooms retry themselves.
    pub fn probe_size_due(&self, now: Instant) -> Option<usize> {
        let silent = |failed: &&Failed| now.saturating_duration_since(failed.tried_at) >= PROBE_AFTER;
        self.failed.as_ref().filter(silent).map(|failed| failed.bytes)
    }

    /// Returns the fault, if there is one.
    pub fn fault(&self) -> Option<String> {
        match (&self.failed, &self.last_status) {
            (Some(failed), _) => Some(failed.error.to_string()),
            (None, Some(Ok(()))) => None,
            (None, Some(Err(error))) => Some(error.to_string()),
            (None, None) => Some("the log has not been checked yet".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::record::Epoch;

    use super::super::Split;
    use super::*;

    const BYTES: usize = 500;

    fn good() -> Result<LogStatus, ReadError> {
        Ok(LogStatus { epoch: Epoch(1), bytes: 7, max_bytes: 70, split: Split::None })
    }

    fn unclear() -> Result<Position, AppendError> {
        Err(AppendError::Unclear("late".to_owned()))
    }

    fn append(log: &mut LogHealth, result: Result<Position, AppendError>) {
        log.record_append(&result, BYTES, Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_is_good_when_it_can_be_looked_at() {
        let mut log = LogHealth::default();
        assert!(log.fault().is_some());
        log.record_status(&good());
        assert_eq!(log.fault(), None);
        log.record_status(&Err(ReadError("away".to_owned())));
        assert!(log.fault().unwrap().contains("away"));
        log.record_status(&good());
        assert_eq!(log.fault(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_failed_is_so_until_it_commits() {
        for (failure, text) in [(unclear(), "late"), (Err(AppendError::Full), "log.max_total_bytes")] {
            let mut log = LogHealth::default();
            log.record_status(&good());
            append(&mut log, failure);
            for _ in 0..10 {
                log.record_status(&good());
                append(&mut log, Err(AppendError::Refused));
                append(&mut log, Err(AppendError::TooLarge { bytes: 1 << 20 }));
                assert!(log.fault().unwrap().contains(text));
            }
            append(&mut log, Ok(Position(3)));
            assert_eq!(log.fault(), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_failed_is_tried_when_no_room_does() {
        let mut log = LogHealth::default();
        log.record_status(&good());
        assert_eq!(log.probe_size_due(Instant::now()), None);
        append(&mut log, unclear());
        tokio::time::advance(PROBE_AFTER / 2).await;
        append(&mut log, unclear());
        tokio::time::advance(PROBE_AFTER / 2).await;
        assert_eq!(log.probe_size_due(Instant::now()), None, "rooms try");
        tokio::time::advance(PROBE_AFTER / 2).await;
        assert_eq!(log.probe_size_due(Instant::now()), Some(BYTES));
        append(&mut log, unclear());
        assert_eq!(log.probe_size_due(Instant::now()), None);
        tokio::time::advance(PROBE_AFTER).await;
        append(&mut log, Ok(Position(3)));
        assert_eq!(log.probe_size_due(Instant::now()), None);
    }
}
