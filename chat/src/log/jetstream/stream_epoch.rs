//! The known epoch of the stream, and if it may still be trusted without a check. Sends no
//! requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus::Connection;
use model::record::{Epoch, Position};
use tokio::sync::watch;
use tracing::error;

/// One epoch of the stream, from its creation.
#[derive(Debug)]
pub(super) struct StreamEpoch {
    pub(super) epoch: Epoch,
    // Atomic, because appends run concurrently and must not wait for each other.
    highest: AtomicU64,
    bytes: AtomicU64,
    max_bytes: AtomicU64,
}

impl StreamEpoch {
    fn new(epoch: Epoch, highest: Position) -> Self {
        let (bytes, max_bytes) = (AtomicU64::default(), AtomicU64::default());
        Self { epoch, highest: AtomicU64::new(highest.0), bytes, max_bytes }
    }

    /// Returns the bytes of the stream at the last check.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the bytes that the stream may have, at the last check.
    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// Returns the highest position seen in this epoch.
    pub(super) fn highest(&self) -> Position {
        Position(self.highest.load(Ordering::Acquire))
    }

    /// Records a position of this epoch.
    pub(super) fn record_position(&self, position: Position) {
        self.highest.fetch_max(position.0, Ordering::AcqRel);
    }
}

/// The conditions under which an epoch is trusted: the connection is the same, and no recheck was
/// requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrustStamp {
    generation: u64,
    rechecks: u64,
}

/// The status of the stream, as a check found it.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamStatus {
    pub(super) epoch: Epoch,
    /// Its last position.
    pub(super) last: Position,
    /// The highest known position when the check began.
    pub(super) known: Position,
    /// Bytes in the stream.
    pub(super) bytes: u64,
    /// Bytes that it may have.
    pub(super) max_bytes: u64,
}

/// Tracks the stream's epoch.
#[derive(Debug)]
pub(super) struct EpochTracker {
    connection: watch::Receiver<Connection>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stream_epoch: Arc<StreamEpoch>,
    trusted_at: Option<TrustStamp>,
    rechecks: u64,
}

impl EpochTracker {
    /// Starts with an epoch that is not trusted.
    pub(super) fn new(connection: watch::Receiver<Connection>) -> Self {
        let stream_epoch = Arc::new(StreamEpoch::new(Epoch::default(), Position::NONE));
        Self { connection, state: Mutex::new(State { stream_epoch, trusted_at: None, rechecks: 0 }) }
    }

    /// Returns the epoch of the last check, trusted or not.
    pub(super) fn latest(&self) -> Arc<StreamEpoch> {
        self.lock().stream_epoch.clone()
    }

    /// Returns the epoch of the last check, unless a new check is due.
    pub(super) fn trusted(&self) -> Option<Arc<StreamEpoch>> {
        let (now, state) = (self.trust_stamp(), self.lock());
        (state.trusted_at == Some(now)).then(|| state.stream_epoch.clone())
    }

    /// Returns the present stamp. Must be taken before a check begins.
    pub(super) fn trust_stamp(&self) -> TrustStamp {
        let generation = self.connection.borrow().generation;
        TrustStamp { generation, rechecks: self.lock().rechecks }
    }

    /// Requests a check: something happened that another stream would explain.
    pub(super) fn request_recheck(&self) {
        self.lock().rechecks += 1;
    }

    /// Records the result of a check that began at `since`.
    pub(super) fn record_status(&self, since: TrustStamp, found: StreamStatus) -> Arc<StreamEpoch> {
        let StreamStatus { epoch, last, known, bytes, max_bytes } = found;
        let mut state = self.lock();
        let has_lost = state.stream_epoch.epoch == epoch && last < known;
        if has_lost {
            error!(epoch = epoch.0, last = last.0, known = known.0, "the rooms' log lost its last records");
        }
        if has_lost || state.stream_epoch.epoch != epoch {
            // A new value: late responses from the old epoch must not raise the new one's
            // positions.
            state.stream_epoch = Arc::new(StreamEpoch::new(epoch, last));
        }
        state.stream_epoch.record_position(last);
        state.stream_epoch.bytes.store(bytes, Ordering::Relaxed);
        state.stream_epoch.max_bytes.store(max_bytes, Ordering::Relaxed);
        // Not the present stamp: a recheck requested during the check must lead to another one.
        state.trusted_at = Some(since);
        state.stream_epoch.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_status(epoch: u64, last: u64) -> StreamStatus {
        StreamStatus { epoch: Epoch(epoch), last: Position(last), known: Position::NONE, bytes: 0, max_bytes: 0 }
    }

    fn epochs() -> (watch::Sender<Connection>, EpochTracker) {
        let (sender, connection) = watch::channel(Connection { up: true, generation: 1 });
        (sender, EpochTracker::new(connection))
    }

    #[test]
    fn a_life_is_believed_until_something_happens() {
        let (connection, epochs) = epochs();
        assert!(epochs.trusted().is_none());
        epochs.record_status(epochs.trust_stamp(), stream_status(1, 5));
        assert_eq!(epochs.trusted().unwrap().highest(), Position(5));
        epochs.request_recheck();
        assert!(epochs.trusted().is_none());
        epochs.record_status(epochs.trust_stamp(), stream_status(1, 4));
        assert_eq!(epochs.trusted().unwrap().highest(), Position(5));
        connection.send_replace(Connection { up: true, generation: 2 });
        assert!(epochs.trusted().is_none());
    }

    #[test]
    fn a_doubt_during_a_look_outlives_it() {
        let (_connection, epochs) = epochs();
        let began = epochs.trust_stamp();
        epochs.request_recheck();
        epochs.record_status(began, stream_status(1, 0));
        assert!(epochs.trusted().is_none());
    }

    #[test]
    fn lives_have_positions_of_their_own() {
        let (_connection, epochs) = epochs();
        let old = epochs.record_status(epochs.trust_stamp(), stream_status(1, 5));
        let new = epochs.record_status(epochs.trust_stamp(), stream_status(2, 0));
        old.record_position(Position(9));
        assert_eq!(new.highest(), Position::NONE);
    }

    /// Positions behind the loss are below earlier ones, and valid all the same.
    #[test]
    fn a_stream_that_lost_its_end_goes_on_from_there() {
        let (_connection, epochs) = epochs();
        epochs.record_status(epochs.trust_stamp(), stream_status(1, 9));
        let after =
            epochs.record_status(epochs.trust_stamp(), StreamStatus { known: Position(9), ..stream_status(1, 5) });
        assert_eq!((after.epoch, after.highest()), (Epoch(1), Position(5)));
    }
}
