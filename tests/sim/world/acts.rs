//! Acts among the proposals of connectors. Only this proposer makes them so far: an api server that
//! repeats each message some times, loses some on the way, and sends old ones late.

use model::act::{Act, IdentifiedAct, MessageMeta, Rights, RuleKind, Target};
use model::ids::{Actor, Name, SessionId, Uid};
use model::membership::MessageId;
use model::permissions::Action;
use model::record::Record;
use model::room::RoomState;
use owner::room::ActMessage;

use super::*;

/// Times at which the proposer sends.
const SENDINGS: usize = 40;

/// Times at which records are too old.
const AGINGS: usize = 2;

/// The room of all rooms.
pub(crate) const ALL_ROOMS: &str = "~all";

/// Messages of acts and their rooms.
#[derive(Debug, Default)]
pub(crate) struct ActSender {
    sent: Vec<(RoomId, ActMessage)>,
    acts: u64,
}

impl World {
    pub(super) fn plan_acts(&mut self) {
        self.plan_some(SENDINGS, |_, _| Event::ActsSent);
        // A log that loses its end is written anew, without holes.
        let agings = if self.scenario == Scenario::LostEnd { 0 } else { AGINGS };
        self.plan_some(agings, |_, _| Event::RecordsAge);
    }

    /// Sends a new message, the last one again, or an old one.
    pub(super) fn send_acts(&mut self) {
        let count = self.act_sender.sent.len();
        let (room, message) = match self.chance.index(6) {
            0 if count > 0 => self.act_sender.sent[self.chance.index(count)].clone(),
            1 | 2 if count > 0 => self.act_sender.sent[count - 1].clone(),
            _ => self.new_message(),
        };
        for chat in 0..self.chats.len() {
            let node = &self.chats[chat];
            let hears = node.up && !node.is_dead && node.sleeps_until <= self.now;
            if hears && !self.chance.per_mille(100) {
                let now = self.chat_now(chat);
                let effects = self.chats[chat].rooms.act(&room, message.clone(), now);
                self.chat_effects(chat, effects);
            }
        }
    }

    /// Removes the records of the room of all rooms that age removes.
    // Of that room alone: what users received from others is compared with all of their records.
    pub(super) fn age_records(&mut self) {
        let room = RoomId::new(ALL_ROOMS).unwrap();
        let mut before = Position(u64::MAX);
        while let Some((position, bytes)) = self.log.before(&room, before).last {
            if !Record::decode(&bytes).unwrap().must_last() {
                self.log.damage(&room, position, None);
            }
            before = position;
        }
    }

    /// The states of a room at the chat servers that own it or believe so.
    pub(crate) fn owner_states(&self, room: &RoomId) -> impl Iterator<Item = (Position, &RoomState)> {
        let epoch = self.log.status(self.log.parts().of(room)).epoch;
        let states = self.chats.iter().filter(|node| !node.is_dead).filter_map(move |node| node.rooms.state(room));
        states.filter(move |(place, _)| place.epoch == epoch).map(|(place, state)| (place.position, state))
    }

    /// Those at the connectors that follow it.
    pub(crate) fn follower_states(&self, room: &RoomId) -> impl Iterator<Item = (Position, &RoomState)> {
        let epoch = self.log.status(self.log.parts().of(room)).epoch;
        let states = self.connectors.iter().filter(|node| !node.is_dead).filter_map(move |node| node.hub.state(room));
        states.filter(move |(place, _)| place.epoch == epoch).map(|(place, state)| (place.position, state))
    }

    fn new_message(&mut self) -> (RoomId, ActMessage) {
        let names = [ROOMS[0], ROOMS[1], ROOMS[2], ALL_ROOMS];
        let room = RoomId::new(names[self.chance.index(names.len())]).unwrap();
        let acts = (0..=self.chance.index(3)).map(|_| self.identified_act(&room)).collect();
        // The numbers of all rooms together rise.
        let number = self.act_sender.sent.len() as u64 + 1;
        let server = ServerId::new("api-server-1").unwrap();
        let message = ActMessage { server, incarnation: Incarnation(1), number, acts };
        self.act_sender.sent.push((room.clone(), message.clone()));
        (room, message)
    }

    fn identified_act(&mut self, room: &RoomId) -> IdentifiedAct {
        let earlier = self.act_sender.sent.iter().rev().find(|(other, _)| other == room);
        if let Some((_, message)) = earlier.filter(|_| self.chance.per_mille(100)) {
            // Another message with the same key.
            return message.acts[0].clone();
        }
        self.act_sender.acts += 1;
        let number = self.act_sender.acts;
        let id = Token::new(number.into()).membership().message("act");
        IdentifiedAct { id, digest: number, act: self.any_act(room, id) }
    }

    fn any_act(&mut self, room: &RoomId, id: MessageId) -> Act {
        let by = Actor::new("key-1").unwrap();
        let user = self.chance.index(USERS);
        let uid = user_actions::uid(user).unwrap_or_else(|| Uid::new("nobody").unwrap());
        let name = Name::new(&self.users[user].name).unwrap();
        let (now, last) = (self.wall_ms(Machine::Chat(0)), self.log.last(room).last);
        let last = last.map_or(1, |(position, _)| position.seq(self.chance.index(2)));
        let upto = self.chance.between(1, last + 1);
        match self.chance.index(if room.is_of_all_rooms() { 5 } else { 9 }) {
            0 => {
                let until = [0, now - 1, now + self.chance.between(1, 9_000)][self.chance.index(3)];
                let kind = [RuleKind::Mute, RuleKind::Ban][self.chance.index(2)];
                let target = if self.chance.per_mille(500) { Target::Uid(uid) } else { Target::Name(name) };
                Act::Rule { target, kind, until, by }
            }
            1 => Act::Revoke { uid, before: now / 1_000, until: now + self.chance.between(1, 9_000) },
            2 | 3 => {
                let id = Token::new(self.chance.index(3) as u128).membership().message("erasure");
                Act::Erase { id, uid, cursor: room.as_str().to_owned(), done: self.chance.per_mille(400) }
            }
            4 => Act::Say {
                from: Name::new("app").unwrap(),
                content: format!("act {}", self.act_sender.acts),
                meta: MessageMeta { uid: None, by: Some(by), data: Some(format!("{id:?}").into()) },
            },
            5 => Act::Expel { name, reason: "why".to_owned(), by },
            6 => Act::Amend { seq: upto, content: self.chance.per_mille(500).then(|| "new".to_owned()), by },
            7 if self.chance.per_mille(500) => Act::Redact { uid, upto, by },
            7 => Act::Clear { upto: upto / 4, by },
            _ => {
                // All may read and list: the checks of pushes expect it.
                let reader = [Action::Enter, Action::Read, Action::List].into_iter().fold(Rights::NONE, Rights::with);
                let rights = [Rights::MEMBER, Rights::MEMBER, Rights::ALL, reader];
                Act::Rights { session: self.any_session(), rights: rights[user % rights.len()] }
            }
        }
    }

    fn any_session(&mut self) -> SessionId {
        let connector = self.chance.index(CONNECTORS);
        let numbers: BTreeSet<u64> = self.connectors[connector].clients.keys().copied().collect();
        let number = numbers.iter().nth(self.chance.index(numbers.len().max(1))).copied().unwrap_or_default();
        let incarnation = self.incarnation(Machine::Connector(connector), self.connectors[connector].run);
        SessionId { connector: self.connectors[connector].id.clone(), incarnation, number }
    }
}
