//! Access to history. A request is granted for a membership that is in the room through a session
//! of the requesting connector, and for no other: whispers are shown to their members only.

use std::iter;

use model::ids::{Incarnation, SessionId};
use model::rpc::messages::HistoryQuery;

use super::activation::Activation;
use super::{Context, Now, Owner, Phase, Requester};
use crate::event::Event;
use crate::history::{self, HistoryReader};

/// Most requests that wait in one room; further ones are dropped, and the connector repeats them.
const MAX_WAITING: usize = 256;

/// A request for messages of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRequest {
    /// The connector.
    pub requester: Requester,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The request's number.
    pub number: u64,
    /// The session through which the viewer is in the room.
    pub session: Option<u64>,
    /// The messages, and the viewer's membership.
    pub query: HistoryQuery,
}

impl HistoryRequest {
    fn is_repeated_by(&self, other: &Self) -> bool {
        (&self.requester.server, self.number) == (&other.requester.server, other.number)
    }
}

impl Owner {
    /// Takes a history request; reads at once if the state has the viewer.
    pub fn request_history(&mut self, request: HistoryRequest, now: Now, cx: &mut Context<'_>) {
        self.used_at = now.ticks;
        if !self.is_handing_over && self.has_viewer(&request) {
            return self.read(request, cx);
        }
        self.history_requests.retain(|waiting| !waiting.is_repeated_by(&request));
        // The state may lag behind the log, for example after a takeover elsewhere, so a missing
        // viewer is refused only after the log's end is proven.
        if self.history_requests.len() >= MAX_WAITING {
            return cx.report(Event::HistoryDropped);
        }
        self.history_requests.push(request);
        self.advance(now, cx);
    }

    /// Reads the requested messages: the viewer is allowed to see them.
    fn read(&self, request: HistoryRequest, cx: &mut Context<'_>) {
        let reader = HistoryReader::new(self.room.clone(), request, self.policy.size_limits());
        // Records in the owner's memory save the search of the log's end, and often the read.
        let at_hand = self.walk(history::walk_bound(reader.span()));
        cx.readers.start(reader, at_hand, &mut cx.out);
    }

    /// Decides the waiting requests on a state that is proven to be current.
    pub(super) fn resolve_history_requests(&mut self, cx: &mut Context<'_>) {
        for request in std::mem::take(&mut self.history_requests) {
            if self.has_viewer(&request) {
                self.read(request, cx);
                continue;
            }
            // Dropped without a response: a connector that is right repeats the request until it
            // learns that the member left.
            let (room, connector) = (self.room.clone(), request.requester.server);
            cx.report(Event::ViewerRefused { room, connector });
        }
    }

    fn has_viewer(&self, request: &HistoryRequest) -> bool {
        matches!(&self.phase, Phase::Active(active) if active.has_viewer(request))
    }
}

impl Activation {
    /// Returns true if the viewer is in the room through a session of the connector, of its present
    /// incarnation or of one that this continues.
    fn has_viewer(&self, HistoryRequest { requester, incarnation, session, query, .. }: &HistoryRequest) -> bool {
        let (connector, viewer) = (&requester.server, Some(query.viewer));
        let present = self.liveness.current_incarnation(connector, *incarnation);
        let mut runs = iter::once(&present).chain(self.liveness.continued_incarnations(connector));
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
