//! The chat servers of an api server: the one to ask about a room, and the failure detector.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::allowed_senders::AllowedSenders;
use model::failure_detector::{FailureDetector, PeerState, Thresholds};
use model::ids::{RoomId, ServerId};
use model::placement;
use model::servers::Servers;

/// The chat servers, and what probes show of them.
#[derive(Debug)]
pub struct ChatServers {
    servers: Arc<Servers>,
    senders: AllowedSenders,
    probed: BTreeMap<ServerId, Probed>,
}

/// State of the failure detector for one chat server.
#[derive(Debug, Clone, Copy, Default)]
struct Probed {
    detector: FailureDetector,
    /// The probe of this round is neither answered nor counted as missed.
    is_awaited: bool,
    /// Its last response said that it shuts down.
    is_leaving: bool,
}

impl Probed {
    fn is_down(self) -> bool {
        self.is_leaving || self.detector.is_down(Thresholds::HEARTBEATS)
    }

    /// Counts a missed probe, if one is awaited. Returns true if the server went down by that.
    fn record_miss(&mut self) -> bool {
        let was_down = self.is_down();
        if std::mem::take(&mut self.is_awaited) {
            self.detector.record_miss();
        }
        !was_down && self.is_down()
    }
}

/// The change by a response to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// It was down, and is up again.
    Up,
    /// It shuts down.
    Leaving,
}

impl ChatServers {
    /// The list before any message; `lease_ms` is `room.lease_secs`.
    pub fn new(servers: Arc<Servers>, lease_ms: u64) -> Self {
        Self { senders: AllowedSenders::new(&servers, lease_ms), servers, probed: BTreeMap::new() }
    }

    /// Returns the chat server to ask about a room: its home, or while that is down the next
    /// candidate. If all are down, the home; none if there are no chat servers.
    pub fn server_for(&self, room: &RoomId) -> Option<&ServerId> {
        let chats = self.servers.chat();
        let candidate = placement::candidates(room.as_str(), chats, |id| self.is_down(id)).into_iter().next();
        candidate.or_else(|| placement::place(room.as_str(), chats)).map(|server| &server.id)
    }

    /// Returns a chat server for a request about no room: at each attempt another one of those that
    /// are up, or of all if none is.
    pub(crate) fn any(&self, attempt: u64) -> Option<&ServerId> {
        let up: Vec<&ServerId> = self.chats().filter(|chat| !self.is_down(chat)).collect();
        let from = if up.is_empty() { self.chats().collect() } else { up };
        let index = attempt.checked_rem(from.len() as u64)?;
        from.get(usize::try_from(index).ok()?).copied()
    }

    /// Returns all chat servers of the list.
    pub fn chats(&self) -> impl Iterator<Item = &ServerId> {
        self.servers.chat().iter().map(|server| &server.id)
    }

    /// Returns the state of a chat server by its probes; `None` before the first round. One that
    /// shuts down counts as down.
    pub fn state(&self, chat: &ServerId) -> Option<PeerState> {
        let probed = self.probed.get(chat)?;
        Some(if probed.is_leaving { PeerState::Down } else { probed.detector.state(Thresholds::HEARTBEATS) })
    }

    fn is_down(&self, chat: &ServerId) -> bool {
        self.probed.get(chat).is_some_and(|probed| probed.is_down())
    }

    /// Returns those that are down.
    pub(crate) fn down(&self) -> Vec<ServerId> {
        self.chats().filter(|chat| self.is_down(chat)).cloned().collect()
    }

    /// Returns the servers from which messages are accepted.
    pub(crate) fn senders(&mut self) -> &mut AllowedSenders {
        &mut self.senders
    }

    /// Sets the list of servers.
    pub(crate) fn set_servers(&mut self, servers: Arc<Servers>, ticks: u64) {
        self.senders.set_servers(&servers, ticks);
        let is_listed = |id: &ServerId| servers.chat().iter().any(|server| server.id == *id);
        self.probed.retain(|id, _| is_listed(id));
        self.servers = servers;
    }

    /// Begins a round of probes: those of the last round without a response are missed. Returns true
    /// if a chat server went down by that.
    pub(crate) fn begin_round(&mut self) -> bool {
        let mut went_down = false;
        for server in self.servers.chat() {
            let probed = self.probed.entry(server.id.clone()).or_default();
            went_down |= probed.record_miss();
            probed.is_awaited = true;
        }
        went_down
    }

    /// Counts a probe as missed for which the broker found no subscriber. Returns true if the chat
    /// server went down by that.
    pub(crate) fn record_no_responder(&mut self, chat: &ServerId) -> bool {
        self.probed.get_mut(chat).is_some_and(Probed::record_miss)
    }

    /// Notes the response to a probe of this round.
    // Of this round alone: a late one may be older than the server's announcement that it shuts
    // down.
    pub(crate) fn record_response(&mut self, chat: &ServerId, is_leaving: bool) -> Change {
        let Some(probed) = self.probed.get_mut(chat) else { return Change::None };
        let before = std::mem::replace(probed, Probed { is_leaving, ..Probed::default() });
        match (is_leaving, before.is_leaving) {
            (true, false) => Change::Leaving,
            (false, _) if before.is_down() => Change::Up,
            _ => Change::None,
        }
    }

    /// Forgets missed probes, after a time in which no message could arrive.
    pub(crate) fn reset_misses(&mut self) {
        for probed in self.probed.values_mut() {
            probed.is_awaited = false;
            // A server that is down stays so until its next response.
            if !probed.detector.is_down(Thresholds::HEARTBEATS) {
                probed.detector.record_alive();
            }
        }
    }
}
