//! The invariants at the end of every run: the log against everything that clients received.

mod acts;
mod moderation;
mod refusals;
mod session_check;
mod truth;
mod users;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::AddAssign;

use follower::connector_state::ClientResponse;
use follower::room::RoomResponse;
use model::ids::RoomId;
use model::membership::Membership;
use model::record::{Entry, MessageParts};
use model::room::MAX_IDS;

use crate::poison::FUTURE_MS;
use crate::user::{ClientConnection, Received, SentRequest};
use crate::world::{ROOMS, World};
use session_check::{SessionCheck, stays};
use truth::Truth;

pub(crate) use truth::records;

/// Counts of messages, and of declared losses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Messages in the logs.
    pub(crate) messages: usize,
    /// Sessions that got a gap.
    pub(crate) gaps: usize,
    /// Sessions that resumed with a declared loss.
    pub(crate) unrecovered: usize,
    /// Pages of history that do not begin at the beginning.
    pub(crate) incomplete: usize,
    /// Servers that ended in order.
    pub(crate) ended: usize,
    /// Times that joins and leaves waited for others.
    pub(crate) delayed: u64,
    /// Rooms with more messages than a room remembers.
    pub(crate) flooded: usize,
    /// Requests that a quota refused.
    pub(crate) over_quota: usize,
    /// Messages that were refused because of their room's share of the log, and of its reserve.
    pub(crate) over_share: usize,
    pub(crate) in_reserve: usize,
    /// Joins and leaves in the log's reserve.
    pub(crate) moves_in_reserve: usize,
    /// Acts that were done.
    pub(crate) acts: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.gaps += other.gaps;
        self.unrecovered += other.unrecovered;
        self.incomplete += other.incomplete;
        self.ended += other.ended;
        self.delayed += other.delayed;
        self.flooded += other.flooded;
        self.over_quota += other.over_quota;
        self.over_share += other.over_share;
        self.in_reserve += other.in_reserve;
        self.moves_in_reserve += other.moves_in_reserve;
        self.acts += other.acts;
    }
}

/// Checks everything that must hold in a run of its kind.
pub(crate) fn check(world: &World) -> Tally {
    let rooms: BTreeMap<RoomId, Truth> = ROOMS
        .iter()
        .map(|name| RoomId::new(name).unwrap())
        .map(|room| {
            let truth = Truth::read(world, &room);
            (room, truth)
        })
        .collect();
    let kept: BTreeMap<_, _> = rooms.iter().filter(|(room, _)| world.keeps_log_of(room)).collect();
    let mut tally = Tally::default();
    check_sent_once(world, &rooms);
    users::check(world, &rooms);
    for user in &world.users {
        for connection in &user.connections {
            check_answered_once(connection);
            for (room, truth) in &rooms {
                let session_check =
                    SessionCheck { connection, room, truth, me: &user.name, retention: &world.retention };
                session_check.check_presence();
                if kept.contains_key(room) {
                    tally += session_check.check_all();
                } else {
                    session_check.check_since_gaps();
                }
            }
            check_acknowledged(connection, &kept);
        }
    }
    check_members(world, &rooms);
    check_times(world);
    tally.acts = acts::check(world);
    // A log that lost a refusal may decide a late copy of the message again.
    if kept.len() == rooms.len() {
        tally += refusals::check(world, &rooms);
    }
    tally.moves_in_reserve = world.moves_in_reserve();
    tally.ended = world.ended;
    tally.delayed = world.metrics.presence_delays.get();
    let messages = |truth: &Truth| truth.entries.iter().filter(|(_, entry)| Truth::text(entry).is_some()).count();
    tally.messages = rooms.values().map(messages).sum();
    tally.flooded = rooms.values().filter(|truth| messages(truth) > MAX_IDS).count();
    tally
}

