//! The actions of users, and their deliveries.

use std::fmt;

use follower::connector_state::ClientResponse;

use model::act::Rights;
use model::identity::{Principal, User as LoggedIn};
use model::ids::{SessionId, Uid};
use model::permissions::{Grant, Grants, Pattern};

use super::*;

/// The user whose token lets it moderate, most of the time.
pub(crate) const MODERATOR: usize = 2;

/// One user of so many has no token.
const ANONYMOUS: usize = 4;

impl World {
    /// A session is sent away; its client may have gone without a word.
    pub(super) fn kick(&mut self, connector: usize, session: u64, why: &str) {
        self.trace.line(self.now, "kick", format_args!("s{session}@C{} {why}", connector + 1));
        match self.connectors[connector].clients.get(&session).copied() {
            Some(user) => {
                self.users[user].open_connection().unwrap().displaced = true;
                self.close(user, Ending::Closed);
            }
            None => {
                let now = self.hub_now();
                let effects = self.connectors[connector].hub.close(session, Ending::Closed, now);
                self.connector_effects(connector, effects);
            }
        }
    }

    pub(super) fn deliver_to_client(&mut self, connector: usize, session: u64, received: Received) {
        let Some(user) = self.connectors[connector].clients.get(&session) else { return };
        let (name, delivered) = (&self.users[*user].name, trace::Delivered(&received));
        self.trace.line(self.now, "deliver", format_args!("{name} s{session}@C{} {delivered}", connector + 1));
        let connections = &mut self.users[*user].connections;
        let connection = connections.iter_mut().find(|v| v.session == session && v.connector == connector).unwrap();
        assert!(!connection.closed, "a delivery to a session that is gone");
        let answered = match &received {
            Received::Answer { id, response: ClientResponse::Room(room, _) } => Some((*id, room.clone())),
            _ => None,
        };
        let waited = |id: u32| self.now - connection.asked_at[id as usize - 1];
        let answered = answered.map(|(id, room)| (waited(id), room));
        connection.received.push(received);
        if let Some((waited, room)) = answered {
            self.check_wait(&room, waited);
        }
    }

    /// Prints what a client does in its session.
    fn trace_client(&self, user: usize, (connector, session): (usize, u64), does: fmt::Arguments<'_>) {
        let name = &self.users[user].name;
        self.trace.line(self.now, "client", format_args!("{name} s{session}@C{} {does}", connector + 1));
    }

    pub(super) fn act(&mut self, user: usize) {
        if self.users[user].open_connection().is_none() {
            return self.open(user);
        }
        if self.scenario == Scenario::Churn && self.chance.per_mille(800) {
            return if self.chance.per_mille(500) { self.enter(user) } else { self.leave(user) };
        }
        if self.scenario == Scenario::Flood && user == FLOODER {
            return self.flood(user);
        }
        match self.chance.between(0, 100) {
            0..=1 => self.close(user, Ending::Closed),
            2 => self.close(user, Ending::Lost),
            3 => self.vanish(user),
            4 if user == MODERATOR => self.moderate(user),
            5 if user == MODERATOR => self.refresh(user),
            4..=5 => self.request(user, SentRequest::History, ClientRequest::new(ClientRoute::History, "{}".into())),
            6..=8 => self.send_again(user),
            9..=14 => self.enter(user),
            15..=18 => self.leave(user),
            19..=30 => self.whisper(user),
            31..=35 => (0..self.chance.between(2, 20)).for_each(|_| self.send_message(user)),
            _ => self.send_message(user),
        }
    }

