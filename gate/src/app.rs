//! The gate's handler over the Pomelo websocket.

use std::net::SocketAddr;

use bytes::Bytes;
use shared::frontend::{self, App, Ending, ErrorBody, Outbox, Session, routes};
use shared::roster::Roster;

use crate::entry::{self, Entry, EntryError};
use crate::prober::Health;

/// Everything that answers which connector.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) roster: Roster,
    pub(crate) health: Health,
}

impl Desk {
    /// The connector of a user.
    pub(crate) fn entry(&self, uid: &str) -> Result<Entry, EntryError> {
        entry::choose(uid, self.roster.now().connector(), |id| self.health.is_down(id))
    }
}

/// One client of the gate.
pub(crate) struct Visitor {
    desk: Desk,
    outbox: Outbox,
}

impl App for Desk {
    type Session = Visitor;

    async fn open(&self, _peer: SocketAddr, outbox: Outbox) -> Visitor {
        Visitor { desk: self.clone(), outbox }
    }
}

impl Session for Visitor {
    async fn message(&mut self, id: Option<u32>, route: &str, body: Bytes) {
        if route != routes::QUERY_ENTRY {
            return frontend::unknown_route(&self.outbox, id, route);
        }
        let Some(id) = id else { return };
        let answer = match entry::read_uid(&body).and_then(|uid| self.desk.entry(&uid)) {
            Ok(entry) => frontend::response(id, &entry),
            Err(error) => frontend::response(id, &ErrorBody { code: 500, error: true, reason: &error.to_string() }),
        };
        // A closed outbox needs no answer.
        self.outbox.push(answer).ok();
    }

    /// Never: a client asks the gate once and goes, so its session ends at the deadline for entering.
    fn entered(&self) -> bool {
        false
    }

    async fn closed(self, _ending: Ending) {}
}
