//! A log with messages that no owner wrote, or without records that one wrote.

use super::*;

/// Far above all wall clocks here.
const FAR_MS: u64 = 50 * 365 * 24 * 3_600_000;

impl OwnerHarness {
    /// Ann is in the room, and sent so many messages.
    pub(super) fn with_ann(says: u64) -> Self {
        let mut harness = Self::new();
        harness.propose(1, 1, vec![join(1, "ann")]);
        harness.run();
        for number in 2..2 + says {
            harness.propose(1, number, vec![say(1)]);
            harness.run();
        }
        harness.sent.clear();
        harness
    }

    /// Another chat server on the same log.
    pub(super) fn successor(&self) -> Self {
        let mut successor = Self { now: self.now, ..Self::on(self.log.clone()) };
        let me = ServerId::new("chat-server-2").unwrap();
        let ids = RecordIds::new(&me, Incarnation(1), 1);
        successor.owner =
            Owner::new(me, room(), ids, Arc::new(RoomPolicy::new(&Settings::default(), SizeLimits::default())));
        successor
    }

    fn last(&self) -> (Position, Record) {
        let (position, bytes) = self.log.last(&room()).last.unwrap();
        (position, Record::decode(&bytes).unwrap())
    }

    fn publish(&self, bytes: impl Into<Bytes>) -> Position {
        self.log.publish(&room(), bytes.into()).unwrap()
    }

    /// The next record, with another time.
    fn next(&self, time: u64) -> Record {
        let (prev, last) = self.last();
        let (prev_id, links) = (last.id, last.predecessors().collect());
        let entries = vec![Entry::Open];
        Record {
            prev,
            prev_id,
            links,
            id: RecordId(77),
            time,
            entries,
            proposals: Vec::new(),
            acts: Vec::new(),
            lasting: None,
            checkpoint: None,
            ..last
        }
    }

    fn members(&self) -> Vec<String> {
        let (_, state) = self.owner.state().unwrap();
        state.members().keys().map(Name::to_string).collect()
    }
}

/// Messages that are no records of the room, to be written behind its last one.
fn poison(harness: &OwnerHarness) -> Vec<Bytes> {
    let (position, last) = harness.last();
    let next = position.0 + 1;
    let own = |record: &Record| Bytes::from(record.encode().unwrap());
    vec![
        Bytes::from_static(b"garbage"),
        Bytes::new(),
        own(&Record { v: VERSION + 1, ..harness.next(1_000) }),
        own(&Record { prev: Position(next), ..harness.next(1_000) }),
        own(&Record { prev: Position(next + 100), ..harness.next(1_000) }),
        own(&last),
        own(&Record { prev: Position::NONE, prev_id: RecordId::NONE, ..last.clone() }),
        own(&Record { prev_id: RecordId(99), ..harness.next(1_000) }),
    ]
}

#[test]
fn a_message_that_is_no_record_costs_itself() {
    let kinds = poison(&OwnerHarness::with_ann(3)).len();
    for kind in 0..kinds {
        let mut harness = OwnerHarness::with_ann(3);
        let (before, last) = harness.last();
        harness.at = LogPosition { epoch: Epoch(1), position: before, id: last.id };
        let bad = harness.publish(poison(&harness)[kind].clone());
        harness.propose(1, 9, vec![say(1)]);
        let operations = harness.run();
        assert!(operations <= 6, "{operations}: an append, the last, the ones before, an append");
        let (position, record) = harness.last();
        assert!(position > bad);
        assert_eq!((record.prev, record.prev_id), (before, last.id), "kind {kind}: connectors go on without noticing");
        assert_eq!(harness.outcomes(1), [Outcome::Done(0)], "kind {kind}");
        let (_, delivered) = harness.records_to(1).pop().unwrap();
        assert!(delivered.follows(before, last.id));
        assert_eq!(
            harness.events(|event| matches!(event, Event::RecordBad { .. } | Event::RoomUnusable { .. })),
            1,
            "kind {kind}"
        );
        // The record behind it is as in any log.
        harness.at = LogPosition { epoch: Epoch(1), position, id: record.id };
        harness.propose(1, 10, vec![say(1)]);
        assert_eq!(harness.run(), 1);
        let mut successor = harness.successor();
        successor.attach(2, LogPosition::default());
        assert!(successor.run() <= 3);
        assert_eq!(successor.members(), ["ann"]);
    }
}

