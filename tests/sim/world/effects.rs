//! The execution of effects of chat servers and connectors, and the log.

use bytes::Bytes;
use chat::report;
use follower::event::Event as ConnectorEvent;
use model::subjects;
use owner::event::Event as ChatEvent;

use super::*;
use crate::trace::{Fate, Hop, LogFate};

impl World {
    pub(super) fn chat_effects(&mut self, chat: usize, effects: Vec<ChatEffect>) {
        for effect in effects {
            match effect {
                ChatEffect::Send(send) => {
                    self.check_answer(&send);
                    let nodes = self.connectors.iter().enumerate().filter(|(_, node)| node.id == send.connector);
                    for connector in nodes.map(|(number, _)| number).collect::<Vec<_>>() {
                        self.send_to_connector(chat, connector, &send.body);
                    }
                }
                ChatEffect::Log { room, requester: asker, op } => {
                    self.check_append(chat, &op);
                    self.request_operation(chat, room, asker, op);
                }
                ChatEffect::Probe(home) => self.probe(chat, home),
                // Each server looks at the list at its own moment.
                ChatEffect::Report(ChatEvent::MessageUnencodable { error, .. }) => panic!("{error}"),
                ChatEffect::Report(event) => report::count(&event, &self.metrics),
                ChatEffect::RequestRecheck => {}
            }
        }
    }

    fn send_to_connector(&mut self, chat: usize, connector: usize, body: &Bytes) {
        let hop = Hop::ToConnector { chat, connector };
        if !self.chats[chat].up || self.is_too_large(body) {
            return self.trace.sent(self.now, hop, Fate::Disconnected, body);
        }
        let is_blocked = self.is_blocked(Node::Chat(chat), Node::Connector(connector));
        if is_blocked || self.is_partitioned(chat, Peer::Connector(connector)) {
            return self.trace.sent(self.now, hop, Fate::Partitioned, body);
        }
        let arrivals = self.faults().arrivals(&mut self.chance);
        self.trace.sent(self.now, hop, Fate::Arrives(&arrivals), body);
        for delay in arrivals {
            let body = body.clone();
            self.agenda.at(self.now + delay, Event::ToConnector { connector, body });
        }
    }

    fn send_to_chat(&mut self, connector: usize, chat: usize, token: Option<u64>, body: &Bytes) {
        let hop = Hop::ToChat { connector, chat };
        if !self.connectors[connector].up || self.is_too_large(body) {
            return self.trace.sent(self.now, hop, Fate::Disconnected, body);
        }
        let is_blocked = self.is_blocked(Node::Connector(connector), Node::Chat(chat));
        if is_blocked || self.is_partitioned(chat, Peer::Connector(connector)) {
            return self.trace.sent(self.now, hop, Fate::Partitioned, body);
        }
        let reply = token.map(|token| subjects::connector_reply(&self.connectors[connector].id, token));
        // Not with a tracer on the bus, which subscribes to everything.
        let id = &self.chats[chat].id;
        let is_there = self.chats.iter().any(|other| other.id == *id && !other.is_dead);
        if let Some(token) = token.filter(|_| !is_there && self.chance.per_mille(500)) {
            self.agenda.at(self.now + 1, Event::NoResponders { connector, token });
        }
        let trace = Trace::new(1, 1);
        let arrivals = self.faults().arrivals(&mut self.chance);
        self.trace.sent(self.now, hop, Fate::Arrives(&arrivals), body);
        for delay in arrivals {
            let (body, reply, trace) = (body.clone(), reply.clone(), trace.clone());
            self.agenda.at(self.now + delay, Event::ToChat { chat, body, reply, trace });
        }
    }

    pub(super) fn start_operation(&mut self, chat: usize, room: RoomId, asker: LogRequester, op: LogOp) {
        let (run, connection) = (self.chats[chat].run, self.connection);
        let fate = self.log_fate(chat, &room, &op);
        let texts = (trace::Asking(asker), trace::Operation(&op));
        self.trace.line(self.now, "log", format_args!("S{}r{run} {room} {}: {}, {fate}", chat + 1, texts.0, texts.1));
        let gives_up_after = match fate {
            LogFate::Answered(_) => None,
            LogFate::Disconnected => Some(0),
            LogFate::Unanswered(_) | LogFate::Lost => Some(self.gives_up_after()),
        };
        if let Some(after) = gives_up_after {
            let (room, done) = (room.clone(), failed(&op));
            self.agenda.at(self.now + after, Event::LogDone { chat, run, room, asker, done });
        }
        let (delay, answered) = match fate {
            LogFate::Answered(delay) => (delay, true),
            LogFate::Unanswered(delay) => (delay, false),
            LogFate::Disconnected | LogFate::Lost => return,
        };
        self.agenda.at(self.now + delay, Event::Log { chat, run, room, asker, op, connection, answered });
    }

