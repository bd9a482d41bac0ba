//! Requests of clients, and the rooms that they are for.

use bytes::Bytes;
use model::act::Rights;
use model::identity::{LoginRefusal, User};
use model::ids::{Name, RoomId, ServerId};
use model::membership::Token;
use model::permissions::Action;
use model::record::Refusal;

use super::quotas::QuotaRefusal;
use super::sessions::{ConcludedEnter, Session, SessionRoom};
use super::{ClientRequest, ClientResponse, ConnectorState, Effect, Now, RoomSlot, respond};
use crate::event::Event;
use crate::request_body::{BodyError, EnterRequest, HistoryRequest, MembersRequest, ModerateRequest};
use crate::room::RoomResponse;
use crate::room::proposer::{Entering, PendingRequest};
use crate::route::ClientRoute;

/// A request that reads from a room and changes nothing.
#[derive(Debug)]
pub(super) enum RoomQuery {
    History(HistoryRequest),
    Members(MembersRequest),
}

impl ConnectorState {
    /// Handles a request of a client, or a notify if `id` is `None`.
    pub fn handle_request(&mut self, session: u64, id: Option<u32>, request: ClientRequest, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(known) = self.sessions.get_mut(session) else {
            debug_assert!(false, "session {session} sends a request and is not open");
            return effects;
        };
        // Before the limit of requests in flight: a read without a response has no effect and must
        // cost nothing.
        if id.is_none() && request.route.is_read_only() {
            return effects;
        }
        if known.in_flight >= self.max_in_flight {
            respond(&mut effects, session, id, ClientResponse::TooManyRequests);
            return effects;
        }
        // A notify counts as well: it waits in the same queues as a request.
        known.in_flight += 1;
        let pending = PendingRequest { session, id, deadline: now.ticks + self.request_ms, entering: None };
        let ClientRequest { route, body, login } = request;
        let bad_body = |error| ClientResponse::BadBody { error, enter: false };
        let done = match route {
            ClientRoute::Enter => self.enter((&body, login), pending, now, &mut effects),
            ClientRoute::Send => self.send(body, pending, now, &mut effects),
            ClientRoute::History => HistoryRequest::parse(&body)
                .map_err(bad_body)
                .and_then(|history| self.read(RoomQuery::History(history), pending, now, &mut effects)),
            ClientRoute::Members => MembersRequest::parse(&body)
                .map_err(bad_body)
                .and_then(|members| self.read(RoomQuery::Members(members), pending, now, &mut effects)),
            ClientRoute::Refresh => self.refresh(login, pending, now, &mut effects),
            ClientRoute::Mute | ClientRoute::Unmute | ClientRoute::Ban | ClientRoute::Unban | ClientRoute::Expel => {
                match ModerateRequest::parse(route, &body) {
                    Some(request) => {
                        request.map_err(bad_body).and_then(|request| self.moderate(request, pending, now, &mut effects))
                    }
                    None => Err(bad_body(BodyError::NotAnObject)),
                }
            }
            ClientRoute::Leave => self.leave(pending, now, &mut effects),
        };
        if let Err(response) = done {
            self.complete_request(session, id, response, &mut effects);
        }
        effects
    }

