//! All rooms of a chat server, and its links to connectors. Pure: takes messages and results of log
//! operations, returns messages to send and log operations to run.

mod connector_links;
mod duplicate_id;
mod effects;
mod failover;
mod handover;
pub(crate) mod history_readers;
mod incarnations;
mod log_parts;
pub(crate) mod outgoing;
pub(crate) mod record_cache;
mod room_lists;
mod senders;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::allowed_senders::AllowedSenders;
use model::failure_detector::{FailureDetector, LastMessages};
use model::ids::{Incarnation, RoomId, ServerId};
use model::lineage::Lineage;
use model::log_parts::{LogParts, PerPart};
use model::placement::API;
use model::record::RecordIds;
use model::room::RoomState;
use model::rpc::messages::{FromConnector, LogPosition, RpcRequest, RpcResponse};
use model::rpc::{self, RpcError, Trace};
use model::servers::Servers;
use model::settings::Settings;
use model::size_limits::SizeLimits;

use crate::connector_liveness::ConnectorLiveness;
use crate::draft::{Author, RoomPolicy};
use crate::event::Event;
use crate::log_operation::LogResult;
use crate::log_space::LogSpace;
use crate::room::{ActMessage, Attach, Context, HistoryRequest, Look, Now, Owner, Proposal, Requester};
use duplicate_id::NewerRunReport;
pub use effects::{Effect, LogRequester, OutgoingReply};
use failover::HomeLiveness;
use history_readers::HistoryReaders;
use incarnations::SenderCheck;
use outgoing::{Outgoing, Receiver};
use room_lists::RoomLists;

/// Milliseconds of silence after which a connector follows no room any more. Its next message finds
/// a number missing, and it attaches again.
const SILENCE_MS: u64 = 30_000;

/// Most requests that wait for a probe of a home; further ones are dropped, and their connectors
/// repeat them.
const MAX_WAITING: usize = 4_096;

/// Milliseconds between two sweeps over all rooms.
const SWEEP_MS: u64 = 5_000;

/// The rooms of one chat server.
#[derive(Debug)]
pub struct Rooms {
    me: ServerId,
    /// The incarnation that the process started with, and the present one.
    first_incarnation: Incarnation,
    incarnation: Incarnation,
    servers: Arc<Servers>,
    senders: AllowedSenders,
    policy: Arc<RoomPolicy>,
    forget_ms: u64,
    lease_secs: u32,
    // Ordered: effects must depend on the inputs only, or no run of a simulation could be repeated.
    // Boxed: a third of the slots in the map's nodes is empty.
    owners: BTreeMap<RoomId, Box<Owner>>,
    /// Owners created in this run; makes their record ids distinct.
    owners_created: u64,
    /// Rooms that wait for the time of a retry, or of a record of joins and leaves.
    retrying: BTreeSet<RoomId>,
    /// Rooms with waiting requests whose log cannot be used.
    unusable: BTreeSet<RoomId>,
    swept_at: u64,
    links: BTreeMap<ServerId, ConnectorLink>,
    /// Liveness of the connectors, by their links.
    liveness: Arc<ConnectorLiveness>,
    readers: HistoryReaders,
    lists: RoomLists,
    homes: HomeLiveness,
    /// Rooms of other homes in which this server is the failover owner, or was lately.
    failover_rooms: BTreeSet<RoomId>,
    /// Some owners do not know the present liveness yet.
    liveness_changed: bool,
    /// Requests about rooms of other homes, until the state of the home is known.
    waiting_requests: Vec<(Requester, Incarnation, RpcRequest)>,
    /// All chat servers append to one log, so compare-and-set makes failover safe.
    is_fenced: bool,
    is_handing_over: bool,
    /// Another process with this server's id started later: this one stays silent.
    is_yielding: bool,
    /// Records appended in this run.
    records_appended: u64,
    log_parts: LogParts,
    log_spaces: PerPart<LogSpace>,
    effects: Vec<Effect>,
}

/// The identity of a chat server, and the servers around it.
#[derive(Debug)]
pub struct Identity {
    /// The server.
    pub me: ServerId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// All servers; placement of the rooms depends on them.
    pub servers: Arc<Servers>,
    /// All chat servers append to one log. Otherwise each has its own, and a room waits for its
    /// home.
    pub is_fenced: bool,
}