    /// One of the actions of moderators, on a user who may be one.
    fn moderate(&mut self, user: usize) {
        let routes = [ClientRoute::Mute, ClientRoute::Ban, ClientRoute::Expel, ClientRoute::Unmute, ClientRoute::Unban];
        let route = routes[self.chance.index(routes.len())];
        let other = self.chance.index(USERS);
        let target = match uid(other) {
            Some(uid) if self.chance.per_mille(500) => format!(r#""uid":"{uid}""#),
            _ => format!(r#""name":"{}""#, self.users[other].name),
        };
        let body = format!(r#"{{{target},"secs":{}}}"#, self.chance.between(1, 5));
        self.request(user, SentRequest::Moderate, ClientRequest::new(route, body.into()));
    }

    /// Its rights come and go.
    fn refresh(&mut self, user: usize) {
        let Some(mut login) = logged_in(user) else { return };
        login.principal.grants = if self.chance.per_mille(500) { all_grants() } else { None };
        let request = ClientRequest { login: Some(Ok(login)), ..ClientRequest::new(ClientRoute::Refresh, "{}".into()) };
        self.request(user, SentRequest::Refresh, request);
    }

    fn leave(&mut self, user: usize) {
        self.request(user, SentRequest::Leave, ClientRequest::new(ClientRoute::Leave, "".into()));
    }

    /// As many messages as may be in flight, and a repeat now and then.
    fn flood(&mut self, user: usize) {
        match self.users[user].settled_resume_point() {
            None => self.enter(user),
            Some(_) if self.chance.per_mille(100) => self.send_again(user),
            Some(_) => (0..MAX_IN_FLIGHT).for_each(|_| self.send_message(user)),
        }
    }

    /// Makes a user act. The connector takes all requests of one moment together, as its edge does.
    pub(super) fn act_at_once(&mut self, user: usize) {
        self.connectors.iter_mut().for_each(|connector| connector.hub.begin_batch());
        self.act(user);
        for connector in 0..self.connectors.len() {
            let now = self.hub_now();
            let effects = self.connectors[connector].hub.propose_batch(now);
            self.connector_effects(connector, effects);
        }
    }

    pub(super) fn open(&mut self, user: usize) {
        let before = self.users[user].resume_point();
        self.sessions += 1;
        let connector = self.chance.index(CONNECTORS);
        let has_rival = self.connectors[connector].hub.has_rival(self.now);
        if self.connectors[connector].is_dead || self.is_leaving_known(connector) || has_rival {
            return;
        }
        let session = self.sessions;
        let run = self.connectors[connector].run;
        self.users[user].connections.push(ClientConnection { connector, run, session, ..ClientConnection::default() });
        self.connectors[connector].clients.insert(session, user);
        let address = self.address();
        self.connectors[connector].hub.open(session, address);
        if let Some(user) = logged_in(user) {
            // No limit of a user's sessions is set, so none ends.
            let effects = self.connectors[connector].hub.log_in(session, user);
            assert_eq!(effects, []);
        }
        self.trace_client(user, (connector, session), format_args!("connects"));
        match before {
            Some(place) if self.chance.per_mille(800) => self.resume(user, place),
            _ => self.enter(user),
        }
    }

    pub(super) fn resume(&mut self, user: usize, place: ResumePoint) {
        let name = &self.users[user].name;
        let ResumePoint { room, token, epoch: Epoch(epoch), seq } = &place;
        let body = format!(r#"{{"username":"{name}","rid":"{room}","token":"{token}","since":{seq},"epoch":{epoch}}}"#);
        self.request(user, SentRequest::Resume(place), ClientRequest::new(ClientRoute::Enter, body.into()));
    }

    /// The client is gone, and its connector learns of it later.
    pub(super) fn vanish(&mut self, user: usize) {
        let Some(connection) = self.users[user].open_connection() else { return };
        connection.closed = true;
        let (connector, session) = (connection.connector, connection.session);
        self.trace_client(user, (connector, session), format_args!("is gone without a close"));
        self.connectors[connector].clients.remove(&session);
        self.connectors[connector].vanished.insert(session);
        let noticed = self.now + self.chance.between(0, 2_000);
        self.agenda.at(noticed, Event::Lost { connector, session });
    }

    pub(super) fn close(&mut self, user: usize, ending: Ending) {
        let Some(connection) = self.users[user].open_connection() else { return };
        connection.closed = true;
        let (connector, session) = (connection.connector, connection.session);
        self.trace_client(user, (connector, session), format_args!("is closed: {ending:?}"));
        let now = self.hub_now();
        let effects = self.connectors[connector].hub.close(session, ending, now);
        self.connectors[connector].clients.remove(&session);
        self.connector_effects(connector, effects);
    }

    pub(super) fn enter(&mut self, user: usize) {
        // A room's window is full soon if all are in one.
        let rooms = if self.scenario == Scenario::Flood { 1 } else { ROOMS.len() };
        let room = RoomId::new(ROOMS[self.chance.index(rooms)]).unwrap();
        let name = &self.users[user].name;
        // Some users announce that they resume when their connector stops.
        let resumes = user.is_multiple_of(2);
        let body = format!(r#"{{"username":"{name}","rid":"{room}","resume":{resumes}}}"#);
        self.request(user, SentRequest::Enter, ClientRequest::new(ClientRoute::Enter, body.into()));
    }

    pub(super) fn send_message(&mut self, user: usize) {
        self.texts += 1;
        let text = format!("text {}", self.texts);
        if let Some(place) = self.users[user].settled_resume_point() {
            self.repeatable.push((place.token, place.room, text.clone()));
        }
        self.send_text(user, text);
    }

    pub(super) fn send_text(&mut self, user: usize, text: String) {
        let padding = self.padding();
        let body = format!(r#"{{"content":"{text}","target":"*","id":"{text}"{padding}}}"#);
        self.request(user, SentRequest::Send(text), ClientRequest::new(ClientRoute::Send, body.into()));
    }

    /// Sends a message of this membership again, perhaps in another session, with a known outcome
    /// or not.
    pub(super) fn send_again(&mut self, user: usize) {
        let Some(place) = self.users[user].settled_resume_point() else { return };
        let mine = |(token, room, _): &&(Token, RoomId, String)| (*token, room) == (place.token, &place.room);
        let texts: Vec<&String> = self.repeatable.iter().rev().filter(mine).map(|(.., text)| text).take(5).collect();
        if !texts.is_empty() {
            let text = texts[self.chance.index(texts.len())].clone();
            self.repeated.insert(text.clone());
            self.send_text(user, text);
        }
    }

    pub(super) fn whisper(&mut self, user: usize) {
        self.texts += 1;
        let text = format!("text {}", self.texts);
        let to = format!("p{}", self.chance.index(USERS));
        let body = format!(r#"{{"content":"{text}","target":"{to}"}}"#);
        self.request(user, SentRequest::Whisper(text), ClientRequest::new(ClientRoute::Send, body.into()));
    }

    pub(super) fn request(&mut self, user: usize, asked: SentRequest, request: ClientRequest) {
        let now_ms = self.now;
        let Some(connection) = self.users[user].open_connection() else { return };
        let (connector, session, id) =
            (connection.connector, connection.session, connection.add_request(asked, now_ms));
        self.trace_client(user, (connector, session), format_args!("request {id} {}", trace::Requested(&request)));
        let now = self.hub_now();
        let effects = self.connectors[connector].hub.handle_request(session, Some(id), request, now);
        self.connector_effects(connector, effects);
    }
}

impl World {
    /// Returns the number of a session's user.
    pub(crate) fn user_of(&self, session: &SessionId) -> Option<usize> {
        let has_it = |connection: &ClientConnection| connection.session == session.number;
        self.users.iter().position(|user| user.connections.iter().any(has_it))
    }
}

/// Returns the id of a user in the application; `None` for one that enters without a token.
pub(crate) fn uid(user: usize) -> Option<Uid> {
    (user % ANONYMOUS != 1).then(|| Uid::new(&format!("user-{user}")).unwrap())
}

/// Returns a user whose token never expires, and has no name.
fn logged_in(user: usize) -> Option<LoggedIn> {
    let info = Some(format!("{{\"level\":{user}}}").into());
    let grants = if user == MODERATOR { all_grants() } else { None };
    let principal = Principal { uid: uid(user)?, name: None, info, grants, issued_at: 0, expires_at: u64::MAX };
    Some(LoggedIn { principal, since: 0, until: u64::MAX })
}

/// All rights in all rooms.
fn all_grants() -> Option<Arc<Grants>> {
    let grant = Grant { rooms: Pattern::new("*"), rights: Rights::ALL };
    Some(Arc::new(Grants { rooms: vec![grant], roles: Vec::new() }))
}
