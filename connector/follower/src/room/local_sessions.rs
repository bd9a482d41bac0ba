//! The local sessions of a room, by number and by name.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Iter, Keys};
use std::sync::Arc;

use model::ids::Name;
use model::membership::{Membership, Token};

/// A local session, as this connector wants it to be.
#[derive(Debug)]
pub(super) struct LocalSession {
    name: Name,
    /// Token of the stay that its client knows.
    pub(super) token: Token,
    /// Token of the stay that it asks to enter, while that is pending.
    pub(super) entering: Option<Token>,
    /// A state was taken since it asked to enter: another session may have entered the stay in
    /// records that were not seen.
    pub(super) is_behind_state: bool,
    /// The session is to be in the room; false while its leave is pending.
    pub(super) is_wanted: bool,
    /// The client knows that it is in the room, and gets pushes.
    pub(super) receives_pushes: bool,
    /// The client asked to leave, and no enter has completed since.
    pub(super) is_leaving: bool,
    /// The client knows all names.
    pub(super) knows_names: bool,
    /// The client will resume with its token if its connection ends.
    pub(super) resumes: bool,
}

impl LocalSession {
    /// Returns the stay under which it sends: the one that it enters, since its messages are
    /// decided behind the join.
    pub(super) fn stay(&self) -> Membership {
        self.entering.unwrap_or(self.token).membership()
    }

    /// Confirms that it is in by this stay: from now on its client can resume that one.
    pub(super) fn confirm_stay(&mut self, stay: Membership) {
        // Not any pending stay: an entry of an earlier join may be applied while a later one is
        // pending.
        if let Some(token) = self.entering.take_if(|token| token.membership() == stay) {
            self.token = token;
        }
    }

    /// Returns true if its client knows that it is in the room, and has not asked to leave since.
    pub(super) fn is_present(&self) -> bool {
        self.receives_pushes && !self.is_leaving
    }

    /// Returns the name in the room, or the one that it asks for.
    pub(super) fn name(&self) -> &Name {
        &self.name
    }
}

/// Local sessions.
#[derive(Debug, Default)]
pub(super) struct LocalSessions {
    by_number: BTreeMap<u64, LocalSession>,
    // Invariant: these are the names in `by_number`.
    by_name: BTreeSet<(Name, u64)>,
    /// Sessions that get pushes, cached until one of them may have changed.
    // One allocation serves all messages of a quiet membership, and equal pointers let pushes be
    // batched without comparing lists.
    receivers: Option<Arc<[u64]>>,
}

impl LocalSessions {
    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    pub(super) fn get(&self, number: &u64) -> Option<&LocalSession> {
        self.by_number.get(number)
    }

    pub(super) fn get_mut(&mut self, number: &u64) -> Option<&mut LocalSession> {
        self.receivers = None;
        self.by_number.get_mut(number)
    }

    pub(super) fn iter(&self) -> Iter<'_, u64, LocalSession> {
        self.by_number.iter()
    }

    pub(super) fn keys(&self) -> Keys<'_, u64, LocalSession> {
        self.by_number.keys()
    }

    /// Returns the numbers of the sessions that get pushes.
    pub(super) fn receivers(&mut self) -> Arc<[u64]> {
        let receivers =
            || self.by_number.iter().filter(|(_, local)| local.receives_pushes).map(|(number, _)| *number).collect();
        self.receivers.get_or_insert_with(receivers).clone()
    }

    /// Returns the sessions that get pushes.
    pub(super) fn receivers_mut(&mut self) -> impl Iterator<Item = &mut LocalSession> {
        self.receivers = None;
        self.by_number.values_mut().filter(|local| local.receives_pushes)
    }

    /// Notes that a state was taken: all pending joins are older than it.
    pub(super) fn mark_behind_state(&mut self) {
        self.by_number.values_mut().for_each(|local| local.is_behind_state = true);
    }

    /// Returns the sessions with this name.
    pub(super) fn with_name(&self, name: &Name) -> impl Iterator<Item = (u64, &LocalSession)> {
        let numbers =
            self.by_name.range((name.clone(), u64::MIN)..=(name.clone(), u64::MAX)).map(|(_, number)| *number);
        numbers.filter_map(|number| Some((number, self.by_number.get(&number)?)))
    }

    /// Adds a session that asks to enter. One that is in keeps its name and token until the log
    /// says otherwise.
    pub(super) fn start_entering(&mut self, number: u64, name: Name, token: Token) {
        self.receivers = None;
        let local = self.by_number.entry(number).or_insert_with(|| {
            self.by_name.insert((name.clone(), number));
            LocalSession {
                name,
                token,
                entering: None,
                is_behind_state: false,
                is_wanted: true,
                receives_pushes: false,
                is_leaving: false,
                knows_names: false,
                resumes: false,
            }
        });
        local.is_wanted = true;
        local.entering = Some(token);
        local.is_behind_state = false;
    }

    /// Gives a session another name; does nothing without that session.
    pub(super) fn rename(&mut self, number: u64, name: &Name) {
        let Some(local) = self.by_number.get_mut(&number) else { return };
        let before = std::mem::replace(&mut local.name, name.clone());
        self.by_name.remove(&(before, number));
        self.by_name.insert((name.clone(), number));
    }

    pub(super) fn remove(&mut self, number: &u64) {
        self.receivers = None;
        if let Some(local) = self.by_number.remove(number) {
            self.by_name.remove(&(local.name, *number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_the_sessions_that_get_pushes_now() {
        let mut sessions = LocalSessions::default();
        let name = Name::new("ann").unwrap();
        (1..=2).for_each(|number| sessions.start_entering(number, name.clone(), Token::new(1)));
        assert!(sessions.receivers().is_empty());
        sessions.get_mut(&2).unwrap().receives_pushes = true;
        assert_eq!(*sessions.receivers(), [2]);
        assert!(Arc::ptr_eq(&sessions.receivers(), &sessions.receivers()));
        sessions.get_mut(&1).unwrap().receives_pushes = true;
        assert_eq!(*sessions.receivers(), [1, 2]);
        sessions.remove(&2);
        assert_eq!(*sessions.receivers(), [1]);
        sessions.receivers_mut().for_each(|local| local.receives_pushes = false);
        assert!(sessions.receivers().is_empty());
    }

    #[test]
    fn sessions_are_found_by_the_name_they_have_now() {
        let [ann, bob] = ["ann", "bob"].map(|name| Name::new(name).unwrap());
        let mut sessions = LocalSessions::default();
        let numbers =
            |sessions: &LocalSessions, name| sessions.with_name(name).map(|(number, _)| number).collect::<Vec<_>>();
        sessions.start_entering(1, ann.clone(), Token::new(1));
        sessions.start_entering(2, ann.clone(), Token::new(2));
        sessions.start_entering(2, bob.clone(), Token::new(3));
        assert_eq!((numbers(&sessions, &ann), numbers(&sessions, &bob)), (vec![1, 2], vec![]));
        sessions.rename(2, &bob);
        sessions.rename(3, &bob);
        assert_eq!((numbers(&sessions, &ann), numbers(&sessions, &bob)), (vec![1], vec![2]));
        sessions.remove(&2);
        assert_eq!((numbers(&sessions, &bob), sessions.by_name.len()), (vec![], 1));
    }
}
