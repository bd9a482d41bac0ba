//! The chat servers of a connector: which one to ask about a room, and a check that none of its
//! messages was lost.

mod report;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::allowed_senders::AllowedSenders;
use model::failure_detector::{FailureDetector, LastMessages, Thresholds};
use model::ids::{Incarnation, RoomId, ServerId};
use model::placement::{self, CHAT, NoServer};
use model::rpc::messages::{ChatStats, KnownIncarnation, LogShortage, LogShortages};
use model::servers::Servers;

/// Heartbeats that a chat server still gets after it left the list.
// It may not know yet that it was removed, and must not take this connector for dead meanwhile.
const RETIRED_HEARTBEATS: u32 = 60;

/// Largest jump of a sequence number that is accepted at once.
const MAX_JUMP: u64 = 1 << 20;

/// Rising numbers in a row, too far from the last number or behind it, after which they are
/// accepted and the last number is rejected.
const FAR_TO_ACCEPT: u32 = 2;
const OLD_TO_ACCEPT: u32 = 3;

/// The chat servers of a connector.
#[derive(Debug)]
pub struct ChatServers {
    servers: Arc<Servers>,
    senders: AllowedSenders,
    sequences: BTreeMap<ServerId, SequenceState>,
    heartbeats: BTreeMap<ServerId, HeartbeatState>,
    /// Chat servers that left the list, with the number of heartbeats that they still get.
    retired: BTreeMap<ServerId, u32>,
    /// Milliseconds without a message after which a run no longer counts as live.
    lease_ms: u64,
    /// Some of them reports a shortage of space in the log.
    // Read for every input to a room, and almost always false.
    has_shortage: bool,
}

/// State of the failure detector for one chat server.
#[derive(Debug, Clone, Copy, Default)]
struct HeartbeatState {
    /// Counts heartbeats without an answer.
    detector: FailureDetector,
    /// The last heartbeat is neither answered nor counted as missed.
    is_awaited: bool,
    /// The run that announced its shutdown; it is up again only if it says that it stays.
    leaving_run: Option<Incarnation>,
}

/// Sequence state of one chat server: the last message of its latest run.
#[derive(Debug, Clone)]
struct SequenceState {
    incarnation: Incarnation,
    number: u64,
    /// The times of its messages.
    messages: LastMessages,
    /// The last rejected number, too far from the last one or behind it, and how many such numbers
    /// rose in a row. The next numbers show which one was right.
    outlier: Option<(u64, u32)>,
    /// The last number was proven by a signature: a message not above it is a copy, or late.
    is_proven: bool,
    /// Statistics of this run, for gates.
    stats: Option<ChatStats>,
    /// The shortages of space in the log, by its last response to a heartbeat.
    log_shortages: LogShortages,
}

impl SequenceState {
    fn new(incarnation: Incarnation, (number, is_proven): (u64, bool), at: u64) -> Self {
        let mut messages = LastMessages::default();
        messages.record(at);
        Self { incarnation, number, messages, outlier: None, is_proven, stats: None, log_shortages: LogShortages::NONE }
    }
}

/// The result of checking a message's sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceCheck {
    /// It follows the last one, or is the first.
    Next,
    /// A repeat or a late message: newer ones have arrived.
    Old,
    /// Messages before it were lost, or are late.
    Gap,
    /// It is from a new run, which knows none of the attaches at the earlier one.
    NewRun,
    /// It is from an earlier run, and is ignored.
    OldRun,
    /// Its number is implausible. It is ignored, but if the number was right, many messages were
    /// lost.
    Far,
    /// Numbers keep rising below the last one, which was wrong. Many messages may be lost.
    Reset,
    /// Its incarnation is implausible.
    Implausible,
}

impl SequenceCheck {
    /// Returns true if no later message of the sender has arrived.
    pub(crate) fn is_newest(self) -> bool {
        matches!(self, Self::Next | Self::Gap | Self::NewRun)
    }
}

impl ChatServers {
    /// Returns the list before any message; `lease_ms` is `room.lease_secs`.
    pub fn new(servers: Arc<Servers>, lease_ms: u64) -> Self {
        let senders = AllowedSenders::new(&servers, lease_ms);
        Self {
            servers,
            senders,
            sequences: BTreeMap::new(),
            heartbeats: BTreeMap::new(),
            retired: BTreeMap::new(),
            lease_ms,
            has_shortage: false,
        }
    }

