//! Responses of chat servers. Each is recognised by the token of its request, so a copy of one, or
//! one to a former run, has no effect.

use model::ids::{Incarnation, RoomId, ServerId};
use model::placement::CHAT;
use model::record::Epoch;
use model::rpc::messages::{ActOutcome, FromChat, RpcResponse, is_plausible_number};
use model::rpc::{self, RpcError};

use super::{AGAIN_MS, Proposer};
use crate::effects::{Effect, Outcome};
use crate::event::Event;
use crate::room_queue::InFlight;
use crate::tokens::Request;

impl Proposer {
    /// Takes a message on the subject of this token.
    ///
    /// # Errors
    /// If the bytes are no message of a chat server; nothing has changed then.
    pub fn receive(&mut self, token: u64, body: &[u8], now: u64) -> Result<Vec<Effect>, RpcError> {
        let FromChat { chat, response, .. } = rpc::decode(body)?;
        if self.chat_servers.senders().note_message(&chat, now) != Some(CHAT) {
            self.effects.push(Effect::Report(Event::SenderRefused { sender: chat }));
            let is_due = self.chat_servers.senders().begin_recheck(now);
            self.effects.extend(is_due.then_some(Effect::RequestRecheck));
            return Ok(self.take_effects());
        }
        match self.tokens.get(token).cloned() {
            Some(Request::Probe(probed)) if probed == chat => match response {
                RpcResponse::Alive => self.on_probed(token, &chat, false, now),
                RpcResponse::Leaving => self.on_probed(token, &chat, true, now),
                _ => {}
            },
            Some(Request::Acts(room)) => self.on_acts_answered(&room, (token, &chat), response, now),
            Some(Request::Read(number)) => self.on_read_answered(number, (token, &chat), response, now),
            Some(Request::Probe(_)) | None => {}
        }
        Ok(self.take_effects())
    }

    fn on_acts_answered(&mut self, room: &RoomId, (token, chat): (u64, &ServerId), response: RpcResponse, now: u64) {
        match response {
            RpcResponse::Acted { room: of, number, epoch, outcomes } if of == *room => {
                self.on_acted(room, (number, epoch, outcomes), now);
            }
            RpcResponse::ActStale { room: of, incarnation, number } if of == *room => {
                self.on_stale(room, chat, (incarnation, number), now);
            }
            RpcResponse::NotOwner { .. } | RpcResponse::Unavailable { .. } | RpcResponse::Busy { .. } => {
                self.repeat_soon(token, now);
            }
            _ => {}
        }
    }

    fn on_acted(&mut self, room: &RoomId, (number, epoch, outcomes): (u64, Epoch, Vec<ActOutcome>), now: u64) {
        let Some(queue) = self.rooms.get_mut(room) else { return };
        let is_it = |message: &InFlight| message.number == number && message.acts.len() == outcomes.len();
        if !queue.in_flight.as_ref().is_some_and(is_it) {
            return;
        }
        let Some(message) = queue.in_flight.take() else { return };
        self.tokens.end(message.token);
        for (act, outcome) in message.acts.into_iter().zip(outcomes) {
            let outcome = match outcome {
                ActOutcome::Done { seq, time } => Outcome::Done { seq, time, epoch },
                ActOutcome::Refused(refusal) => Outcome::Refused(refusal),
            };
            if let Some(ticket) = act.ticket {
                self.resolve(ticket, outcome);
            }
        }
        self.send_next(room, now);
    }

    /// Takes note that a room knows a later message of this api server than the one in flight, which
    /// has no effect. Its acts go out in one above that.
    // They may have been decided in the former message: their ids make them the same then.
    fn on_stale(&mut self, room: &RoomId, chat: &ServerId, (incarnation, number): (Incarnation, u64), now: u64) {
        let Some(queue) = self.rooms.get_mut(room) else { return };
        let mine = self.lineage.present();
        let is_above = |message: &InFlight| (incarnation, number) > (message.run, message.number);
        if !queue.in_flight.as_ref().is_some_and(is_above) {
            return;
        }
        let is_plausible = incarnation.is_plausible(mine) && is_plausible_number(number, self.number);
        if !is_plausible {
            let chat = chat.clone();
            self.effects.push(Effect::Report(Event::ImplausibleIgnored { chat, incarnation, number }));
            return;
        }
        queue.take_back().into_iter().for_each(|token| self.tokens.end(token));
        if incarnation > mine {
            // Another process had this id, or has it.
            self.lineage.continue_above(incarnation);
            let (chat, before) = (chat.clone(), mine);
            self.effects.push(Effect::Report(Event::ContinuedAbove { chat, before, known: incarnation }));
        } else if incarnation == mine {
            self.number = self.number.max(number);
        }
        self.send_next(room, now);
    }

    fn on_read_answered(&mut self, number: u64, (token, chat): (u64, &ServerId), response: RpcResponse, now: u64) {
        let outcome = match response {
            RpcResponse::Looked { number: of, upto, found, .. } if of == number => {
                Outcome::Looked { owner: chat.clone(), upto, found }
            }
            RpcResponse::Rooms { number: of, page: Some(page) } if of == number => Outcome::Rooms(page),
            RpcResponse::NotOwner { .. }
            | RpcResponse::Unavailable { .. }
            | RpcResponse::Busy { .. }
            | RpcResponse::Rooms { page: None, .. } => return self.repeat_soon(token, now),
            _ => return,
        };
        if let Some(read) = self.reads.waiting.remove(&number) {
            self.tokens.end(read.token);
            self.resolve(read.ticket, outcome);
        }
    }

    /// Makes a request due that has a response without an outcome.
    pub(super) fn repeat_soon(&mut self, token: u64, now: u64) {
        let at = now + AGAIN_MS;
        match self.tokens.get(token) {
            Some(Request::Acts(room)) => {
                let message = self.rooms.get_mut(room).and_then(|queue| queue.in_flight.as_mut());
                message.into_iter().for_each(|message| message.repeat_at = message.repeat_at.min(at));
            }
            Some(Request::Read(number)) => {
                let read = self.reads.waiting.get_mut(number);
                read.into_iter().for_each(|read| read.repeat_at = read.repeat_at.min(at));
            }
            Some(Request::Probe(_)) | None => {}
        }
    }
}
