//! Pushes of presence to a room's sessions: names in a small room, member counts in a large one;
//! and pages of the member list.

use std::sync::Arc;

use model::ids::Name;
use model::record::Refusal;

use super::presence::PresenceChange;
use super::proposer::PendingRequest;
use super::{Context, Push, Room, RoomResponse};

/// A page of a room's member list, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersPage {
    /// At most as many names as were asked for.
    pub users: Vec<Name>,
    /// There are more names behind them.
    pub more: bool,
    /// Member count.
    pub total: usize,
    /// The page is as of this `seq`.
    pub seq: u64,
    /// Time of that `seq`, in Unix milliseconds.
    pub time: u64,
}

impl Room {
    /// Answers a session's request for the member list, up to `limit` names after `after`. The
    /// answer comes at once, with the members as of the last applied record.
    pub fn request_members(
        &mut self,
        after: Option<&Name>,
        limit: usize,
        pending: PendingRequest,
        cx: &mut Context<'_>,
    ) {
        if !self.sessions.state(pending.session).receives_pushes() {
            let refused = RoomResponse::Refused { refusal: Refusal::NotMember, enter: false };
            return cx.respond(pending, refused);
        }
        let (users, more) = self.presence.page(after, limit);
        let (total, seq, time) = (self.presence.total(), self.applied.position.last_seq(), self.state.time());
        cx.respond(pending, RoomResponse::Members(MembersPage { users, more, total, seq, time }));
    }

    /// Pushes the member count of a large room if it is due.
    pub(super) fn tick_presence(&mut self, cx: &mut Context<'_>) {
        let change = self.presence.tick(cx.now);
        self.push_presence(change, cx);
    }

    /// Pushes changes of presence: names to the sessions that know all other names.
    pub(super) fn push_presence(&mut self, changes: impl IntoIterator<Item = PresenceChange>, cx: &mut Context<'_>) {
        for change in changes {
            match change {
                PresenceChange::Joined(name) => cx.push(self.name_receivers(&name), Push::Add { name }),
                PresenceChange::Left(name) => cx.push(self.name_receivers(&name), Push::Leave { name }),
                PresenceChange::Total { names } => self.push_total(names, cx),
            }
        }
    }

    /// Pushes the member count. When `names` becomes true again, clients that entered while the
    /// room was large must read the member list.
    fn push_total(&mut self, names: bool, cx: &mut Context<'_>) {
        cx.push(self.sessions.receivers(), Push::Members { total: self.presence.total(), names });
        if names {
            self.sessions.note_names_known();
        }
    }

    /// Returns the sessions that get pushes about this name.
    fn name_receivers(&self, name: &Name) -> Arc<[u64]> {
        let receivers = self.sessions.iter().filter(|(_, local)| local.receives_pushes_about(name));
        receivers.map(|(number, _)| *number).collect()
    }
}

#[cfg(test)]
mod tests;
