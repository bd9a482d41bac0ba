//! Which life of the stream we know, and whether we may still believe it. Asks nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::bus::Connection;
use shared::record::{Epoch, Position};
use tokio::sync::watch;
use tracing::error;

/// One life of the stream, from its creation.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) epoch: Epoch,
    highest: AtomicU64,
    bytes: AtomicU64,
}

impl Life {
    fn new(epoch: Epoch, highest: Position) -> Self {
        Self { epoch, highest: AtomicU64::new(highest.0), bytes: AtomicU64::new(0) }
    }

    /// Bytes that were in the stream when it was looked at last.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The highest position that was seen in this life.
    pub(super) fn highest(&self) -> Position {
        Position(self.highest.load(Ordering::Acquire))
    }

    /// Takes note of a position of this life.
    pub(super) fn record_position(&self, position: Position) {
        self.highest.fetch_max(position.0, Ordering::AcqRel);
    }
}

/// What must be as it was for a life to be believed: then nothing happened since that we know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    generation: u64,
    doubts: u64,
}

/// The stream as a look found it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) epoch: Epoch,
    /// Its last position.
    pub(super) last: Position,
    /// The highest position that was known when the look began.
    pub(super) known: Position,
    /// Bytes in the stream.
    pub(super) bytes: u64,
}

/// The life known now.
#[derive(Debug)]
pub(super) struct Lives {
    connection: watch::Receiver<Connection>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    life: Arc<Life>,
    believed_at: Option<Moment>,
    doubts: u64,
}

impl Lives {
    /// Starts with a life that nobody believes.
    pub(super) fn new(connection: watch::Receiver<Connection>) -> Self {
        let life = Arc::new(Life::new(Epoch::default(), Position::NONE));
        Self { connection, state: Mutex::new(State { life, believed_at: None, doubts: 0 }) }
    }

    /// The life that was found last, whatever happened since.
    pub(super) fn latest(&self) -> Arc<Life> {
        self.lock().life.clone()
    }

    /// The life that was found last, unless there is reason to look again.
    pub(super) fn believed(&self) -> Option<Arc<Life>> {
        let (now, state) = (self.moment(), self.lock());
        (state.believed_at == Some(now)).then(|| state.life.clone())
    }

    /// The present moment; to be taken before looking.
    pub(super) fn moment(&self) -> Moment {
        let generation = self.connection.borrow().generation;
        Moment { generation, doubts: self.lock().doubts }
    }

    /// Something happened that another stream would explain.
    pub(super) fn doubt(&self) {
        self.lock().doubts += 1;
    }

    /// Takes in what a look brought that began at `since`.
    pub(super) fn record_status(&self, since: Moment, found: Found) -> Arc<Life> {
        let Found { epoch, last, known, bytes } = found;
        let mut state = self.lock();
        let has_lost = state.life.epoch == epoch && last < known;
        if has_lost {
            error!(epoch = epoch.0, last = last.0, known = known.0, "the rooms' log lost its last records");
        }
        if has_lost || state.life.epoch != epoch {
            // A new value: answers on their way from the old life must not raise the new one's positions.
            state.life = Arc::new(Life::new(epoch, last));
        }
        state.life.record_position(last);
        state.life.bytes.store(bytes, Ordering::Relaxed);
        state.believed_at = Some(since);
        state.life.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(epoch: u64, last: u64) -> Found {
        Found { epoch: Epoch(epoch), last: Position(last), known: Position::NONE, bytes: 0 }
    }

    fn lives() -> (watch::Sender<Connection>, Lives) {
        let (sender, connection) = watch::channel(Connection { up: true, generation: 1 });
        (sender, Lives::new(connection))
    }

    #[test]
    fn a_life_is_believed_until_something_happens() {
        let (connection, lives) = lives();
        assert!(lives.believed().is_none());
        lives.record_status(lives.moment(), found(1, 5));
        assert_eq!(lives.believed().unwrap().highest(), Position(5));
        lives.doubt();
        assert!(lives.believed().is_none());
        lives.record_status(lives.moment(), found(1, 4));
        assert_eq!(lives.believed().unwrap().highest(), Position(5));
        connection.send_replace(Connection { up: true, generation: 2 });
        assert!(lives.believed().is_none());
    }

    #[test]
    fn a_doubt_during_a_look_outlives_it() {
        let (_connection, lives) = lives();
        let began = lives.moment();
        lives.doubt();
        lives.record_status(began, found(1, 0));
        assert!(lives.believed().is_none());
    }

    #[test]
    fn lives_have_positions_of_their_own() {
        let (_connection, lives) = lives();
        let old = lives.record_status(lives.moment(), found(1, 5));
        let new = lives.record_status(lives.moment(), found(2, 0));
        old.record_position(Position(9));
        assert_eq!(new.highest(), Position::NONE);
    }

    /// Its next positions are below those that it gave before, and good all the same.
    #[test]
    fn a_stream_that_lost_its_end_goes_on_from_there() {
        let (_connection, lives) = lives();
        lives.record_status(lives.moment(), found(1, 9));
        let after = lives.record_status(lives.moment(), Found { known: Position(9), ..found(1, 5) });
        assert_eq!((after.epoch, after.highest()), (Epoch(1), Position(5)));
    }
}
