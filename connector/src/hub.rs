//! Everything a connector knows: its sessions, their rooms, the chat servers. Pure: inputs in, effects out.

mod chats;
mod effects;
mod incarnations;
pub mod pacing;
mod requests;
mod senders;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use shared::backoff;
use shared::frontend::Ending;
use shared::ids::{RoomId, ServerId};
use shared::lineage::Lineage;
use shared::log_rate_limit::LogRateLimit;
use shared::rpc::messages::{FromChat, FromConnector, Item, KnownIncarnation, LogPosition, RpcRequest, RpcResponse};
use shared::rpc::{self, RpcError};
use shared::size_limits::SizeLimits;
use tracing::{debug, error, info};

use crate::owners::{Hearing, Owners};
use crate::room::proposer::Ask;
use crate::room::{Act, Common, Context, Room};

use incarnations::Rival;
use pacing::Attaches;
use requests::Read;

pub use effects::{Counts, Effect, Limits, Now, Request, Told};

/// Questions to chat servers are numbered so that the room can be told from the number: this many per room, in turn.
const TOKENS_PER_ROOM: u64 = 1 << 16;

/// A client connection.
#[derive(Debug, Default)]
struct Session {
    room: Option<RoomId>,
    entering: Option<RoomId>,
    in_flight: usize,
    /// Requests for the room that is being entered, which can be answered only behind that.
    behind_enter: Vec<(Ask, Read)>,
}

/// A connector without its edges.
#[derive(Debug)]
pub struct Hub {
    common: Common,
    owners: Owners,
    max_in_flight: usize,
    request_ms: u64,
    sessions: HashMap<u64, Session>,
    // Ordered, as are the busy ones: what happens must depend on nothing but the inputs, or no run of a simulation could be
    // repeated.
    rooms: BTreeMap<RoomId, Entry>,
    by_serial: HashMap<u64, RoomId>,
    /// Rooms in which time changes something.
    busy: BTreeSet<RoomId>,
    serial: u64,
    numbers: u64,
    /// Messages to chat servers so far.
    count: u64,
    /// The runs of this process.
    lineage: Lineage,
    /// The word of chat servers on a later process with this connector's id.
    rival: Option<Rival>,
    /// The last heartbeats, by their tokens.
    heartbeats: BTreeMap<u64, ServerId>,
    heartbeat_number: u64,
    /// Clients are sent away: nobody comes back to this connector.
    stopping: bool,
    /// Clients are sent elsewhere: those that resume are waited for.
    draining: bool,
    /// Rooms that have something to propose, while it is gathered.
    gathered: Option<BTreeSet<RoomId>>,
    attaches: Attaches,
}

#[derive(Debug)]
struct Entry {
    room: Room,
    /// The chat server that is asked about it.
    chat: ServerId,
    serial: u64,
    asked: u64,
}

impl Hub {
    /// No sessions, no rooms.
    pub fn new(common: Common, owners: Owners, limits: Limits) -> Self {
        Self {
            lineage: Lineage::new(common.incarnation),
            rival: None,
            common,
            owners,
            max_in_flight: limits.max_in_flight,
            request_ms: limits.request_ms,
            sessions: HashMap::new(),
            rooms: BTreeMap::new(),
            by_serial: HashMap::new(),
            busy: BTreeSet::new(),
            serial: 0,
            numbers: 0,
            count: 0,
            heartbeats: BTreeMap::new(),
            heartbeat_number: 0,
            stopping: false,
            draining: false,
            gathered: None,
            attaches: Attaches::new(limits.attaches_per_tick),
        }
    }

    /// The broker takes messages of another size. What is too large now is found when it would be sent.
    pub fn set_size_limits(&mut self, size_limits: SizeLimits) {
        self.common.size_limits = size_limits;
    }

    /// Requests that are not answered yet.
    pub fn requests_waiting(&self) -> usize {
        self.sessions.values().map(|session| session.in_flight).sum()
    }

    /// Rooms that are followed.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// How much there is of what; looks at every session.
    pub fn counts(&self) -> Counts {
        let counts = Counts { rooms: self.rooms.len(), ..Counts::default() };
        self.sessions.values().fold(counts, |Counts { rooms, members, in_flight }, session| Counts {
            rooms,
            members: members + usize::from(session.room.is_some()),
            in_flight: in_flight + session.in_flight,
        })
    }

