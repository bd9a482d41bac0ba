//! Failover: probes the homes of other rooms, takes rooms over while their homes are down, and
//! releases them when the homes are back.
//!
//! The probes do not use [`model::failure_detector`], which counts misses of heartbeats that are
//! sent all the time: here a request needs one result now, and that result expires.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::ids::{Incarnation, RoomId, ServerId};
use model::placement::{self, CHAT};
use model::rpc::messages::{RpcRequest, RpcResponse};
use model::servers::Servers;

use super::{Effect, MAX_WAITING, Rooms};
use crate::event::Event;
use crate::room::{Now, Requester};

/// Milliseconds for which the result of a probe is valid: a home is probed at most once per second.
const PROBE_VALID_MS: u64 = 1_000;

/// The last probe of each home for which this server was asked to take over.
#[derive(Debug, Default)]
pub(super) struct HomeLiveness {
    homes: BTreeMap<ServerId, HomeStatus>,
}

#[derive(Debug, Default, Clone, Copy)]
struct HomeStatus {
    /// Ticks and result of the last probe; true if the home responded.
    last_probe: Option<(u64, bool)>,
    is_probing: bool,
}

/// The state of a home as far as the probes show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HomeState {
    /// The home responds: it owns its rooms.
    Up,
    /// The home is down: this server may take its rooms over.
    Down,
    /// The state is unknown; the caller must send a probe now.
    ProbeNow,
    /// A probe is in flight.
    Probing,
}

impl HomeLiveness {
    /// Returns the state of a home. After [`HomeState::ProbeNow`] the caller reports the result to
    /// [`Self::record_probe`].
    // The candidate does not rely on the connector's verdict: a connector that cannot reach the
    // home may be alone with that. A wrong verdict here costs time, not consistency, because
    // appends are compare-and-set.
    pub(super) fn check(&mut self, home: &ServerId, ticks: u64) -> HomeState {
        let known = self.homes.entry(home.clone()).or_default();
        match known.last_probe {
            Some((at, alive)) if ticks.saturating_sub(at) < PROBE_VALID_MS => {
                if alive {
                    HomeState::Up
                } else {
                    HomeState::Down
                }
            }
            _ if std::mem::replace(&mut known.is_probing, true) => HomeState::Probing,
            _ => HomeState::ProbeNow,
        }
    }

    /// Records the result of a probe.
    pub(super) fn record_probe(&mut self, home: &ServerId, is_alive: bool, ticks: u64) {
        self.homes.insert(home.clone(), HomeStatus { last_probe: Some((ticks, is_alive)), is_probing: false });
    }
}

impl Rooms {
    pub(super) fn home(&self, room: &RoomId) -> Option<ServerId> {
        placement::route(CHAT, room.as_str(), &self.servers).ok().map(|home| home.id.clone())
    }

    /// Returns true if this server is the room's home, or its owner now.
    pub(super) fn may_own(&self, room: &RoomId) -> bool {
        // An owner that is running continues even if the home is back: its next append fails if the
        // home took over.
        self.home(room).as_ref() == Some(&self.me) || self.owners.get(room).is_some_and(|owner| owner.is_running())
    }

    /// Handles a request about a room of another home, as soon as the home's state is known.
    pub(super) fn handle_foreign_request(
        &mut self,
        requester: Requester,
        incarnation: Incarnation,
        request: RpcRequest,
        now: Now,
    ) {
        let Some(room) = request.room().cloned() else {
            debug_assert!(false, "a request about no room has another home: {request:?}");
            return;
        };
        let state = match self.home(&room) {
            // Without a common log there is no compare-and-set between servers: a takeover would
            // split the room.
            Some(home) if self.is_fenced => self.check_home(&home, now),
            _ => HomeState::Up,
        };
        match state {
            HomeState::Up => self.outgoing().respond(requester, &RpcResponse::NotOwner { room }),
            HomeState::Down => {
                if self.failover_rooms.insert(room.clone()) {
                    self.report(Event::TakenOver);
                }
                self.with_owner(&room, |owner, cx| owner.take_over(now, cx));
                self.dispatch(requester, incarnation, request, now);
            }
            HomeState::ProbeNow | HomeState::Probing if self.waiting_requests.len() < MAX_WAITING => {
                self.waiting_requests.push((requester, incarnation, request));
            }
            HomeState::ProbeNow | HomeState::Probing => {
                if !requester.is_numbered {
                    self.outgoing().respond(requester, &RpcResponse::Busy { room });
                }
                self.report(Event::RequestDropped);
            }
        }
    }

