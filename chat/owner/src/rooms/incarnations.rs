//! Incarnations on both sides: accepts or refuses a connector's messages by its incarnation, and
//! raises this server's own when connectors know a higher one. So no incarnation depends on a wall
//! clock alone.

use model::failure_detector::LastMessages;
use model::ids::{Incarnation, ServerId};
use model::lineage::Lineage;
use model::rpc::messages::{KnownIncarnation, RpcRequest};

use super::duplicate_id::{CONFIRM_MS, NewerRunReport};
use super::{ConnectorLink, Rooms};
use crate::event::Event;

/// Most earlier incarnations of a connector that are remembered as accepted.
const MAX_FORMER: usize = 8;

/// The result of checking a message's sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SenderCheck {
    /// The connector's latest incarnation.
    Accepted,
    /// A repeated or overtaken message.
    Repeated,
    /// An earlier incarnation, or a sender that does not know that its incarnation is too low.
    Stale(KnownIncarnation),
    /// An earlier incarnation; it is not known yet if the later one is live.
    Unclear,
    /// An implausible incarnation.
    Implausible,
}

impl Rooms {
    /// Returns the present incarnation of this server.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Checks the sender of a message, and records that its incarnation is live unless the message
    /// is a copy of an old one.
    pub(super) fn check_sender(
        &mut self,
        connector: &ServerId,
        runs: Lineage,
        (count, request): (Option<u64>, &RpcRequest),
        ticks: u64,
    ) -> SenderCheck {
        let known = self.links.get(connector).map(|link| link.runs.present()).unwrap_or_default();
        // Checked first: the known incarnation only rises, so an implausible one would shut out all
        // later runs.
        if !runs.present().is_plausible(known) {
            return SenderCheck::Implausible;
        }
        let link = self.links.entry(connector.clone()).or_default();
        if runs.present() < known {
            // For an incarnation that was never accepted here, the later one is its predecessor,
            // however lately that sent a message.
            let was_accepted = link.former_incarnations.contains(&runs.present());
            // A later process that is live sends again soon. If the earlier one learned before that
            // it is dead, each of the two would continue above the other.
            if was_accepted && link.messages.is_single() && link.messages.silence(ticks) < CONFIRM_MS {
                return SenderCheck::Unclear;
            }
            let live = was_accepted && link.messages.is_live(ticks, u64::from(self.lease_secs) * 1_000);
            return SenderCheck::Stale(KnownIncarnation { incarnation: known, live });
        }
        let is_new = runs.present() > known;
        if count.is_some_and(|count| !link.record_count(count, request, is_new)) {
            // Repeated proposals, attaches and history requests are idempotent. A detach that its
            // sender did not repeat, or a heartbeat, must not take effect again.
            let does_no_harm = !matches!(request, RpcRequest::Heartbeat | RpcRequest::Detach { .. });
            return if does_no_harm { SenderCheck::Accepted } else { SenderCheck::Repeated };
        }
        link.is_silent = false;
        let was_silent = link.detector.record_alive();
        if is_new && link.begin_incarnation(runs) {
            self.owners.values_mut().for_each(|owner| owner.detach(connector));
        }
        link.messages.record(ticks);
        if is_new || was_silent {
            self.update_liveness();
        }
        SenderCheck::Accepted
    }

    /// Records the incarnation by which a connector knows this server, and continues above it if it
    /// is higher and not live.
    pub(super) fn record_known_incarnation(&mut self, connector: &ServerId, known: KnownIncarnation, ticks: u64) {
        let (mine, is_yielding) = (self.incarnation, self.is_yielding);
        let Some(link) = self.links.get_mut(connector) else {
            debug_assert!(false, "{connector} was accepted without a link");
            return;
        };
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
            // The later process may have sent a single message so far.
            link.report = Some(report);
            return;
        }
        // A server that is about to end needs no new incarnation, and one that yields to a live
        // process must not go above that.
        if !self.is_handing_over && !self.is_newer_run_reported(ticks) {
            let (before, known) = (self.incarnation, known.incarnation);
            self.report(Event::IncarnationRaised { connector: connector.clone(), before, known });
            self.incarnation = known.above(self.first_incarnation);
        }
    }

    /// Reports an implausible incarnation, which changes nothing.
    pub(super) fn report_implausible(&mut self, connector: &ServerId, incarnation: Incarnation) {
        self.report(Event::IncarnationImplausible { connector: connector.clone(), incarnation });
    }
}

impl ConnectorLink {
    /// Counts a message. Returns true if it is in order, or the first of its incarnation.
    fn record_count(&mut self, count: u64, request: &RpcRequest, is_first: bool) -> bool {
        if is_first {
            (self.highest_count, self.highest_heartbeat) = (0, 0);
        }
        let is_latest = count > self.highest_count;
        self.highest_count = self.highest_count.max(count);
        // Heartbeats are compared with heartbeats only: one that another message overtook still
        // needs a response.
        if *request != RpcRequest::Heartbeat {
            return is_latest || is_first;
        }
        let is_later = count > self.highest_heartbeat;
        self.highest_heartbeat = self.highest_heartbeat.max(count);
        is_later || is_first
    }

    /// Records a later incarnation. Returns true if that is another process than the one before,
    /// which follows nothing yet.
    fn begin_incarnation(&mut self, runs: Lineage) -> bool {
        let is_same = runs.continues(self.runs.present());
        if !is_same {
            (self.accepts_us, self.report) = (false, None);
            self.former_incarnations.push_back(self.runs.present());
            self.former_incarnations.drain(..self.former_incarnations.len().saturating_sub(MAX_FORMER));
            // A process that had another incarnation before may follow, and attaches again when it
            // finds a number missing.
            self.number += u64::from(!runs.earlier().is_empty());
        }
        self.messages = LastMessages::default();
        self.runs = runs;
        !is_same
    }
}
