//! Lists of rooms for api servers. They come from the log, so any chat server answers, whoever owns
//! the rooms.

use std::collections::BTreeMap;

use model::ids::RoomId;
use model::rpc::messages::{RoomPage, RoomQuery, RpcResponse};

use super::{Effect, Rooms};
use crate::room::Requester;

/// Most lists that are read at once; further requests are answered without a page.
// A list reads the names of all rooms.
const MAX_LISTS: usize = 4;

/// The lists that are being read: their requesters, and the numbers of the requests.
#[derive(Debug, Default)]
pub(super) struct RoomLists {
    waiting: BTreeMap<u64, (Requester, u64)>,
    last: u64,
}

impl RoomLists {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Rooms {
    /// Requests the list from the log.
    pub(super) fn list_rooms(&mut self, requester: Requester, number: u64, query: RoomQuery) {
        if self.lists.waiting.len() >= MAX_LISTS {
            return self.outgoing().respond(requester, &RpcResponse::Rooms { number, page: None });
        }
        self.lists.last += 1;
        let list = self.lists.last;
        self.lists.waiting.insert(list, (requester, number));
        self.effects.push(Effect::ListRooms { list, query });
    }

    /// Takes the result of [`Effect::ListRooms`]; `None` if the log cannot be read now.
    pub fn on_rooms_listed(&mut self, list: u64, page: Option<RoomPage>) -> Vec<Effect> {
        let Some((requester, number)) = self.lists.waiting.remove(&list) else {
            debug_assert!(false, "list {list} was not requested");
            return Vec::new();
        };
        let page = page.map(|page| self.fitting(page));
        self.outgoing().respond(requester, &RpcResponse::Rooms { number, page });
        self.take_effects()
    }

    /// Returns the first rooms of a page that fit into a response.
    fn fitting(&self, RoomPage { mut rooms, more }: RoomPage) -> RoomPage {
        const AROUND: usize = 8;
        let (count, mut bytes, most) = (rooms.len(), 0, self.policy.size_limits().page());
        let fits = |room: &&RoomId| {
            bytes += AROUND + room.as_str().len();
            bytes <= most
        };
        let fitting = rooms.iter().take_while(fits).count();
        rooms.truncate(fitting);
        RoomPage { rooms, more: more || fitting < count }
    }
}
