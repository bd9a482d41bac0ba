//! The regular work of servers: ticks, heartbeats, counts of silence.

use super::{Node, World};

impl World {
    pub(super) fn tick(&mut self) {
        for connector in 0..self.connectors.len() {
            if self.connectors[connector].is_dead {
                continue;
            }
            let now = self.hub_now();
            let effects = self.connectors[connector].hub.tick(now);
            self.connector_effects(connector, effects);
            self.close_if_duplicate(connector);
            self.advance_drain(connector);
        }
        for chat in 0..self.chats.len() {
            if self.chats[chat].is_dead || self.chats[chat].sleeps_until > self.now {
                continue;
            }
            self.look_at_log(chat);
            let now = self.chat_now(chat);
            let effects = self.chats[chat].rooms.tick(now);
            self.chat_effects(chat, effects);
            self.end_if_left(chat);
        }
    }

    pub(super) fn heartbeat(&mut self) {
        for connector in 0..self.connectors.len() {
            if self.connectors[connector].up && !self.connectors[connector].is_dead {
                let now = self.hub_now();
                let effects = self.connectors[connector].hub.send_heartbeats(now);
                self.connector_effects(connector, effects);
            }
        }
    }

    pub(super) fn listen(&mut self) {
        for chat in 0..self.chats.len() {
            let node = &self.chats[chat];
            // A message to itself comes back.
            let hears = !self.is_blocked(Node::Chat(chat), Node::Chat(chat));
            if hears && node.up && !node.is_dead && node.sleeps_until <= self.now {
                let now = self.chat_now(chat);
                let effects = self.chats[chat].rooms.count_silence(now);
                self.chat_effects(chat, effects);
            }
        }
    }
}