#[test]
fn a_successor_goes_on_from_the_last_record_before_poison() {
    let harness = OwnerHarness::with_ann(3);
    let (before, last) = harness.last();
    for _ in 0..5 {
        harness.publish(&b"garbage"[..]);
    }
    let mut successor = harness.successor();
    successor.attach(1, LogPosition { epoch: Epoch(1), position: before, id: last.id });
    successor.run();
    let (now, CatchUp::Since { records, more: false }) = successor.catch_up() else {
        panic!("{:?}", successor.catch_up())
    };
    assert_eq!((records.len(), records[0].1.prev), (1, before));
    assert_eq!(now.position, successor.last().0);
    assert_eq!(successor.members(), ["ann"]);
    assert_eq!(successor.events(|event| matches!(event, Event::RecordBad { .. } | Event::RoomUnusable { .. })), 5);
}

/// Its connector applied a record of a newer version, which this owner passes over.
#[test]
fn a_connector_at_a_message_that_is_passed_over_gets_the_state() {
    let harness = OwnerHarness::with_ann(3);
    let newer = Record { v: VERSION + 1, ..harness.next(1_000) };
    let position = harness.publish(newer.encode().unwrap());
    let mut successor = harness.successor();
    successor.attach(1, LogPosition { epoch: Epoch(1), position, id: newer.id });
    successor.run();
    assert!(matches!(successor.catch_up(), (now, CatchUp::State(_)) if now.position > position));
}

#[test]
fn a_room_that_holds_nothing_but_poison_is_new() {
    let mut harness = OwnerHarness::new();
    let bad = harness.publish(&b"garbage"[..]);
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    let (position, record) = harness.last();
    assert!(position > bad);
    assert_eq!((record.prev, record.prev_id), (Position::NONE, RecordId::NONE));
    assert_eq!(harness.outcomes(1), [Outcome::Done(0)]);
    let mut successor = harness.successor();
    successor.attach(1, LogPosition::default());
    successor.run();
    assert_eq!(successor.members(), ["ann"], "its first record is behind the poison");
}

/// An erased room in which only poison is left: its members stay.
#[test]
fn an_erased_room_with_poison_keeps_its_members() {
    let mut harness = OwnerHarness::with_ann(1);
    let (position, last) = harness.last();
    harness.log.erase();
    harness.publish(&b"garbage"[..]);
    harness.at = LogPosition { epoch: Epoch(1), position, id: last.id };
    harness.propose(2, 1, vec![join(1, "bob")]);
    harness.run();
    assert_eq!(harness.members(), ["ann", "bob"]);
    let (_, first) = harness.last();
    assert!(first.is_behind_erasure() && first.follows(position, last.id));
}

#[test]
fn poison_that_comes_during_an_append_refuses_it_and_nothing_is_lost() {
    let mut harness = OwnerHarness::with_ann(2);
    let (position, last) = harness.last();
    harness.at = LogPosition { epoch: Epoch(1), position, id: last.id };
    harness.propose(1, 9, vec![say(1)]);
    harness.publish(&b"garbage"[..]);
    harness.attach(2, harness.at);
    harness.run();
    assert_eq!(harness.outcomes(1), [Outcome::Done(0)]);
    assert!(matches!(harness.catch_up(), (_, CatchUp::Since { records, .. }) if records.len() == 1));
}

/// A certain read finds another last message than the known one.
#[test]
fn an_attach_is_proven_behind_poison() {
    let mut harness = OwnerHarness::with_ann(2);
    let (position, last) = harness.last();
    let bad = harness.publish(&b"garbage"[..]);
    harness.attach(2, LogPosition { epoch: Epoch(1), position, id: last.id });
    harness.run();
    let (now, CatchUp::Since { records, .. }) = harness.catch_up() else { panic!("{:?}", harness.catch_up()) };
    assert!(records.len() == 1 && now.position > bad);
}

