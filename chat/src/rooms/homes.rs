//! Rooms of other chat servers: asking whether their homes live, standing in, letting go.

use std::sync::Arc;

use shared::config::Servers;
use shared::ids::{Incarnation, RoomId, ServerId};
use shared::placement::CHAT;
use shared::rpc::messages::{RpcRequest, RpcResponse};

use super::{Effect, MAX_WAITING, Rooms};
use crate::homes::Verdict;
use crate::owner::{Asker, Now, Owner};

impl Rooms {
    pub(super) fn home(&self, room: &RoomId) -> Option<ServerId> {
        self.router.route(CHAT, room.as_str(), &self.servers).ok().map(|home| home.id.clone())
    }

    /// Whether this is the room's home, or stands in for it now: the log says whether it still may.
    pub(super) fn may_own(&self, room: &RoomId) -> bool {
        self.home(room).as_ref() == Some(&self.me) || self.owners.get(room).is_some_and(Owner::is_at_work)
    }

    /// Answers a question about a room of another server, once it is known whether that lives.
    pub(super) fn ask_home(&mut self, asker: Asker, incarnation: Incarnation, question: RpcRequest, now: Now) {
        let Some(room) = question.room().cloned() else { return };
        let verdict = match self.home(&room) {
            Some(home) if self.is_fenced => self.look(&home, now),
            _ => Verdict::Alive,
        };
        match verdict {
            Verdict::Alive => self.answer(asker, &RpcResponse::NotOwner { room }),
            Verdict::Down => {
                if self.stand_ins.insert(room.clone()) {
                    self.metrics.takeovers.add();
                }
                self.with_owner(&room, |owner, acts| owner.stand_in(now, acts));
                self.accept(asker, incarnation, question, now);
            }
            Verdict::Ask | Verdict::Wait if self.waiting.len() < MAX_WAITING => {
                self.waiting.push((asker, incarnation, question));
            }
            Verdict::Ask | Verdict::Wait => self.metrics.questions_dropped.add(),
        }
    }

    /// Whether a home lives; it is asked if that is not known.
    pub(super) fn look(&mut self, home: &ServerId, now: Now) -> Verdict {
        let verdict = self.homes.look(home, now.ticks);
        if verdict == Verdict::Ask {
            self.effects.push(Effect::Probe(home.clone()));
        }
        verdict
    }

    /// A home answered [`Effect::Probe`], or did not.
    pub fn found(&mut self, home: &ServerId, is_alive: bool, now: Now) -> Vec<Effect> {
        self.homes.found(home, is_alive, now.ticks);
        for (asker, incarnation, question) in std::mem::take(&mut self.waiting) {
            self.question(asker, incarnation, question, now);
        }
        self.look_at_stand_ins(now);
        self.take_effects()
    }

    /// Goes on, or lets go, in the rooms of others: for as long as their homes are down.
    pub(super) fn look_at_stand_ins(&mut self, now: Now) {
        if self.is_leaving || self.yields {
            return;
        }
        for room in self.stand_ins.iter().cloned().collect::<Vec<_>>() {
            let home = self.home(&room);
            let verdict = match &home {
                Some(home) if *home != self.me => self.look(home, now),
                _ => Verdict::Down,
            };
            match verdict {
                Verdict::Alive => {
                    self.stand_ins.remove(&room);
                    self.with_owner(&room, |owner, acts| owner.give_up(acts));
                }
                Verdict::Down => self.with_owner(&room, |owner, acts| {
                    if owner.needs_permission() {
                        owner.stand_in(now, acts);
                    }
                }),
                Verdict::Ask | Verdict::Wait => {}
            }
        }
    }

    /// There are other servers from now on. In rooms whose home is another one now this server only stands in, and lets go as
    /// soon as that lives.
    pub fn set_servers(&mut self, servers: Arc<Servers>, now: Now) -> Vec<Effect> {
        self.senders.set_servers(&servers, now.ticks);
        self.servers = servers;
        self.judge_homes(now);
        self.take_effects()
    }

    /// Decides anew in which rooms this server only stands in for their home.
    pub(super) fn judge_homes(&mut self, now: Now) {
        for room in self.owners.keys().cloned().collect::<Vec<_>>() {
            let is_home = self.home(&room).as_ref() == Some(&self.me);
            self.with_owner(&room, |owner, acts| owner.set_home(is_home, now, acts));
            if is_home {
                self.stand_ins.remove(&room);
            } else {
                self.stand_ins.insert(room);
            }
        }
        self.look_at_stand_ins(now);
    }
}
