//! The chat servers as a connector watches them: heartbeats, verdicts, and whom to ask about each room.

use std::sync::Arc;

use model::ids::{Incarnation, RoomId, ServerId};
use model::rpc::messages::RpcRequest;
use model::rpc::report::ChatReport;
use runtime::config::Servers;
use tracing::{info, warn};

use super::{ConnectorState, Effect, Now, TOKENS_PER_ROOM};
use crate::room::Room;

impl ConnectorState {
    /// Nobody listens where the question with this token went.
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
        let down: Vec<&ServerId> = self.chat_servers.chats().filter(|chat| self.chat_servers.is_down(chat)).collect();
        warn!(?down, "chat servers do not answer; their rooms are asked for at others");
        self.reroute_rooms(now, effects);
    }

    /// A run of a chat server was heard; `is_staying` if it says that it does not leave.
    pub(super) fn note_chat_heard(
        &mut self,
        (chat, run): (&ServerId, Incarnation),
        is_staying: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.chat_servers.record_heard(chat, run, is_staying) {
            info!(%chat, "a chat server is back");
            self.reroute_rooms(now, effects);
        }
    }

    /// Asks about each room whoever is to be asked now.
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
        self.common.metrics.rooms_moved.add_many(moved.len() as u64);
        for room in moved {
            self.in_known_room(&room, now, effects, Room::on_rerouted);
        }
    }

    pub(super) fn is_routed_to(&self, chat: &ServerId, room: &RoomId) -> bool {
        self.rooms.get(room).is_some_and(|slot| slot.chat == *chat)
    }

    /// What was on its way may be lost: the connection to the bus was made anew.
    pub fn on_reconnected(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.chat_servers.reset_misses();
        self.reattach_all(now, &mut effects);
        effects
    }

    /// There are other servers from now on: rooms that moved are asked for at their new homes.
    pub fn set_servers(&mut self, servers: Arc<Servers>, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.chat_servers.set_servers(servers, now.ticks);
        self.reroute_rooms(now, &mut effects);
        effects
    }

    /// To be called at the interval of heartbeats while there is a connection to the bus: their answers tell who lives, and
    /// what was lost in silent rooms.
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
            effects.extend(self.request_effect(chat, Some(self.heartbeat_number), known, &RpcRequest::Heartbeat));
        }
        effects
    }

    /// Chat servers as heartbeats find them, for gates; as many as one message holds.
    pub fn reports(&self) -> Vec<ChatReport> {
        self.chat_servers.reports(self.common.size_limits.reports())
    }

    /// Returns true if a chat server was heard.
    pub fn has_received_from_chat(&self) -> bool {
        self.chat_servers.has_received_any()
    }

    /// Reads every room from where it is, because a message of a chat server was lost. It may have been about any room: that server
    /// may have taken over rooms whose homes live, and which this connector asks the homes about.
    pub(super) fn reattach_all(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.in_known_room(&room, now, effects, Room::reattach);
        }
    }
}
