//! This connector's own incarnation: where a chat server knows a higher one, the connector goes on
//! above that. Its sessions, requests and proposals stay.

use shared::ids::{Incarnation, ServerId};
use shared::log_limit::LogLimit;
use shared::rpc::messages::Known;
use tracing::{error, info, warn};

use super::{Effect, Hub, Now};
use crate::room::Room;

impl Hub {
    /// This run, as others are to know it.
    pub fn incarnation(&self) -> Incarnation {
        self.common.incarnation
    }

    /// A chat server, or a room's log, knows a higher incarnation of this connector.
    pub(super) fn is_stale(
        &mut self,
        (chat, run): (&ServerId, Incarnation),
        known: Known,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        // Also a chat server of which a later run is known may be right about this connector: if stray
        // messages made each know a later run of the other, neither heard the other otherwise.
        let is_old = self.owners.is_old(chat, run);
        if !self.owners.is_plausible(chat, run) {
            return self.refuse(chat, (run, 0));
        }
        if !is_old {
            self.is_there((chat, run), false, now, effects);
        }
        self.is_there(chat, run, now, effects);
        let (mine, later) = (self.common.incarnation, known.incarnation);
        if later <= mine {
            // To what was asked before it went on.
            return;
        }
        if !later.is_plausible(mine) {
            return self.refuse(chat, (later, 0));
        }
        if known.live {
            static OLDER: LogLimit = LogLimit::new();
            if let Some(suppressed) = OLDER.pass() {
                let (server, mine, later) = (&self.common.me, mine.0, later.0);
                error!(%server, mine, later, suppressed, "another process has this server's id, and started later: end one");
            }
            return;
        }
        self.lineage.go_on_above(later);
        self.common.incarnation = self.lineage.present();
        info!(server = %self.common.me, %chat, before = mine.0, known = later.0, "a later incarnation is known, going on above it");
        let lineage = self.lineage.clone();
        for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.in_known_room(&room, now, effects, |room: &mut Room, cx| room.go_on_as(&lineage, cx));
        }
    }

    /// Counts a message that cannot be right; it changes nothing.
    pub(super) fn refuse(&mut self, chat: &ServerId, (incarnation, number): (Incarnation, u64)) {
        self.common.metrics.bus_implausible.add();
        static IMPLAUSIBLE: LogLimit = LogLimit::new();
        if let Some(suppressed) = IMPLAUSIBLE.pass() {
            warn!(%chat, incarnation = incarnation.0, number, suppressed, "an incarnation or a number that cannot be was ignored");
        }
    }
}