    /// Returns the chat server for a room: its home, or while that is down the next candidate. If
    /// all are down, the home.
    pub fn server_for(&self, room: &RoomId) -> Result<ServerId, NoServer> {
        let chats = self.servers.chat();
        let candidate = placement::candidates(room.as_str(), chats, |id| self.is_down(id)).into_iter().next();
        let server = candidate.or_else(|| placement::place(room.as_str(), chats));
        server.map(|server| server.id.clone()).ok_or_else(|| NoServer { server_type: CHAT.to_owned() })
    }

    /// Sets the list of chat servers.
    pub fn set_servers(&mut self, servers: Arc<Servers>, ticks: u64) {
        self.senders.set_servers(&servers, ticks);
        let is_listed = |id: &ServerId| servers.chat().iter().any(|server| server.id == *id);
        self.heartbeats.retain(|id, _| is_listed(id));
        self.retired.extend(self.chats().map(|id| (id.clone(), RETIRED_HEARTBEATS)).collect::<Vec<_>>());
        self.retired.retain(|id, _| !is_listed(id));
        self.servers = servers;
    }

    /// Returns the servers from which messages are accepted.
    pub(crate) fn senders(&mut self) -> &mut AllowedSenders {
        &mut self.senders
    }

    /// Returns true if a chat server is down.
    pub fn is_down(&self, chat: &ServerId) -> bool {
        self.heartbeats.get(chat).is_some_and(HeartbeatState::is_down)
    }

    /// Returns the shortage of space in a room's part of the log, by its chat server.
    pub(crate) fn log_shortage(&self, chat: &ServerId, room: &RoomId) -> Option<LogShortage> {
        if self.has_shortage { self.sequences.get(chat)?.log_shortages.of(room) } else { None }
    }

    /// Returns the number of connectors in the list.
    pub(crate) fn connectors(&self) -> usize {
        self.servers.connector().len()
    }

    /// Begins a round of heartbeats: those of the last round without an answer are missed. Returns
    /// true if a chat server went down by that.
    pub fn begin_heartbeat_round(&mut self) -> bool {
        let mut went_down = false;
        for server in self.servers.chat() {
            let heartbeat = self.heartbeats.entry(server.id.clone()).or_default();
            if heartbeat.is_awaited {
                went_down |= heartbeat.record_miss();
            }
            heartbeat.is_awaited = true;
        }
        went_down
    }

    /// Counts a heartbeat as missed for which the broker found no subscriber. Returns true if the
    /// chat server went down by that.
    // It counts like any other miss and decides nothing alone: where a tracer subscribes to
    // everything the broker never reports a missing server, so heartbeats must suffice.
    pub fn record_no_responder(&mut self, chat: &ServerId) -> bool {
        self.heartbeats
            .get_mut(chat)
            .is_some_and(|heartbeat| std::mem::take(&mut heartbeat.is_awaited) && heartbeat.record_miss())
    }

    /// Notes a message of a run of a chat server; `is_staying` if the run says that it does not
    /// shut down and has said nothing since. Returns true if the server was down and is up again.
    pub fn record_heard(&mut self, chat: &ServerId, incarnation: Incarnation, is_staying: bool) -> bool {
        let heartbeat = self.heartbeats.entry(chat.clone()).or_default();
        if heartbeat.leaving_run == Some(incarnation) && !is_staying {
            (heartbeat.detector, heartbeat.is_awaited) = (FailureDetector::default(), false);
            return false;
        }
        std::mem::take(heartbeat).is_down()
    }

    /// Notes that a run of a chat server shuts down. Returns true if that is new.
    pub fn record_leaving(&mut self, chat: &ServerId, incarnation: Incarnation) -> bool {
        let heartbeat = self.heartbeats.entry(chat.clone()).or_default();
        heartbeat.leaving_run.replace(incarnation) != Some(incarnation)
    }

    /// Forgets missed heartbeats, after a time in which no message could arrive.
    pub fn reset_misses(&mut self) {
        for heartbeat in self.heartbeats.values_mut() {
            heartbeat.is_awaited = false;
            // A server that is down stays so until its next message.
            if !heartbeat.detector.is_down(Thresholds::HEARTBEATS) || heartbeat.leaving_run.is_some() {
                heartbeat.detector.record_alive();
            }
        }
    }

    /// Returns chat servers that recently left the list. The caller sends them heartbeats in each
    /// round.
    pub fn next_retired(&mut self) -> Vec<ServerId> {
        self.retired.values_mut().for_each(|beats| *beats -= 1);
        self.retired.retain(|_, beats| *beats > 0);
        self.retired.keys().cloned().collect()
    }

