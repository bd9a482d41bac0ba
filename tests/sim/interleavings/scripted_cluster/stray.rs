//! Messages that none of the servers sent, and what these show of them.

use std::sync::Arc;

use model::ids::Incarnation;
use model::membership::Membership;
use model::record::{Entry, Position, Record, RecordId, VERSION};
use model::rpc;
use model::rpc::Trace;
use model::rpc::messages::{FromChat, FromConnector, KnownIncarnation, RpcRequest, RpcResponse};
use model::subjects;

use super::super::transit::InTransit;
use super::{ScriptedCluster, id};
use crate::checks;
use owner::rooms::IncomingRequest;

impl ScriptedCluster {
    /// A chat server gets a message in the name of a server of this kind and number.
    pub(in super::super) fn stray_to_chat(
        &mut self,
        (kind, number): (&str, usize),
        incarnation: Incarnation,
        chat: usize,
        request: RpcRequest,
    ) {
        let connector = id(kind, number);
        let reply = match request {
            RpcRequest::Detach { .. } => None,
            RpcRequest::Probe => Some(format!("{}a.1", subjects::inbox(connector.as_str()))),
            _ => Some(subjects::connector_reply(&connector, 7)),
        };
        self.stray(
            chat,
            reply,
            FromConnector {
                v: rpc::VERSION,
                connector,
                incarnation,
                continues: Vec::new(),
                count: 0,
                known: None,
                request,
            },
        );
    }

    /// A chat server gets a connector's report of a known run.
    pub(in super::super) fn stray_heartbeat(
        &mut self,
        (connector, incarnation): (usize, Incarnation),
        chat: usize,
        known: KnownIncarnation,
    ) {
        let connector = id("connector", connector);
        let (reply, known) = (Some(subjects::connector_reply(&connector, 7)), Some(known));
        let (continues, request) = (Vec::new(), RpcRequest::Heartbeat);
        let (v, count) = (rpc::VERSION, 0);
        self.stray(chat, reply, FromConnector { v, connector, incarnation, continues, count, known, request });
    }

    fn stray(&mut self, chat: usize, reply: Option<String>, message: FromConnector) {
        let body = rpc::encode(&message).unwrap();
        let now = self.chat_now();
        self.signs = false;
        let heard = IncomingRequest { body: &body, reply, is_proven: false, trace: Trace::new(1, 1) };
        let effects = self.chats[chat].rooms.handle_message(heard, now).unwrap();
        self.chat_effects(chat, effects);
        self.settle();
    }

    /// A connector gets a message in the name of a chat server.
    pub(in super::super) fn stray_to_connector(
        &mut self,
        (chat, incarnation): (usize, Incarnation),
        connector: usize,
        number: u64,
        response: RpcResponse,
    ) {
        let said = FromChat { v: rpc::VERSION, chat: id("chat", chat), incarnation, number, stats: None, response };
        let body = rpc::encode(&said).unwrap();
        self.signs = false;
        self.under_way.push_back(InTransit::ToConnector { chat, connector, body });
        self.settle();
    }

    /// The push of a record that follows the room's last one, so many positions ahead.
    pub(in super::super) fn next_record(&self, ahead: u64) -> RpcResponse {
        let (last, before) = checks::records(&self.log, &super::room(), &self.bad).remove(0);
        let record = Record {
            v: VERSION,
            prev: last,
            prev_id: before.id,
            id: RecordId(7),
            links: Vec::new(),
            time: before.time,
            owner: before.owner.clone(),
            proposals: Vec::new(),
            acts: Vec::new(),
            lasting: None,
            entries: vec![Entry::Open],
            notify_connectors: Vec::new(),
            checkpoint: None,
            part: None,
        };
        let (epoch, position) = (self.log.last(&super::room()).epoch, Position(last.0 + ahead));
        RpcResponse::Record { room: super::room(), epoch, position, record: Arc::new(record).into() }
    }

    /// Messages that were refused for their senders, and those with what cannot be.
    pub(in super::super) fn refused(&self) -> (u64, u64) {
        (self.metrics.bus_refused.sender.get(), self.metrics.bus_implausible.get())
    }

    /// Connectors that each chat server knows.
    pub(in super::super) fn links(&self) -> Vec<usize> {
        self.chats.iter().map(|chat| chat.rooms.connectors()).collect()
    }

    pub(in super::super) fn yields(&self, chat: usize) -> bool {
        self.chats[chat].rooms.is_yielding()
    }

    pub(in super::super) fn has_rival(&self, connector: usize) -> bool {
        self.hubs[connector].has_rival(self.now)
    }

    /// The stay of a client.
    pub(in super::super) fn stay(&self, session: u64) -> Membership {
        self.clients[&session].place.unwrap().0.membership()
    }
}
