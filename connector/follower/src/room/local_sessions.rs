//! The local sessions of a room, by number and by name.

use std::collections::btree_map::{BTreeMap, Iter, Keys};
use std::collections::{BTreeSet, btree_map::Entry};
use std::sync::Arc;

use model::act::{Profile, Rights};
use model::ids::{Name, Uid};
use model::membership::{Membership, Token};
use model::network::AddressGroup;
use model::permissions::Action;

use super::session_state::SessionState;

/// A local session.
#[derive(Debug)]
pub(super) struct LocalSession {
    name: Name,
    state: SessionState,
    /// Token of the membership that its client knows.
    pub(super) token: Token,
    /// Token of the membership that it asks to enter, while that is pending.
    entering: Option<Token>,
    /// A state was taken since it asked to enter: another session may have entered the membership
    /// in records that were not seen.
    pub(super) is_behind_state: bool,
    /// The client knows all names.
    knows_names: bool,
    /// The client will resume with its token if its connection ends.
    pub(super) resumes: bool,
    /// The client's address, if it is public.
    pub(super) address: Option<AddressGroup>,
    /// The claims of the client's token.
    // Not of the connection: one that broke is held, and may have to join again.
    pub(super) profile: Option<Box<Profile>>,
}

impl LocalSession {
    /// Returns the membership under which it sends: the one that it enters, since its messages are
    /// decided behind the join.
    pub(super) fn stay(&self) -> Membership {
        self.entering.unwrap_or(self.token).membership()
    }

    /// Returns the name in the room, or the one that it asks for.
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// Returns its client's user, if the client has a token.
    pub(super) fn uid(&self) -> Option<&Uid> {
        self.profile.as_ref()?.uid.as_ref()
    }

    /// Returns its client's rights in the room.
    pub(super) fn rights(&self) -> Rights {
        self.profile.as_ref().and_then(|profile| profile.rights).unwrap_or(Rights::MEMBER)
    }

    /// Returns its state.
    pub(super) fn state(&self) -> SessionState {
        self.state
    }

    /// Returns true if its client gets pushes about a name. None gets pushes about its own, which
    /// also covers a successor of that name.
    pub(super) fn receives_pushes_about(&self, name: &Name) -> bool {
        self.state.receives_pushes() && self.knows_names && self.name != *name
    }
}

/// Local sessions.
#[derive(Debug, Default)]
pub(super) struct LocalSessions {
    by_number: BTreeMap<u64, LocalSession>,
    // Invariant: these are the names in `by_number`.
    by_name: BTreeSet<(Name, u64)>,
    // Invariant: these are the held sessions in `by_number`, by the time until which they are held.
    held: BTreeSet<(u64, u64)>,
    // Invariant: these are the sessions in `by_number` that are to be in the room, by address.
    by_address: BTreeMap<AddressGroup, usize>,
    /// Sessions that get pushes, cached until one of them may have changed.
    // One allocation serves all messages of a quiet membership, and equal pointers let pushes be
    // batched without comparing lists.
    receivers: Option<Arc<[u64]>>,
}

impl LocalSessions {
    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(super) fn get(&self, number: u64) -> Option<&LocalSession> {
        self.by_number.get(&number)
    }

    /// Returns the state of a session; one that is not here is withdrawn.
    pub(super) fn state(&self, number: u64) -> SessionState {
        self.by_number.get(&number).map_or(SessionState::Withdrawn, |local| local.state)
    }

