//! The chat servers as a connector sees them: which one answers for a room, and whether all that it said was heard.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::config::Servers;
use shared::dispatcher::{CHAT, NoServer, Router};
use shared::ids::{Incarnation, RoomId, ServerId};

/// Who answers for rooms.
#[derive(Debug)]
pub struct Owners {
    router: Router,
    servers: Arc<Servers>,
    heard: BTreeMap<ServerId, Heard>,
}

/// The last message heard of a chat server.
#[derive(Debug, Clone, Copy)]
struct Heard {
    incarnation: Incarnation,
    number: u64,
}

/// What a message's number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// It follows the last one, or is the first.
    Next,
    /// It was heard before, or came late: newer ones were heard.
    Old,
    /// Messages before it were lost, or are late.
    Gap,
    /// It is of a new run, which knows nothing of what the one before was told.
    NewRun,
    /// It is of an earlier run: not to be believed.
    OldRun,
}

impl Owners {
    /// Nothing heard of anybody.
    pub fn new(router: Router, servers: Arc<Servers>) -> Self {
        Self { router, servers, heard: BTreeMap::new() }
    }

    /// The chat server that owns a room.
    pub fn of(&self, room: &RoomId) -> Result<ServerId, NoServer> {
        self.router.route(CHAT, room.as_str(), &self.servers).map(|server| server.id.clone())
    }

    /// All chat servers.
    pub fn chats(&self) -> impl Iterator<Item = &ServerId> {
        self.servers.chat().iter().map(|server| &server.id)
    }

    /// Notes a message's number, and says what it means.
    pub fn hear(&mut self, chat: &ServerId, incarnation: Incarnation, number: u64) -> Hearing {
        let Some(heard) = self.heard.get_mut(chat) else {
            self.heard.insert(chat.clone(), Heard { incarnation, number });
            return Hearing::Next;
        };
        if incarnation < heard.incarnation {
            return Hearing::OldRun;
        }
        if incarnation > heard.incarnation {
            *heard = Heard { incarnation, number };
            return Hearing::NewRun;
        }
        if number <= heard.number {
            return Hearing::Old;
        }
        let next = heard.number + 1 == number;
        heard.number = number;
        if next { Hearing::Next } else { Hearing::Gap }
    }
}
