//! Presence: the members of a room as its clients know them, and the pushes about them. Small rooms
//! report names, large rooms counts.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use model::ids::Name;
use model::permissions::Action;
use model::record::Refusal;

use super::proposer::PendingRequest;
use super::{Context, Profiles, Push, Room, RoomResponse};

/// Milliseconds between two member counts of a large room.
const TOTAL_INTERVAL_MS: u64 = 1_000;

/// Most joins and leaves that are reported at once; clients read the member list instead of more.
// With the longest names that many pushes are as much as a write queue holds.
const MAX_CHANGES: usize = 1_000;

/// A change to report to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PresenceChange {
    /// A member joined.
    Joined(Name),
    /// A member left.
    Left(Name),
    /// The member count changed. `names` says that joins and leaves are reported again from now on,
    /// and have not been until now.
    Total { names: bool },
}

/// The names in a room. A small room reports each join and leave. A room that outgrows `max_small`
/// reports counts until it has shrunk by a tenth, so that it does not change sides with every join.
#[derive(Debug)]
pub(super) struct Presence {
    names: BTreeSet<Name>,
    /// Most names of a small room.
    max_small: usize,
    large: Option<Large>,
}

/// State of a large room.
#[derive(Debug)]
struct Large {
    /// Names reported before the room became large. Clients that know these get the difference when
    /// it is small again.
    known_names: BTreeSet<Name>,
    /// The members have changed since the last count.
    is_stale: bool,
    /// No count is reported before this time.
    next_total_at: u64,
}

impl Large {
    fn new(known_names: BTreeSet<Name>, now: u64) -> Self {
        Self { known_names, is_stale: false, next_total_at: now + TOTAL_INTERVAL_MS }
    }
}

impl Presence {
    /// Returns an empty room, which is large with more than `max_small` names.
    pub(super) fn new(max_small: usize) -> Self {
        Self { names: BTreeSet::new(), max_small, large: None }
    }

    /// Returns the member count.
    pub(super) fn total(&self) -> usize {
        self.names.len()
    }

    /// Returns true if each join and leave is reported.
    pub(super) fn sends_names(&self) -> bool {
        self.large.is_none()
    }

    /// Returns up to `limit` names after `after`, which need not be in the room, in order; true if
    /// there are more.
    pub(super) fn page(&self, after: Option<&Name>, limit: usize) -> (Vec<Name>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = self.names.range::<Name, _>((from, Bound::Unbounded));
        let page = names.by_ref().take(limit).cloned().collect();
        (page, names.next().is_some())
    }

    /// Adds a name.
    pub(super) fn insert(&mut self, name: &Name, now: u64) -> Vec<PresenceChange> {
        if !self.names.insert(name.clone()) {
            return Vec::new();
        }
        if let Some(large) = &mut self.large {
            large.is_stale = true;
            return Vec::new();
        }
        if self.names.len() <= self.max_small {
            return vec![PresenceChange::Joined(name.clone())];
        }
        let mut known_names = self.names.clone();
        known_names.remove(name);
        self.large = Some(Large::new(known_names, now));
        vec![PresenceChange::Total { names: false }]
    }

    /// Removes a name.
    pub(super) fn remove(&mut self, name: &Name) -> Vec<PresenceChange> {
        if !self.names.remove(name) {
            return Vec::new();
        }
        if self.large.is_none() {
            return vec![PresenceChange::Left(name.clone())];
        }
        if self.is_small_again() {
            return self.become_small();
        }
        self.large.iter_mut().for_each(|large| large.is_stale = true);
        Vec::new()
    }

    /// Replaces all names.
    pub(super) fn replace(&mut self, names: BTreeSet<Name>, now: u64) -> Vec<PresenceChange> {
        let before = std::mem::replace(&mut self.names, names);
        if self.large.is_some() && self.is_small_again() {
            return self.become_small();
        }
        match &mut self.large {
            Some(large) => {
                large.is_stale |= before != self.names;
                Vec::new()
            }
            None if self.names.len() > self.max_small => {
                self.large = Some(Large::new(before, now));
                vec![PresenceChange::Total { names: false }]
            }
            None => self.difference(&before, false),
        }
    }

    /// Returns true if a count is to be reported later.
    pub(super) fn has_pending_total(&self) -> bool {
        self.large.as_ref().is_some_and(|large| large.is_stale)
    }

    /// Returns the count if it is due.
    pub(super) fn tick(&mut self, now: u64) -> Option<PresenceChange> {
        let large = self.large.as_mut().filter(|large| large.is_stale && large.next_total_at <= now)?;
        large.is_stale = false;
        large.next_total_at = now + TOTAL_INTERVAL_MS;
        Some(PresenceChange::Total { names: false })
    }

    fn is_small_again(&self) -> bool {
        self.names.len() * 10 <= self.max_small * 9
    }

    fn become_small(&mut self) -> Vec<PresenceChange> {
        self.large.take().map(|large| self.difference(&large.known_names, true)).unwrap_or_default()
    }

    /// Returns the difference since `before`; `again` says that some clients must read the member
    /// list.
    fn difference(&self, before: &BTreeSet<Name>, again: bool) -> Vec<PresenceChange> {
        let went = before.difference(&self.names).cloned().map(PresenceChange::Left);
        let came = self.names.difference(before).cloned().map(PresenceChange::Joined);
        let mut changes: Vec<PresenceChange> = went.chain(came).take(MAX_CHANGES + 1).collect();
        let too_many = changes.len() > MAX_CHANGES;
        if too_many {
            changes.clear();
        }
        if again || too_many {
            changes.push(PresenceChange::Total { names: true });
        }
        changes
    }
}

/// A page of a room's member list, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersPage {
    /// At most as many names as were asked for.
    pub users: Vec<Name>,
    /// The claims of their tokens.
    pub profiles: Profiles,
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
        if !self.may(pending.session, Action::List) {
            let refused = RoomResponse::Refused { refusal: Refusal::NotAllowed, enter: false };
            return cx.respond(pending, refused);
        }
        let (users, more) = self.presence.page(after, limit);
        let profiles = self.profiles(&users);
        let (total, seq, time) = (self.presence.total(), self.applied.position.last_seq(), self.state.time());
        cx.respond(pending, RoomResponse::Members(MembersPage { users, profiles, more, total, seq, time }));
    }

    /// Returns the claims of members' tokens that clients get.
    pub(super) fn profiles(&self, users: &[Name]) -> Profiles {
        let profile = |name: &Name| {
            let profile = self.state.members().get(name)?.profile.as_ref()?;
            // A member without a token may have rights.
            (profile.uid.is_some() || profile.info.is_some()).then(|| (name.clone(), profile.clone()))
        };
        users.iter().filter_map(profile).collect()
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
                PresenceChange::Joined(name) => {
                    let profile = self.state.members().get(&name).and_then(|member| member.profile.clone());
                    cx.push(self.name_receivers(&name), Push::Add { name, profile });
                }
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
mod room_tests;
#[cfg(test)]
mod tests;
