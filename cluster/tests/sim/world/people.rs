//! What people do, and what they are told.

use std::fmt;

use super::*;

impl World {
    /// A session is sent away; its client may have gone without a word.
    pub(super) fn kick(&mut self, connector: usize, session: u64, why: &str) {
        self.trace.line(self.now, "kick", format_args!("s{session}@C{} {why}", connector + 1));
        match self.connectors[connector].people.get(&session).copied() {
            Some(person) => {
                self.people[person].visit().unwrap().displaced = true;
                self.close(person, Ending::Closed);
            }
            None => {
                let now = self.hub_now();
                let effects = self.connectors[connector].hub.close(session, Ending::Closed, now);
                self.connector_effects(connector, effects);
            }
        }
    }

    pub(super) fn hear(&mut self, connector: usize, session: u64, heard: Heard) {
        let Some(person) = self.connectors[connector].people.get(&session) else { return };
        let (name, delivered) = (&self.people[*person].name, trace::Delivered(&heard));
        self.trace.line(self.now, "deliver", format_args!("{name} s{session}@C{} {delivered}", connector + 1));
        let visits = &mut self.people[*person].visits;
        let visit = visits.iter_mut().find(|v| v.session == session && v.connector == connector).unwrap();
        assert!(!visit.closed, "something was told to a session that is gone");
        visit.heard.push(heard);
    }

    /// Prints what a client does in its session.
    fn trace_client(&self, person: usize, (connector, session): (usize, u64), does: fmt::Arguments<'_>) {
        let name = &self.people[person].name;
        self.trace.line(self.now, "client", format_args!("{name} s{session}@C{} {does}", connector + 1));
    }

    pub(super) fn act(&mut self, person: usize) {
        if self.people[person].visit().is_none() {
            return self.open(person);
        }
        match self.chance.between(0, 100) {
            0..=1 => self.close(person, Ending::Closed),
            2 => self.close(person, Ending::Lost),
            3 => self.vanish(person),
            4..=5 => self.ask(person, Asked::History, ClientRequest::History("{}".into())),
            6..=8 => self.repeat(person),
            9..=14 => self.enter(person),
            15..=18 => self.ask(person, Asked::Leave, ClientRequest::Leave),
            19..=30 => self.whisper(person),
            31..=35 => (0..self.chance.between(2, 20)).for_each(|_| self.say(person)),
            _ => self.say(person),
        }
    }

    /// All that a person does at a time is taken by its connector at a time, as the edge of a connector takes requests.
    pub(super) fn act_at_once(&mut self, person: usize) {
        self.connectors.iter_mut().for_each(|connector| connector.hub.begin_batch());
        self.act(person);
        for connector in 0..self.connectors.len() {
            let now = self.hub_now();
            let effects = self.connectors[connector].hub.propose_batch(now);
            self.connector_effects(connector, effects);
        }
    }

    pub(super) fn open(&mut self, person: usize) {
        let before = self.people[person].place();
        self.sessions += 1;
        let connector = self.chance.index(CONNECTORS);
        let has_rival = self.connectors[connector].hub.has_rival(self.now);
        if self.connectors[connector].is_dead || self.is_known_to_leave(connector) || has_rival {
            return;
        }
        let session = self.sessions;
        let run = self.connectors[connector].run;
        self.people[person].visits.push(Visit { connector, run, session, ..Visit::default() });
        self.connectors[connector].people.insert(session, person);
        self.connectors[connector].hub.open(session);
        self.trace_client(person, (connector, session), format_args!("connects"));
        match before {
            Some(place) if self.chance.per_mille(800) => self.come_back(person, place),
            _ => self.enter(person),
        }
    }

    pub(super) fn come_back(&mut self, person: usize, place: Place) {
        let name = &self.people[person].name;
        let Place { room, token, epoch: Epoch(epoch), seq } = &place;
        let body = format!(r#"{{"username":"{name}","rid":"{room}","token":"{token}","since":{seq},"epoch":{epoch}}}"#);
        self.ask(person, Asked::ComeBack(place), ClientRequest::Enter(body.into()));
    }

    /// The client is gone, and its connector learns of it later.
    pub(super) fn vanish(&mut self, person: usize) {
        let Some(visit) = self.people[person].visit() else { return };
        visit.closed = true;
        let (connector, session) = (visit.connector, visit.session);
        self.trace_client(person, (connector, session), format_args!("is gone without a close"));
        self.connectors[connector].people.remove(&session);
        self.connectors[connector].vanished.insert(session);
        let noticed = self.now + self.chance.between(0, 2_000);
        self.agenda.at(noticed, Event::Lost { connector, session });
    }

    pub(super) fn close(&mut self, person: usize, ending: Ending) {
        let Some(visit) = self.people[person].visit() else { return };
        visit.closed = true;
        let (connector, session) = (visit.connector, visit.session);
        self.trace_client(person, (connector, session), format_args!("is closed: {ending:?}"));
        let now = self.hub_now();
        let effects = self.connectors[connector].hub.close(session, ending, now);
        self.connectors[connector].people.remove(&session);
        self.connector_effects(connector, effects);
    }

    pub(super) fn enter(&mut self, person: usize) {
        let room = RoomId::new(ROOMS[self.chance.index(ROOMS.len())]).unwrap();
        let name = &self.people[person].name;
        // Some say that they come back when they are sent elsewhere.
        let resumes = person.is_multiple_of(2);
        let body = format!(r#"{{"username":"{name}","rid":"{room}","resume":{resumes}}}"#);
        self.ask(person, Asked::Enter, ClientRequest::Enter(body.into()));
    }

    pub(super) fn say(&mut self, person: usize) {
        self.texts += 1;
        let text = format!("text {}", self.texts);
        if let Some(place) = self.people[person].settled_place() {
            self.repeatable.push((place.token, place.room, text.clone()));
        }
        self.say_text(person, text);
    }

    pub(super) fn say_text(&mut self, person: usize, text: String) {
        let padding = self.padding();
        let body = format!(r#"{{"content":"{text}","target":"*","id":"{text}"{padding}}}"#);
        self.ask(person, Asked::Say(text), ClientRequest::Send(body.into()));
    }

    /// Says again what this membership said before, perhaps on another session, and knows the outcome of or not.
    pub(super) fn repeat(&mut self, person: usize) {
        let Some(place) = self.people[person].settled_place() else { return };
        let mine = |(token, room, _): &&(Token, RoomId, String)| (*token, room) == (place.token, &place.room);
        let texts: Vec<&String> = self.repeatable.iter().rev().filter(mine).map(|(.., text)| text).take(5).collect();
        if !texts.is_empty() {
            let text = texts[self.chance.index(texts.len())].clone();
            self.repeated.insert(text.clone());
            self.say_text(person, text);
        }
    }

    pub(super) fn whisper(&mut self, person: usize) {
        self.texts += 1;
        let text = format!("text {}", self.texts);
        let to = format!("p{}", self.chance.index(PEOPLE));
        let body = format!(r#"{{"content":"{text}","target":"{to}"}}"#);
        self.ask(person, Asked::Whisper(text), ClientRequest::Send(body.into()));
    }

    pub(super) fn ask(&mut self, person: usize, asked: Asked, request: ClientRequest) {
        let Some(visit) = self.people[person].visit() else { return };
        let (connector, session, id) = (visit.connector, visit.session, visit.ask(asked));
        self.trace_client(person, (connector, session), format_args!("request {id} {}", trace::Requested(&request)));
        let now = self.hub_now();
        let effects = self.connectors[connector].hub.handle_request(session, Some(id), request, now);
        self.connector_effects(connector, effects);
    }
}
