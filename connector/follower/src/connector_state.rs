//! State of a connector: its sessions, their rooms, its chat servers. Pure: takes inputs and
//! returns effects.

pub mod attach_rate_limit;
mod chat_liveness;
mod drain;
mod effects;
mod incarnations;
mod logins;
pub(crate) mod quotas;
mod receive;
pub(crate) mod request_writer;
mod requests;
mod senders;
pub(crate) mod sessions;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::backoff;
use model::ending::Ending;
use model::ids::{RoomId, ServerId};
use model::names::NamePolicy;
use model::network::AddressGroup;
use model::permissions::Permissions;
use model::room::RoomState;
use model::rpc::messages::LogPosition;
use model::size_limits::SizeLimits;

use crate::chat_servers::ChatServers;
use crate::room::{Common, Context, Room};

use attach_rate_limit::AttachRateLimit;
use drain::Drain;
use incarnations::Rival;
use logins::Logins;
use quotas::Quotas;
use request_writer::{OwnerLink, RequestWriter};
use sessions::{Session, SessionRoom, Sessions};

pub use effects::{ClientRequest, ClientResponse, Effect, Gauges, Limits, Now};
pub use logins::LoginRules;
pub use quotas::{QuotaLimits, QuotaRefusal};

/// A connector without its edges.
#[derive(Debug)]
pub struct ConnectorState {
    common: Common,
    chat_servers: ChatServers,
    max_in_flight: usize,
    request_ms: u64,
    sessions: Sessions,
    quotas: Quotas,
    names: NamePolicy,
    logins: Logins,
    permissions: Permissions,
    members_per_address: usize,
    // Ordered maps, as for `ticking`: effects must depend on the inputs alone, not on a hash seed,
    // or a simulated run could not be repeated.
    // Boxed: a third of the slots in the map's nodes is empty.
    rooms: BTreeMap<RoomId, Box<RoomSlot>>,
    rooms_by_serial: HashMap<u64, RoomId>,
    /// Rooms that must be ticked: for these time alone changes something.
    ticking: BTreeSet<RoomId>,
    last_serial: u64,
    last_number: u64,
    request_writer: RequestWriter,
    /// Reports of chat servers about a later process with this connector's id.
    rival: Option<Rival>,
    /// Servers of the last heartbeat round, by token.
    heartbeats: BTreeMap<u64, ServerId>,
    heartbeat_number: u64,
    /// Set on stop: no session is held for its client to resume.
    stopping: bool,
    /// While it drains, sessions of clients that resume are held, all others are closed.
    drain: Drain,
    /// Rooms with something to propose, while a batch is open.
    batched: Option<BTreeSet<RoomId>>,
    attach_limit: AttachRateLimit,
}

#[derive(Debug)]
struct RoomSlot {
    room: Room,
    /// The chat server to which requests about the room are sent.
    chat: ServerId,
    serial: u64,
    last_token: u64,
}

impl ConnectorState {
    /// Returns a connector without sessions and rooms.
    pub fn new(common: Common, chat_servers: ChatServers, limits: Limits) -> Self {
        Self {
            rival: None,
            common,
            max_in_flight: limits.max_in_flight,
            request_ms: limits.request_ms,
            sessions: Sessions::default(),
            quotas: Quotas::new(limits.quotas, chat_servers.connectors()),
            chat_servers,
            names: limits.names,
            logins: Logins::new(limits.logins),
            permissions: limits.permissions,
            members_per_address: limits.members_per_address,
            rooms: BTreeMap::new(),
            rooms_by_serial: HashMap::new(),
            ticking: BTreeSet::new(),
            last_serial: 0,
            last_number: 0,
            request_writer: RequestWriter::default(),
            heartbeats: BTreeMap::new(),
            heartbeat_number: 0,
            stopping: false,
            drain: Drain::default(),
            batched: None,
            attach_limit: AttachRateLimit::new(limits.attaches_per_tick),
        }
    }

    /// Sets the size limits that the broker has now. Queued items above them are refused when they
    /// would be proposed.
    pub fn set_size_limits(&mut self, size_limits: SizeLimits) {
        self.common.size_limits = size_limits;
    }

    /// Returns the number of requests without a response.
    pub fn requests_waiting(&self) -> usize {
        self.sessions.in_flight()
    }

    /// Returns the number of rooms that are followed.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Returns the position up to which a room is followed, and its state there.
    pub fn state(&self, room: &RoomId) -> Option<(LogPosition, &RoomState)> {
        self.rooms.get(room).map(|slot| slot.room.state())
    }

    /// Returns the gauges. Looks at every session.
    pub fn gauges(&self) -> Gauges {
        Gauges { rooms: self.rooms.len(), members: self.sessions.members(), in_flight: self.sessions.in_flight() }
    }

    /// Returns true if every room is caught up and no request is in flight.
    pub fn is_settled(&self) -> bool {
        self.rooms.values().all(|slot| slot.room.is_settled())
    }

    /// Adds the session of a client that connected, from an address if that is known.
    pub fn open(&mut self, session: u64, address: Option<AddressGroup>) {
        self.sessions.open(session, address);
    }

