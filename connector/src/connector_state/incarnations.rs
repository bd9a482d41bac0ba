//! This connector's own incarnation: where a chat server knows a higher one, the connector goes on
//! above that. Its sessions, requests and proposals stay.

use model::ids::{Incarnation, ServerId};
use model::rpc::messages::KnownIncarnation;
use runtime::log_rate_limit::LogRateLimit;
use tracing::{error, info, warn};

use super::{ConnectorState, Effect, Now};
use crate::room::Room;

/// Milliseconds for which chat servers say that a later process lives before this connector believes
/// it: one stray message is not enough.
const CERTAIN_MS: u64 = 1_200;

/// Milliseconds after which a word of a later process counts no more: all questions to a chat server
/// that knows of one are answered so, and there is one each second at least.
const RECENT_MS: u64 = 3_000;

/// Chat servers say that a later process with this connector's id lives: since when, and until when so
/// far.
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
    /// Returns true while a later process has this connector's id: what it asks is not answered, and
    /// its clients are better off elsewhere. It goes on when that process is gone.
    pub fn has_rival(&self, ticks: u64) -> bool {
        let is_certain = self.rival.is_some_and(|rival| rival.is_certain(ticks));
        if is_certain {
            static OLDER: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = OLDER.pass() {
                let (server, mine) = (&self.common.me, self.common.incarnation.0);
                error!(%server, mine, suppressed, "another process has this server's id, and started later: end one");
            }
        }
        is_certain
    }

    /// This run, as others are to know it.
    pub fn incarnation(&self) -> Incarnation {
        self.common.incarnation
    }

    /// A chat server, or a room's log, knows a higher incarnation of this connector.
    pub(super) fn on_stale(
        &mut self,
        (chat, run): (&ServerId, Incarnation),
        known: KnownIncarnation,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        // Also a chat server of which a later run is known may be right about this connector: if stray
        // messages made each know a later run of the other, neither heard the other otherwise.
        let is_old = self.chat_servers.is_old(chat, run);
        if !self.chat_servers.is_plausible(chat, run) {
            return self.refuse(chat, (run, 0));
        }
        let (mine, later) = (self.common.incarnation, known.incarnation);
        if later <= mine {
            // To what was asked before it went on.
            return;
        }
        if !later.is_plausible(mine) {
            return self.refuse(chat, (later, 0));
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
            // Another chat server has heard it.
            return;
        }
        self.rival = None;
        self.lineage.continue_above(later);
        self.common.incarnation = self.lineage.present();
        info!(server = %self.common.me, %chat, before = mine.0, known = later.0, "a later incarnation is known, going on above it");
        let lineage = self.lineage.clone();
        for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.in_known_room(&room, now, effects, |room: &mut Room, cx| room.continue_as(&lineage, cx));
        }
    }

    /// Counts a message that cannot be right; it changes nothing.
    pub(super) fn refuse(&mut self, chat: &ServerId, (incarnation, number): (Incarnation, u64)) {
        self.common.metrics.bus_implausible.add();
        static IMPLAUSIBLE: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = IMPLAUSIBLE.pass() {
            warn!(%chat, incarnation = incarnation.0, number, suppressed, "an incarnation or a number that cannot be was ignored");
        }
    }
}
