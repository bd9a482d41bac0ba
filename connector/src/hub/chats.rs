//! The chat servers as a connector watches them: heartbeats, verdicts, and whom to ask about each room.

use std::sync::Arc;

use shared::config::Servers;
use shared::ids::{Incarnation, RoomId, ServerId};
use shared::rpc::messages::RpcRequest;
use shared::rpc::report::ChatReport;
use tracing::{info, warn};

use super::{Effect, Hub, Now, TOKENS_PER_ROOM};
use crate::room::Room;

impl Hub {
    /// Nobody listens where the question with this token went.
    pub fn no_responders(&mut self, token: u64, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(chat) = self.heartbeats.get(&token).cloned() {
            if self.owners.is_deaf(&chat) {
                self.has_fallen(now, &mut effects);
            }
        } else if let Some(room) = self.by_serial.get(&(token / TOKENS_PER_ROOM)).cloned() {
            self.in_known_room(&room, now, &mut effects, Room::not_owner);
        }
        effects
    }

    pub(super) fn has_fallen(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let down: Vec<&ServerId> = self.owners.chats().filter(|chat| self.owners.is_down(chat)).collect();
        warn!(?down, "chat servers do not answer; their rooms are asked for at others");
        self.ask_elsewhere(now, effects);
    }

    /// A run of a chat server was heard; `stays` if it says that it does not leave.
    pub(super) fn is_there(
        &mut self,
        (chat, run): (&ServerId, Incarnation),
        stays: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.owners.is_alive(chat, run, stays) {
            info!(%chat, "a chat server is back");
            self.ask_elsewhere(now, effects);
        }
    }

    /// Asks about each room whoever is to be asked now.
    pub(super) fn ask_elsewhere(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut moved = Vec::new();
        for (room, entry) in &mut self.rooms {
            if let Ok(chat) = self.owners.of(room)
                && chat != entry.chat
            {
                entry.chat = chat;
                moved.push(room.clone());
            }
        }
        self.common.metrics.rooms_moved.add_many(moved.len() as u64);
        for room in moved {
            self.in_known_room(&room, now, effects, Room::moved);
        }
    }

    pub(super) fn is_asked(&self, chat: &ServerId, room: &RoomId) -> bool {
        self.rooms.get(room).is_some_and(|entry| entry.chat == *chat)
    }

    /// What was on its way may be lost: the connection to the bus was made anew.
    pub fn reconnected(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.owners.was_deaf();
        self.attach_all(now, &mut effects);
        effects
    }

    /// There are other servers from now on: rooms that moved are asked for at their new homes.
    pub fn set_servers(&mut self, servers: Arc<Servers>, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.owners.set_servers(servers, now.ticks);
        self.ask_elsewhere(now, &mut effects);
        effects
    }

    /// To be called at the interval of heartbeats while there is a connection to the bus: their answers tell who lives, and
    /// what was lost in silent rooms.
    pub fn heartbeat(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.owners.beat() {
            self.has_fallen(now, &mut effects);
        }
        self.heartbeats.clear();
        let mut chats: Vec<ServerId> = self.owners.chats().cloned().collect();
        chats.extend(self.owners.farewells());
        for chat in chats {
            self.heartbeat_number = (self.heartbeat_number + 1) % TOKENS_PER_ROOM;
            self.heartbeats.insert(self.heartbeat_number, chat.clone());
            let known = self.owners.known(&chat, now.ticks);
            effects.extend(self.ask_effect(chat, Some(self.heartbeat_number), known, &RpcRequest::Heartbeat));
        }
        effects
    }

    /// Chat servers as heartbeats find them, for gates; as many as one message holds.
    pub fn reports(&self) -> Vec<ChatReport> {
        self.owners.reports(self.common.size_limits.reports())
    }

    /// Returns true if a chat server was heard.
    pub fn has_heard_chats(&self) -> bool {
        self.owners.has_heard_any()
    }

    /// Reads every room from where it is, because a message of a chat server was lost. It may have been about any room: that server
    /// may have taken over rooms whose homes live, and which this connector asks the homes about.
    pub(super) fn attach_all(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.in_known_room(&room, now, effects, Room::attach_again);
        }
    }
}
