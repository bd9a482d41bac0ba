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
