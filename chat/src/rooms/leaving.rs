//! A chat server that is about to end hands its rooms over: what is in flight is finished, everything else is others'.

use shared::rpc::Trace;
use shared::rpc::messages::{RpcRequest, RpcResponse};

use super::{Effect, Rooms};
use crate::owner::{Asker, Now, Owner};

impl Rooms {
    /// Hands all rooms over. Connectors ask elsewhere as soon as they hear of it, and the next candidates are told when they ask.
    pub fn leave(&mut self) -> Vec<Effect> {
        self.is_leaving = true;
        self.stand_ins.clear();
        let connectors = self.links.iter().filter(|(_, link)| !link.silent).map(|(connector, _)| connector.clone());
        for connector in connectors.collect::<Vec<_>>() {
            self.send(connector, None, Trace::default(), &RpcResponse::Leaving);
        }
        self.with_all(Owner::retire);
        self.take_effects()
    }

    /// Answers a question that comes nevertheless.
    pub(super) fn send_elsewhere(&mut self, asker: Asker, question: &RpcRequest, now: Now) {
        match question.room().cloned() {
            // That is what is done anyway.
            Some(_) if matches!(question, RpcRequest::Detach { .. }) => {}
            Some(room) => self.answer(asker, &RpcResponse::NotOwner { room }),
            None => self.answer_heartbeat(asker, RpcResponse::Leaving, now),
        }
    }

    /// Whether nothing is in flight any more.
    pub fn has_left(&self) -> bool {
        self.is_leaving && self.readers.is_empty() && !self.owners.values().any(Owner::is_at_work)
    }
}
