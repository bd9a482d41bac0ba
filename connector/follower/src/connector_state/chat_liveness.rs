//! Failure detection of chat servers by heartbeats, and the routing of rooms to them.

use std::sync::Arc;

use model::ids::{Incarnation, RoomId, ServerId};
use model::rpc::messages::RpcRequest;
use model::rpc::report::ChatReport;
use model::servers::Servers;

use super::request_writer::TOKENS_PER_ROOM;
use super::{ConnectorState, Effect, Now};
use crate::event::Event;
use crate::room::Room;

impl ConnectorState {
    /// Handles the broker's report that there is no subscriber for the request with this token.
    pub fn on_no_responders(&mut self, token: u64, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(chat) = self.heartbeats.get(&token).cloned() {
            if self.chat_servers.record_no_responder(&chat) {
                self.on_servers_down(now, &mut effects);
            }
        } else if let Some(room) = self.rooms_by_serial.get(&(token / TOKENS_PER_ROOM)).cloned() {
            self.in_known_room(&room, now, &mut effects, Room::on_not_owner);
        }
        effects
    }

    pub(super) fn on_servers_down(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let down = self.chat_servers.chats().filter(|chat| self.chat_servers.is_down(chat)).cloned().collect();
        effects.push(Effect::Report(Event::ChatServersDown { down }));
        self.reroute_rooms(now, effects);
    }

    /// Notes a message of a run of a chat server; `is_staying` if the run says that it does not
    /// shut down.
    pub(super) fn note_chat_heard(
        &mut self,
        (chat, run): (&ServerId, Incarnation),
        is_staying: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.chat_servers.record_heard(chat, run, is_staying) {
            effects.push(Effect::Report(Event::ChatServerUp { chat: chat.clone() }));
            self.reroute_rooms(now, effects);
        }
    }

    /// Routes each room to the chat server that owns it by the present verdicts.
    pub(super) fn reroute_rooms(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut moved = Vec::new();
        for (room, slot) in &mut self.rooms {
            if let Ok(chat) = self.chat_servers.server_for(room)
                && chat != slot.chat
            {
                slot.chat = chat;
                moved.push(room.clone());
            }
        }
        if !moved.is_empty() {
            effects.push(Effect::Report(Event::RoomsRerouted { rooms: moved.len() as u64 }));
        }
        for room in moved {
            self.in_known_room(&room, now, effects, Room::on_rerouted);
        }
    }

    pub(super) fn is_routed_to(&self, chat: &ServerId, room: &RoomId) -> bool {
        self.rooms.get(room).is_some_and(|slot| slot.chat == *chat)
    }

    /// Handles a new connection to the bus: messages under way may be lost.
    pub fn on_reconnected(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.chat_servers.reset_misses();
        self.reattach_all(now, &mut effects);
        effects
    }

    /// Sets the list of servers; rooms whose home changed are routed to the new one.
    pub fn set_servers(&mut self, servers: Arc<Servers>, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.chat_servers.set_servers(servers, now.ticks);
        self.quotas.set_connectors(self.chat_servers.connectors());
        self.reroute_rooms(now, &mut effects);
        effects
    }

    /// Sends heartbeats to all chat servers. The caller does this at the heartbeat interval while
    /// there is a connection to the bus.
    // Their answers show which servers live. Since all messages are numbered, they also reveal
    // messages that were lost in rooms where nothing else happens.
    pub fn send_heartbeats(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.chat_servers.begin_heartbeat_round() {
            self.on_servers_down(now, &mut effects);
        }
        self.heartbeats.clear();
        let mut chats: Vec<ServerId> = self.chat_servers.chats().cloned().collect();
        chats.extend(self.chat_servers.next_retired());
        for chat in chats {
            self.heartbeat_number = (self.heartbeat_number + 1) % TOKENS_PER_ROOM;
            self.heartbeats.insert(self.heartbeat_number, chat.clone());
            let known = self.chat_servers.known(&chat, now.ticks);
            let to = (chat, Some(self.heartbeat_number));
            effects.push(self.request_writer.write(&self.common, to, known, RpcRequest::Heartbeat));
        }
        effects
    }

    /// Returns the liveness of chat servers for gates; as many as one message holds.
    pub fn reports(&self) -> Vec<ChatReport> {
        self.chat_servers.reports(self.common.size_limits.reports())
    }

    /// Returns true if any chat server has sent a message.
    pub fn has_received_from_chat(&self) -> bool {
        self.chat_servers.has_received_any()
    }

    /// Attaches all rooms again, because a message of a chat server was lost.
    // Not only the rooms that are routed to it: the lost message may have been about any room,
    // since that server may have taken over rooms whose homes live and to which this connector
    // routes them.
    pub(super) fn reattach_all(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.in_known_room(&room, now, effects, Room::reattach);
        }
    }
}