/// A message of another server, as received.
#[derive(Debug)]
pub struct IncomingRequest<'a> {
    /// The encoded message.
    pub body: &'a [u8],
    /// The subject of the response.
    pub reply: Option<String>,
    /// A signature proves the sender, and thereby its message count.
    // Without a signature the count is not checked: a forged high count would shut out the sender's
    // own messages.
    pub is_proven: bool,
    /// Trace of the client request behind the message.
    pub trace: Trace,
}

/// The state of a connector.
#[derive(Debug, Default)]
pub(crate) struct ConnectorLink {
    runs: Lineage,
    /// Earlier incarnations that were accepted and are not continued by the present one.
    former_incarnations: VecDeque<Incarnation>,
    /// The highest message counts of the present incarnation's signed messages, and of its signed
    /// heartbeats.
    highest_count: u64,
    highest_heartbeat: u64,
    /// A heartbeat of the present incarnation named this server's incarnation.
    accepts_us: bool,
    /// The report of its heartbeats on a later run of this server.
    report: Option<NewerRunReport>,
    /// Number of the last message to the connector.
    // Also rises for messages that could not be sent, so that the connector notices the loss.
    number: u64,
    /// The times of the present incarnation's messages.
    messages: LastMessages,
    is_silent: bool,
    /// Counts seconds of silence in which this server could receive.
    detector: FailureDetector,
}

impl Rooms {
    /// Creates a server without rooms in memory.
    pub fn new(identity: Identity, settings: &Settings, size_limits: SizeLimits) -> Self {
        let Identity { me, incarnation, servers, is_fenced } = identity;
        let lease_secs = settings.room.lease_secs;
        Self {
            senders: AllowedSenders::new(&servers, u64::from(lease_secs) * 1_000),
            servers,
            me,
            first_incarnation: incarnation,
            incarnation,
            policy: Arc::new(RoomPolicy::new(settings, size_limits)),
            forget_ms: u64::from(settings.room.forget_secs) * 1_000,
            lease_secs,
            owners: BTreeMap::new(),
            owners_created: 0,
            retrying: BTreeSet::new(),
            unusable: BTreeSet::new(),
            swept_at: 0,
            links: BTreeMap::new(),
            liveness: Arc::default(),
            readers: HistoryReaders::default(),
            lists: RoomLists::default(),
            homes: HomeLiveness::default(),
            failover_rooms: BTreeSet::new(),
            liveness_changed: false,
            waiting_requests: Vec::new(),
            is_fenced,
            is_handing_over: false,
            is_yielding: false,
            records_appended: 0,
            log_parts: LogParts::ONE,
            log_spaces: PerPart::new(LogParts::ONE, |_| LogSpace::new(settings)),
            effects: Vec::new(),
        }
    }

    /// Replaces the size limits. A record in flight that is now too large fails, and is decided
    /// anew.
    pub fn set_size_limits(&mut self, size_limits: SizeLimits) {
        if self.policy.size_limits() != size_limits {
            self.policy = Arc::new(self.policy.with_size_limits(size_limits));
        }
    }

