//! The gate's handler over the Pomelo protocol.

use std::sync::Arc;

use bytes::Bytes;
use frontend::{self, App, Ending, ErrorBody, Peer, Session, WriteQueue, routes};
use model::identity::Principal;
use model::ids::ServerId;
use node::auth::Authenticator;
use runtime::metrics::{Metrics, RouteLabel};
use runtime::server_list::ServerList;

use crate::entry::{self, ConnectorAddress, EntryError};
use crate::prober::ServerStatuses;

/// The state of a gate that its handlers share.
#[derive(Clone)]
pub(crate) struct GateState {
    pub(crate) me: ServerId,
    pub(crate) environment: Arc<str>,
    pub(crate) server_list: ServerList,
    pub(crate) statuses: ServerStatuses,
    /// True if clients have to connect with TLS: to the connectors, or to a proxy before them.
    pub(crate) tls: bool,
    /// Verifies tokens, where the gate reads them.
    pub(crate) auth: Authenticator,
    /// True if it places no client without a token.
    pub(crate) needs_token: bool,
    pub(crate) metrics: Arc<Metrics>,
}

impl GateState {
    /// Chooses the connector for a user, or for the `uid` of a request.
    pub(crate) fn entry(&self, uid: Result<String, EntryError>) -> Result<ConnectorAddress, EntryError> {
        let is_unavailable = |id: &_| self.statuses.is_unavailable(id);
        let listens = |id: &_| self.statuses.client_port(id);
        let entry =
            uid.and_then(|uid| entry::choose(&uid, self.server_list.now().connector(), is_unavailable, listens));
        let entry = entry.map(|mut address| {
            address.tls = self.tls;
            address
        });
        let code = entry.as_ref().map_or_else(EntryError::code, |_| 200);
        self.metrics.requests_answered.add(RouteLabel::of(routes::QUERY_ENTRY), code);
        entry
    }
}

/// One client of the gate.
pub(crate) struct GateSession {
    gate: GateState,
    peer: Peer,
    write_queue: WriteQueue,
    /// The user whose token the handshake had.
    user: Option<Box<Principal>>,
}

impl App for GateState {
    type Session = GateSession;

    fn open(&self, peer: Peer, write_queue: WriteQueue, user: Option<Box<Principal>>) -> GateSession {
        GateSession { gate: self.clone(), peer, write_queue, user }
    }
}

impl Session for GateSession {
    fn on_message(&mut self, id: Option<u32>, route: &str, body: Bytes) {
        if route != routes::QUERY_ENTRY {
            return frontend::unknown_route(&self.write_queue, id, route);
        }
        let Some(id) = id else { return };
        let uid = entry::place_by(self.user.as_deref(), self.gate.needs_token, || entry::read_uid(&body));
        let response = match self.gate.entry(uid) {
            // Browsers make a URL of the host. Native clients pass it to the system's resolver, which
            // knows no brackets.
            Ok(entry) if self.peer.is_native => frontend::response(id, &entry.without_brackets()),
            Ok(entry) => frontend::response(id, &entry),
            Err(error) => frontend::response(id, &ErrorBody::new(error.code(), true, &error.to_string())),
        };
        // A closed write queue needs no response.
        self.write_queue.push(response).ok();
    }

    /// At once: the gate responds from its own state.
    async fn ready(&mut self) {}

    /// Returns false, so a session ends at the deadline for entering.
    fn has_entered(&self) -> bool {
        // A client sends one request to the gate and disconnects.
        false
    }

    async fn on_close(self, _ending: Ending) {}
}
