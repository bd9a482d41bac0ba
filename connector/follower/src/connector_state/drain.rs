//! Sessions that a connector closes because it drains. A session whose client comes back as a
//! newcomer leaves its room first, or the client would find its own name taken.

use std::collections::BTreeMap;

use model::ending::Ending;
use model::ids::RoomId;

use super::sessions::SessionRoom;
use super::{ConnectorState, Effect, Now};

/// Milliseconds for which the close of a connection waits for the leave.
// A room without a server must not keep clients from going elsewhere.
const LEAVE_MS: u64 = 1_000;

/// The sessions that drain.
#[derive(Debug, Default)]
pub(super) struct Drain {
    pub(super) is_draining: bool,
    /// Sessions that were closed here, until their leaves are decided, or this time is over.
    leaving: BTreeMap<u64, (RoomId, u64)>,
}

impl ConnectorState {
    /// Begins to drain: sessions of clients that resume are held from now on, so that they can
    /// resume elsewhere.
    pub fn drain(&mut self) {
        self.drain.is_draining = true;
    }

    /// Closes a session that must leave its room before its connection is closed;
    /// [`ConnectorState::take_left`] returns it then. Returns none if the connection can be closed at
    /// once.
    pub fn leave_for_drain(&mut self, session: u64, now: Now) -> Option<Vec<Effect>> {
        let SessionRoom::In(room) = &self.sessions.get(session)?.room else { return None };
        if self.rooms.get(room).is_none_or(|slot| slot.room.will_resume(session)) {
            return None;
        }
        self.drain.leaving.insert(session, (room.clone(), now.ticks + LEAVE_MS));
        Some(self.close(session, Ending::Closed, now))
    }

    /// Returns the closed sessions whose leaves are decided, or take too long.
    pub fn take_left(&mut self, now: Now) -> Vec<u64> {
        let is_there = |session, room| self.rooms.get(room).is_some_and(|slot| slot.room.has_session(session));
        let done = self
            .drain
            .leaving
            .iter()
            .filter(|(session, (room, until))| *until <= now.ticks || !is_there(**session, room));
        let done: Vec<u64> = done.map(|(session, _)| *session).collect();
        done.iter().for_each(|session| drop(self.drain.leaving.remove(session)));
        done
    }
}
