//! Messages of servers that are not listed, or that cannot be right; and second processes with the
//! ids of others. A message that a listed server could have sent carries nothing here that only
//! that server may decide: only a signature shows the sender.

use bytes::Bytes;
use model::ids::Name;
use model::record::{Entry, Record, RecordId, VERSION};
use model::rpc;
use model::rpc::messages::{
    CatchUp, Claim, FromChat, FromConnector, HistoryPage, HistoryQuery, HistoryRange, Item, KnownIncarnation,
    LogPosition, RpcRequest, RpcResponse, Unavailable,
};
use model::subjects;
use owner::rooms::OutgoingReply;

use super::*;

/// Questions for messages with numbers from here on are strays: none may be answered.
const STRAY_NUMBER: u64 = 1 << 50;

impl World {
    /// Messages are signed, where no stray ones come.
    pub(super) fn signs(&self) -> bool {
        self.scenario.troubles().strays == 0
    }

    pub(super) fn plan_strangers(&mut self) {
        let troubles = self.scenario.troubles();
        self.plan_some(troubles.strays, |_, _| Event::Stray);
        self.plan_some(troubles.duplicates, |world, time| {
            let number = world.chance.index(CHATS + CONNECTORS);
            let machine = if number < CHATS { Machine::Chat(number) } else { Machine::Connector(number - CHATS) };
            Event::Duplicate(machine, (time + world.chance.between(300, 5_000)).min(BUSY_MS))
        });
    }

    pub(super) fn stray(&mut self) {
        if self.chance.per_mille(500) { self.stray_to_chat() } else { self.stray_to_connector() }
    }

    /// Returns a sender and its run: an unlisted server, a server of another kind, or this one with
    /// its run or another, which may be a later one.
    fn sender(&mut self, (kind, other): (&str, &str), (me, run): (&ServerId, Incarnation)) -> (ServerId, Incarnation) {
        match self.chance.index(7) {
            0 => (server(kind, 8).id, run),
            1 => (server(other, self.chance.index(3)).id, run),
            2 => (me.clone(), Incarnation(u64::MAX - self.chance.between(0, 1 << 17))),
            3 => (me.clone(), self.later(run)),
            4 => (me.clone(), Incarnation(self.chance.between(0, run.0.max(1)))),
            _ => (me.clone(), run),
        }
    }

    /// A later run, or one that cannot be.
    fn later(&mut self, run: Incarnation) -> Incarnation {
        Incarnation(run.0 + (self.chance.between(1, 1 << 30) << 16))
    }

    fn known(&mut self, run: Incarnation) -> KnownIncarnation {
        let incarnation = if self.chance.per_mille(500) { self.later(run) } else { Incarnation(u64::MAX) };
        KnownIncarnation { incarnation, live: self.chance.per_mille(500) }
    }

    /// A place in a room's log, or behind its end, or in another log.
    fn stray_place(&mut self) -> LogPosition {
        let epoch = Epoch([1, 1, 1, u64::MAX][self.chance.index(4)]);
        let position = Position([0, 1, 7, u64::MAX / 1_000, u64::MAX][self.chance.index(5)]);
        LogPosition { epoch, position, id: RecordId(self.chance.between(0, 3)) }
    }

    fn stray_number(&mut self) -> u64 {
        let near = self.chance.between(1, 300);
        [near, near << 12, near << 32, (1 << 62) + near, u64::MAX][self.chance.index(5)]
    }

    fn stray_room(&mut self) -> RoomId {
        RoomId::new(ROOMS[self.chance.index(ROOMS.len())]).unwrap()
    }

