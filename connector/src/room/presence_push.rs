//! What a room's sessions are told of who is here: by name, or of a large room how many; and pages of names.

use std::sync::Arc;

use model::ids::Name;
use model::record::Refusal;

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
    pub fn request_members(
        &mut self,
        after: Option<&Name>,
        limit: usize,
        pending: PendingRequest,
        cx: &mut Context<'_>,
    ) {
        if !self.sessions.get(&pending.session).is_some_and(|local| local.receives_pushes) {
            let refused = RoomResponse::Refused { refusal: Refusal::NotMember, enter: false };
            return cx.effects.push(RoomEffect::Respond(pending, refused));
        }
        let (users, more) = self.presence.page(after, limit);
        let (total, seq, time) = (self.presence.total(), self.applied.position.last_seq(), self.state.time());
        cx.effects
            .push(RoomEffect::Respond(pending, RoomResponse::Members(MembersPage { users, more, total, seq, time })));
    }

    /// Tells of a large room what changed since it was told last, when it is time.
    pub(super) fn tick_presence(&mut self, cx: &mut Context<'_>) {
        let change = self.presence.tick(cx.now);
        self.push_presence(change, cx);
    }

    /// Tells the sessions what changed: names for those who know all others, but nobody of its own coming and going, nor of who
    /// got its name.
    pub(super) fn push_presence(&mut self, changes: impl IntoIterator<Item = PresenceChange>, cx: &mut Context<'_>) {
        for change in changes {
            match change {
                PresenceChange::Joined(name) => push_to(self.name_receivers(&name), Push::Add { name }, cx),
                PresenceChange::Left(name) => push_to(self.name_receivers(&name), Push::Leave { name }, cx),
                PresenceChange::Total { names } => self.push_total(names, cx),
            }
        }
    }

    /// Who did not know all names is to read them when it is told that names will be told.
    fn push_total(&mut self, names: bool, cx: &mut Context<'_>) {
        push_to(self.sessions.receivers(), Push::Members { total: self.presence.total(), names }, cx);
        if names {
            self.sessions.receivers_mut().for_each(|local| local.knows_names = true);
        }
    }

    /// Sessions that are to be told of this name.
    fn name_receivers(&self, name: &Name) -> Arc<[u64]> {
        let receives = |local: &LocalSession| local.receives_pushes && local.knows_names && local.name() != name;
        self.sessions.iter().filter(|(_, local)| receives(local)).map(|(number, _)| *number).collect()
    }
}

#[cfg(test)]
mod tests;
