//! Detects another process with this server's id. Both processes receive every message to that id,
//! and connectors believe the later one, which has the higher incarnation. So the older one stays
//! silent: its appends would only make those of the other fail.

use super::{ConnectorLink, Rooms};
use crate::event::Event;
use crate::room::{Now, Owner};

/// Milliseconds after which a report is confirmed.
// A live process sends twice in this time, so a single stray message is not enough.
pub(super) const CONFIRM_MS: u64 = 1_200;

/// A connector's report on a later run of this server, with the ticks since when it is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewerRunReport {
    /// The later run is live: the connector received two of its messages lately.
    Live(u64),
    /// The later run is not live, or the connector received one message.
    Dead(u64),
}

impl NewerRunReport {
    /// Returns the report that the later run is live; `before` is the connector's last report.
    pub(super) fn live(before: Option<Self>, ticks: u64) -> Self {
        match before {
            Some(Self::Live(since)) => Self::Live(since),
            Some(Self::Dead(_)) | None => Self::Live(ticks),
        }
    }

    /// Returns the report that the later run is not live.
    pub(super) fn dead(before: Option<Self>, ticks: u64) -> Self {
        match before {
            Some(Self::Dead(since)) => Self::Dead(since),
            Some(Self::Live(_)) | None => Self::Dead(ticks),
        }
    }

    /// Returns true if the report is old enough to be acted on.
    pub(super) fn is_confirmed(self, ticks: u64) -> bool {
        let (Self::Live(since) | Self::Dead(since)) = self;
        ticks.saturating_sub(since) >= CONFIRM_MS
    }
}

impl Rooms {
    /// Returns true if this server stays silent because a later process has its id.
    pub fn is_yielding(&self) -> bool {
        self.is_yielding
    }

    /// Becomes silent when a later process has this server's id, and resumes when that has ended.
    pub(super) fn check_duplicate_id(&mut self, now: Now) {
        let has_newer_run = self.has_newer_run(now.ticks) && !self.is_handing_over;
        if has_newer_run {
            self.report(Event::DuplicateId { mine: self.incarnation });
        }
        match (self.is_yielding, has_newer_run) {
            (false, true) => self.yield_rooms(),
            (true, false) => self.resume_rooms(now),
            _ => {}
        }
    }

    /// Returns true if a later run is live by the reports of all connectors that accepted this
    /// server and sent lately.
    fn has_newer_run(&self, ticks: u64) -> bool {
        // Silent already: one report that the later process is live is enough to stay so.
        if self.is_yielding {
            return self.is_newer_run_reported(ticks);
        }
        // All of them, so that one connector that is wrong silences no server.
        let mut reports = self.recent(ticks).filter(|link| link.accepts_us).map(|link| link.report).peekable();
        let is_confirmed = |report: Option<NewerRunReport>| {
            report.is_some_and(|report| matches!(report, NewerRunReport::Live(_)) && report.is_confirmed(ticks))
        };
        reports.peek().is_some() && reports.all(is_confirmed)
    }

    /// Returns true if a connector reports that the later process is live.
    pub(super) fn is_newer_run_reported(&self, ticks: u64) -> bool {
        self.recent(ticks).any(|link| matches!(link.report, Some(NewerRunReport::Live(_))))
    }

    /// Returns the links to connectors that sent a message within the lease.
    fn recent(&self, ticks: u64) -> impl Iterator<Item = &ConnectorLink> {
        let lease_ms = u64::from(self.lease_secs) * 1_000;
        let is_recent = move |link: &&ConnectorLink| !link.is_silent && link.messages.silence(ticks) < lease_ms;
        self.links.values().filter(is_recent)
    }

    /// Finishes the operations in flight, and starts no others.
    fn yield_rooms(&mut self) {
        self.is_yielding = true;
        self.failover_rooms.clear();
        self.waiting_requests.clear();
        self.readers.clear();
        self.with_all(Owner::hand_over);
    }

    /// Takes the rooms back after the later process ended.
    fn resume_rooms(&mut self, now: Now) {
        self.report(Event::DuplicateIdEnded);
        self.is_yielding = false;
        // Connectors attach again, because they find a number missing.
        self.links.values_mut().for_each(|link| link.number += 1);
        self.owners.values_mut().for_each(|owner| owner.cancel_hand_over());
        self.update_homes(now);
    }
}