#[test]
fn too_much_poison_makes_the_room_unusable_until_some_is_removed() {
    let mut harness = OwnerHarness::with_ann(2);
    let bad: Vec<Position> = (0..300).map(|_| harness.publish(&b"garbage"[..])).collect();
    harness.propose(1, 9, vec![say(1)]);
    let operations = harness.run();
    assert!(operations < 300, "{operations}");
    harness.propose(1, 9, vec![say(1)]);
    assert!(harness.owner.is_unusable() && harness.owner.awaits_time());
    assert!(
        matches!(harness.sent.last(), Some(Sent::Respond(_, RpcResponse::Unavailable { .. }))),
        "{:?}",
        harness.sent
    );
    bad[200..].iter().for_each(|position| harness.log.damage(&room(), *position, None));
    harness.tick(2_000);
    harness.run();
    assert_eq!(harness.outcomes(1), [Outcome::Done(0)]);
    assert!(!harness.owner.is_unusable());
}

/// Records since the checkpoint, one of them damaged.
fn damaged(garbage: Option<&'static [u8]>) -> (OwnerHarness, Position, Position) {
    let mut harness = OwnerHarness::with_ann(0);
    harness.propose(2, 1, (1..60).map(|number| join(number, &format!("bob-{number}"))).collect());
    harness.run();
    harness.propose(3, 1, vec![join(1, "cid")]);
    harness.run();
    let lost = harness.last().0;
    harness.propose(1, 2, vec![say(1)]);
    harness.run();
    assert!(harness.last().1.checkpoint.is_none());
    harness.log.damage(&room(), lost, garbage.map(Bytes::from_static));
    let last = harness.last().0;
    (harness, lost, last)
}

#[test]
fn a_bad_record_in_the_middle_costs_its_own_entries() {
    for garbage in [Some(&b"garbage"[..]), None] {
        let (harness, lost, last) = damaged(garbage);
        let last_id = harness.id_at(last);
        let mut successor = harness.successor();
        successor.attach(1, LogPosition { epoch: Epoch(1), position: last, id: last_id });
        successor.run();
        if garbage.is_none() {
            assert_eq!(successor.sent, [], "it may have been evicted: that is looked at twice");
            successor.tick(2_000);
            successor.run();
        }
        assert!(
            matches!(successor.catch_up().1, CatchUp::State(_)),
            "its connector has what is lost: {:?}",
            successor.catch_up()
        );
        let (_, record) = successor.last();
        assert_eq!((record.prev, record.prev_id), (last, RecordId::NONE));
        assert!(!record.follows(last, last_id));
        let members = successor.members();
        assert!(members.contains(&"ann".to_owned()) && members.contains(&"bob-7".to_owned()));
        assert!(!members.contains(&"cid".to_owned()), "{members:?}");
        assert_eq!(successor.missing(), 1);
        // One that did not exist yet either.
        successor.attach(2, LogPosition { epoch: Epoch(1), position: lost, id: RecordId(5) });
        successor.run();
        assert!(matches!(successor.catch_up().1, CatchUp::State(_)));
        // The loss is found once.
        let mut next = successor.successor();
        next.attach(1, LogPosition::default());
        next.run();
        assert_eq!(next.missing(), 0);
    }
}

/// The owner that wrote the lost record knows the state behind it.
#[test]
fn an_owner_that_knows_the_last_record_needs_none_before_it() {
    let (mut harness, lost, last) = damaged(None);
    let last = LogPosition { epoch: Epoch(1), position: last, id: harness.id_at(last) };
    harness.owner.start_over(harness.now);
    harness.attach(1, last);
    harness.run();
    harness.tick(2_000);
    harness.run();
    let (_, CatchUp::Since { records, .. }) = harness.catch_up() else { panic!("{:?}", harness.catch_up()) };
    assert!(records[0].1.follows(last.position, last.id));
    assert!(harness.members().contains(&"cid".to_owned()));
    assert_eq!(harness.missing(), 1);
    harness.attach(
        2,
        LogPosition { epoch: Epoch(1), position: Position(lost.0 - 1), id: harness.id_at(Position(lost.0 - 1)) },
    );
    harness.run();
    assert!(matches!(harness.catch_up().1, CatchUp::State(_)));
}

#[test]
fn a_room_whose_checkpoint_is_lost_goes_on_from_what_is_left() {
    let (harness, _, last) = damaged(None);
    (1..last.0).for_each(|position| harness.log.damage(&room(), Position(position), None));
    let mut successor = harness.successor();
    successor.attach(1, LogPosition { epoch: Epoch(1), position: last, id: harness.id_at(last) });
    for _ in 0..3 {
        successor.run();
        successor.tick(2_000);
    }
    assert!(matches!(successor.catch_up().1, CatchUp::State(_)));
    assert_eq!(successor.members(), Vec::<String>::new());
}

