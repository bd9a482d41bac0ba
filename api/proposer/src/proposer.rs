//! All acts and reads of an api server, and the chat servers that it sends them to.

mod liveness;
mod responses;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::act::IdentifiedAct;
use model::ids::{Incarnation, RoomId, ServerId};
use model::lineage::Lineage;
use model::record::Refusal;
use model::rpc;
use model::rpc::messages::{FromConnector, LookAbout, RoomQuery, RpcRequest};
use model::servers::Servers;
use model::size_limits::SizeLimits;

use crate::chat_servers::ChatServers;
use crate::effects::{Effect, Outcome, Ticket, Times};
use crate::event::Event;
use crate::reads::{Read, Reads};
use crate::room_queue::{InFlight, PendingAct, RoomQueue};
use crate::tokens::{Request, Tokens};

/// Most acts for the rooms of one chat server that have no outcome; further ones are refused as busy.
// By chat server and not in all: one that is away must not take the places of the others.
pub const MAX_ACTS_PER_CHAT: usize = 1_024;

/// Most looks and lists without a response; further ones are refused as busy.
pub const MAX_READS: usize = 1_024;

/// Milliseconds after which a request is repeated to which a chat server responded that it does not
/// own the room, or takes nothing now.
// Sooner than one without a response, which may be under way.
const AGAIN_MS: u64 = 100;

/// The acts and reads of an api server.
#[derive(Debug)]
pub struct Proposer {
    me: ServerId,
    lineage: Lineage,
    times: Times,
    size_limits: SizeLimits,
    chat_servers: ChatServers,
    tokens: Tokens,
    /// Number of the last message of acts. One for all rooms: a room that is forgotten needs none of
    /// its own.
    number: u64,
    // Ordered: effects must depend on the inputs only. None is empty.
    rooms: BTreeMap<RoomId, RoomQueue>,
    /// Acts without an outcome, by the chat servers of their rooms.
    loads: BTreeMap<ServerId, usize>,
    reads: Reads,
    effects: Vec<Effect>,
}

impl Proposer {
    /// A proposer without inputs.
    pub fn new(me: ServerId, run: Incarnation, servers: Arc<Servers>, times: Times, size_limits: SizeLimits) -> Self {
        Self {
            lineage: Lineage::new(run),
            chat_servers: ChatServers::new(servers, times.lease_ms),
            tokens: Tokens::new(&me, run),
            me,
            times,
            size_limits,
            number: 0,
            rooms: BTreeMap::new(),
            loads: BTreeMap::new(),
            reads: Reads::default(),
            effects: Vec::new(),
        }
    }

    /// Replaces the size limits. Messages in flight stay as they are.
    pub fn set_size_limits(&mut self, size_limits: SizeLimits) {
        self.size_limits = size_limits;
    }

    /// Returns the chat servers.
    pub fn chat_servers(&self) -> &ChatServers {
        &self.chat_servers
    }

