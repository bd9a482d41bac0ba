//! Presence: the members of a room as its clients know them. Small rooms report names, large rooms
//! counts. Sends nothing itself.

use std::collections::BTreeSet;
use std::ops::Bound;

use model::ids::Name;

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

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn name(number: usize) -> Name {
        Name::new(&format!("{number:04}")).unwrap()
    }

    fn names(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<Name> {
        numbers.into_iter().map(name).collect()
    }

    fn presence(count: usize) -> Presence {
        let mut presence = Presence::new(10);
        presence.replace(names(0..count), 0);
        presence
    }

    const LARGE: PresenceChange = PresenceChange::Total { names: false };
    const SMALL: PresenceChange = PresenceChange::Total { names: true };

    #[test]
    fn a_small_room_reports_names() {
        let mut presence = presence(9);
        assert_eq!(presence.insert(&name(9), 0), [PresenceChange::Joined(name(9))]);
        assert_eq!(presence.insert(&name(9), 0), []);
        assert_eq!(presence.remove(&name(9)), [PresenceChange::Left(name(9))]);
        assert_eq!(presence.remove(&name(9)), []);
        assert_eq!(presence.replace(names(1..10), 0), [PresenceChange::Left(name(0)), PresenceChange::Joined(name(9))]);
        assert!(presence.sends_names() && !presence.has_pending_total());
    }

    #[test]
    fn a_large_room_reports_counts_once_a_second() {
        let mut presence = presence(10);
        assert_eq!(presence.insert(&name(10), 5_000), [LARGE]);
        assert!(!presence.sends_names() && !presence.has_pending_total() && presence.tick(9_000).is_none());
        assert_eq!((presence.insert(&name(11), 5_500), presence.remove(&name(3))), (vec![], vec![]));
        assert!(presence.has_pending_total());
        assert_eq!(presence.tick(5_999), None);
        assert_eq!(presence.tick(6_200), Some(LARGE));
        assert_eq!(presence.replace(presence.names.clone(), 6_300), []);
        assert!(!presence.has_pending_total(), "nothing changed");
        assert_eq!(presence.replace(names(20..40), 6_300), []);
        assert_eq!((presence.tick(7_199), presence.tick(7_200)), (None, Some(LARGE)));
    }

    #[test]
    fn a_room_that_is_small_again_reports_the_difference() {
        let mut presence = presence(10);
        presence.insert(&name(10), 0);
        assert_eq!(presence.remove(&name(0)), []);
        assert!(!presence.sends_names(), "ten are not few enough: it would be large with the next");
        assert_eq!(
            presence.remove(&name(1)),
            [PresenceChange::Left(name(0)), PresenceChange::Left(name(1)), PresenceChange::Joined(name(10)), SMALL]
        );
        assert_eq!((presence.tick(9_000), presence.has_pending_total()), (None, false));
        assert_eq!(presence.remove(&name(2)), [PresenceChange::Left(name(2))]);
    }

    #[test]
    fn a_replacement_may_be_of_another_size() {
        let mut presence = presence(3);
        assert_eq!(presence.replace(names(2..20), 0), [LARGE]);
        assert_eq!(
            presence.replace(names(2..4), 0),
            [PresenceChange::Left(name(0)), PresenceChange::Left(name(1)), PresenceChange::Joined(name(3)), SMALL]
        );
    }

    #[test]
    fn more_than_the_most_changes_must_be_read() {
        let mut presence = Presence::new(5_000);
        assert_eq!(presence.replace(names(0..1_000), 0).len(), 1_000);
        assert_eq!(presence.replace(names(1_000..1_501), 0), [SMALL]);
        assert!(presence.sends_names());
        presence.replace(names(0..5_001), 0);
        assert_eq!(presence.replace(names(0..400), 0).len(), 501 + 400 + 1, "since names were last reported");
        presence.replace(names(0..5_001), 0);
        assert_eq!(presence.replace(names(2_000..4_000), 0), [SMALL]);
    }

    #[test]
    fn pages_go_on_after_names_that_went() {
        let mut presence = presence(10);
        assert_eq!(presence.page(None, 4), (names(0..4).into_iter().collect(), true));
        presence.remove(&name(3));
        assert_eq!(presence.page(Some(&name(3)), 6), (names(4..10).into_iter().collect(), false));
        assert_eq!(presence.page(Some(&name(9)), 6), (vec![], false));
    }

    /// An input to a room of at most twenty members.
    #[derive(Debug, Clone)]
    enum Change {
        Insert(usize),
        Remove(usize),
        Replace(BTreeSet<usize>),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let one = prop_oneof![
            8 => (0..20_usize).prop_map(Change::Insert),
            8 => (0..20_usize).prop_map(Change::Remove),
            1 => btree_set(0..20_usize, 0..20).prop_map(Change::Replace),
        ];
        vec(one, 0..200)
    }

    proptest! {
        /// A client that got everything from the beginning knows the exact member list whenever
        /// names are reported, and no name joins twice.
        #[test]
        fn changes_add_up(changes in changes()) {
            let mut presence = Presence::new(10);
            let mut known = BTreeSet::new();
            for change in changes {
                let changes = match change {
                    Change::Insert(number) => presence.insert(&name(number), 0),
                    Change::Remove(number) => presence.remove(&name(number)),
                    Change::Replace(numbers) => presence.replace(names(numbers), 0),
                };
                for changes in changes {
                    match changes {
                        PresenceChange::Joined(name) => prop_assert!(known.insert(name)),
                        PresenceChange::Left(name) => prop_assert!(known.remove(&name)),
                        PresenceChange::Total { names } => prop_assert_eq!(names, presence.sends_names()),
                    }
                }
                prop_assert!(!presence.sends_names() || known == presence.names);
                prop_assert_eq!(presence.sends_names(), presence.total() <= if presence.sends_names() { 10 } else { 9 });
            }
        }
    }
}
