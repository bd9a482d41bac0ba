//! The circumstances of an input to a room, and the effects that it has.

use std::sync::Arc;

use model::ids::RoomId;
use model::rpc::messages::{LogShortage, RpcRequest};

use super::proposer::PendingRequest;
use super::{Common, Push, RoomResponse};
use crate::connector_state::attach_rate_limit::AttachRateLimit;
use crate::connector_state::quotas::{QuotaRefusal, Quotas};
use crate::connector_state::request_writer::{OwnerLink, TOKENS_PER_ROOM};
use crate::connector_state::sessions::{ConcludedEnter, Sessions};
use crate::connector_state::{ClientResponse, Effect};
use crate::event::Event;

/// The circumstances of an input, and the effects that it has.
pub struct Context<'a> {
    /// The room.
    pub(crate) room: &'a RoomId,
    /// Settings and shared state of all rooms.
    pub(crate) common: &'a Common,
    /// Milliseconds that never fall.
    pub(crate) now: u64,
    /// Random bits for this room alone; they spread actions that many rooms would take at once.
    pub(crate) chance: u64,
    /// The last number given to a proposal or a history request of this connector.
    pub(crate) last_number: &'a mut u64,
    /// A batch is open: new proposals wait, because more items are about to come.
    pub(crate) is_batching: bool,
    /// The rate limit of attaches, shared by all rooms.
    pub(crate) attach_limit: &'a mut AttachRateLimit,
    /// The way to the room's chat server.
    pub(crate) owner: OwnerLink<'a>,
    /// The sessions of the connector.
    pub(crate) sessions: &'a mut Sessions,
    /// The quotas of clients.
    pub(crate) quotas: &'a mut Quotas,
    /// The shortage of space in the room's part of the log.
    pub(crate) log_shortage: Option<LogShortage>,
    /// Requests to enter that got their responses by this input.
    pub(crate) concluded: Vec<ConcludedEnter>,
    /// Effects, in order.
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    /// Sends a request to the room's chat server.
    pub(super) fn request(&mut self, request: RpcRequest) {
        let OwnerLink { chat, serial, last_token, writer } = &mut self.owner;
        **last_token = (**last_token + 1) % TOKENS_PER_ROOM;
        let is_answered = !matches!(request, RpcRequest::Detach { .. });
        let token = is_answered.then_some(*serial * TOKENS_PER_ROOM + **last_token);
        self.effects.push(writer.write(self.common, (chat.clone(), token), None, request));
    }

    /// Responds to a client's request, if there is one: a notify gets no response, but counts as a
    /// request until then. The response to an `enter` concludes it.
    pub(super) fn respond(&mut self, pending: impl Into<Option<PendingRequest>>, response: RoomResponse) {
        let Some(PendingRequest { session, id, entering, .. }) = pending.into() else { return };
        if entering.is_some() {
            let has_entered = matches!(response, RoomResponse::Entered(_));
            if let Some(concluded) = self.sessions.conclude_enter(session, self.room, has_entered) {
                // Before the response: a client that reads it may at once send requests that only
                // members may send.
                self.effects.extend(has_entered.then_some(Effect::Entered(session)));
                self.concluded.push(concluded);
            }
        }
        self.sessions.end_request(session);
        let response = ClientResponse::Room(self.room.clone(), response);
        self.effects.extend(id.map(|id| Effect::Respond { session, id, response }));
    }

    /// Takes the bytes of a message from the quota of its client, if the log is nearly full.
    pub(super) fn take_message(&mut self, session: u64, body: usize) -> Result<(), QuotaRefusal> {
        let taken = match self.log_shortage {
            None => return Ok(()),
            Some(LogShortage::Reserve) => Err(QuotaRefusal::LogReserve),
            Some(LogShortage::Pressure) => self.quotas.take_message(self.sessions.origin(session), body, self.now),
        };
        taken.inspect_err(|limit| self.report(Event::QuotaRefused { limit: *limit }))
    }

    /// Gives the advance for this room back to a session that was in it by its token.
    pub(super) fn give_advance_back(&mut self, session: u64) {
        if self.sessions.take_advance(session) {
            self.quotas.give_room_back(self.sessions.origin(session));
        }
    }

    /// Pushes to sessions of the room.
    pub(super) fn push(&mut self, to: Arc<[u64]>, push: Push) {
        if !to.is_empty() {
            self.effects.push(Effect::Push { room: self.room.clone(), to, push });
        }
    }

    /// Reports an occurrence.
    pub(super) fn report(&mut self, event: Event) {
        self.effects.push(Effect::Report(event));
    }
}