    /// Returns this process's present incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.lineage.present()
    }

    /// Returns the number of tickets, or of acts that were given up, without an outcome.
    pub fn waiting(&self) -> usize {
        self.reads.waiting.len() + self.rooms.values().map(RoomQueue::len).sum::<usize>()
    }

    /// Proposes an act. Those for one room are decided in the order of these calls.
    pub fn act(&mut self, room: RoomId, act: IdentifiedAct, ticket: Ticket, now: u64) -> Vec<Effect> {
        // Here as well as at the owner: an act that no record can hold would wait for its
        // deadline there.
        if !act.act.is_within_limits() || act.act.size() > self.size_limits.record() {
            self.resolve(ticket, Outcome::Refused(Refusal::TooLong));
        } else if !self.has_place(&room) {
            self.resolve(ticket, Outcome::Busy);
        } else {
            let deadline = now + self.times.request_ms;
            let pending = PendingAct { act, ticket: Some(ticket), deadline };
            self.rooms.entry(room.clone()).or_default().waiting.push_back(pending);
            self.send_next(&room, now);
        }
        self.take_effects()
    }

    /// Returns true if the chat server of a room may get another act.
    fn has_place(&self, room: &RoomId) -> bool {
        let chat = self.chat_servers.server_for(room);
        chat.is_some_and(|chat| self.loads.get(chat).is_none_or(|load| *load < MAX_ACTS_PER_CHAT))
    }

    /// Counts the acts of a room anew, and forgets a room without any.
    fn count(&mut self, room: &RoomId) {
        let Some(queue) = self.rooms.get_mut(room) else { return };
        let now = (self.chat_servers.server_for(room).cloned(), queue.len());
        let is_empty = queue.is_empty();
        if let (Some(chat), count) = std::mem::replace(&mut queue.counted, now.clone()) {
            let load = self.loads.entry(chat.clone()).or_default();
            *load = load.saturating_sub(count);
            if *load == 0 {
                self.loads.remove(&chat);
            }
        }
        if let (Some(chat), count @ 1..) = now {
            *self.loads.entry(chat).or_default() += count;
        }
        if is_empty {
            self.rooms.remove(room);
        }
    }

    /// Reads a part of a room.
    pub fn look(&mut self, room: RoomId, about: LookAbout, ticket: Ticket, now: u64) -> Vec<Effect> {
        let request = |number| RpcRequest::Look { room: room.clone(), number, about };
        self.read(Some(room.clone()), request, ticket, now);
        self.take_effects()
    }

    /// Lists rooms.
    pub fn list_rooms(&mut self, query: RoomQuery, ticket: Ticket, now: u64) -> Vec<Effect> {
        self.read(None, |number| RpcRequest::Rooms { number, query }, ticket, now);
        self.take_effects()
    }

    fn read(&mut self, room: Option<RoomId>, request: impl FnOnce(u64) -> RpcRequest, ticket: Ticket, now: u64) {
        if self.reads.waiting.len() >= MAX_READS {
            return self.resolve(ticket, Outcome::Busy);
        }
        let number = self.reads.next_number();
        let Some(body) = self.encode(request(number)) else { return self.resolve(ticket, Outcome::Unknown) };
        let token = self.tokens.add(Request::Read(number));
        let (deadline, repeat_at) = (now + self.times.request_ms, now);
        let read = Read { token, ticket, room, body, deadline, repeat_at, chat: None, attempts: 0 };
        self.reads.waiting.insert(number, read);
        self.send_read(number, now);
    }

    /// Does what is due at this time. Must be called some times a second.
    pub fn tick(&mut self, now: u64) -> Vec<Effect> {
        for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.expire(&room, now);
            self.repeat_if(&room, now, |message, _| message.repeat_at <= now);
            self.send_next(&room, now);
        }
        for read in self.reads.expire(now) {
            self.tokens.end(read.token);
            self.give_up(read.ticket);
        }
        for number in self.reads.due(|read| read.repeat_at <= now) {
            self.send_read(number, now);
        }
        self.take_effects()
    }

    fn expire(&mut self, room: &RoomId, now: u64) {
        let Some(queue) = self.rooms.get_mut(room) else { return };
        let expired = queue.expire(now);
        expired.token.into_iter().for_each(|token| self.tokens.end(token));
        for ticket in expired.tickets {
            self.give_up(ticket);
        }
    }

    fn give_up(&mut self, ticket: Ticket) {
        // Unknown, not refused: the message may be under way, or in the log with its
        // response lost.
        self.effects.push(Effect::Report(Event::TicketExpired));
        self.resolve(ticket, Outcome::Unknown);
    }

    /// Sends the next message of a room, if none is in flight and acts wait. The last step of each
    /// change of a room's queue.
    fn send_next(&mut self, room: &RoomId, now: u64) {
        self.begin_next(room, now);
        self.count(room);
    }

    fn begin_next(&mut self, room: &RoomId, now: u64) {
        let Some(queue) = self.rooms.get_mut(room).filter(|queue| queue.in_flight.is_none()) else { return };
        let acts = queue.next_batch(self.size_limits);
        if acts.is_empty() {
            return;
        }
        self.number += 1;
        let (token, number) = (self.tokens.add(Request::Acts(room.clone())), self.number);
        let run = self.lineage.present();
        let message = InFlight { token, run, number, acts, chat: None, repeat_at: now };
        if let Some(queue) = self.rooms.get_mut(room) {
            queue.in_flight = Some(message);
        }
        self.repeat_if(room, now, |_, _| true);
    }

    /// Sends the message in flight of a room to the room's chat server, if that is due.
    fn repeat_if(&mut self, room: &RoomId, now: u64, is_due: impl Fn(&InFlight, Option<&ServerId>) -> bool) {
        let chat = self.chat_servers.server_for(room).cloned();
        let Some(message) = self.rooms.get_mut(room).and_then(|queue| queue.in_flight.as_mut()) else { return };
        if !is_due(message, chat.as_ref()) {
            return;
        }
        // Unchanged, also to another server: the log knows the message by its run and
        // number.
        message.repeat_at = now + self.times.repeat_ms;
        message.chat.clone_from(&chat);
        let Some(chat) = chat else { return };
        let (token, run) = (message.token, message.run);
        let acts = message.acts.iter().map(|pending| pending.act.clone()).collect();
        let request = RpcRequest::Act { room: room.clone(), number: message.number, acts };
        let body = encode(FromConnector::uncounted(self.me.clone(), run, request), &mut self.effects);
        let room = Some(room.clone());
        self.effects.extend(body.map(|body| Effect::Send { chat, token, method: "act", room, body }));
    }

    fn send_read(&mut self, number: u64, now: u64) {
        let Some(read) = self.reads.waiting.get_mut(&number) else { return };
        read.repeat_at = now + self.times.repeat_ms;
        let chat = match &read.room {
            Some(room) => self.chat_servers.server_for(room),
            None => self.chat_servers.any(read.attempts),
        };
        // A list of rooms is asked of another server each time: any of them can answer.
        read.attempts += 1;
        read.chat = chat.cloned();
        let Some(chat) = read.chat.clone() else { return };
        let (token, room, body) = (read.token, read.room.clone(), read.body.clone());
        let method = if room.is_some() { "look" } else { "rooms" };
        self.effects.push(Effect::Send { chat, token, method, room, body });
    }

    fn encode(&mut self, request: RpcRequest) -> Option<Bytes> {
        encode(FromConnector::uncounted(self.me.clone(), self.lineage.present(), request), &mut self.effects)
    }

    fn resolve(&mut self, ticket: Ticket, outcome: Outcome) {
        self.effects.push(Effect::Resolve { ticket, outcome });
    }

    fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}

fn encode(message: FromConnector, effects: &mut Vec<Effect>) -> Option<Bytes> {
    let error = match rpc::encode(&message) {
        Ok(body) => return Some(body),
        Err(error) => error.to_string(),
    };
    effects.push(Effect::Report(Event::RequestUnwritable { error }));
    None
}

#[cfg(test)]
mod tests;
