//! Questions for messages of the past. One is answered for a membership that is in the room through a
//! session of the connector that asks, and for no other: whispers are shown to their members alone.

use std::iter;

use shared::ids::{Incarnation, SessionId};
use shared::log_rate_limit::LogRateLimit;
use shared::rpc::messages::HistoryQuery;
use tracing::{debug, warn};

use super::active::Active;
use super::{Act, Asker, Now, Owner, Phase};

/// Questions that wait in one room; what comes above is dropped, and asked again.
const MOST: usize = 256;

/// A question for messages of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewing {
    /// The connector that asks.
    pub asker: Asker,
    /// Its run.
    pub incarnation: Incarnation,
    /// The number of its question.
    pub number: u64,
    /// The session of it through which the viewer is in the room.
    pub session: Option<u64>,
    /// The messages, and the viewer.
    pub wanted: HistoryQuery,
}

impl Viewing {
    fn is_repeated_by(&self, other: &Self) -> bool {
        (&self.asker.connector, self.number) == (&other.asker.connector, other.number)
    }
}

impl Owner {
    /// A connector asks for messages. Where the state at hand does not have the viewer, it may be
    /// behind the log: the log's end is proven first.
    pub fn view(&mut self, viewing: Viewing, now: Now, acts: &mut Vec<Act>) {
        self.used_at = now.ticks;
        if !self.is_retiring && self.has_viewer(&viewing) {
            return acts.push(Act::Read(viewing));
        }
        self.viewings.retain(|waiting| !waiting.is_repeated_by(&viewing));
        if self.viewings.len() >= MOST {
            return self.metrics.histories_dropped.add();
        }
        self.viewings.push(viewing);
        self.go_on(now, acts);
    }

    /// The log's end is proven: the state says who is in the room. A question that is refused is
    /// dropped; its connector, if it is right, asks again until it hears that the member is gone.
    pub(super) fn decide_viewings(&mut self, acts: &mut Vec<Act>) {
        for viewing in std::mem::take(&mut self.viewings) {
            if self.has_viewer(&viewing) {
                acts.push(Act::Read(viewing));
                continue;
            }
            static REFUSED: LogRateLimit = LogRateLimit::new();
            self.metrics.bus_refused.viewer.add();
            let connector = &viewing.asker.connector;
            debug!(room = %self.room, %connector, "messages for a member that is not the connector's");
            if let Some(suppressed) = REFUSED.pass() {
                let what = "a connector asked for messages on behalf of a member that it does not have";
                warn!(%connector, suppressed, "{what} (level debug names the room)");
            }
        }
    }

    fn has_viewer(&self, viewing: &Viewing) -> bool {
        matches!(&self.phase, Phase::Active(active) if active.has_viewer(viewing))
    }
}

impl Active {
    /// Returns true if the viewer is in the room through a session of the asking connector, of its
    /// present run or of one that this continues.
    fn has_viewer(&self, Viewing { asker, incarnation, session, wanted, .. }: &Viewing) -> bool {
        let (connector, viewer) = (&asker.connector, Some(wanted.viewer));
        let present = self.gone.present(connector, *incarnation);
        let mut runs = iter::once(&present).chain(self.gone.continued(connector));
        match *session {
            Some(number) => runs.any(|run| {
                let session = SessionId { connector: connector.clone(), incarnation: *run, number };
                self.state.membership_of_session(&session) == viewer
            }),
            // A connector of an earlier build does not name the session.
            None => runs.any(|run| {
                self.state.sessions_of(connector, *run).any(|(_, name)| self.state.membership_of(name) == viewer)
            }),
        }
    }
}
