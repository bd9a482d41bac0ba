//! The writing of requests to chat servers: each is counted, and encoded once.

use std::borrow::Cow;

use model::ids::ServerId;
use model::rpc;
use model::rpc::messages::{FromConnector, Item, KnownIncarnation, RpcRequest};

use super::Effect;
use crate::event::Event;
use crate::room::Common;

/// Tokens of requests identify their rooms: each room has a range of this size, used in turn.
pub(crate) const TOKENS_PER_ROOM: u64 = 1 << 16;

/// Writes the requests of a connector.
#[derive(Debug, Default)]
pub(crate) struct RequestWriter {
    /// Requests so far.
    count: u64,
}

impl RequestWriter {
    /// Returns the effect that sends a request to a chat server; the token identifies its response.
    pub(crate) fn write(
        &mut self,
        common: &Common,
        (chat, token): (ServerId, Option<u64>),
        known: Option<KnownIncarnation>,
        request: RpcRequest,
    ) -> Effect {
        self.count += 1;
        let (method, room) = (method(&request), request.room().cloned());
        let message = FromConnector {
            v: rpc::VERSION,
            connector: common.me.clone(),
            incarnation: common.incarnation(),
            continues: common.lineage.earlier().to_vec(),
            count: self.count,
            known,
            request,
        };
        match rpc::encode(&message) {
            Ok(body) => Effect::SendToChat { chat, token, method, room, body },
            Err(error) => Effect::Report(Event::RequestUnwritable { error: error.to_string() }),
        }
    }
}

/// The chat server of a room, and the tokens of the room's requests.
pub(crate) struct OwnerLink<'a> {
    pub(crate) chat: &'a ServerId,
    pub(crate) serial: u64,
    pub(crate) last_token: &'a mut u64,
    pub(crate) writer: &'a mut RequestWriter,
}

/// Returns the value of the `Method` header: for a proposal the methods of its items, each once.
fn method(request: &RpcRequest) -> Cow<'static, str> {
    match request {
        RpcRequest::Attach { .. } => "attach".into(),
        RpcRequest::History { .. } => "history".into(),
        RpcRequest::Detach { .. } => "detach".into(),
        RpcRequest::Heartbeat => "heartbeat".into(),
        RpcRequest::Probe => "probe".into(),
        // Of api servers alone.
        RpcRequest::Act { .. } => "act".into(),
        RpcRequest::Look { .. } => "look".into(),
        RpcRequest::Rooms { .. } => "rooms".into(),
        RpcRequest::Propose { items, .. } => {
            let mut methods: Vec<&'static str> = items.iter().map(Item::method).collect();
            methods.sort_unstable();
            methods.dedup();
            match methods[..] {
                [only] => only.into(),
                _ => methods.join(",").into(),
            }
        }
    }
}
