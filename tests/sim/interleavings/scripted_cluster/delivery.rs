//! The movement of messages in a scripted cluster, and the texts for their effects.

use chat::report;
use follower::connector_state::{ClientResponse, Effect, Now as HubNow};
use follower::event::Event as ConnectorEvent;
use follower::room::{Push, RoomResponse};
use model::ids::ServerId;
use model::record::Entry;
use model::rpc::Trace;
use model::subjects;
use owner::log_operation::{LogOp, LogResult};
use owner::room::Now;
use owner::rooms::{Effect as ChatEffect, IncomingRequest};

use super::super::transit::{InTransit, Selector};
use super::{CHATS, CONNECTORS, Client, ScriptedCluster, id, room};

/// The most items that move in one moment, a hundred times as many as in a usual one.
const MAX_MOVED: usize = 10_000;

impl ScriptedCluster {
    /// Everything that is not held arrives, and what comes of it.
    pub(in super::super) fn settle(&mut self) {
        let mut moved = 0;
        while let Some(item) = self.under_way.pop_front() {
            moved += 1;
            assert!(moved < MAX_MOVED, "messages go round and round: {moved} in one moment");
            let is = |what: &Selector| item.is(*what);
            self.copies.take(&item);
            if self.is_cut {
                continue;
            }
            if self.holds.iter().any(is) {
                self.held.push(item);
            } else if !self.losses.iter().any(is) || matches!(item, InTransit::Probe { .. }) {
                self.arrive(item);
            }
        }
    }

    /// Time passes; everything that is not held arrives at once.
    pub(in super::super) fn advance(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now += 50;
            (0..CONNECTORS).for_each(|connector| self.tick_connector(connector));
            (0..CHATS).for_each(|chat| self.tick_chat(chat));
            self.settle();
        }
    }

    fn tick_connector(&mut self, connector: usize) {
        if self.dead_hubs.contains(&connector) {
            return;
        }
        let now = self.hub_now();
        let mut effects = self.hubs[connector].tick(now);
        if self.now.is_multiple_of(500) && !self.is_cut {
            effects.extend(self.hubs[connector].send_heartbeats(now));
        }
        self.hub_effects(connector, effects);
    }

    fn tick_chat(&mut self, chat: usize) {
        if !self.is_awake(chat) {
            return;
        }
        let now = self.chat_now();
        let mut effects = self.chats[chat].rooms.tick(now);
        if self.now.is_multiple_of(1_000) && !self.is_cut {
            effects.extend(self.chats[chat].rooms.count_silence(now));
        }
        self.chat_effects(chat, effects);
    }

    fn is_awake(&self, chat: usize) -> bool {
        !self.chats[chat].is_dead && self.chats[chat].asleep.is_none()
    }

    pub(super) fn chat_now(&self) -> Now {
        Now { ticks: self.now, wall_ms: 1_000_000 + self.now - self.clocks_behind }
    }

    pub(super) fn hub_now(&self) -> HubNow {
        HubNow { ticks: self.now, chance: self.now.into() }
    }

    fn arrive(&mut self, item: InTransit) {
        if let Some(waiting) = item.chat().and_then(|chat| self.chats[chat].asleep.as_mut()) {
            return waiting.push(item);
        }
        match item {
            InTransit::ToChat { connector, chat, token: Some(token), .. } if self.chats[chat].is_dead => {
                let now = self.hub_now();
                let effects = self.hubs[connector].on_no_responders(token, now);
                self.hub_effects(connector, effects);
            }
            InTransit::ToChat { connector, chat, token, body } => {
                let now = self.chat_now();
                let reply = token.map(|token| subjects::connector_reply(&id("connector", connector), token));
                let heard = IncomingRequest { body: &body, reply, is_proven: self.signs, trace: Trace::new(1, 1) };
                let effects = self.chats[chat].rooms.handle_message(heard, now).unwrap();
                self.chat_effects(chat, effects);
            }
            InTransit::ToConnector { connector, .. } if self.dead_hubs.contains(&connector) => {}
            InTransit::ToConnector { connector, body, .. } => {
                let now = self.hub_now();
                let effects = self.hubs[connector].receive(&body, self.signs, now).unwrap();
                self.hub_effects(connector, effects);
            }
            InTransit::ToLog { chat, run, asker, op } => {
                let done = self.operate(op);
                self.under_way.push_back(InTransit::FromLog { chat, run, asker, done });
            }
            InTransit::FromLog { chat, asker, done, run } if self.chats[chat].run == run => {
                let now = self.chat_now();
                let effects = self.chats[chat].rooms.on_log_result(&room(), asker, done, now);
                self.chat_effects(chat, effects);
            }
            InTransit::FromLog { .. } => {}
            InTransit::Probe { chat, home } => {
                let is_alive =
                    self.is_awake(home) && !self.chats[home].leaves && !self.losses.contains(&Selector::Probes(home));
                let now = self.chat_now();
                let effects = self.chats[chat].rooms.on_probe_result(&id("chat", home), is_alive, now);
                self.chat_effects(chat, effects);
            }
        }
    }

    fn operate(&mut self, op: LogOp) -> LogResult {
        match op {
            LogOp::Last { certain } => {
                let replica = self.replica.clone().filter(|_| !certain);
                LogResult::Last(Ok(replica.unwrap_or_else(|| self.log.last(&room()))))
            }
            LogOp::Before(position) => LogResult::Last(Ok(self.log.before(&room(), position))),
            LogOp::Append { expected, record, lifetime } => {
                let appended = self.log.append_for(&room(), expected, record, lifetime);
                self.appended += usize::from(appended.is_ok());
                LogResult::Append(appended)
            }
            LogOp::Read(positions) => {
                let read = self.log.read(&room(), &positions);
                let read = positions.into_iter().zip(read);
                LogResult::Read(Ok(read.map(|(at, record)| (at, record.filter(|_| at >= self.oldest))).collect()))
            }
            LogOp::Epoch => LogResult::Epoch(Ok(self.log.status(self.log.parts().of(&room())).epoch)),
        }
    }

    pub(super) fn chat_effects(&mut self, chat: usize, effects: Vec<ChatEffect>) {
        if self.chats[chat].is_dead {
            return;
        }
        let run = self.chats[chat].run;
        let number = |kind: &str, name: &ServerId| (0..CHATS).find(|number| id(kind, *number) == *name).unwrap();
        self.under_way.extend(effects.into_iter().filter_map(|effect| match effect {
            ChatEffect::Send(send) => {
                Some(InTransit::ToConnector { chat, connector: number("connector", &send.connector), body: send.body })
            }
            ChatEffect::Log { requester: asker, op, .. } => Some(InTransit::ToLog { chat, run, asker, op }),
            ChatEffect::Probe(home) => Some(InTransit::Probe { chat, home: number("chat", &home) }),
            ChatEffect::RequestRecheck => None,
            ChatEffect::Report(event) => {
                report::count(&event, &self.metrics);
                None
            }
        }));
    }

    pub(super) fn hub_effects(&mut self, connector: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SendToChat { chat, token, body, .. } => {
                    let chat = (0..CHATS).find(|number| id("chat", *number) == chat).unwrap();
                    self.under_way.push_back(InTransit::ToChat { connector, chat, token, body });
                }
                Effect::Respond { session, response, .. } => self.client(session).on_response(&response),
                Effect::Push { to, push, .. } => to.iter().for_each(|session| self.client(*session).on_push(&push)),
                Effect::Displaced(session) => self.send_away(session, "displaced"),
                Effect::MovedAway(session) => self.send_away(session, "moved away"),
                Effect::Lost(session) => self.send_away(session, "closed"),
                Effect::Report(event) => self.count(&event),
                Effect::TokenExpired(session) => self.send_away(session, "expired"),
                Effect::Replaced(session) => self.send_away(session, "replaced"),
                Effect::Expelled(session) => self.send_away(session, "expelled"),
                Effect::Banned(session) => self.send_away(session, "banned"),
                Effect::TokenExpires { .. } | Effect::Entered(_) | Effect::RequestRecheck => {}
            }
        }
    }

    fn count(&self, event: &ConnectorEvent) {
        match event {
            ConnectorEvent::SenderRefused { .. } => self.metrics.bus_refused.sender.add(),
            ConnectorEvent::ImplausibleIgnored { .. } => self.metrics.bus_implausible.add(),
            _ => {}
        }
    }

    /// The connection of a session is closed by its connector.
    fn send_away(&mut self, session: u64, why: &str) {
        self.client(session).received.push(why.to_owned());
        self.close(session);
    }

    fn client(&mut self, session: u64) -> &mut Client {
        self.clients.get_mut(&session).unwrap()
    }
}

