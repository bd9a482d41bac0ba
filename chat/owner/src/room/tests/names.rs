//! Names that look like names in the room.

use model::record::Refusal;
use model::settings::{ConfusableNames, NameProfile};

use super::*;

const TAKEN: Outcome = Outcome::Refused(Refusal::NameTaken);

/// Outcomes of joins under these names, each proposal of an own record.
fn outcomes(settings: &Settings, names: &[&str]) -> Vec<Outcome> {
    let mut harness = OwnerHarness::with(TestLog::new(1), settings, SizeLimits::default());
    let outcomes = names.iter().zip(1..).map(|(name, number)| {
        harness.sent.clear();
        harness.propose(1, number, vec![join(number, name)]);
        harness.run();
        harness.outcomes(1).remove(0)
    });
    outcomes.collect()
}

#[test]
fn a_name_that_looks_like_an_ascii_name_in_the_room_is_taken() {
    let decided = outcomes(&Settings::default(), &["ann", "аnn", "ａｎｎ", "𝐚𝐧𝐧", "Анна", "ännchen"]);
    assert_eq!(decided, [Outcome::Done(0), TAKEN, TAKEN, TAKEN, Outcome::Done(0), Outcome::Done(0)]);
}

#[test]
fn names_that_people_distinguish_stand_side_by_side() {
    for pair in [["al", "a1"], ["力", "カ"], ["аnn", "ann"]] {
        assert_eq!(outcomes(&Settings::default(), &pair), [Outcome::Done(0), Outcome::Done(0)], "{pair:?}");
    }
}

#[test]
fn names_of_one_record_are_compared() {
    let mut harness = OwnerHarness::new();
    let leave = Item::Leave { session: 2, incarnation: Incarnation(1) };
    harness.propose(1, 1, vec![join(1, "аnn"), join(2, "ann"), join(3, "аոո"), leave, join(3, "аոո"), join(4, "ann")]);
    harness.run();
    let done = [0, 1, 2, 3, 4].map(Outcome::Done);
    // Two names of other scripts may look alike, and an ASCII name beside them.
    assert_eq!(harness.outcomes(1), [done[0], done[1], TAKEN, done[2], done[3], done[4]]);
}

#[test]
fn settings_let_them_in() {
    let mut allowed = Settings::default();
    allowed.names.confusable = ConfusableNames::Allow;
    let mut any = Settings::default();
    any.names.profile = NameProfile::Any;
    for settings in [allowed, any] {
        assert_eq!(outcomes(&settings, &["ann", "аnn"]), [Outcome::Done(0), Outcome::Done(0)]);
    }
}
