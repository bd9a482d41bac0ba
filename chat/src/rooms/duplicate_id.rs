//! Another process with this server's id. Both hear all that is sent to it, and only the later one,
//! whose incarnation is the higher one, is believed. So the older one is silent: it would only have
//! the appends of the other refused.

use model::ids::ServerId;
use runtime::log_rate_limit::LogRateLimit;
use tracing::{error, info};

use super::{ConnectorLink, Rooms};
use crate::owner::{Now, Owner};

/// Milliseconds for which something is said of a later run before it is believed: a process that
/// lives is heard twice in that time, and one stray message is not enough.
pub(super) const CONFIRM_MS: u64 = 1_200;

/// The word of a connector on a later run of this server, since a time in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewerRunReport {
    /// It lives: the connector heard it twice lately.
    Live(u64),
    /// It does not, or was heard once.
    Dead(u64),
}

impl NewerRunReport {
    /// The connector says that the later run lives; `before` is its report so far.
    pub(super) fn live(before: Option<Self>, ticks: u64) -> Self {
        match before {
            Some(Self::Live(since)) => Self::Live(since),
            Some(Self::Dead(_)) | None => Self::Live(ticks),
        }
    }

    /// The connector says that the later run does not live.
    pub(super) fn dead(before: Option<Self>, ticks: u64) -> Self {
        match before {
            Some(Self::Dead(since)) => Self::Dead(since),
            Some(Self::Live(_)) | None => Self::Dead(ticks),
        }
    }

    /// Returns true if the connector has said so for long enough.
    pub(super) fn is_confirmed(self, ticks: u64) -> bool {
        let (Self::Live(since) | Self::Dead(since)) = self;
        ticks.saturating_sub(since) >= CONFIRM_MS
    }
}

impl Rooms {
    /// Returns true if this server is silent because a later process has its id.
    pub fn is_yielding(&self) -> bool {
        self.is_yielding
    }

    /// Is silent when a later process has this server's id, and goes on when that one is gone.
    pub(super) fn check_duplicate_id(&mut self, now: Now) {
        let has_newer_run = self.has_newer_run(now.ticks) && !self.is_handing_over;
        if has_newer_run {
            static OLDER: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = OLDER.pass() {
                let (server, mine) = (&self.me, self.incarnation.0);
                error!(%server, mine, suppressed, "another process has this server's id, and started later: end one");
            }
        }
        match (self.is_yielding, has_newer_run) {
            (false, true) => self.yield_rooms(),
            (true, false) => self.resume_rooms(now),
            _ => {}
        }
    }

    /// All connectors that accepted this server and were heard lately say that the later process
    /// lives. So one connector that is wrong silences no server, nor do two messages.
    fn has_newer_run(&self, ticks: u64) -> bool {
        if self.is_yielding {
            return self.is_newer_run_reported(ticks);
        }
        let mut reports = self.recent(ticks).filter(|link| link.accepts_us).map(|link| link.report).peekable();
        let is_confirmed = |report: Option<NewerRunReport>| {
            report.is_some_and(|report| matches!(report, NewerRunReport::Live(_)) && report.is_confirmed(ticks))
        };
        reports.peek().is_some() && reports.all(is_confirmed)
    }

    /// Returns true if a connector says that the later process lives.
    pub(super) fn is_newer_run_reported(&self, ticks: u64) -> bool {
        self.recent(ticks).any(|link| matches!(link.report, Some(NewerRunReport::Live(_))))
    }

    /// Links to connectors that were heard within the lease.
    fn recent(&self, ticks: u64) -> impl Iterator<Item = &ConnectorLink> {
        let lease_ms = u64::from(self.lease_secs) * 1_000;
        let is_recent =
            move |link: &&ConnectorLink| !link.is_silent && ticks.saturating_sub(link.last_message_at) < lease_ms;
        self.links.values().filter(is_recent)
    }

    /// Finishes what is in flight, and does nothing else.
    fn yield_rooms(&mut self) {
        self.is_yielding = true;
        self.failover_rooms.clear();
        self.waiting_requests.clear();
        self.readers.clear();
        self.with_all(Owner::hand_over);
    }

    /// The later process is gone. Connectors attach again: they find a number missing.
    fn resume_rooms(&mut self, now: Now) {
        let server: &ServerId = &self.me;
        info!(%server, "the other process with this server's id is gone, going on");
        self.is_yielding = false;
        self.links.values_mut().for_each(|link| link.number += 1);
        self.owners.values_mut().for_each(Owner::cancel_hand_over);
        self.update_homes(now);
    }
}