    fn stray_to_chat(&mut self) {
        let (chat, connector) = (self.chance.index(CHATS), self.chance.index(CONNECTORS));
        let (me, run) = (self.connectors[connector].id.clone(), self.connectors[connector].hub.incarnation());
        let (sender, incarnation) = self.sender(("connector", "chat"), (&me, run));
        let request = self.stray_question(sender == me);
        let chat_run = self.chats[chat].rooms.incarnation();
        let known = self.chance.per_mille(300).then(|| self.known(chat_run));
        let own = subjects::connector_reply(&sender, u64::MAX);
        let reply = match self.chance.index(6) {
            0 => Some("log.51.lobby".to_owned()),
            1 => Some(subjects::connector_reply(&server("connector", (connector + 1) % CONNECTORS).id, 7)),
            2 => Some(subjects::connector_push(&me)),
            3 => None,
            _ => Some(if request == RpcRequest::Probe {
                format!("{}a.1", subjects::inbox(sender.as_str()))
            } else {
                own
            }),
        };
        let (v, connector, continues, count) = (rpc::VERSION, sender, Vec::new(), self.stray_number());
        let message = FromConnector { v, connector, incarnation, continues, count, known, request };
        let body: Bytes = rpc::encode(&message).unwrap();
        for number in self.nodes_of_chat(chat) {
            let (body, reply, trace) = (body.clone(), reply.clone(), Trace::new(1, 1));
            self.agenda.at(self.now, Event::ToChat { chat: number, body, reply, trace });
        }
    }

    /// Of a listed connector only what does not speak for its users.
    fn stray_question(&mut self, is_listed: bool) -> RpcRequest {
        let (room, at, number) = (self.stray_room(), self.stray_place(), self.stray_number());
        match self.chance.index(7) {
            0 => RpcRequest::Attach { room, at },
            1 | 2 if is_listed => RpcRequest::Propose { room, at, number, items: Vec::new(), urgent: false },
            1 | 2 => {
                let (name, membership) = (Name::new("stranger").unwrap(), Token::new(self.chance.any()).membership());
                let join = Item::Join { session: 1, name, membership, claim: Claim::New, seen: None, profile: None };
                RpcRequest::Propose { room, at, number, items: vec![join], urgent: false }
            }
            3 => RpcRequest::Detach { room },
            4 => {
                let viewer = self.users[self.chance.index(USERS)].resume_point().map(|place| place.token.membership());
                let query = HistoryQuery { viewer: viewer.unwrap_or_default(), span: HistoryRange::Last, limit: 100 };
                // No client has such a session.
                let session = Some(u64::MAX - number);
                RpcRequest::History { room, number: STRAY_NUMBER + (number % STRAY_NUMBER), session, query }
            }
            5 => RpcRequest::Probe,
            _ => RpcRequest::Heartbeat,
        }
    }

    fn stray_to_connector(&mut self) {
        let (chat, connector) = (self.chance.index(CHATS), self.chance.index(CONNECTORS));
        let (me, run) = (self.chats[chat].id.clone(), self.chats[chat].rooms.incarnation());
        let (sender, incarnation) = self.sender(("chat", "connector"), (&me, run));
        let response = self.stray_answer(sender == me, connector);
        let number = self.stray_number();
        let message = FromChat { v: rpc::VERSION, chat: sender, incarnation, number, stats: None, response };
        let body: Bytes = rpc::encode(&message).unwrap();
        let id = self.connectors[connector].id.clone();
        for number in 0..self.connectors.len() {
            if self.connectors[number].id == id {
                self.agenda.at(self.now, Event::ToConnector { connector: number, body: body.clone() });
            }
        }
    }

    /// Returns a message; for a listed chat server one without content of its room's log.
    fn stray_answer(&mut self, is_listed: bool, connector: usize) -> RpcResponse {
        let (room, place, number) = (self.stray_room(), self.stray_place(), self.stray_number());
        let run = self.connectors[connector].hub.incarnation();
        match self.chance.index(8) {
            0 => RpcResponse::Alive,
            1 => RpcResponse::Leaving,
            2 => RpcResponse::NotOwner { room },
            3 => RpcResponse::Unavailable { room, because: Unavailable::LogFull },
            4 => RpcResponse::Stale(self.known(run)),
            5 => RpcResponse::History {
                room,
                number: STRAY_NUMBER + number % 1_000,
                upto: place,
                page: HistoryPage::default(),
            },
            6 if !is_listed => {
                let catch_up = CatchUp::State(Box::default());
                RpcResponse::Attached { room, requested: LogPosition::default(), now: place, catch_up }
            }
            _ => {
                let record = Arc::new(stray_record(place.position));
                RpcResponse::Record { room, epoch: place.epoch, position: place.position, record: record.into() }
            }
        }
    }

