//! Which run of a connector a message is of, and what connectors say of this server's own: wherever
//! a higher incarnation is known, its sender goes on above it. So no incarnation depends on a wall
//! clock alone.

use model::ids::{Incarnation, ServerId};
use model::lineage::Lineage;
use model::rpc::Trace;
use model::rpc::messages::{KnownIncarnation, RpcRequest, RpcResponse};
use runtime::log_rate_limit::LogRateLimit;
use tracing::{debug, info, warn};

use super::duplicate_id::{CONFIRM_MS, NewerRunReport};
use super::{ConnectorLink, Rooms};

/// Earlier runs of a connector that are remembered as accepted.
const MAX_FORMER: usize = 8;

/// A message's sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SenderCheck {
    /// The latest run of its connector.
    Accepted,
    /// It says nothing new: it came before, or newer ones overtook it.
    Repeated,
    /// An earlier one, or one that does not know that it is too low.
    Stale(KnownIncarnation),
    /// An earlier one; it is not known so far whether the later one lives.
    Unclear,
    /// One that cannot be.
    Implausible,
}

impl Rooms {
    /// This run, as others are to know it.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Notes that a run of a connector lives, unless a copy of an old message says so.
    pub(super) fn check_sender(
        &mut self,
        connector: &ServerId,
        runs: Lineage,
        (count, question): (Option<u64>, &RpcRequest),
        ticks: u64,
    ) -> SenderCheck {
        let known = self.links.get(connector).map(|link| link.runs.present()).unwrap_or_default();
        if !runs.present().is_plausible(known) {
            return SenderCheck::Implausible;
        }
        let link = self.links.entry(connector.clone()).or_default();
        if runs.present() < known {
            // Of a run that was never accepted here the later one is the predecessor, however
            // lately that was heard.
            let lease_ms = u64::from(self.lease_secs) * 1_000;
            let is_recent = |before: u64| ticks.saturating_sub(before) < lease_ms;
            let was_accepted = link.former_incarnations.contains(&runs.present());
            // A later process that lives is heard again soon. Were the earlier one told before that it
            // is dead, each of the two would go on above the other.
            if was_accepted
                && link.previous_message_at.is_none()
                && ticks.saturating_sub(link.last_message_at) < CONFIRM_MS
            {
                return SenderCheck::Unclear;
            }
            let live = was_accepted && link.previous_message_at.is_some_and(is_recent);
            return SenderCheck::Stale(KnownIncarnation { incarnation: known, live });
        }
        let is_new = runs.present() > known;
        if count.is_some_and(|count| !link.record_count(count, question, is_new)) {
            // Proposals, attaches and questions for messages do no harm twice. What is not repeated by its sender, or says
            // that it lives, must not be repeated by others.
            let does_no_harm = !matches!(question, RpcRequest::Heartbeat | RpcRequest::Detach { .. });
            return if does_no_harm { SenderCheck::Accepted } else { SenderCheck::Repeated };
        }
        link.is_silent = false;
        let was_silent = std::mem::take(&mut link.silent_secs) > 0;
        if !is_new {
            link.previous_message_at = Some(link.last_message_at);
        } else if link.begin_incarnation(runs) {
            self.owners.values_mut().for_each(|owner| owner.detach(connector));
        }
        if let Some(link) = self.links.get_mut(connector) {
            link.last_message_at = ticks;
        }
        if is_new || was_silent {
            self.update_liveness();
        }
        SenderCheck::Accepted
    }

    /// A connector says which incarnation of this server it knows.
    pub(super) fn record_known_incarnation(&mut self, connector: &ServerId, known: KnownIncarnation, ticks: u64) {
        let (mine, is_yielding) = (self.incarnation, self.is_yielding);
        let Some(link) = self.links.get_mut(connector) else { return };
        let before = link.report.take();
        if known.incarnation <= mine {
            link.accepts_us |= known.incarnation == mine;
            return;
        }
        if !known.incarnation.is_plausible(mine) {
            return self.report_implausible(connector, known.incarnation);
        }
        if known.live && (link.accepts_us || is_yielding) {
            link.report = Some(NewerRunReport::live(before, ticks));
            return;
        }
        let report = NewerRunReport::dead(before, ticks);
        if link.accepts_us && !report.is_confirmed(ticks) {
            // The later process may have spoken once so far.
            link.report = Some(report);
            return;
        }
        // One that is about to end needs no new name, and one that yields has none to go on above.
        if !self.is_handing_over && !self.is_newer_run_reported(ticks) {
            let (before, known) = (self.incarnation.0, known.incarnation);
            info!(server = %self.me, %connector, before, known = known.0, "a later incarnation is known, going on above it");
            self.incarnation = known.above(self.first_incarnation);
        }
    }

    /// Tells a connector that a higher incarnation of it is known. Uses up no number: it may not be
    /// the one that counts them.
    pub(super) fn answer_stale(
        &mut self,
        (connector, reply, trace): (ServerId, Option<String>, Trace),
        known: KnownIncarnation,
    ) {
        debug!(%connector, known = known.incarnation.0, live = known.live, "message of an earlier run of a connector");
        if reply.is_some() {
            let envelope = self.envelope(0, RpcResponse::Stale(known));
            self.send_envelope((connector, reply, Some(trace)), &envelope);
        }
    }

    /// An incarnation that cannot be changes nothing.
    pub(super) fn report_implausible(&mut self, connector: &ServerId, incarnation: Incarnation) {
        self.metrics.bus_implausible.add();
        static IMPLAUSIBLE: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = IMPLAUSIBLE.pass() {
            let incarnation = incarnation.0;
            warn!(%connector, incarnation, suppressed, "an incarnation from after the year 2100 was ignored");
        }
    }
}

impl ConnectorLink {
    /// Counts a message. Returns true if it says something of its sender's present: it comes in its order, or is the first of
    /// its run.
    ///
    /// Heartbeats are compared with heartbeats alone: one that another message overtook is still to be answered.
    fn record_count(&mut self, count: u64, question: &RpcRequest, is_first: bool) -> bool {
        if is_first {
            (self.highest_count, self.highest_heartbeat) = (0, 0);
        }
        let is_latest = count > self.highest_count;
        self.highest_count = self.highest_count.max(count);
        if *question != RpcRequest::Heartbeat {
            return is_latest || is_first;
        }
        let is_later = count > self.highest_heartbeat;
        self.highest_heartbeat = self.highest_heartbeat.max(count);
        is_later || is_first
    }

    /// A later run is heard. Returns whether it follows nothing so far: it is another process than
    /// the one before.
    fn begin_incarnation(&mut self, runs: Lineage) -> bool {
        let is_same = runs.continues(self.runs.present());
        if !is_same {
            (self.accepts_us, self.report) = (false, None);
            self.former_incarnations.push_back(self.runs.present());
            self.former_incarnations.drain(..self.former_incarnations.len().saturating_sub(MAX_FORMER));
            // One that had another incarnation before may follow, and takes a missing number for a
            // reason to attach again.
            self.number += u64::from(!runs.earlier().is_empty());
        }
        self.previous_message_at = None;
        self.runs = runs;
        !is_same
    }
}
