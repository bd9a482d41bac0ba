//! Rooms of other chat servers: asking whether their homes live, standing in, letting go.

use std::sync::Arc;

use model::ids::{Incarnation, RoomId, ServerId};
use model::placement::CHAT;
use model::rpc::messages::{RpcRequest, RpcResponse};
use runtime::config::Servers;

use super::{Effect, MAX_WAITING, Rooms};
use crate::home_liveness::HomeState;
use crate::owner::{Now, Owner, Requester};

impl Rooms {
    pub(super) fn home(&self, room: &RoomId) -> Option<ServerId> {
        self.router.route(CHAT, room.as_str(), &self.servers).ok().map(|home| home.id.clone())
    }

    /// Whether this is the room's home, or stands in for it now: the log says whether it still may.
    pub(super) fn may_own(&self, room: &RoomId) -> bool {
        self.home(room).as_ref() == Some(&self.me) || self.owners.get(room).is_some_and(Owner::is_running)
    }

    /// Answers a question about a room of another server, once it is known whether that lives.
    pub(super) fn handle_foreign_request(
        &mut self,
        requester: Requester,
        incarnation: Incarnation,
        question: RpcRequest,
        now: Now,
    ) {
        let Some(room) = question.room().cloned() else { return };
        let state = match self.home(&room) {
            Some(home) if self.is_fenced => self.check_home(&home, now),
            _ => HomeState::Alive,
        };
        match state {
            HomeState::Alive => self.answer(requester, &RpcResponse::NotOwner { room }),
            HomeState::Down => {
                if self.failover_rooms.insert(room.clone()) {
                    self.metrics.takeovers.add();
                }
                self.with_owner(&room, |owner, effects| owner.take_over(now, effects));
                self.dispatch(requester, incarnation, question, now);
            }
            HomeState::ProbeNow | HomeState::Probing if self.waiting_requests.len() < MAX_WAITING => {
                self.waiting_requests.push((requester, incarnation, question));
            }
            HomeState::ProbeNow | HomeState::Probing => self.metrics.questions_dropped.add(),
        }
    }

    /// Whether a home lives; it is asked if that is not known.
    pub(super) fn check_home(&mut self, home: &ServerId, now: Now) -> HomeState {
        let state = self.homes.check(home, now.ticks);
        if state == HomeState::ProbeNow {
            self.effects.push(Effect::Probe(home.clone()));
        }
        state
    }

    /// A home answered [`Effect::Probe`], or did not.
    pub fn on_probe_result(&mut self, home: &ServerId, is_alive: bool, now: Now) -> Vec<Effect> {
        self.homes.record_probe(home, is_alive, now.ticks);
        for (requester, incarnation, question) in std::mem::take(&mut self.waiting_requests) {
            self.handle_request(requester, incarnation, question, now);
        }
        self.check_failover_rooms(now);
        self.take_effects()
    }

    /// Goes on, or lets go, in the rooms of others: for as long as their homes are down.
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
                HomeState::Alive => {
                    self.failover_rooms.remove(&room);
                    self.with_owner(&room, |owner, effects| owner.release(effects));
                }
                HomeState::Down => self.with_owner(&room, |owner, effects| {
                    if owner.needs_home_check() {
                        owner.take_over(now, effects);
                    }
                }),
                HomeState::ProbeNow | HomeState::Probing => {}
            }
        }
    }

    /// There are other servers from now on. In rooms whose home is another one now this server only stands in, and lets go as
    /// soon as that lives.
    pub fn set_servers(&mut self, servers: Arc<Servers>, now: Now) -> Vec<Effect> {
        self.senders.set_servers(&servers, now.ticks);
        self.servers = servers;
        self.update_homes(now);
        self.take_effects()
    }

    /// Decides anew in which rooms this server only stands in for their home.
    pub(super) fn update_homes(&mut self, now: Now) {
        for room in self.owners.keys().cloned().collect::<Vec<_>>() {
            let is_home = self.home(&room).as_ref() == Some(&self.me);
            self.with_owner(&room, |owner, effects| owner.set_home(is_home, now, effects));
            if is_home {
                self.failover_rooms.remove(&room);
            } else {
                self.failover_rooms.insert(room);
            }
        }
        self.check_failover_rooms(now);
    }
}
