//! Which run of a connector a message is of, and what connectors say of this server's own: wherever
//! a higher incarnation is known, its sender goes on above it. So no incarnation depends on a wall
//! clock alone.

use shared::ids::{Incarnation, ServerId};
use shared::lineage::Lineage;
use shared::log_limit::LogLimit;
use shared::rpc::Trace;
use shared::rpc::messages::{Answer, Known};
use tracing::{debug, error, info, warn};

use super::{Link, Rooms};

/// Earlier runs of a connector that are remembered as accepted.
const MAX_FORMER: usize = 8;

/// A message's sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// The latest run of its connector.
    Accepted,
    /// An earlier one, or one that does not know that it is too low.
    Stale(Known),
    /// One that cannot be.
    Implausible,
}

impl Rooms {
    /// This run, as others are to know it.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Notes that a run of a connector lives.
    pub(super) fn hear(&mut self, connector: &ServerId, runs: Lineage, ticks: u64) -> Sender {
        let known = self.links.get(connector).map(|link| link.runs.present()).unwrap_or_default();
        if !runs.present().is_plausible(known) {
            return Sender::Implausible;
        }
        let link = self.links.entry(connector.clone()).or_default();
        if runs.present() < known {
            // Of a run that was never accepted here the later one is the predecessor, however
            // lately that was heard.
            let lease_ms = u64::from(self.lease_secs) * 1_000;
            let is_recent = |before: u64| ticks.saturating_sub(before) < lease_ms;
            let live = link.former.contains(&runs.present()) && link.heard_before.is_some_and(is_recent);
            return Sender::Stale(Known { incarnation: known, live });
        }
        link.silent = false;
        let was_silent = std::mem::take(&mut link.silence) > 0;
        let is_new = runs.present() > known;
        if !is_new {
            link.heard_before = Some(link.heard_at);
        } else if link.begin(runs) {
            self.owners.values_mut().for_each(|owner| owner.detach(connector));
        }
        if let Some(link) = self.links.get_mut(connector) {
            link.heard_at = ticks;
        }
        if is_new || was_silent {
            self.judge_connectors();
        }
        Sender::Accepted
    }

    /// A connector says which incarnation of this server it knows.
    pub(super) fn hear_of_itself(&mut self, connector: &ServerId, known: Known) {
        let Some(link) = self.links.get_mut(connector) else { return };
        if known.incarnation <= self.incarnation {
            link.accepts_us |= known.incarnation == self.incarnation;
            return;
        }
        let accepts_us = link.accepts_us;
        if !known.incarnation.is_plausible(self.incarnation) {
            return self.refuse(connector, known.incarnation);
        }
        if accepts_us && known.live {
            static OLDER: LogLimit = LogLimit::new();
            if let Some(suppressed) = OLDER.pass() {
                let (server, mine, later) = (&self.me, self.incarnation.0, known.incarnation.0);
                error!(%server, mine, later, suppressed, "another process has this server's id, and started later: end one");
            }
            return;
        }
        // One that is about to end needs no new name.
        if !self.is_leaving {
            let (before, known) = (self.incarnation.0, known.incarnation);
            info!(server = %self.me, %connector, before, known = known.0, "a later incarnation is known, going on above it");
            self.incarnation = known.above(self.start);
        }
    }

    /// Tells a connector that a higher incarnation of it is known. Uses up no number: it may not be
    /// the one that counts them.
    pub(super) fn answer_stale(&mut self, (connector, reply, trace): (ServerId, Option<String>, Trace), known: Known) {
        debug!(%connector, known = known.incarnation.0, live = known.live, "message of an earlier run of a connector");
        if reply.is_some() {
            let said = self.said(0, Answer::Stale(known));
            self.send_said((connector, reply, trace), &said);
        }
    }

    /// An incarnation that cannot be changes nothing.
    pub(super) fn refuse(&mut self, connector: &ServerId, incarnation: Incarnation) {
        self.metrics.bus_implausible.add();
        static IMPLAUSIBLE: LogLimit = LogLimit::new();
        if let Some(suppressed) = IMPLAUSIBLE.pass() {
            let incarnation = incarnation.0;
            warn!(%connector, incarnation, suppressed, "an incarnation from after the year 2100 was ignored");
        }
    }
}

impl Link {
    /// A later run is heard. Returns whether it follows nothing so far: it is another process than
    /// the one before.
    fn begin(&mut self, runs: Lineage) -> bool {
        let is_same = runs.continues(self.runs.present());
        if !is_same {
            self.accepts_us = false;
            self.former.push_back(self.runs.present());
            self.former.drain(..self.former.len().saturating_sub(MAX_FORMER));
            // One that had another incarnation before may follow, and takes a missing number for a
            // reason to attach again.
            self.number += u64::from(!runs.earlier().is_empty());
        }
        self.heard_before = None;
        self.runs = runs;
        !is_same
    }
}
