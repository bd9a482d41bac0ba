//! A chat server that is about to end hands its rooms over: what is in flight is finished, everything else is others'.

use model::rpc::messages::{RpcRequest, RpcResponse};

use super::{Effect, Rooms};
use crate::owner::{Now, Owner, Requester};

impl Rooms {
    /// Hands all rooms over. Connectors ask elsewhere as soon as they hear of it, and the next candidates are told when they ask.
    pub fn hand_over(&mut self) -> Vec<Effect> {
        self.is_handing_over = true;
        self.failover_rooms.clear();
        let connectors = self.links.iter().filter(|(_, link)| !link.is_silent).map(|(connector, _)| connector.clone());
        for connector in connectors.collect::<Vec<_>>() {
            self.send(connector, None, None, &RpcResponse::Leaving);
        }
        self.with_all(Owner::hand_over);
        self.take_effects()
    }

    /// Answers a question that comes nevertheless.
    pub(super) fn redirect(&mut self, requester: Requester, question: &RpcRequest, now: Now) {
        match question.room().cloned() {
            // That is what is done anyway.
            Some(_) if matches!(question, RpcRequest::Detach { .. }) => {}
            Some(room) => self.answer(requester, &RpcResponse::NotOwner { room }),
            None => self.answer_heartbeat(requester, RpcResponse::Leaving, now),
        }
    }

    /// Whether nothing is in flight any more.
    pub fn is_handed_over(&self) -> bool {
        self.is_handing_over && self.readers.is_empty() && !self.owners.values().any(Owner::is_running)
    }
}
