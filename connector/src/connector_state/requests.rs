//! What clients ask, and which room it is for.

use bytes::Bytes;
use shared::ids::RoomId;
use shared::membership::Token;

use super::{Effect, Hub, Now, Request, Told, tell};
use crate::request_body::{Enter, History, Members};
use crate::room::proposer::{Ask, Entering};

/// A request for what is in a room.
#[derive(Debug)]
pub(super) enum Read {
    History(History),
    Members(Members),
}

impl Hub {
    /// A client asks; `id` is none for a notify.
    pub fn request(&mut self, session: u64, id: Option<u32>, request: Request, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(known) = self.sessions.get_mut(&session) else { return effects };
        if id.is_none() && request.only_reads() {
            return effects;
        }
        if known.in_flight >= self.max_in_flight {
            tell(&mut effects, session, id, Told::TooMany);
            return effects;
        }
        // A notify counts, too: it waits in the same queues.
        known.in_flight += 1;
        let ask = Ask { session, id, deadline: now.ticks + self.request_ms, entering: None };
        let done = match request {
            Request::Enter(body) => self.enter(&body, ask, now, &mut effects),
            Request::Send(body) => self.send(&body, ask, now, &mut effects),
            Request::History(body) => match History::read(&body) {
                Ok(history) => self.read(Read::History(history), ask, now, &mut effects),
                Err(error) => Err(Told::Bad { error, enter: false }),
            },
            Request::Members(body) => match Members::read(&body) {
                Ok(members) => self.read(Read::Members(members), ask, now, &mut effects),
                Err(error) => Err(Told::Bad { error, enter: false }),
            },
            Request::Leave => self.leave(ask, now, &mut effects),
        };
        if let Err(told) = done {
            self.finish(session, id, told, &mut effects);
        }
        effects
    }

    fn enter(&mut self, body: &[u8], ask: Ask, now: Now, effects: &mut Vec<Effect>) -> Result<(), Told> {
        let enter = Enter::read(body).map_err(|error| Told::Bad { error, enter: true })?;
        let Enter { name, room, token, since, resumes } = enter;
        let entering =
            Entering { token: token.unwrap_or(Token::new(now.chance)), comes_back: token.is_some(), since, resumes };
        let ask = Ask { entering: Some(entering), ..ask };
        self.owners.of(&room).map_err(|_| Told::NoServer)?;
        let Some(session) = self.sessions.get_mut(&ask.session) else { return Ok(()) };
        if session.entering.is_some() {
            return Err(Told::Entering);
        }
        session.entering = Some(room.clone());
        self.in_room(&room, now, effects, |room, cx| room.enter(name, ask, cx));
        Ok(())
    }

    fn send(&mut self, body: &Bytes, ask: Ask, now: Now, effects: &mut Vec<Effect>) -> Result<(), Told> {
        let session = self.sessions.get(&ask.session).ok_or(Told::NotInRoom)?;
        // What comes behind an `enter` is for the room that is being entered, and is decided after it.
        let room = session.entering.as_ref().or(session.room.as_ref()).cloned().ok_or(Told::NotInRoom)?;
        self.in_room(&room, now, effects, |room, cx| room.send(body.to_vec(), ask, cx));
        Ok(())
    }

    /// Answers a request for what is in the session's room; behind an `enter` that waits, when that
    /// is decided.
    fn read(&mut self, read: Read, ask: Ask, now: Now, effects: &mut Vec<Effect>) -> Result<(), Told> {
        let session = self.sessions.get_mut(&ask.session).ok_or(Told::NotInRoom)?;
        if session.entering.is_some() {
            session.behind_enter.push((ask, read));
            return Ok(());
        }
        let room = session.room.clone().ok_or(Told::NotInRoom)?;
        self.in_room(&room, now, effects, |room, cx| match read {
            Read::History(History { span, limit }) => room.history(span, limit, ask, cx),
            Read::Members(Members { after, limit }) => room.members(after.as_ref(), limit.into(), ask, cx),
        });
        Ok(())
    }

    /// A session entered a room, or did not: what it asked for behind that concerns this room only.
    pub(super) fn read_behind_enter(&mut self, number: u64, room: &RoomId, now: Now, effects: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(&number).filter(|session| session.entering.is_none()) else { return };
        let is_in = session.room.as_ref() == Some(room);
        for (ask, read) in std::mem::take(&mut session.behind_enter) {
            let id = ask.id;
            let done = if is_in { self.read(read, ask, now, effects) } else { Err(Told::NotInRoom) };
            if let Err(told) = done {
                self.finish(number, id, told, effects);
            }
        }
    }

    fn leave(&mut self, ask: Ask, now: Now, effects: &mut Vec<Effect>) -> Result<(), Told> {
        let session = self.sessions.get_mut(&ask.session).ok_or(Told::NotInRoom)?;
        if session.entering.is_some() {
            return Err(Told::Entering);
        }
        let room = session.room.clone().ok_or(Told::NotInRoom)?;
        let (number, mut leaves) = (ask.session, false);
        self.in_room(&room, now, effects, |room, cx| leaves = room.leave(ask, cx));
        if let Some(session) = self.sessions.get_mut(&number).filter(|_| leaves) {
            session.room = None;
        }
        Ok(())
    }
}