    /// Removes a session. A session whose connection broke is held in its room for a while.
    pub fn close(&mut self, session: u64, ending: Ending, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        // Both sides may close a connection: it is closed once.
        let Some(Session { room, user, .. }) = self.sessions.remove(session) else { return effects };
        self.quotas.end_session(session);
        if let Some(user) = user {
            self.logins.forget(session, &user);
        }
        let (entering, room) = match room {
            SessionRoom::None => (None, None),
            SessionRoom::Entering { room, from, .. } => (Some(room), from),
            SessionRoom::In(room) => (None, Some(room)),
        };
        if let Some(entering) = entering.filter(|entering| room.as_ref() != Some(entering)) {
            self.in_room(&entering, now, &mut effects, |room, cx| room.close(session, cx));
        }
        if let Some(room) = room {
            let end = match ending {
                _ if self.stopping => Room::close,
                _ if self.drain.is_draining => Room::close_for_drain,
                Ending::Lost => Room::hold,
                Ending::Closed => Room::close,
            };
            self.in_room(&room, now, &mut effects, |room, cx| end(room, session, cx));
        }
        effects
    }

    /// Begins the shutdown: no session is held from now on, and those that are held leave their
    /// rooms.
    pub fn stop(&mut self, now: Now) -> Vec<Effect> {
        self.stopping = true;
        let mut effects = Vec::new();
        for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.in_known_room(&room, now, &mut effects, Room::release_held);
        }
        effects
    }

    /// Opens a batch: rooms queue what the next requests propose, so that each room makes one
    /// proposal.
    pub fn begin_batch(&mut self) {
        self.batched.get_or_insert_default();
    }

    /// Closes the batch and proposes what was queued.
    pub fn propose_batch(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for room in self.batched.take().unwrap_or_default() {
            self.in_known_room(&room, now, &mut effects, Room::advance);
        }
        effects
    }

    /// Handles deadlines and repeats. The caller ticks some twenty times a second.
    pub fn tick(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.expire_logins(now, &mut effects);
        let mut ended = Vec::new();
        // Rooms take turns: the tick begins with the room at which the last one ran out of
        // attaches.
        let first = self.attach_limit.begin_tick();
        let (before, from): (Vec<RoomId>, Vec<RoomId>) =
            self.ticking.iter().cloned().partition(|room| first.as_ref().is_some_and(|first| room < first));
        for room in from.into_iter().chain(before) {
            let mut keep = true;
            self.in_known_room(&room, now, &mut effects, |room, cx| keep = room.tick(cx));
            self.attach_limit.end_room_tick(&room);
            if !keep {
                ended.push(room);
            }
        }
        for room in ended {
            self.ticking.remove(&room);
            if let Some(slot) = self.rooms.remove(&room) {
                let by_serial = self.rooms_by_serial.remove(&slot.serial);
                debug_assert_eq!(by_serial.as_ref(), Some(&room));
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
            // A list without chat servers: nothing can be known of the room.
            let Ok(chat) = self.chat_servers.server_for(room) else { return };
            // Serial 0 is for heartbeats.
            self.last_serial += 1;
            self.rooms_by_serial.insert(self.last_serial, room.clone());
            let (serial, last_token) = (self.last_serial, 0);
            let slot = Box::new(RoomSlot { room: Room::new(&self.common, now.ticks), chat, serial, last_token });
            self.rooms.insert(room.clone(), slot);
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
        // A message about a room that was dropped meanwhile.
        let Some(slot) = self.rooms.get_mut(id) else { return };
        let chance = u64::try_from(now.chance >> 64).unwrap_or_default();
        let RoomSlot { room, chat, serial, last_token } = &mut **slot;
        let mut cx = Context {
            room: id,
            common: &self.common,
            now: now.ticks,
            chance: backoff::draw(chance, *serial),
            last_number: &mut self.last_number,
            is_batching: self.batched.is_some(),
            attach_limit: &mut self.attach_limit,
            owner: OwnerLink { chat, serial: *serial, last_token, writer: &mut self.request_writer },
            sessions: &mut self.sessions,
            quotas: &mut self.quotas,
            log_shortage: self.chat_servers.log_shortage(chat, id),
            concluded: Vec::new(),
            effects: &mut *effects,
        };
        action(room, &mut cx);
        let concluded = cx.concluded;
        #[cfg(debug_assertions)]
        room.assert_sound(&self.common);
        if let Some(batched) = &mut self.batched
            && room.has_to_propose()
            && !batched.contains(id)
        {
            batched.insert(id.clone());
        }
        if room.needs_tick() && !self.ticking.contains(id) {
            self.ticking.insert(id.clone());
        } else if !room.needs_tick() {
            self.ticking.remove(id);
        }
        #[cfg(debug_assertions)]
        self.assert_sound();
        self.after_enters(id, concluded, now, effects);
    }

    /// Asserts that the indexes of rooms are those of the rooms, where there are few.
    #[cfg(debug_assertions)]
    fn assert_sound(&self) {
        const ASSERTED: usize = 8;
        if self.rooms.len() > ASSERTED {
            return;
        }
        assert_eq!(self.rooms_by_serial.len(), self.rooms.len());
        for (id, slot) in &self.rooms {
            assert_eq!(self.rooms_by_serial.get(&slot.serial), Some(id));
            assert_eq!(self.ticking.contains(id), slot.room.needs_tick(), "{id:?}");
        }
        assert!(self.ticking.iter().chain(self.batched.iter().flatten()).all(|id| self.rooms.contains_key(id)));
    }

    fn complete_request(&mut self, session: u64, id: Option<u32>, response: ClientResponse, effects: &mut Vec<Effect>) {
        self.sessions.end_request(session);
        respond(effects, session, id, response);
    }
}

fn respond(effects: &mut Vec<Effect>, session: u64, id: Option<u32>, response: ClientResponse) {
    effects.extend(id.map(|id| Effect::Respond { session, id, response }));
}

#[cfg(test)]
mod tests;