    /// The answer is lost, or the append is, or it comes when the chat server does not wait for it
    /// any more.
    fn log_fate(&mut self, chat: usize, room: &RoomId, op: &LogOp) -> LogFate {
        if !self.chats[chat].up {
            return LogFate::Disconnected;
        }
        if self.is_stalled(room) {
            return LogFate::Lost;
        }
        if let Some(fate) = self.partial_fate(chat, op) {
            return fate;
        }
        if !matches!(op, LogOp::Append { .. }) || !self.chance.per_mille(self.faults().unclear) {
            return LogFate::Answered(self.chance.between(0, 4));
        }
        if self.chance.per_mille(300) { LogFate::Lost } else { LogFate::Unanswered(self.chance.between(0, 1_500)) }
    }

    pub(super) fn operate(&mut self, room: &RoomId, op: LogOp) -> LogResult {
        let traced = self.trace.text(|| trace::Operation(&op).to_string());
        let done = self.operate_untraced(room, op);
        self.trace.line(self.now, "log", format_args!("{room}: {traced} => {}", trace::Done(&done)));
        done
    }

    fn operate_untraced(&mut self, room: &RoomId, op: LogOp) -> LogResult {
        match op {
            LogOp::Last { .. } => LogResult::Last(Ok(self.log.last(room))),
            LogOp::Before(position) => LogResult::Last(Ok(self.log.before(room, position))),
            LogOp::Append { ref record, .. } if self.is_too_large(record) => {
                let bytes = record.len();
                LogResult::Append(Err(AppendError::TooLarge { bytes }))
            }
            LogOp::Append { .. } if self.is_full() => LogResult::Append(Err(AppendError::Full)),
            LogOp::Append { expected, record, lifetime } => {
                let appended = self.log.append_for(room, expected, record.clone(), lifetime);
                if let Ok(position) = appended {
                    self.retention.appended(room, position, &record);
                    self.count_moves(&record);
                }
                LogResult::Append(appended)
            }
            LogOp::Read(positions) => {
                let read = self.log.read(room, &positions);
                let read = positions.into_iter().zip(read);
                let given = read.map(|(position, record)| {
                    (position, record.filter(|_| !self.retention.has_removed(room, position)))
                });
                LogResult::Read(Ok(given.collect()))
            }
            LogOp::Epoch => LogResult::Epoch(Ok(self.log.status(self.log.parts().of(room)).epoch)),
        }
    }

    pub(super) fn connector_effects(&mut self, connector: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SendToChat { chat: id, token, body, .. } => {
                    let nodes = self.chats.iter().enumerate().filter(|(_, node)| node.id == id);
                    for chat in nodes.map(|(number, _)| number).collect::<Vec<_>>() {
                        self.send_to_chat(connector, chat, token, &body);
                    }
                }
                Effect::Respond { session, id, response } => {
                    self.deliver_to_client(connector, session, Received::Answer { id, response });
                }
                Effect::Push { room, to, push } => {
                    for &session in to.iter() {
                        self.deliver_to_client(
                            connector,
                            session,
                            Received::Push { room: room.clone(), push: push.clone() },
                        );
                    }
                }
                Effect::Report(ConnectorEvent::RequestUnwritable { error }) => panic!("{error}"),
                Effect::TokenExpires { .. } => {}
                Effect::TokenExpired(session) => self.kick(connector, session, "expired"),
                Effect::Replaced(session) => self.kick(connector, session, "replaced"),
                Effect::Expelled(session) => self.kick(connector, session, "expelled"),
                Effect::Banned(session) => self.kick(connector, session, "banned"),
                Effect::Entered(_) | Effect::RequestRecheck | Effect::Report(_) => {}
                Effect::Displaced(session) => self.kick(connector, session, "displaced"),
                Effect::MovedAway(session) => self.kick(connector, session, "moved away"),
                Effect::Lost(session) => self.kick(connector, session, "closed"),
            }
        }
    }
}

/// Returns the result of a log operation without a response.
pub(super) fn failed(op: &LogOp) -> LogResult {
    let why = || "simulated".to_owned();
    match op {
        LogOp::Last { .. } | LogOp::Before(_) => LogResult::Last(Err(ReadError(why()))),
        LogOp::Read(_) => LogResult::Read(Err(ReadError(why()))),
        LogOp::Epoch => LogResult::Epoch(Err(ReadError(why()))),
        LogOp::Append { .. } => LogResult::Append(Err(AppendError::Unclear(why()))),
    }
}