    /// Whether every room has all that the log said of it, and nothing is under way.
    pub fn is_settled(&self) -> bool {
        self.rooms.values().all(|entry| entry.room.is_settled())
    }

    /// A client connected.
    pub fn open(&mut self, session: u64) {
        self.sessions.insert(session, Session::default());
    }

    /// A client is gone. One whose connection broke stays in its room for a while.
    pub fn close(&mut self, session: u64, ending: Ending, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(Session { room, entering, .. }) = self.sessions.remove(&session) else { return effects };
        if let Some(entering) = entering.filter(|entering| room.as_ref() != Some(entering)) {
            self.in_room(&entering, now, &mut effects, |room, cx| room.close(session, cx));
        }
        if let Some(room) = room {
            let end = match ending {
                _ if self.stopping => Room::close,
                _ if self.draining => Room::send_away,
                Ending::Lost => Room::hold,
                Ending::Closed => Room::close,
            };
            self.in_room(&room, now, &mut effects, |room, cx| end(room, session, cx));
        }
        effects
    }

    /// The connector is about to end, and sends its clients elsewhere: those that resume do so unnoticed.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// The connector is about to end: no session is kept for its client to come back here.
    pub fn stop(&mut self, now: Now) -> Vec<Effect> {
        self.stopping = true;
        let mut effects = Vec::new();
        for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.in_known_room(&room, now, &mut effects, Room::release);
        }
        effects
    }

    /// What the next requests propose is gathered, so that what is for one room is proposed together.
    pub fn gather(&mut self) {
        self.gathered.get_or_insert_default();
    }

    /// Proposes what was gathered, and gathers no more.
    pub fn propose(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for room in self.gathered.take().unwrap_or_default() {
            self.in_known_room(&room, now, &mut effects, Room::go_on);
        }
        effects
    }

    /// A message of a chat server, which may be proven to be its own, by a signature.
    ///
    /// # Errors
    /// If the bytes are not such a message; nothing has changed then.
    pub fn message(&mut self, body: &[u8], is_proven: bool, now: Now) -> Result<Vec<Effect>, RpcError> {
        let FromChat { chat, incarnation, number, mut answer, stats, .. } = rpc::decode(body)?;
        let mut effects = Vec::new();
        if !self.is_of_chat_server(&chat, &answer, now, &mut effects) {
            return Ok(effects);
        }
        if let RpcResponse::Stale(known) = answer {
            self.is_stale((&chat, incarnation), known, now, &mut effects);
            return Ok(effects);
        }
        let hearing = self.owners.hear(&chat, incarnation, (number, is_proven), now.ticks);
        match hearing {
            Hearing::OldRun => {
                debug!(%chat, "message of an earlier run of a chat server ignored");
                return Ok(effects);
            }
            Hearing::Implausible | Hearing::Far => {
                self.refuse(&chat, (incarnation, number));
                if hearing == Hearing::Far {
                    self.attach_all(now, &mut effects);
                }
                return Ok(effects);
            }
            Hearing::Next | Hearing::Old | Hearing::Gap | Hearing::NewRun | Hearing::Reset => {}
        }
        // A copy of an old message, or one that came late, says nothing of the present: it may be from
        // before its sender said that it leaves.
        let is_present = hearing != Hearing::Old;
        if is_present {
            let stays = answer == RpcResponse::Alive && hearing.is_newest();
            self.is_there((&chat, incarnation), stays, now, &mut effects);
        }
        // Late ones are older than those that are known.
        stats.filter(|_| hearing.is_newest()).into_iter().for_each(|stats| self.owners.note_stats(&chat, stats));
        if !self.lineage.earlier().is_empty() {
            self.lineage.unify_response(&self.common.me, &mut answer);
        }
        match hearing {
            Hearing::Gap | Hearing::NewRun | Hearing::Reset => self.attach_all(now, &mut effects),
            _ => {}
        }
        if is_present && answer == RpcResponse::Leaving && self.owners.leaves(&chat, incarnation) {
            info!(%chat, "a chat server is about to end; its rooms are asked for at others");
            self.ask_elsewhere(now, &mut effects);
        }
        self.answer((&chat, hearing), answer, now, &mut effects);
        Ok(effects)
    }

    fn answer(
        &mut self,
        (chat, hearing): (&ServerId, Hearing),
        answer: RpcResponse,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match answer {
            RpcResponse::Alive | RpcResponse::Leaving | RpcResponse::Stale(_) => {}
            // The chain says whether a record is to be applied, however it comes. A room that nobody here knows has
            // members in the log that we should have seen off: the room is opened to do so.
            RpcResponse::Record { room, epoch, position, record } => {
                let place = LogPosition { epoch, position, id: record.id };
                self.in_room(&room, now, effects, |room, cx| {
                    room.record(epoch, position, &record, cx);
                    if hearing.is_newest() {
                        room.owner_is_at(place, cx);
                    }
                });
            }
            // An answer that newer ones overtook must not be taken for the present, nor that of one who is not asked any more.
            RpcResponse::Attached { ref room, .. } if !hearing.is_newest() || !self.is_asked(chat, room) => {}
            RpcResponse::NotOwner { ref room } if !self.is_asked(chat, room) => {}
            RpcResponse::History { .. } | RpcResponse::NotOwner { .. } | RpcResponse::Unavailable { .. }
                if hearing == Hearing::Old => {}
            RpcResponse::Attached { room, asked, now: place, news } => {
                self.in_known_room(&room, now, effects, |room, cx| room.attached(asked, place, news, cx));
            }
            RpcResponse::History { room, number, upto, page } => {
                self.in_known_room(&room, now, effects, |room, cx| room.messages(number, upto, page, cx));
            }
            RpcResponse::NotOwner { room } => self.in_known_room(&room, now, effects, Room::not_owner),
            RpcResponse::Unavailable { room, because } => {
                self.in_known_room(&room, now, effects, |room, cx| room.unavailable(because, cx));
            }
        }
    }

    /// To be called some twenty times a second: deadlines and repeats.
    pub fn tick(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut ended = Vec::new();
        let first = self.attaches.begin_tick();
        let (before, from): (Vec<RoomId>, Vec<RoomId>) =
            self.busy.iter().cloned().partition(|room| first.as_ref().is_some_and(|first| room < first));
        for room in from.into_iter().chain(before) {
            let mut keep = true;
            self.in_known_room(&room, now, &mut effects, |room, cx| keep = room.tick(cx));
            self.attaches.has_ticked(&room);
            if !keep {
                ended.push(room);
            }
        }
        for room in ended {
            self.busy.remove(&room);
            if let Some(entry) = self.rooms.remove(&room) {
                self.by_serial.remove(&entry.serial);
            }
        }
        effects
    }

    fn in_room(
        &mut self,
        room: &RoomId,
        now: Now,
        effects: &mut Vec<Effect>,
        action: impl FnOnce(&mut Room, &mut Context<'_>),
    ) {
        if !self.rooms.contains_key(room) {
            let Ok(chat) = self.owners.of(room) else { return };
            // Serial 0 is for heartbeats.
            self.serial += 1;
            self.by_serial.insert(self.serial, room.clone());
            let (serial, asked) = (self.serial, 0);
            let entry = Entry { room: Room::new(room.clone(), &self.common, now.ticks), chat, serial, asked };
            self.rooms.insert(room.clone(), entry);
        }
        self.in_known_room(room, now, effects, action);
    }

    fn in_known_room(
        &mut self,
        id: &RoomId,
        now: Now,
        effects: &mut Vec<Effect>,
        action: impl FnOnce(&mut Room, &mut Context<'_>),
    ) {
        let Some(entry) = self.rooms.get_mut(id) else { return };
        let mut acts = Vec::new();
        let chance = u64::try_from(now.chance >> 64).unwrap_or_default();
        let mut cx = Context {
            common: &self.common,
            now: now.ticks,
            chance: backoff::draw(chance, entry.serial),
            numbers: &mut self.numbers,
            acts: &mut acts,
            attaches: &mut self.attaches,
            gathers: self.gathered.is_some(),
        };
        action(&mut entry.room, &mut cx);
        #[cfg(debug_assertions)]
        entry.room.assert_sound(&self.common);
        if let Some(gathered) = &mut self.gathered
            && entry.room.has_to_propose()
            && !gathered.contains(id)
        {
            gathered.insert(id.clone());
        }
        if entry.room.is_busy() && !self.busy.contains(id) {
            self.busy.insert(id.clone());
        } else if !entry.room.is_busy() {
            self.busy.remove(id);
        }
        let is_conclusion = |act: &Act| match act {
            Act::Entered(session) | Act::NotEntered(session) => Some(*session),
            _ => None,
        };
        let concluded: Vec<u64> = acts.iter().filter_map(is_conclusion).collect();
        for act in acts {
            self.perform(id, act, now, effects);
        }
        // Last, so that clients are answered in the order in which they asked.
        for session in concluded {
            self.read_behind_enter(session, id, now, effects);
        }
    }

    fn perform(&mut self, room: &RoomId, act: Act, now: Now, effects: &mut Vec<Effect>) {
        match act {
            Act::Ask(question) => self.ask(room, &question, effects),
            Act::Answer(Ask { session, id, .. }, reply) => {
                self.finish(session, id, Told::Room(room.clone(), reply), effects);
            }
            Act::Push(to, push) => effects.push(Effect::Push { room: room.clone(), to, push }),
            Act::Entered(session) => self.entered(session, room, now, effects),
            Act::NotEntered(number) => {
                if let Some(session) = self.sessions.get_mut(&number) {
                    session.entering = None;
                }
            }
            Act::Displaced(session) => effects.push(Effect::Displaced(session)),
            Act::MovedAway(session) => effects.push(Effect::MovedAway(session)),
            Act::Lost(session) => effects.push(Effect::Lost(session)),
        }
    }

    /// A session is in; the room it was in before is left.
    fn entered(&mut self, number: u64, room: &RoomId, now: Now, effects: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        session.entering = None;
        let before = session.room.replace(room.clone());
        effects.push(Effect::Entered(number));
        if let Some(before) = before.filter(|before| before != room) {
            self.in_known_room(&before, now, effects, |room, cx| room.close(number, cx));
        }
    }

    fn ask(&mut self, room: &RoomId, question: &RpcRequest, effects: &mut Vec<Effect>) {
        let Some(entry) = self.rooms.get_mut(room) else { return };
        entry.asked = (entry.asked + 1) % TOKENS_PER_ROOM;
        let answered = !matches!(question, RpcRequest::Detach { .. });
        let token = answered.then_some(entry.serial * TOKENS_PER_ROOM + entry.asked);
        let chat = entry.chat.clone();
        effects.extend(self.ask_effect(chat, token, None, question));
    }

    fn ask_effect(
        &mut self,
        chat: ServerId,
        token: Option<u64>,
        known: Option<KnownIncarnation>,
        question: &RpcRequest,
    ) -> Option<Effect> {
        let (method, room) = (method(question), question.room().cloned());
        self.count += 1;
        let message = FromConnector {
            v: rpc::VERSION,
            connector: self.common.me.clone(),
            incarnation: self.common.incarnation,
            continues: self.lineage.earlier().to_vec(),
            count: self.count,
            known,
            question: question.clone(),
        };
        match rpc::encode(&message) {
            Ok(body) => Some(Effect::Ask { chat, token, method, room, body }),
            Err(error) => {
                static UNWRITABLE: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = UNWRITABLE.pass() {
                    error!(%error, suppressed, "a question to a chat server cannot be written");
                }
                None
            }
        }
    }

    fn finish(&mut self, session: u64, id: Option<u32>, told: Told, effects: &mut Vec<Effect>) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.in_flight = session.in_flight.saturating_sub(1);
        }
        tell(effects, session, id, told);
    }
}

fn tell(effects: &mut Vec<Effect>, session: u64, id: Option<u32>, answer: Told) {
    effects.extend(id.map(|id| Effect::Answer { session, id, answer }));
}

/// What the `Method` header says of a question: what is inside a proposal, each once.
fn method(question: &RpcRequest) -> String {
    match question {
        RpcRequest::Attach { .. } => "attach".to_owned(),
        RpcRequest::History { .. } => "history".to_owned(),
        RpcRequest::Detach { .. } => "detach".to_owned(),
        RpcRequest::Heartbeat => "heartbeat".to_owned(),
        RpcRequest::Probe => "probe".to_owned(),
        RpcRequest::Propose { items, .. } => {
            let mut methods: Vec<&str> = items.iter().map(Item::method).collect();
            methods.sort_unstable();
            methods.dedup();
            methods.join(",")
        }
    }
}

#[cfg(test)]
mod tests;
