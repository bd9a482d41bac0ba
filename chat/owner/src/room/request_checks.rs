//! Checks of waiting requests against the room's state: connectors whose incarnation is below one
//! of theirs in the log, because their clocks were set back between two runs, and proposals with
//! implausible numbers.

use model::ids::{Incarnation, ServerId};
use model::rpc::messages::{KnownIncarnation, is_plausible_number};

use super::{ActMessage, Context, Owner, Phase, Proposal, Requester};
use crate::draft::Author;
use crate::event::Event;

impl Owner {
    /// Refuses requests of incarnations below one that the log names. The response tells the
    /// connector to continue above it.
    pub(super) fn refuse_stale(&mut self, cx: &mut Context<'_>) {
        let Phase::Active(active) = &self.phase else {
            debug_assert!(false, "{}: requests are checked without a state", self.room);
            return;
        };
        // If these were accepted, the log could not distinguish their proposals from late copies of
        // a dead run's, nor their members from a later run's.
        let (liveness, state, followers) = (&self.liveness, &active.state, &mut self.followers);
        let mut refuse_if_stale = |requester: &Requester, connector: &ServerId, run: Incarnation| {
            let latest =
                state.latest_run(connector).filter(|latest| *latest > liveness.current_incarnation(connector, run));
            let Some(incarnation) = latest else { return false };
            followers.remove(connector);
            cx.out.respond_stale(requester.clone().into(), KnownIncarnation { incarnation, live: false });
            true
        };
        self.attaches.retain(|a| !refuse_if_stale(&a.requester, &a.requester.server, a.incarnation));
        self.proposals.retain(|p| !refuse_if_stale(&p.requester, &p.author.connector, p.author.incarnation));
    }

    /// Drops proposals and messages of acts with implausible numbers.
    pub(super) fn refuse_implausible(&mut self, cx: &mut Context<'_>) {
        let Phase::Active(active) = &self.phase else {
            debug_assert!(false, "{}: requests are checked without a state", self.room);
            return;
        };
        // Committed, such a number would make all later proposals of the connector look like late
        // copies.
        let (liveness, state) = (&self.liveness, &active.state);
        self.proposals.retain(|Proposal { author: Author { connector, incarnation }, number, .. }| {
            let last = state.last_proposal(connector);
            let last = last.filter(|last| liveness.current_incarnation(connector, last.incarnation) == *incarnation);
            let is_plausible = is_plausible_number(*number, last.map_or(0, |last| last.number));
            if !is_plausible {
                let event = Event::ProposalImplausible { connector: connector.clone(), number: *number };
                cx.report(event);
            }
            is_plausible
        });
        self.acts.retain(|ActMessage { requester, incarnation, number, .. }| {
            let last = state.last_acts(&requester.server);
            let known = last.map_or(Incarnation::default(), |last| last.incarnation);
            let last = last.filter(|last| last.incarnation == *incarnation).map_or(0, |last| last.number);
            let is_plausible = incarnation.is_plausible(known) && is_plausible_number(*number, last);
            if !is_plausible {
                cx.report(Event::ProposalImplausible { connector: requester.server.clone(), number: *number });
            }
            is_plausible
        });
    }
}
