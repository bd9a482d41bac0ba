//! Failure detection of chat servers by probes, and the routing of requests to them.

use std::sync::Arc;

use model::ids::{RoomId, ServerId};
use model::rpc::messages::RpcRequest;
use model::servers::Servers;

use super::Proposer;
use crate::chat_servers::Change;
use crate::effects::Effect;
use crate::event::Event;
use crate::tokens::Request;

impl Proposer {
    /// Sends probes to all chat servers. The caller does this every `rpc.heartbeat_ms` while there is
    /// a connection to the bus.
    pub fn send_probes(&mut self, now: u64) -> Vec<Effect> {
        self.tokens.end_probes();
        if self.chat_servers.begin_round() {
            self.on_servers_down(now);
        }
        for chat in self.chat_servers.chats().cloned().collect::<Vec<_>>() {
            let Some(body) = self.encode(RpcRequest::Probe) else { break };
            let token = self.tokens.add(Request::Probe(chat.clone()));
            self.effects.push(Effect::Send { chat, token, method: "probe", room: None, body });
        }
        self.take_effects()
    }

    /// Takes the broker's report that there is no subscriber for the request with this token.
    pub fn on_no_responders(&mut self, token: u64, now: u64) -> Vec<Effect> {
        match self.tokens.get(token).cloned() {
            Some(Request::Probe(chat)) if self.chat_servers.record_no_responder(&chat) => self.on_servers_down(now),
            // Probes decide that a server is down; until then the request is repeated there.
            Some(Request::Acts(_) | Request::Read(_)) => self.repeat_soon(token, now),
            Some(Request::Probe(_)) | None => {}
        }
        self.take_effects()
    }

    fn on_servers_down(&mut self, now: u64) {
        self.effects.push(Effect::Report(Event::ChatServersDown { down: self.chat_servers.down() }));
        self.reroute(now);
    }

    /// Takes the response to a probe.
    pub(super) fn on_probed(&mut self, token: u64, chat: &ServerId, is_leaving: bool, now: u64) {
        self.tokens.end(token);
        let chat = chat.clone();
        match self.chat_servers.record_response(&chat, is_leaving) {
            Change::None => return,
            Change::Up => self.effects.push(Effect::Report(Event::ChatServerUp { chat })),
            Change::Leaving => self.effects.push(Effect::Report(Event::ChatServerLeaving { chat })),
        }
        self.reroute(now);
    }

    /// Sends each request at once whose chat server is another one by now.
    fn reroute(&mut self, now: u64) {
        for room in self.rooms.keys().cloned().collect::<Vec<RoomId>>() {
            self.repeat_if(&room, now, |message, chat| message.chat.as_ref() != chat);
            self.count(&room);
        }
        let servers = &self.chat_servers;
        let moved = self.reads.due(|read| {
            let chat = read.room.as_ref().and_then(|room| servers.server_for(room));
            read.room.is_some() && read.chat.as_ref() != chat
        });
        moved.into_iter().for_each(|number| self.send_read(number, now));
    }

    /// Takes a new connection to the bus: messages under way may be lost.
    pub fn on_reconnected(&mut self, now: u64) -> Vec<Effect> {
        self.chat_servers.reset_misses();
        for room in self.rooms.keys().cloned().collect::<Vec<RoomId>>() {
            self.repeat_if(&room, now, |_, _| true);
        }
        self.reads.due(|_| true).into_iter().for_each(|number| self.send_read(number, now));
        self.take_effects()
    }

    /// Sets the list of servers. Requests for rooms whose home is another one go there at once.
    pub fn set_servers(&mut self, servers: Arc<Servers>, now: u64) -> Vec<Effect> {
        self.chat_servers.set_servers(servers, now);
        self.reroute(now);
        self.take_effects()
    }
}
