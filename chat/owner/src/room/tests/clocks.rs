//! A wall clock that is set while an owner works.

use super::*;

fn say_with_id(id: &str) -> Item {
    let body = format!(r#"{{"content":"hi","target":"*","id":"{id}"}}"#).into();
    Item::Send { session: 1, membership: Token::new(1).membership(), body }
}

impl OwnerHarness {
    fn say_once(&mut self, number: u64, id: &str) -> Outcome {
        self.propose(1, number, vec![say_with_id(id)]);
        self.run();
        self.outcomes(1)[0]
    }
}

#[test]
fn a_clock_that_is_set_forward_forgets_no_id_before_its_time() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.say_once(2, "a");
    let first = (Position(2).seq(0), harness.now.wall_ms);
    harness.now.wall_ms += 24 * 3_600_000;
    harness.say_once(3, "b");
    harness.tick(59_000);
    assert_eq!(harness.say_once(4, "a"), Outcome::Duplicate { seq: first.0, time: first.1 });
    // The next owner reads all of it at once.
    let mut successor = harness.successor();
    successor.at = harness.at;
    assert_eq!(successor.say_once(5, "a"), Outcome::Duplicate { seq: first.0, time: first.1 });
    for number in 0..61 {
        successor.tick(1_000);
        successor.say_once(6 + number, &number.to_string());
    }
    assert!(matches!(successor.say_once(70, "a"), Outcome::Done(_)), "it is forgotten in the end");
}

#[test]
fn record_time_never_falls() {
    let mut harness = OwnerHarness::new();
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.now.wall_ms = 1;
    harness.say_once(2, "a");
    assert_eq!(harness.records_to(1).last().map(|(_, record)| record.time), Some(1_000));
}

#[test]
fn a_room_whose_time_is_ahead_gets_its_checkpoint_all_the_same() {
    let mut harness = OwnerHarness::new();
    harness.now.wall_ms = 30 * 24 * 3_600_000;
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.now.wall_ms = 1_000;
    harness.tick(23 * 3_600_000);
    harness.maintain(0);
    assert_eq!(harness.run(), 0);
    harness.tick(2 * 3_600_000);
    harness.maintain(0);
    assert_eq!(harness.run(), 1);
    let last = harness.log.last(&room()).last.unwrap();
    assert!(Record::decode(&last.1).unwrap().checkpoint.is_some());
}
