//! Rooms in memory that answer as owners do: acts are deduplicated by id and digest.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use api::rooms::{
    Committed, ConnectedUser, FromConnectors, Member, MembersPage, MessagesPage, MessagesQuery, Outcome, RoomInfo,
    RoomRule, Rooms, RoomsPage, RoomsRequest, RulesPage, ServerLine, UserSession,
};
use model::act::{Act, IdentifiedAct};
use model::ids::{Incarnation, Name, RoomId, ServerId, Uid};
use model::membership::MessageId;
use model::record::{Epoch, Refusal};
use model::rpc::messages::{HistoryMessage, HistoryPage};
use runtime::lifecycle::Lifecycle;
use tokio::sync::mpsc;

pub(crate) const EPOCH: Epoch = Epoch(1_700_000_000_000);

#[derive(Default)]
pub(crate) struct FakeRoom {
    pub(crate) members: BTreeMap<Name, Option<Uid>>,
    /// The acts that were done, in their order.
    pub(crate) acts: Vec<Act>,
    done: HashMap<MessageId, (u64, Committed)>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) rooms: BTreeMap<RoomId, FakeRoom>,
    pub(crate) sessions: Vec<(Uid, UserSession)>,
    pub(crate) silent: Vec<ServerId>,
    /// Acts are done, and their outcomes are lost.
    pub(crate) loses_outcomes: bool,
    /// All requests are refused as too many.
    pub(crate) is_busy: bool,
    /// Requests are kept unanswered.
    pub(crate) hangs: bool,
    kept: Vec<RoomsRequest>,
}

#[derive(Clone, Default)]
pub(crate) struct FakeRooms(Arc<Mutex<State>>);

pub(crate) fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

impl FakeRooms {
    /// Starts the task that answers, and returns the way to it.
    pub(crate) fn start(lifecycle: &Lifecycle) -> (Self, Rooms) {
        let (rooms, requests) = Rooms::new();
        let fake = Self::default();
        lifecycle.spawn(fake.clone().run(requests));
        (fake, rooms)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn enter(&self, rid: &str, name: &str, uid: Option<&str>) {
        let uid = uid.map(|uid| Uid::new(uid).unwrap());
        self.state().rooms.entry(room(rid)).or_default().members.insert(Name::new(name).unwrap(), uid);
    }

    /// The acts of a room, in their order.
    pub(crate) fn acts(&self, rid: &str) -> Vec<Act> {
        self.state().rooms.get(&room(rid)).map(|room| room.acts.clone()).unwrap_or_default()
    }

    /// The texts of a room's messages.
    pub(crate) fn texts(&self, rid: &str) -> Vec<String> {
        let text = |act| if let Act::Say { content, .. } = act { Some(content) } else { None };
        self.acts(rid).into_iter().filter_map(text).collect()
    }

    async fn run(self, mut requests: mpsc::Receiver<RoomsRequest>) {
        while let Some(request) = requests.recv().await {
            let mut state = self.state();
            if state.hangs { state.kept.push(request) } else { state.answer(request) }
        }
    }
}

impl State {
    fn answer(&mut self, request: RoomsRequest) {
        macro_rules! answer {
            ($reply:ident, $found:expr) => {{
                let found = if self.is_busy { Outcome::Busy } else { $found };
                $reply.send(found).ok();
            }};
        }
        match request {
            RoomsRequest::Act { room, act, reply, .. } if !self.is_busy => {
                let outcome = self.rooms.entry(room.clone()).or_default().decide(&room, act);
                if !self.loses_outcomes {
                    reply.send(outcome).ok();
                }
            }
            RoomsRequest::Act { reply, .. } => answer!(reply, Outcome::Busy),
            RoomsRequest::Info { room, reply, .. } => {
                let found = self.rooms.get(&room).map(FakeRoom::info);
                answer!(reply, found.map_or(Outcome::Unknown, Outcome::Done));
            }
            RoomsRequest::Members { room, page, reply, .. } => {
                let found = self.rooms.entry(room).or_default().members(page.after.as_ref(), page.limit);
                answer!(reply, Outcome::Done(found));
            }
            RoomsRequest::Messages { room, query, reply, .. } => {
                answer!(reply, Outcome::Done(self.rooms.entry(room).or_default().messages(query)));
            }
            RoomsRequest::Rules { room, page, reply, .. } => {
                let mut rules = self.rooms.entry(room).or_default().rules();
                rules.retain(|rule| {
                    page.after.as_ref().is_none_or(|after| (&rule.target, &rule.kind) > (&after.0, &after.1))
                });
                let is_cut = rules.len() > page.limit;
                rules.truncate(page.limit);
                let cursor = rules.last().filter(|_| is_cut).map(|rule| (rule.target.clone(), rule.kind));
                answer!(reply, Outcome::Done(RulesPage { rules, cursor }));
            }
            RoomsRequest::Rooms { prefix, page, reply, .. } => {
                let wanted = |room: &&RoomId| {
                    room.as_str().starts_with(&prefix) && page.after.as_ref().is_none_or(|after| *room > after)
                };
                let rooms: Vec<RoomId> = self.rooms.keys().filter(wanted).take(page.limit).cloned().collect();
                let cursor = rooms.last().filter(|_| rooms.len() == page.limit).cloned();
                answer!(reply, Outcome::Done(RoomsPage { rooms, cursor }));
            }
            RoomsRequest::Servers { reply, .. } => {
                let id = ServerId::new("chat-server-1").unwrap();
                answer!(reply, Outcome::Done(vec![ServerLine { id, kind: "chat".to_owned(), state: "up" }]));
            }
            RoomsRequest::Sessions { uid, reply, .. } => {
                let found = self.sessions.iter().filter(|(user, _)| *user == uid).map(|(_, session)| session.clone());
                let found = found.collect();
                answer!(reply, Outcome::Done(FromConnectors { found, silent: self.silent.clone() }));
            }
            RoomsRequest::Disconnect { uid, reply, .. } => {
                let before = self.sessions.len();
                self.sessions.retain(|(user, _)| *user != uid);
                let found = before - self.sessions.len();
                answer!(reply, Outcome::Done(FromConnectors { found, silent: self.silent.clone() }));
            }
            RoomsRequest::Users { prefix, page, reply, .. } => {
                let mut users: BTreeMap<Uid, usize> = BTreeMap::new();
                self.sessions.iter().for_each(|(uid, _)| *users.entry(uid.clone()).or_default() += 1);
                let wanted = |uid: &Uid| {
                    uid.as_str().starts_with(&prefix) && page.after.as_ref().is_none_or(|after| uid > after)
                };
                let users = users.into_iter().filter(|(uid, _)| wanted(uid)).take(page.limit);
                let found = users.map(|(uid, sessions)| ConnectedUser { uid, sessions }).collect();
                answer!(reply, Outcome::Done(FromConnectors { found, silent: self.silent.clone() }));
            }
        }
    }
}

/// A session of a user on a connector.
pub(crate) fn session(number: u64, member: Option<(&str, &str)>) -> UserSession {
    UserSession {
        connector: ServerId::new("connector-server-1").unwrap(),
        incarnation: Incarnation(1 << 60),
        number,
        member: member.map(|(rid, name)| (room(rid), Name::new(name).unwrap())),
    }
}

impl FakeRoom {
    fn decide(&mut self, room: &RoomId, IdentifiedAct { id, digest, act }: IdentifiedAct) -> Outcome<Committed> {
        if let Some((known, committed)) = self.done.get(&id) {
            return if *known == digest { Outcome::Done(*committed) } else { Outcome::Refused(Refusal::KeyReused) };
        }
        match &act {
            Act::Expel { name, .. } if self.members.remove(name).is_none() => {
                return Outcome::Refused(Refusal::NoSuchMember);
            }
            Act::Revoke { .. } if !room.is_of_all_rooms() => return Outcome::Refused(Refusal::WrongRoom),
            _ => {}
        }
        self.acts.push(act);
        let committed = self.last();
        self.done.insert(id, (digest, committed));
        Outcome::Done(committed)
    }