    fn enter(
        &mut self,
        (body, login): (&[u8], Option<Result<User, LoginRefusal>>),
        pending: PendingRequest,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ClientResponse> {
        self.accept_login(pending.session, login, effects)?;
        let own_name = self.check_login(pending.session, now)?;
        let bad_body = |error| ClientResponse::BadBody { error, enter: true };
        let enter = EnterRequest::parse(body, &self.names, own_name.as_ref()).map_err(bad_body)?;
        if !self.may_be_called(pending.session, &enter.name) {
            return Err(bad_body(BodyError::ForeignPrefix));
        }
        let EnterRequest { name, room, token, since, resumes } = enter;
        // Here and not at the owner, which never sees the token. From the join on, the log
        // has them.
        let rights = self.rights(pending.session, &room);
        if !rights.allow(Action::Enter) {
            return Err(ClientResponse::MayNotEnter);
        }
        let profile = self.sessions.get(pending.session).and_then(|session| session.profile(rights));
        let uid = self.sessions.get(pending.session).and_then(Session::uid);
        let (is_resuming, token) = (token.is_some(), token.unwrap_or(Token::new(now.chance)).of_user(uid));
        let entering = Entering { token, is_resuming, since, resumes };
        let token = is_resuming.then_some(token);
        let chat = self.chat_servers.server_for(&room).map_err(|_| ClientResponse::NoChatServer)?;
        let session = self.sessions.get(pending.session).ok_or(ClientResponse::NotInRoom)?;
        let from = match &session.room {
            SessionRoom::Entering { .. } => return Err(ClientResponse::EnterPending),
            SessionRoom::None => None,
            SessionRoom::In(from) => Some(from.clone()),
        };
        let has_advance =
            self.take_quotas((&room, &chat), &name, token, (pending.session, now.ticks)).map_err(|limit| {
                effects.push(Effect::Report(Event::QuotaRefused { limit }));
                ClientResponse::EnterRefused(limit)
            })?;
        let session = self.sessions.get_mut(pending.session).ok_or(ClientResponse::NotInRoom)?;
        session.has_advance = has_advance;
        session.room = SessionRoom::Entering { room: room.clone(), from, queries: Vec::new() };
        self.in_room(&room, now, effects, |room, cx| room.enter((name, profile), entering, pending, cx));
        Ok(())
    }

    /// Returns the rights of a session's client in a room.
    pub(super) fn rights(&self, session: u64, room: &RoomId) -> Rights {
        let grants = self.sessions.get(session).and_then(Session::grants);
        self.permissions.rights(room, grants)
    }

    /// Takes what entering a room costs of the client's quotas. Returns true if it took an advance,
    /// because the client may be in the room by its token.
    // Before the room is followed: an attach of a new room alone makes its owner append.
    fn take_quotas(
        &mut self,
        (room, chat): (&RoomId, &ServerId),
        name: &Name,
        token: Option<Token>,
        (session, now): (u64, u64),
    ) -> Result<bool, QuotaRefusal> {
        let (address, origin) = (self.sessions.address(session), self.sessions.origin(session));
        let slot = self.rooms.get(room).map(|slot| &**slot);
        if let Some(address) = address
            && let Some(RoomSlot { room, .. }) = slot
            && room.members_of(address) >= self.members_per_address
            && !room.has_place_of((session, address), name, token)
        {
            return Err(QuotaRefusal::AddressMembers);
        }
        let is_new = slot.is_none();
        if self.chat_servers.log_shortage(slot.map_or(chat, |slot| &slot.chat), room).is_some() {
            self.quotas.take_enter(origin, now)?;
        }
        if is_new {
            self.quotas.take_room(origin, token.is_some(), now)?;
        }
        Ok(is_new && token.is_some())
    }

    /// Returns the room of what a session's client sends now.
    pub(super) fn room_of_messages(&self, session: u64) -> Result<RoomId, ClientResponse> {
        let room = self.sessions.get(session).and_then(|session| session.room.of_messages());
        room.cloned().ok_or(ClientResponse::NotInRoom)
    }

    fn moderate(
        &mut self,
        ModerateRequest { room: named, target, deed }: ModerateRequest,
        pending: PendingRequest,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ClientResponse> {
        let room = self.room_of_messages(pending.session)?;
        // As with messages: clients may name the room, and must not name another one.
        if named.is_some_and(|named| named != room.as_str()) {
            let refused = RoomResponse::Refused { refusal: Refusal::WrongRoom, enter: false };
            return Err(ClientResponse::Room(room, refused));
        }
        self.in_room(&room, now, effects, |room, cx| room.moderate((target, deed), pending, cx));
        Ok(())
    }

    fn send(
        &mut self,
        body: Bytes,
        pending: PendingRequest,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ClientResponse> {
        let room = self.room_of_messages(pending.session)?;
        self.in_room(&room, now, effects, |room, cx| room.send(body, pending, cx));
        Ok(())
    }

    /// Answers a query of the session's room; behind a pending `enter`, once that is decided.
    fn read(
        &mut self,
        query: RoomQuery,
        pending: PendingRequest,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ClientResponse> {
        let session = self.sessions.get_mut(pending.session).ok_or(ClientResponse::NotInRoom)?;
        let room = match &mut session.room {
            SessionRoom::None => return Err(ClientResponse::NotInRoom),
            SessionRoom::Entering { queries, .. } => {
                queries.push((pending, query));
                return Ok(());
            }
            SessionRoom::In(room) => room.clone(),
        };
        self.in_room(&room, now, effects, |room, cx| match query {
            RoomQuery::History(HistoryRequest { span, limit }) => room.request_history(span, limit, pending, cx),
            RoomQuery::Members(MembersRequest { after, limit }) => {
                room.request_members(after.as_ref(), limit.into(), pending, cx)
            }
        });
        Ok(())
    }

    /// Takes the sessions that entered a room out of their former ones, and answers the queries
    /// that waited.
    // Behind the effects of the room, so that clients are answered in the order of their requests.
    pub(super) fn after_enters(
        &mut self,
        room: &RoomId,
        mut concluded: Vec<ConcludedEnter>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        for ConcludedEnter { session, left, .. } in &mut concluded {
            // The former room is left only now: a refused `enter` must change nothing.
            if let Some(left) = left.take() {
                self.in_known_room(&left, now, effects, |room, cx| room.close(*session, cx));
            }
        }
        for concluded in concluded {
            self.answer_queries(concluded, room, now, effects);
        }
    }

    /// Answers the queries that waited for an `enter`, whether it succeeded or not. They concern
    /// the room of that `enter` only.
    fn answer_queries(&mut self, concluded: ConcludedEnter, room: &RoomId, now: Now, effects: &mut Vec<Effect>) {
        let ConcludedEnter { session: number, queries, .. } = concluded;
        let session = self.sessions.get(number);
        let is_in = session.is_some_and(|session| matches!(&session.room, SessionRoom::In(of) if of == room));
        for (pending, query) in queries {
            let id = pending.id;
            let done = if is_in { self.read(query, pending, now, effects) } else { Err(ClientResponse::NotInRoom) };
            if let Err(response) = done {
                self.complete_request(number, id, response, effects);
            }
        }
    }

    fn leave(&mut self, pending: PendingRequest, now: Now, effects: &mut Vec<Effect>) -> Result<(), ClientResponse> {
        let session = self.sessions.get_mut(pending.session).ok_or(ClientResponse::NotInRoom)?;
        let room = match &session.room {
            SessionRoom::None => return Err(ClientResponse::NotInRoom),
            SessionRoom::Entering { .. } => return Err(ClientResponse::EnterPending),
            SessionRoom::In(room) => room.clone(),
        };
        let (number, mut leaves) = (pending.session, false);
        self.in_room(&room, now, effects, |room, cx| leaves = room.leave(pending, cx));
        if let Some(session) = self.sessions.get_mut(number).filter(|_| leaves) {
            session.room = SessionRoom::None;
        }
        Ok(())
    }
}
