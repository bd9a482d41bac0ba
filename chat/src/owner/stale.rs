//! Connectors whose incarnation is below one of theirs that the room's log names: their clocks were
//! set back between two runs.

use shared::ids::{Incarnation, ServerId};
use shared::rpc::messages::{Answer, Known};

use super::{Act, Asker, Owner, Phase};

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
            acts.push(Act::Answer(asker.clone(), Answer::Stale(Known { incarnation, live: false })));
            true
        };
        self.attaches.retain(|a| !is_stale(&a.asker, &a.asker.connector, a.incarnation));
        self.proposals.retain(|p| !is_stale(&p.asker, &p.author.connector, p.author.incarnation));
    }
}