    /// The processes that have the id of a chat server.
    pub(super) fn nodes_of_chat(&self, chat: usize) -> Vec<usize> {
        (0..self.chats.len()).filter(|number| self.chats[*number].id == self.chats[chat].id).collect()
    }

    /// An answer goes to a subject of its asker, and stray questions for messages have none.
    pub(super) fn check_answer(&self, send: &OutgoingReply) {
        let OutgoingReply { server: asker, reply, method, .. } = send;
        let is_own = |reply: &String| {
            let (id, reply) = (asker, reply.as_str());
            subjects::is_reply_of(id, reply) || subjects::is_api_reply_of(id, reply) || subjects::is_inbox_of(id, reply)
        };
        assert!(reply.as_ref().is_none_or(is_own), "{method} is answered to {reply:?} instead of {asker}");
        let is_known = ["connector-server-", "chat-server-", "gate-server-", "api-server-"].iter().any(|kind| {
            asker.as_str().strip_prefix(kind).and_then(|number| number.parse().ok()).is_some_and(|n: usize| n <= 3)
        });
        assert!(is_known, "{asker} is a stranger, and is sent {method}");
        if *method == "history" {
            let said: FromChat = rpc::decode(&send.body).unwrap();
            let is_stray = matches!(said.response, RpcResponse::History { number, .. } if number >= STRAY_NUMBER);
            assert!(!is_stray, "a stray question of {asker} for messages is answered");
        }
    }

    /// A second process with the id of a server starts: by its clock, and it has no clients.
    pub(super) fn start_duplicate(&mut self, machine: Machine, until: u64) {
        // Its run is none that the first process will have.
        let (duplicate, run) = match machine {
            Machine::Chat(chat) => (Machine::Chat(self.chats.len()), self.chats[chat].run + 1_000),
            Machine::Connector(connector) => {
                (Machine::Connector(self.connectors.len()), self.connectors[connector].run + 1_000)
            }
        };
        match machine {
            Machine::Chat(chat) => {
                let node = self.chat(chat, run);
                self.chats.push(node);
            }
            Machine::Connector(connector) => {
                let node = self.connector(connector, run);
                self.connectors.push(node);
            }
        }
        self.agenda.at(until, Event::DuplicateEnds(duplicate));
    }

    /// It dies, with all that is on its way to it.
    pub(super) fn end_duplicate(&mut self, machine: Machine) {
        match machine {
            Machine::Chat(chat) => {
                self.chats[chat].is_dead = true;
                self.chats[chat].run += 1;
            }
            Machine::Connector(connector) => self.connectors[connector].is_dead = true,
        }
    }

    /// A connector whose id a later process has closes its clients.
    pub(super) fn close_if_duplicate(&mut self, connector: usize) {
        let node = &self.connectors[connector];
        if node.hub.has_rival(self.now) {
            let count = node.clients.len();
            self.close_some(connector, count);
        }
    }
}

/// A record that follows none.
fn stray_record(position: Position) -> Record {
    Record {
        v: VERSION,
        prev: Position(position.0 / 2),
        prev_id: RecordId(1),
        id: RecordId(2),
        links: Vec::new(),
        time: u64::MAX,
        owner: server("chat", 0).id,
        proposals: Vec::new(),
        acts: Vec::new(),
        lasting: None,
        entries: vec![Entry::Open],
        notify_connectors: Vec::new(),
        checkpoint: None,
        part: None,
    }
}