    /// Takes a message of a connector, an api server or another chat server.
    ///
    /// # Errors
    /// If the bytes are not such a message; nothing has changed then.
    pub fn handle_message(&mut self, incoming: IncomingRequest<'_>, now: Now) -> Result<Vec<Effect>, RpcError> {
        let message: FromConnector = rpc::decode(incoming.body)?;
        if !self.admit(&message, incoming.reply.as_deref(), now.ticks) {
            return Ok(self.take_effects());
        }
        let FromConnector { connector, incarnation, continues, count, known, request, .. } = message;
        if request == RpcRequest::Probe {
            let (reply, trace) = (incoming.reply, Some(incoming.trace));
            self.answer_probe(Receiver { server: connector, reply, trace, is_numbered: false }, now);
            return Ok(self.take_effects());
        }
        if request.is_allowed_from(API) {
            // An api server has no link, no members and no lease here: the log orders its acts, and a
            // copy of a message does no harm.
            let (reply, trace) = (incoming.reply.unwrap_or_default(), incoming.trace);
            let requester = Requester { server: connector, reply, trace, is_numbered: false };
            self.handle_request(requester, incarnation, request, now);
            return Ok(self.take_effects());
        }
        let count = incoming.is_proven.then_some(count);
        match self.check_sender(&connector, Lineage::claimed(incarnation, continues), (count, &request), now.ticks) {
            SenderCheck::Accepted => {
                known.into_iter().for_each(|known| self.record_known_incarnation(&connector, known, now.ticks));
                let (reply, trace) = (incoming.reply.unwrap_or_default(), incoming.trace);
                let requester = Requester { server: connector, reply, trace, is_numbered: true };
                self.handle_request(requester, incarnation, request, now);
                self.apply_liveness(now);
            }
            SenderCheck::Repeated => {
                self.report(Event::MessageRepeated { connector, count });
            }
            SenderCheck::Stale(known) => {
                let (reply, trace) = (incoming.reply, Some(incoming.trace));
                let to = Receiver { server: connector, reply, trace, is_numbered: true };
                self.outgoing().respond_stale(to, known);
            }
            SenderCheck::Unclear => {}
            SenderCheck::Implausible => self.report_implausible(&connector, incarnation),
        }
        Ok(self.take_effects())
    }

    fn handle_request(&mut self, requester: Requester, incarnation: Incarnation, request: RpcRequest, now: Now) {
        if self.is_yielding {
            // The other process responds.
            return;
        }
        if let RpcRequest::Rooms { number, query } = request {
            return self.list_rooms(requester, number, query);
        }
        if self.is_handing_over {
            return self.redirect(requester, &request, now);
        }
        let is_another = request.room().is_some_and(|room| !self.may_own(room));
        if is_another && !matches!(request, RpcRequest::Detach { .. }) {
            self.handle_foreign_request(requester, incarnation, request, now);
        } else {
            self.dispatch(requester, incarnation, request, now);
        }
    }

    fn dispatch(&mut self, requester: Requester, incarnation: Incarnation, request: RpcRequest, now: Now) {
        match request {
            RpcRequest::Heartbeat | RpcRequest::Probe => self.answer_heartbeat(requester, &RpcResponse::Alive, now),
            RpcRequest::Detach { room } => {
                if let Some(owner) = self.owners.get_mut(&room) {
                    owner.detach(&requester.server);
                }
            }
            RpcRequest::Attach { room, at } => {
                self.with_owner(&room, |owner, cx| owner.attach(Attach { requester, incarnation, at }, now, cx));
            }
            RpcRequest::History { room, number, session, query } => {
                let history = HistoryRequest { requester, incarnation, number, session, query };
                self.with_owner(&room, |owner, cx| owner.request_history(history, now, cx));
            }
            RpcRequest::Propose { room, at, number, items, urgent } => {
                let author = Author { connector: requester.server.clone(), incarnation };
                let proposal = Proposal { requester, author, at, number, items, is_urgent: urgent };
                self.with_owner(&room, |owner, cx| owner.propose(proposal, now, cx));
            }
            RpcRequest::Act { room, number, acts } => {
                let message = ActMessage { requester, incarnation, number, acts };
                self.with_owner(&room, |owner, cx| owner.act(message, now, cx));
            }
            RpcRequest::Look { room, number, about } => {
                let look = Look { requester, number, about };
                self.with_owner(&room, |owner, cx| owner.look(look, now, cx));
            }
            RpcRequest::Rooms { number, query } => self.list_rooms(requester, number, query),
        }
    }

    /// Takes the result of a log operation.
    pub fn on_log_result(&mut self, room: &RoomId, requester: LogRequester, done: LogResult, now: Now) -> Vec<Effect> {
        if matches!(done, LogResult::Append(Ok(_))) {
            self.records_appended += 1;
        }
        match requester {
            LogRequester::Owner => self.with_owner(room, |owner, cx| owner.on_log_result(done, now, cx)),
            LogRequester::Reader(number) => {
                let (me, incarnation) = (&self.me, self.incarnation);
                let mut out = Outgoing { me, incarnation, links: &mut self.links, effects: &mut self.effects };
                self.readers.on_log_result(number, done, &mut out);
            }
        }
        self.take_effects()
    }