    /// Returns all chat servers of the list.
    pub fn chats(&self) -> impl Iterator<Item = &ServerId> {
        self.servers.chat().iter().map(|server| &server.id)
    }

    /// Checks and notes the sequence number of a message. `is_proven` says that its signature was
    /// verified; `ticks` are milliseconds that never fall.
    pub fn check_sequence(
        &mut self,
        chat: &ServerId,
        incarnation: Incarnation,
        (number, is_proven): (u64, bool),
        ticks: u64,
    ) -> SequenceCheck {
        let known = self.sequences.get(chat).map(|sequence| sequence.incarnation).unwrap_or_default();
        if !incarnation.is_plausible(known) {
            return SequenceCheck::Implausible;
        }
        let Some(sequence) = self.sequences.get_mut(chat) else {
            self.sequences.insert(chat.clone(), SequenceState::new(incarnation, (number, is_proven), ticks));
            return SequenceCheck::Next;
        };
        if incarnation < sequence.incarnation {
            return SequenceCheck::OldRun;
        }
        if incarnation > sequence.incarnation {
            *sequence = SequenceState::new(incarnation, (number, is_proven), ticks);
            return SequenceCheck::NewRun;
        }
        let check = sequence.check(number, is_proven);
        // A copy of an old message is no sign of life.
        if matches!(check, SequenceCheck::Next | SequenceCheck::Gap | SequenceCheck::Reset) {
            sequence.messages.record(ticks);
        }
        check
    }

    /// Returns true if this incarnation of a chat server is plausible.
    pub(crate) fn is_plausible(&self, chat: &ServerId, incarnation: Incarnation) -> bool {
        incarnation.is_plausible(self.sequences.get(chat).map(|sequence| sequence.incarnation).unwrap_or_default())
    }

    /// Returns true if a later run of the chat server is known.
    pub fn is_old(&self, chat: &ServerId, incarnation: Incarnation) -> bool {
        self.sequences.get(chat).is_some_and(|sequence| incarnation < sequence.incarnation)
    }

    /// Returns the highest known incarnation of a chat server; it is live if two of its messages
    /// arrived within the lease.
    pub fn known(&self, chat: &ServerId, ticks: u64) -> Option<KnownIncarnation> {
        let sequence = self.sequences.get(chat)?;
        let live = sequence.messages.is_live(ticks, self.lease_ms);
        Some(KnownIncarnation { incarnation: sequence.incarnation, live })
    }
}

impl SequenceState {
    /// Accepts a number, unless it is too far from the last one or behind it.
    // If rejected numbers go on rising, the last number was wrong: otherwise one stray message
    // would silence its sender for good. A proven number is right, so nothing below it is more than
    // a copy.
    fn check(&mut self, number: u64, is_proven: bool) -> SequenceCheck {
        if self.is_proven && number <= self.number {
            return SequenceCheck::Old;
        }
        let is_far = number.abs_diff(self.number) > MAX_JUMP;
        if number <= self.number || is_far {
            return self.check_outlier((number, is_proven), is_far);
        }
        let next = self.number + 1 == number;
        (self.number, self.outlier, self.is_proven) = (number, None, is_proven);
        if next { SequenceCheck::Next } else { SequenceCheck::Gap }
    }

    fn check_outlier(&mut self, (number, is_proven): (u64, bool), is_far: bool) -> SequenceCheck {
        let before = self.outlier.filter(|(last, _)| number > *last && number - last <= MAX_JUMP);
        let in_a_row = before.map_or(1, |(_, count)| count + 1);
        self.outlier = Some((number, in_a_row));
        let (enough, outlier, right) = if is_far {
            (FAR_TO_ACCEPT, SequenceCheck::Far, SequenceCheck::Gap)
        } else {
            (OLD_TO_ACCEPT, SequenceCheck::Old, SequenceCheck::Reset)
        };
        if in_a_row < enough {
            return outlier;
        }
        (self.number, self.outlier, self.is_proven) = (number, None, is_proven);
        right
    }
}

impl HeartbeatState {
    /// Returns true if the server is down, or leaving.
    fn is_down(&self) -> bool {
        self.leaving_run.is_some() || self.detector.is_down(Thresholds::HEARTBEATS)
    }

    /// Counts a missed heartbeat. Returns true if the server went down by that.
    fn record_miss(&mut self) -> bool {
        let was_down = self.is_down();
        self.detector.record_miss();
        !was_down && self.is_down()
    }
}

#[cfg(test)]
mod tests;
