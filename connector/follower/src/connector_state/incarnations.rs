//! This connector's own incarnation. When a chat server knows a higher one, the connector continues
//! above that, with its sessions, requests and proposals.

use model::ids::{Incarnation, ServerId};
use model::rpc::messages::KnownIncarnation;

use super::{ConnectorState, Effect, Now};
use crate::event::Event;
use crate::room::Room;

/// Milliseconds for which chat servers must report a later process before the connector believes
/// it.
// One stray message is not enough: the price of a wrong verdict is that all clients are closed.
const CERTAIN_MS: u64 = 1_200;

/// Milliseconds after which a report of a later process expires.
// Chat servers that know of such a process answer every request with a report, and heartbeats alone
// make that one each second.
const RECENT_MS: u64 = 3_000;

/// Reports of chat servers that a later process with this connector's id lives: times of the first
/// and of the last one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rival {
    since: u64,
    seen: u64,
}

impl Rival {
    fn is_recent(self, ticks: u64) -> bool {
        ticks.saturating_sub(self.seen) < RECENT_MS
    }

    fn is_certain(self, ticks: u64) -> bool {
        self.is_recent(ticks) && self.seen.saturating_sub(self.since) >= CERTAIN_MS
    }
}

impl ConnectorState {
    /// Returns true while a later process has this connector's id. Chat servers do not answer this
    /// connector then, so its clients are better off elsewhere. It continues when that process is
    /// gone.
    pub fn has_rival(&self, ticks: u64) -> bool {
        self.rival.is_some_and(|rival| rival.is_certain(ticks))
    }

    /// Returns this process's present incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.common.incarnation()
    }

    /// Handles a report that a chat server, or a room's log, knows a higher incarnation of this
    /// connector.
    pub(super) fn on_stale(
        &mut self,
        (chat, run): (&ServerId, Incarnation),
        known: KnownIncarnation,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        // A chat server of which a later run is known may still be right about this connector. If
        // stray messages made each believe in a later run of the other, neither would accept the
        // other's messages otherwise.
        let is_old = self.chat_servers.is_old(chat, run);
        if !self.chat_servers.is_plausible(chat, run) {
            return effects.push(implausible(chat, (run, 0)));
        }
        let (mine, later) = (self.common.incarnation(), known.incarnation);
        if later <= mine {
            // It answers a request from before this connector continued as another run.
            return;
        }
        if !later.is_plausible(mine) {
            return effects.push(implausible(chat, (later, 0)));
        }
        if known.live && is_old {
            return;
        }
        if known.live {
            let since = self.rival.filter(|rival| rival.is_recent(now.ticks)).map_or(now.ticks, |rival| rival.since);
            self.rival = Some(Rival { since, seen: now.ticks });
            return;
        }
        if self.rival.is_some_and(|rival| rival.is_recent(now.ticks)) {
            // Another chat server still receives messages of that process.
            return;
        }
        self.rival = None;
        // No later process lives: the higher number is from a run whose clock was ahead, or from a
        // stray message.
        self.common.lineage.continue_above(later);
        effects.push(Effect::Report(Event::ContinuedAbove { chat: chat.clone(), before: mine, known: later }));
        for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.in_known_room(&room, now, effects, Room::continue_above);
        }
    }
}

/// Returns the report of a message that cannot be right. Nothing else changes.
pub(super) fn implausible(chat: &ServerId, (incarnation, number): (Incarnation, u64)) -> Effect {
    Effect::Report(Event::ImplausibleIgnored { chat: chat.clone(), incarnation, number })
}