    /// Retries failed operations, and sweeps over all rooms from time to time. Must be called a few
    /// times a second.
    pub fn tick(&mut self, now: Now) -> Vec<Effect> {
        if now.ticks.saturating_sub(self.swept_at) >= SWEEP_MS {
            self.swept_at = now.ticks;
            self.sweep(now);
        }
        self.readers.tick(now.ticks);
        self.check_duplicate_id(now);
        self.check_failover_rooms(now);
        for room in std::mem::take(&mut self.retrying) {
            self.with_owner(&room, |owner, cx| owner.tick(now, cx));
        }
        self.take_effects()
    }

    /// Drops unused owners and maintains the others.
    // A step per room, so it runs every few seconds and not with every tick.
    fn sweep(&mut self, now: Now) {
        self.detach_silent(now.ticks);
        let forget_ms = self.forget_ms;
        let (parts, spaces) = (self.log_parts, &self.log_spaces);
        self.owners.retain(|room, owner| !owner.is_forgettable(now, forget_ms, spaces.get(parts.of(room))));
        self.unusable.retain(|room| self.owners.contains_key(room));
        self.with_all(|owner, cx| owner.maintain(now, cx));
    }

    /// Returns the position up to which this server owns a room and the room's state there, unless it
    /// appends now.
    pub fn state(&self, room: &RoomId) -> Option<(LogPosition, &RoomState)> {
        self.owners.get(room)?.state()
    }

    /// Returns the number of known connectors, including silent ones.
    pub fn connectors(&self) -> usize {
        self.links.len()
    }

    /// Returns the number of rooms in memory.
    pub fn count(&self) -> usize {
        self.owners.len()
    }

    /// Returns the number of rooms with waiting requests whose log cannot be used.
    pub fn unusable(&self) -> usize {
        self.unusable.len()
    }

    fn outgoing(&mut self) -> Outgoing<'_> {
        let (me, incarnation) = (&self.me, self.incarnation);
        Outgoing { me, incarnation, links: &mut self.links, effects: &mut self.effects }
    }

    fn report(&mut self, event: Event) {
        self.effects.push(Effect::Report(event));
    }

    fn take_effects(&mut self) -> Vec<Effect> {
        let mut effects = std::mem::take(&mut self.effects);
        if self.is_yielding {
            // Results of operations that were in flight still count, but connectors must get
            // messages of one process only.
            effects.retain(|effect| !matches!(effect, Effect::Send(_)));
        }
        effects
    }

    fn with_all(&mut self, action: impl Fn(&mut Owner, &mut Context<'_>)) {
        self.with_each(|_| true, action);
    }

    fn with_each(&mut self, concerned: impl Fn(&RoomId) -> bool, action: impl Fn(&mut Owner, &mut Context<'_>)) {
        for room in self.owners.keys().filter(|room| concerned(room)).cloned().collect::<Vec<_>>() {
            self.with_owner(&room, &action);
        }
    }

    fn with_owner(&mut self, room: &RoomId, action: impl FnOnce(&mut Owner, &mut Context<'_>)) {
        let owner = self.owners.entry(room.clone()).or_insert_with(|| {
            self.owners_created += 1;
            let ids = RecordIds::new(&self.me, self.incarnation, self.owners_created);
            Box::new(Owner::new(self.me.clone(), room.clone(), ids, self.policy.clone()))
        });
        // Lazily, when the owner is used: a change of liveness would otherwise cost a step per
        // room.
        owner.set_liveness(&self.liveness);
        owner.set_policy(&self.policy);
        let (me, incarnation) = (&self.me, self.incarnation);
        let out = Outgoing { me, incarnation, links: &mut self.links, effects: &mut self.effects };
        let log = self.log_spaces.get_mut(self.log_parts.of(room));
        action(owner, &mut Context { room, out, readers: &mut self.readers, log });
        if owner.awaits_time() {
            self.retrying.insert(room.clone());
        }
        if owner.is_unusable() {
            self.unusable.insert(room.clone());
        } else {
            self.unusable.remove(room);
        }
    }
}
