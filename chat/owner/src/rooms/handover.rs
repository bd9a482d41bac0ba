//! Graceful shutdown of a chat server: operations in flight are finished, and all rooms are handed
//! over.

use model::rpc::EncodedResponse;
use model::rpc::messages::{RpcRequest, RpcResponse};

use super::{Effect, Rooms};
use crate::room::{Now, Owner, Requester};

impl Rooms {
    /// Begins to hand over all rooms. Connectors that are notified reroute at once; the next owner
    /// responds to the others.
    pub fn hand_over(&mut self) -> Vec<Effect> {
        self.is_handing_over = true;
        self.failover_rooms.clear();
        let connectors = self.links.iter().filter(|(_, link)| !link.is_silent).map(|(connector, _)| connector.clone());
        let leaving = EncodedResponse::new(&RpcResponse::Leaving);
        for connector in connectors.collect::<Vec<_>>() {
            self.outgoing().notify(connector, &leaving);
        }
        self.with_all(Owner::hand_over);
        self.take_effects()
    }

    /// Responds to a request that arrives during the hand-over.
    pub(super) fn redirect(&mut self, requester: Requester, request: &RpcRequest, now: Now) {
        match request.room().cloned() {
            // The hand-over detaches all connectors anyway.
            Some(_) if matches!(request, RpcRequest::Detach { .. }) => {}
            Some(room) => self.outgoing().respond(requester, &RpcResponse::NotOwner { room }),
            None => self.answer_heartbeat(requester, &RpcResponse::Leaving, now),
        }
    }

    /// Returns true if nothing is in flight any more.
    pub fn is_handed_over(&self) -> bool {
        self.is_handing_over
            && self.readers.is_empty()
            && self.lists.is_empty()
            && !self.owners.values().any(|owner| owner.is_running())
    }
}
