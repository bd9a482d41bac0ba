//! Connectors whose incarnation is below one of theirs that the room's log names: their clocks were
//! set back between two runs. Also proposals with numbers that cannot be.

use shared::ids::{Incarnation, ServerId};
use shared::log_rate_limit::LogRateLimit;
use shared::rpc::messages::{KnownIncarnation, RpcResponse, is_plausible_number};
use tracing::warn;

use super::{Act, Asker, Author, Owner, Phase, Proposal};

impl Owner {
    /// Answers what waits of such connectors: each goes on above what the log knows, and asks
    /// again. Were they accepted, the log could not tell their proposals from late copies of a dead
    /// run's, nor their members from a later run's.
    pub(super) fn refuse_stale(&mut self, acts: &mut Vec<Act>) {
        let Phase::Active(active) = &self.phase else { return };
        let (gone, state, followers) = (&self.gone, &active.state, &mut self.followers);
        let mut is_stale = |asker: &Asker, connector: &ServerId, run: Incarnation| {
            let latest = state.latest_run(connector).filter(|latest| *latest > gone.present(connector, run));
            let Some(incarnation) = latest else { return false };
            followers.remove(connector);
            acts.push(Act::Answer(asker.clone(), RpcResponse::Stale(KnownIncarnation { incarnation, live: false })));
            true
        };
        self.attaches.retain(|a| !is_stale(&a.asker, &a.asker.connector, a.incarnation));
        self.proposals.retain(|p| !is_stale(&p.asker, &p.author.connector, p.author.incarnation));
    }

    /// Drops proposals whose numbers cannot be. In the log, one would make all later ones of its
    /// connector look like late copies.
    pub(super) fn refuse_implausible(&mut self) {
        let Phase::Active(active) = &self.phase else { return };
        let (gone, state, metrics) = (&self.gone, &active.state, &self.metrics);
        self.proposals.retain(|Proposal { author: Author { connector, incarnation }, number, .. }| {
            let last = state.last_proposal(connector);
            let last = last.filter(|last| gone.present(connector, last.incarnation) == *incarnation);
            let is_plausible = is_plausible_number(*number, last.map_or(0, |last| last.number));
            if !is_plausible {
                metrics.bus_implausible.add();
                static IMPLAUSIBLE: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = IMPLAUSIBLE.pass() {
                    warn!(%connector, number, suppressed, "a proposal with a number that cannot be was ignored");
                }
            }
            is_plausible
        });
    }
}
