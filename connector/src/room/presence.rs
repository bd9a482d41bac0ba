//! Who is in a room as far as its clients are told, and in what words: each name, or of a large room how many. Speaks to nobody.

use std::collections::BTreeSet;
use std::ops::Bound;

use model::ids::Name;

/// Milliseconds from one total that is told of a large room to the next.
const TOTAL_INTERVAL_MS: u64 = 1_000;

/// Most names that are told at once. With the longest names that is what an outbox holds; who is told more reads them.
const MAX_CHANGES: usize = 1_000;

/// What is to be told of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PresenceChange {
    /// Somebody came.
    Joined(Name),
    /// Somebody went.
    Left(Name),
    /// There is another number of members; `names` says whether comings and goings are told from now on, and that they
    /// were not.
    Total { names: bool },
}

/// The names in a room. Small rooms tell each coming and going; one that passes a size tells totals only, until it is
/// smaller by a tenth.
#[derive(Debug)]
pub(super) struct Presence {
    names: BTreeSet<Name>,
    /// Most names of a small room.
    max_small: usize,
    large: Option<Large>,
}

/// What there is to know of a room while it is large.
#[derive(Debug)]
struct Large {
    /// The names that were told when it became large: who heard them then is told the difference in the end.
    known_names: BTreeSet<Name>,
    /// Whether something changed since a total was told.
    is_stale: bool,
    /// No total is told before.
    next_total_at: u64,
}

impl Large {
    fn new(known_names: BTreeSet<Name>, now: u64) -> Self {
        Self { known_names, is_stale: false, next_total_at: now + TOTAL_INTERVAL_MS }
    }
}

impl Presence {
    /// Nobody; the room is large with more than `max_small` names.
    pub(super) fn new(max_small: usize) -> Self {
        Self { names: BTreeSet::new(), max_small, large: None }
    }

    /// How many are here.
    pub(super) fn total(&self) -> usize {
        self.names.len()
    }

    /// Whether each coming and going is told.
    pub(super) fn sends_names(&self) -> bool {
        self.large.is_none()
    }

    /// Up to `limit` names after this one, which need not be here, in order; and whether there are more.
    pub(super) fn page(&self, after: Option<&Name>, limit: usize) -> (Vec<Name>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = self.names.range::<Name, _>((from, Bound::Unbounded));
        let page = names.by_ref().take(limit).cloned().collect();
        (page, names.next().is_some())
    }

    /// Somebody is here.
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

    /// Somebody is not here.
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

    /// These are here, and nobody else.
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

    /// Whether a total will be told.
    pub(super) fn has_pending_total(&self) -> bool {
        self.large.as_ref().is_some_and(|large| large.is_stale)
    }

    /// What is to be told because of the time.
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

    /// What changed; `again` says that somebody is to read the names.
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
    fn a_small_room_tells_names() {
        let mut presence = presence(9);
        assert_eq!(presence.insert(&name(9), 0), [PresenceChange::Joined(name(9))]);
        assert_eq!(presence.insert(&name(9), 0), []);
        assert_eq!(presence.remove(&name(9)), [PresenceChange::Left(name(9))]);
        assert_eq!(presence.remove(&name(9)), []);
        assert_eq!(presence.replace(names(1..10), 0), [PresenceChange::Left(name(0)), PresenceChange::Joined(name(9))]);
        assert!(presence.sends_names() && !presence.has_pending_total());
    }

    #[test]
    fn a_large_room_tells_totals_once_a_second() {
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
    fn a_room_that_is_small_again_tells_the_difference() {
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
    fn what_replaces_the_names_may_be_of_another_size() {
        let mut presence = presence(3);
        assert_eq!(presence.replace(names(2..20), 0), [LARGE]);
        assert_eq!(
            presence.replace(names(2..4), 0),
            [PresenceChange::Left(name(0)), PresenceChange::Left(name(1)), PresenceChange::Joined(name(3)), SMALL]
        );
    }

    #[test]
    fn more_than_can_be_told_at_once_is_to_be_read() {
        let mut presence = Presence::new(5_000);
        assert_eq!(presence.replace(names(0..1_000), 0).len(), 1_000);
        assert_eq!(presence.replace(names(1_000..1_501), 0), [SMALL]);
        assert!(presence.sends_names());
        presence.replace(names(0..5_001), 0);
        assert_eq!(presence.replace(names(0..400), 0).len(), 501 + 400 + 1, "since names were told last");
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

    /// What happens to a crowd of at most twenty.
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
        /// Who heard everything from the beginning knows exactly who is here whenever names are told; nobody comes twice.
        #[test]
        fn what_is_told_adds_up(changes in changes()) {
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