    /// Returns the state of a home, and sends a probe if that is unknown.
    pub(super) fn check_home(&mut self, home: &ServerId, now: Now) -> HomeState {
        let state = self.homes.check(home, now.ticks);
        if state == HomeState::ProbeNow {
            self.effects.push(Effect::Probe(home.clone()));
        }
        state
    }

    /// Takes the result of [`Effect::Probe`].
    pub fn on_probe_result(&mut self, home: &ServerId, is_alive: bool, now: Now) -> Vec<Effect> {
        self.homes.record_probe(home, is_alive, now.ticks);
        // All of them go through the check again: most wait for this home, and the others find
        // their probe in flight.
        for (requester, incarnation, request) in std::mem::take(&mut self.waiting_requests) {
            self.handle_request(requester, incarnation, request, now);
        }
        self.check_failover_rooms(now);
        self.take_effects()
    }

    /// Continues or releases the failover rooms, depending on their homes.
    pub(super) fn check_failover_rooms(&mut self, now: Now) {
        if self.is_handing_over || self.is_yielding {
            return;
        }
        for room in self.failover_rooms.iter().cloned().collect::<Vec<_>>() {
            let home = self.home(&room);
            let state = match &home {
                Some(home) if *home != self.me => self.check_home(home, now),
                _ => HomeState::Down,
            };
            match state {
                HomeState::Up => {
                    self.failover_rooms.remove(&room);
                    self.with_owner(&room, |owner, cx| owner.release(cx));
                }
                HomeState::Down => self.with_owner(&room, |owner, cx| {
                    if owner.needs_home_check() {
                        owner.take_over(now, cx);
                    }
                }),
                HomeState::ProbeNow | HomeState::Probing => {}
            }
        }
    }

    /// Replaces the list of servers. Rooms whose home is now another server become failover rooms,
    /// and are released as soon as that home responds.
    pub fn set_servers(&mut self, servers: Arc<Servers>, now: Now) -> Vec<Effect> {
        self.senders.set_servers(&servers, now.ticks);
        self.servers = servers;
        self.update_homes(now);
        self.take_effects()
    }

    /// Decides for every room if this server is its home.
    pub(super) fn update_homes(&mut self, now: Now) {
        for room in self.owners.keys().cloned().collect::<Vec<_>>() {
            let is_home = self.home(&room).as_ref() == Some(&self.me);
            self.with_owner(&room, |owner, cx| owner.set_home(is_home, now, cx));
            if is_home {
                self.failover_rooms.remove(&room);
            } else {
                self.failover_rooms.insert(room);
            }
        }
        self.check_failover_rooms(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_probed_at_most_once_per_second() {
        let (mut homes, home) = (HomeLiveness::default(), ServerId::new("chat-server-1").unwrap());
        assert_eq!(homes.check(&home, 0), HomeState::ProbeNow);
        assert_eq!(homes.check(&home, 400), HomeState::Probing);
        homes.record_probe(&home, false, 500);
        assert_eq!(homes.check(&home, 1_499), HomeState::Down);
        assert_eq!(homes.check(&home, 1_500), HomeState::ProbeNow);
        homes.record_probe(&home, true, 1_510);
        assert_eq!(homes.check(&home, 2_000), HomeState::Up);
    }
}