impl Client {
    fn on_response(&mut self, response: &ClientResponse) {
        if let ClientResponse::Room(_, RoomResponse::Entered(entered)) = response {
            self.place = Some((entered.token, entered.seq));
        }
        self.received.push(answer_text(response));
    }

    fn on_push(&mut self, push: &Push) {
        if let (Push::Chat { seq, .. }, Some((_, known))) = (push, &mut self.place) {
            *known = *seq;
        }
        self.received.push(push_text(push));
    }
}

fn answer_text(response: &ClientResponse) -> String {
    match response {
        ClientResponse::Room(_, RoomResponse::Entered(entered)) => {
            let missed = entered.missed.iter().flat_map(|missed| &missed.messages);
            let users = entered.users.iter().fold("entered:".to_owned(), |text, name| format!("{text} {name}"));
            missed.fold(users, |text, said| format!("{text}; {}: {}", said.from, said.content))
        }
        ClientResponse::Room(_, RoomResponse::Sent { .. }) => "sent".to_owned(),
        ClientResponse::Room(_, RoomResponse::Left) => "left".to_owned(),
        ClientResponse::Room(_, RoomResponse::Unknown { .. }) => "unknown".to_owned(),
        ClientResponse::Room(_, RoomResponse::Refused { refusal, .. }) => format!("refused: {refusal:?}"),
        other => format!("{other:?}"),
    }
}

fn push_text(push: &Push) -> String {
    match push {
        Push::Chat { from, content, .. } => format!("{from}: {content}"),
        Push::Add { name, .. } => format!("+{name}"),
        Push::Leave { name } => format!("-{name}"),
        Push::Gap { .. } => "gap".to_owned(),
        Push::Members { total, .. } => format!("{total} members"),
        Push::Rule { kind, until, .. } => format!("{kind:?} until {until}"),
        Push::Expel { reason } => format!("expelled: {reason}"),
        Push::Rights(rights) => format!("{rights:?}"),
    }
}

pub(super) fn entry_text(entry: &Entry) -> Option<String> {
    match entry {
        Entry::Open => None,
        Entry::Join { name, .. } => Some(format!("+{name}")),
        Entry::Leave { name, .. } => Some(format!("-{name}")),
        Entry::Message { from, content, .. } => Some(format!("{from}: {content}")),
        Entry::Whisper { .. }
        | Entry::Move { .. }
        | Entry::Expel { .. }
        | Entry::Rule { .. }
        | Entry::Amend { .. }
        | Entry::Redact { .. }
        | Entry::Clear { .. }
        | Entry::Rights { .. }
        | Entry::Revoke { .. }
        | Entry::Erase { .. } => Some(format!("{entry:?}")),
    }
}