    /// The last entry: each act is one.
    fn last(&self) -> Committed {
        let seq = self.acts.len() as u64 * 1_000;
        Committed { seq, time: EPOCH.0 + seq, epoch: EPOCH }
    }

    fn info(&self) -> RoomInfo {
        let owner = ServerId::new("chat-server-1").unwrap();
        RoomInfo { owner, members: self.members.len(), last: self.last() }
    }

    fn members(&self, after: Option<&Name>, limit: usize) -> MembersPage {
        let behind = self.members.iter().filter(|(name, _)| after.is_none_or(|after| *name > after));
        let member = |(name, uid): (&Name, &Option<Uid>)| Member {
            name: name.clone(),
            uid: uid.clone(),
            info: uid.as_ref().map(|_| "{\"level\":7}".into()),
        };
        let members: Vec<Member> = behind.take(limit).map(member).collect();
        let cursor = members.last().filter(|_| members.len() == limit).map(|member| member.name.clone());
        MembersPage { members, total: self.members.len(), last: self.last(), cursor }
    }

    fn messages(&self, MessagesQuery { before, after, limit, .. }: MessagesQuery) -> MessagesPage {
        let message = |(seq, act): (u64, &Act)| {
            let Act::Say { from, content, meta } = act else { return None };
            let (from, content, meta) = (from.clone(), content.clone(), meta.clone().boxed());
            Some(HistoryMessage { seq, time: EPOCH.0 + seq, from, to: None, content, meta })
        };
        let numbered = (1..).map(|number: u64| number * 1_000).zip(&self.acts);
        let mut messages: Vec<HistoryMessage> = numbered.filter_map(message).collect();
        messages.retain(|message| {
            before.is_none_or(|before| message.seq < before) && after.is_none_or(|after| message.seq > after)
        });
        let is_cut = messages.len() > limit;
        if after.is_some() {
            messages.truncate(limit);
        } else {
            messages.drain(..messages.len().saturating_sub(limit));
        }
        let end = if after.is_some() { messages.last() } else { messages.first() };
        let cursor = end.filter(|_| is_cut).map(|message| message.seq);
        MessagesPage { epoch: EPOCH, page: HistoryPage { messages, cursor, complete: true } }
    }

    fn rules(&self) -> Vec<RoomRule> {
        let mut rules = BTreeMap::new();
        for act in &self.acts {
            if let Act::Rule { target, kind, until, by } = act {
                rules.insert(
                    (target.clone(), *kind),
                    RoomRule { target: target.clone(), kind: *kind, until: *until, by: by.clone() },
                );
            }
        }
        rules.into_values().filter(|rule| rule.until != 1).collect()
    }
}