/// Each text is in the logs at most once, and each membership's texts are in the order of their
/// sending. A repeat may be the first that comes through, later than what was sent after it.
fn check_sent_once(world: &World, rooms: &BTreeMap<RoomId, Truth>) {
    let mut seen = HashSet::new();
    for (room, truth) in rooms {
        let mut last: HashMap<Membership, u64> = HashMap::new();
        let (begin, mut state) = truth.initial.clone();
        for (seq, entry) in &truth.entries {
            if *seq > begin {
                state.apply(entry);
            }
            let Some(MessageParts { from, content, .. }) = entry.message() else { continue };
            assert!(seen.insert(content), "{content} was committed twice");
            let Some(number) = content.strip_prefix("text ") else { continue };
            let number: u64 = number.parse().unwrap();
            let Some(sender) = state.members().get(from) else {
                // The checkpoint of an erased log has no member that left in that first record. An append that was
                // under way when a log was lost is accepted by the next one if that is as long by then.
                let is_foreign = truth.is_foreign(*seq) && !world.keeps_log_of(room);
                assert!(*seq <= begin || is_foreign, "{from} spoke without being there: {room} {seq}");
                continue;
            };
            if world.repeated.contains(content) {
                continue;
            }
            // Texts are numbered as they are sent.
            let before = last.insert(sender.membership, number);
            assert!(before < Some(number), "{content} of {from} came after {before:?}");
        }
    }
}

/// No record has the time of one that came from the future.
fn check_times(world: &World) {
    for room in ROOMS.iter().map(|name| RoomId::new(name).unwrap()) {
        for (position, record) in records(&world.log, &room, &world.poison) {
            let is_from_future = world.future.contains(&position);
            assert!(record.time < FUTURE_MS || is_from_future, "{room} {position:?} is of {}", record.time);
        }
    }
}

fn check_answered_once(connection: &ClientConnection) {
    let mut answered = BTreeSet::new();
    for received in &connection.received {
        if let Received::Answer { id, .. } = received {
            assert!(answered.insert(*id), "request {id} was answered twice");
        }
    }
    assert!(connection.closed || answered.len() == connection.asked.len(), "a request was not answered");
}

fn check_acknowledged(connection: &ClientConnection, kept: &BTreeMap<&RoomId, &Truth>) {
    for received in &connection.received {
        let Received::Answer { id, response: ClientResponse::Room(room, RoomResponse::Sent { seq, .. }) } = received
        else {
            continue;
        };
        let truth = kept.get(room);
        match connection.request(*id) {
            SentRequest::Send(text) | SentRequest::Whisper(text) => {
                let is_kept = truth.is_none_or(|truth| truth.text_at(*seq) == Some(text.as_str()));
                assert!(is_kept, "an acknowledged message is not in the log: {text}");
            }
            SentRequest::Moderate => {
                let entry = truth.and_then(|truth| truth.entries.iter().find(|(at, _)| at == seq));
                let is_kept = matches!(entry, Some((_, Entry::Rule { .. } | Entry::Expel { .. })));
                assert!(
                    truth.is_none() || is_kept,
                    "an acknowledged action of a moderator is not in the log: {entry:?}"
                );
            }
            other => panic!("{other:?} was answered as a message"),
        }
    }
}

/// Checks that the log's members are the open sessions that got "entered". In a room without
/// members a leave that the log lost, or a connector that died and its room's owner after it, is
/// only corrected with the next join.
fn check_members(world: &World, rooms: &BTreeMap<RoomId, Truth>) {
    let connections = || world.users.iter().flat_map(|user| &user.connections);
    for (room, truth) in rooms {
        let in_log: BTreeSet<u64> = truth.members(u64::MAX).into_values().map(|session| session.number).collect();
        let is_here = |connection: &&ClientConnection| {
            !connection.closed && stays(connection, room).last().is_some_and(|stay| !stay.partial)
        };
        let here: BTreeSet<u64> = connections().filter(is_here).map(|connection| connection.session).collect();
        let fell = |connection: &ClientConnection| here.is_empty() && world.is_of_dead_run(connection);
        let is_odd = |v: &&ClientConnection| in_log.contains(&v.session) != here.contains(&v.session) && !fell(v);
        let odd: Vec<_> = connections().filter(is_odd).collect();
        let is_corrected = world.keeps_log_of(room) || !(here.is_empty() || truth.is_erased);
        assert!(
            odd.is_empty() || !is_corrected,
            "members of {room}: the log has {in_log:?}, the sessions {here:?}: {odd:#?}"
        );
    }
}