    pub(super) fn iter(&self) -> Iter<'_, u64, LocalSession> {
        self.by_number.iter()
    }

    pub(super) fn keys(&self) -> Keys<'_, u64, LocalSession> {
        self.by_number.keys()
    }

    /// Returns the numbers of the sessions that get pushes.
    pub(super) fn receivers(&mut self) -> Arc<[u64]> {
        let receivers = || {
            let receives = self.by_number.iter().filter(|(_, local)| local.state.receives_pushes());
            receives.map(|(number, _)| *number).collect()
        };
        self.receivers.get_or_insert_with(receivers).clone()
    }

    /// Notes that the clients that get pushes know all names from now on.
    pub(super) fn note_names_known(&mut self) {
        let receivers = self.by_number.values_mut().filter(|local| local.state.receives_pushes());
        receivers.for_each(|local| local.knows_names = local.rights().allow(Action::List));
    }

    /// Notes that a state was taken: all pending joins are older than it.
    // A state says who is in, and not which joins led to it.
    pub(super) fn mark_behind_state(&mut self) {
        self.by_number.values_mut().for_each(|local| local.is_behind_state = true);
    }

    /// Returns the sessions with this name.
    pub(super) fn with_name(&self, name: &Name) -> impl Iterator<Item = (u64, &LocalSession)> {
        let numbers =
            self.by_name.range((name.clone(), u64::MIN)..=(name.clone(), u64::MAX)).map(|(_, number)| *number);
        numbers.filter_map(|number| Some((number, self.by_number.get(&number)?)))
    }

    /// Returns the number of sessions of an address that are to be in the room.
    pub(super) fn of_address(&self, address: AddressGroup) -> usize {
        self.by_address.get(&address).copied().unwrap_or(0)
    }

    /// Returns true if any session is held.
    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns the sessions that are held no longer than until a time.
    pub(super) fn held_until(&self, time: u64) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.held.range(..=(time, u64::MAX)).map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Adds a session that asks to enter. One that is in keeps its name and token until the log
    /// says otherwise.
    pub(super) fn start_entering(
        &mut self,
        (number, address): (u64, Option<AddressGroup>),
        name: Name,
        token: Token,
        profile: Option<Box<Profile>>,
    ) {
        if let Entry::Vacant(vacant) = self.by_number.entry(number) {
            self.by_name.insert((name.clone(), number));
            vacant.insert(LocalSession {
                name,
                // Not counted so far: the change below does that.
                state: SessionState::Withdrawn,
                token,
                entering: None,
                is_behind_state: false,
                knows_names: false,
                resumes: false,
                address,
                profile: None,
            });
        }
        if let Some(local) = self.change(number, SessionState::start_entering) {
            local.profile = profile;
            local.entering = Some(token);
            local.is_behind_state = false;
        }
    }

    /// Sets the rights of a session's client in the room.
    pub(super) fn set_rights(&mut self, number: u64, rights: Rights) {
        let Some(local) = self.by_number.get_mut(&number) else { return };
        let profile = local.profile.take().map(|profile| *profile).unwrap_or_default();
        local.profile = Profile { rights: rights.stored(), ..profile }.boxed();
        // Never set here: a client that may list again has missed joins and leaves, and
        // reads the list first.
        local.knows_names &= rights.allow(Action::List);
    }

    /// Confirms that a session is in by this membership: from now on its client can resume that one.
    pub(super) fn confirm_stay(&mut self, number: u64, stay: Membership) {
        // Not any pending membership: an entry of an earlier join may be applied while a later one
        // is pending.
        if let Some(local) = self.by_number.get_mut(&number)
            && let Some(token) = local.entering.take_if(|token| token.membership() == stay)
        {
            local.token = token;
        }
    }

    /// Forgets the membership that a session asked to enter: its join was refused.
    pub(super) fn refuse_stay(&mut self, number: u64, stay: Membership) {
        if let Some(local) = self.by_number.get_mut(&number) {
            local.entering.take_if(|token| token.membership() == stay);
        }
    }

    /// Completes a session's `enter`. Returns the token of its membership; none without the session.
    pub(super) fn complete_enter(&mut self, number: u64, knows_names: bool, resumes: bool) -> Option<Token> {
        let local = self.change(number, SessionState::complete_enter)?;
        local.knows_names = knows_names;
        local.resumes = resumes;
        Some(local.token)
    }

    /// Gives up a session's `enter`.
    pub(super) fn cancel_enter(&mut self, number: u64) {
        if let Some(local) = self.change(number, SessionState::cancel_enter) {
            local.entering = None;
        }
    }

    /// Notes that a session's client asks to leave.
    pub(super) fn start_leaving(&mut self, number: u64) {
        debug_assert!(
            matches!(self.state(number), SessionState::In | SessionState::Withdrawn),
            "{number} leaves: {:?}",
            self.state(number)
        );
        self.change(number, SessionState::start_leaving);
    }

    /// Notes that the log has a leave of a session.
    pub(super) fn apply_leave(&mut self, number: u64) {
        self.change(number, SessionState::apply_leave);
    }

    /// Notes that the leave of a session is decided.
    pub(super) fn conclude_leave(&mut self, number: u64) {
        debug_assert_ne!(self.state(number), SessionState::In, "{number} entered before its leave was decided");
        self.change(number, SessionState::conclude_leave);
    }

    /// Holds a session whose connection broke. Returns false if its client does not believe that it
    /// is in the room.
    pub(super) fn hold(&mut self, number: u64, until: u64) -> bool {
        debug_assert!(!self.state(number).is_held(), "{number} is held twice");
        let is_in = matches!(self.state(number), SessionState::In | SessionState::Returning);
        if is_in {
            self.change(number, |_| SessionState::Held { until });
        }
        is_in
    }

    /// Notes that a session is not to be in the room any more. Returns true if it was held.
    pub(super) fn withdraw(&mut self, number: u64) -> bool {
        let was_held = self.state(number).is_held();
        self.change(number, |_| SessionState::Withdrawn);
        was_held
    }

    /// Gives a session another name; does nothing without that session.
    pub(super) fn rename(&mut self, number: u64, name: &Name) {
        let Some(local) = self.by_number.get_mut(&number) else { return };
        let before = std::mem::replace(&mut local.name, name.clone());
        self.by_name.remove(&(before, number));
        self.by_name.insert((name.clone(), number));
    }

    /// Removes a withdrawn session.
    pub(super) fn remove(&mut self, number: u64) {
        if let Some(local) = self.by_number.remove(&number) {
            debug_assert_eq!(local.state, SessionState::Withdrawn, "session {number}");
            self.by_name.remove(&(local.name, number));
        }
    }

    /// Changes the state of a session, with the lists that depend on it.
    fn change(
        &mut self,
        number: u64,
        transition: impl FnOnce(SessionState) -> SessionState,
    ) -> Option<&mut LocalSession> {
        let local = self.by_number.get_mut(&number)?;
        let (before, after) = (local.state, transition(local.state));
        local.state = after;
        if before.receives_pushes() != after.receives_pushes() {
            self.receivers = None;
        }
        if let Some(address) = local.address.filter(|_| before.is_wanted() != after.is_wanted()) {
            count(&mut self.by_address, address, after.is_wanted());
        }
        if let SessionState::Held { until } = before {
            self.held.remove(&(until, number));
        }
        if let SessionState::Held { until } = after {
            self.held.insert((until, number));
        }
        Some(local)
    }

    /// Asserts that the lists by name, of held sessions and of receivers are those of the sessions.
    #[cfg(debug_assertions)]
    pub(super) fn assert_sound(&self) {
        assert_eq!(self.by_name.len(), self.by_number.len());
        for (name, number) in &self.by_name {
            assert_eq!(self.by_number.get(number).map(LocalSession::name), Some(name), "{number}");
        }
        let held = self.by_number.iter().filter_map(|(number, local)| match local.state {
            SessionState::Held { until } => Some((until, *number)),
            _ => None,
        });
        assert_eq!(held.collect::<BTreeSet<_>>(), self.held);
        let mut by_address = BTreeMap::new();
        let wanted = self.by_number.values().filter(|local| local.state.is_wanted());
        wanted.filter_map(|local| local.address).for_each(|address| count(&mut by_address, address, true));
        assert_eq!(by_address, self.by_address);
        if let Some(receivers) = &self.receivers {
            let receives = self.by_number.iter().filter(|(_, local)| local.state.receives_pushes());
            assert!(receives.map(|(number, _)| number).eq(receivers.iter()), "{receivers:?}");
        }
    }
}