/// The lost record may contain a join: a join that it may have overtaken is not decided.
#[test]
fn a_join_from_before_a_lost_record_is_overtaken() {
    let (harness, _, last) = damaged(Some(b"garbage"));
    let seen = Some(harness.id_at(Position(1)));
    let mut successor = harness.successor();
    successor.at = LogPosition { epoch: Epoch(1), position: last, id: harness.id_at(last) };
    let (name, membership) = (Name::new("dan").unwrap(), Token::new(9).membership());
    successor.propose(3, 2, vec![Item::Join { session: 2, name, membership, claim: Claim::Back, seen, profile: None }]);
    successor.run();
    assert_eq!(successor.outcomes(3), [Outcome::Overtaken]);
}

#[test]
fn a_record_from_the_future_is_applied_and_moves_no_time() {
    let mut harness = OwnerHarness::with_ann(1);
    harness.say_once_more(8, "a");
    let (said_at, said) = (harness.last().0.seq(0), harness.last().1.time);
    let from = Name::new("ann").unwrap();
    let id = Token::new(1).membership().message("b");
    let entries = vec![Entry::Message { from, content: "hi".to_owned(), id: Some(id), meta: None }];
    let future = Record { entries, ..harness.next(harness.now.wall_ms + FAR_MS) };
    let position = harness.publish(future.encode().unwrap());
    harness.now.wall_ms += 10;
    assert_eq!(harness.say_once_more(9, "a"), Outcome::Duplicate { seq: said_at, time: said }, "no id is forgotten");
    let delivered = harness.records_to(1).into_iter().find(|(at, _)| *at == position);
    assert_eq!(delivered, None, "its connector does not follow, and attaches");
    assert_eq!(harness.last().1.time, harness.now.wall_ms);
    assert_eq!(harness.last().1.prev, position, "it is applied");
    let again = Outcome::Duplicate { seq: position.seq(0), time: harness.now.wall_ms };
    assert_eq!(harness.say_once_more(10, "b"), again, "and so is its id");
    let mut successor = harness.successor();
    successor.at = harness.at;
    assert_eq!(successor.say_once_more(11, "a"), Outcome::Duplicate { seq: said_at, time: said });
    assert_eq!(successor.last().1.time, harness.now.wall_ms);
    successor.tick(1_000);
    successor.say_once_more(12, "c");
    assert_eq!(successor.last().1.time, successor.now.wall_ms);
    // Connectors get no time that is ahead of the room's.
    successor.attach(2, LogPosition { epoch: Epoch(1), position: Position(1), id: harness.id_at(Position(1)) });
    successor.run();
    let (_, CatchUp::Since { records, .. }) = successor.catch_up() else { panic!("{:?}", successor.catch_up()) };
    assert!(records.iter().any(|(at, _)| *at == position));
    assert!(records.iter().all(|(_, record)| record.time <= successor.now.wall_ms), "{records:?}");
}

/// The owner's own clock was set back by more than a day: the room's time stands still, and never
/// falls.
#[test]
fn a_clock_that_is_set_back_by_days_is_no_record_from_the_future() {
    let mut harness = OwnerHarness::new();
    harness.now.wall_ms = FAR_MS;
    harness.propose(1, 1, vec![join(1, "ann")]);
    harness.run();
    harness.propose(1, 2, vec![say(1)]);
    harness.run();
    let mut successor = harness.successor();
    successor.now.wall_ms = FAR_MS / 2;
    successor.attach(1, LogPosition::default());
    successor.run();
    assert_eq!(successor.last().1.time, FAR_MS);
    assert_eq!(successor.events(|event| matches!(event, Event::RecordFromFuture { .. })), 0);
}

impl OwnerHarness {
    fn say_once_more(&mut self, number: u64, id: &str) -> Outcome {
        self.sent.clear();
        let body = format!(r#"{{"content":"hi","target":"*","id":"{id}"}}"#).into();
        self.propose(1, number, vec![Item::Send { session: 1, membership: Token::new(1).membership(), body }]);
        self.run();
        self.outcomes(1)[0]
    }
}
