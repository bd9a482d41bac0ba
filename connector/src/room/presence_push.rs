//! What a room's sessions are told of who is here: by name, or of a large room how many; and pages of names.

use std::sync::Arc;

use shared::ids::Name;
use shared::record::Refusal;

use super::apply::push_to;
use super::local_sessions::LocalSession;
use super::presence::PresenceChange;
use super::proposer::PendingRequest;
use super::{Context, Push, Room, RoomEffect, RoomResponse};

/// Names of a room, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersPage {
    /// Up to as many as were asked for.
    pub users: Vec<Name>,
    /// Whether there are more after them.
    pub more: bool,
    /// How many are in the room.
    pub total: usize,
    /// All up to here is in them.
    pub seq: u64,
    /// When that was, in Unix milliseconds.
    pub time: u64,
}

impl Room {
    /// A session asks who is in the room that it is in, up to `limit` names after `after`. It is answered at once, with what
    /// it would know if it had been told every name.
    pub fn members(&mut self, after: Option<&Name>, limit: usize, ask: PendingRequest, cx: &mut Context<'_>) {
        if !self.locals.get(&ask.session).is_some_and(|local| local.hears) {
            let refused = RoomResponse::Refused { refusal: Refusal::NotMember, enter: false };
            return cx.acts.push(RoomEffect::Respond(ask, refused));
        }
        let (users, more) = self.crowd.page(after, limit);
        let (total, seq, time) = (self.crowd.total(), self.at.position.last_seq(), self.state.time());
        cx.acts.push(RoomEffect::Respond(ask, RoomResponse::Members(MembersPage { users, more, total, seq, time })));
    }

    /// Tells of a large room what changed since it was told last, when it is time.
    pub(super) fn tick_crowd(&mut self, cx: &mut Context<'_>) {
        let news = self.crowd.tick(cx.now);
        self.tell_crowd(news, cx);
    }

    /// Tells the sessions what changed: names for those who know all others, but nobody of its own coming and going, nor of who
    /// got its name.
    pub(super) fn tell_crowd(&mut self, news: impl IntoIterator<Item = PresenceChange>, cx: &mut Context<'_>) {
        for news in news {
            match news {
                PresenceChange::Joined(name) => push_to(self.knowing_names(&name), Push::Add { name }, cx),
                PresenceChange::Left(name) => push_to(self.knowing_names(&name), Push::Leave { name }, cx),
                PresenceChange::Total { names } => self.tell_total(names, cx),
            }
        }
    }

    /// Who did not know all names is to read them when it is told that names will be told.
    fn tell_total(&mut self, names: bool, cx: &mut Context<'_>) {
        push_to(self.locals.audience(), Push::Members { total: self.crowd.total(), names }, cx);
        if names {
            self.locals.hearing_mut().for_each(|local| local.knows_names = true);
        }
    }

    /// Sessions that are to be told of this name.
    fn knowing_names(&self, name: &Name) -> Arc<[u64]> {
        let told = |local: &LocalSession| local.hears && local.knows_names && local.name() != name;
        self.locals.iter().filter(|(_, local)| told(local)).map(|(number, _)| *number).collect()
    }
}

#[cfg(test)]
mod tests;