/// Counts a session of an address, or counts it no more.
fn count(by_address: &mut BTreeMap<AddressGroup, usize>, address: AddressGroup, is_one_more: bool) {
    let count = by_address.entry(address).or_default();
    *count = if is_one_more { *count + 1 } else { count.saturating_sub(1) };
    if *count == 0 {
        by_address.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_the_sessions_that_get_pushes_now() {
        let mut sessions = LocalSessions::default();
        let name = Name::new("ann").unwrap();
        (1..=2).for_each(|number| sessions.start_entering((number, None), name.clone(), Token::new(1), None));
        assert!(sessions.receivers().is_empty());
        sessions.complete_enter(2, true, true);
        assert_eq!(*sessions.receivers(), [2]);
        assert!(Arc::ptr_eq(&sessions.receivers(), &sessions.receivers()));
        sessions.complete_enter(1, true, true);
        assert_eq!(*sessions.receivers(), [1, 2]);
        sessions.withdraw(2);
        sessions.remove(2);
        assert_eq!(*sessions.receivers(), [1]);
        assert!(sessions.hold(1, 7));
        assert!(sessions.receivers().is_empty());
    }

    #[test]
    fn sessions_are_found_by_the_name_they_have_now() {
        let [ann, bob] = ["ann", "bob"].map(|name| Name::new(name).unwrap());
        let mut sessions = LocalSessions::default();
        let numbers =
            |sessions: &LocalSessions, name| sessions.with_name(name).map(|(number, _)| number).collect::<Vec<_>>();
        sessions.start_entering((1, None), ann.clone(), Token::new(1), None);
        sessions.start_entering((2, None), ann.clone(), Token::new(2), None);
        sessions.start_entering((2, None), bob.clone(), Token::new(3), None);
        assert_eq!((numbers(&sessions, &ann), numbers(&sessions, &bob)), (vec![1, 2], vec![]));
        sessions.rename(2, &bob);
        sessions.rename(3, &bob);
        assert_eq!((numbers(&sessions, &ann), numbers(&sessions, &bob)), (vec![1], vec![2]));
        sessions.withdraw(2);
        sessions.remove(2);
        assert_eq!((numbers(&sessions, &bob), sessions.by_name.len()), (vec![], 1));
    }

    #[test]
    fn held_sessions_are_found_by_their_time() {
        let mut sessions = LocalSessions::default();
        for (number, until) in [(1, 20), (2, 10), (3, 10)] {
            sessions.start_entering((number, None), Name::new("ann").unwrap(), Token::new(1), None);
            assert!(!sessions.hold(number, until), "its client does not know that it is in");
            sessions.complete_enter(number, true, true);
            assert!(sessions.hold(number, until));
        }
        assert!(sessions.withdraw(3) && !sessions.withdraw(3));
        assert_eq!([9, 10, 20].map(|time| sessions.held_until(time)), [vec![], vec![2], vec![1, 2]]);
        sessions.withdraw(1);
        sessions.withdraw(2);
        assert!(!sessions.has_held());
    }

    #[test]
    fn members_are_counted_by_address_while_they_are_to_be_in() {
        let address = |text: &str| Some(AddressGroup::of(text.parse().unwrap()));
        let (ann, name) = (address("203.0.113.1"), Name::new("ann").unwrap());
        let mut sessions = LocalSessions::default();
        for (number, from) in [(1, ann), (2, ann), (3, address("203.0.113.2")), (4, None)] {
            sessions.start_entering((number, from), name.clone(), Token::new(1), None);
            sessions.start_entering((number, from), name.clone(), Token::new(1), None);
        }
        let of_ann = |sessions: &LocalSessions| sessions.of_address(ann.unwrap());
        assert_eq!(of_ann(&sessions), 2);
        sessions.complete_enter(1, true, true);
        assert!(sessions.hold(1, 7));
        assert_eq!(of_ann(&sessions), 2, "a held session keeps its place");
        sessions.withdraw(1);
        sessions.cancel_enter(2);
        assert_eq!(of_ann(&sessions), 0);
        sessions.remove(1);
        sessions.start_entering((2, ann), name, Token::new(1), None);
        assert_eq!((of_ann(&sessions), sessions.by_address.len()), (1, 2));
    }
}
