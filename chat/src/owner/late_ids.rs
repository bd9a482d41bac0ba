//! Ids that a leap of the room's time would forget at once: the wall clock was set forward, or
//! nothing was said for a while. Pure.

use std::collections::HashMap;

use shared::membership::MessageId;
use shared::room::{ID_MS, RoomState};

/// Distance between the times of two records above which a part of it may be a leap.
const LEAP_MS: u64 = 1_000;

/// Ids that the room's state forgets too early, kept for as long in the owner's own time as they
/// should be.
///
/// The log has none of them: after a failover right behind a leap they are forgotten.
#[derive(Debug, Default)]
pub(crate) struct LateIds {
    ids: HashMap<MessageId, (u64, u64)>,
    until: u64,
}

impl LateIds {
    /// Keeps what a record of this time makes the state forget, if that is far behind the one
    /// before.
    pub(crate) fn keep(&mut self, state: &RoomState, time: u64, ticks: u64) {
        if ticks >= self.until {
            self.ids = HashMap::new();
        }
        if time.saturating_sub(state.time()) <= LEAP_MS {
            return;
        }
        let forgotten = state.ids().take_while(|(.., said_at)| time.saturating_sub(*said_at) > ID_MS);
        self.ids.extend(forgotten.map(|(id, seq, said_at)| (*id, (*seq, *said_at))));
        self.until = ticks.saturating_add(ID_MS);
    }

    /// `seq` and time of the message with this id.
    pub(crate) fn find(&self, id: MessageId) -> Option<(u64, u64)> {
        self.ids.get(&id).copied()
    }
}
