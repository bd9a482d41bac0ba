//! A log with messages that no owner wrote, or without records that one wrote.

use super::*;

/// Far above all wall clocks here.
const FAR_MS: u64 = 50 * 365 * 24 * 3_600_000;

impl Bench {
    /// Ann is in the room, and said so much.
    pub(super) fn with_ann(says: u64) -> Self {
        let mut bench = Self::new();
        bench.propose(1, 1, vec![join(1, "ann")]);
        bench.run();
        for number in 2..2 + says {
            bench.propose(1, number, vec![say(1)]);
            bench.run();
        }
        bench.said.clear();
        bench
    }

    /// Another chat server on the same log.
    pub(super) fn heir(&self) -> Self {
        let mut heir = Self { now: self.now, ..Self::on(self.log.clone()) };
        let me = ServerId::new("chat-server-2").unwrap();
        let ids = RecordIds::new(&me, Incarnation(1), 1);
        heir.owner = Owner::new(
            me,
            room(),
            ids,
            Arc::new(Judge::new(&Settings::default(), SizeLimits::default())),
            Metrics::new(),
        );
        heir
    }

    fn last(&self) -> (Position, Record) {
        let (position, bytes) = self.log.last(&room()).last.unwrap();
        (position, Record::decode(&bytes).unwrap())
    }

    fn publish(&self, bytes: impl Into<Bytes>) -> Position {
        self.log.publish(&room(), bytes.into()).unwrap()
    }

    /// The record that would come next, with another time.
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
            checkpoint: None,
            ..last
        }
    }

    fn members(&self) -> Vec<String> {
        let (position, last) = self.last();
        let mut state = RoomState::from(&last.checkpoint.clone().unwrap());
        state.apply_metadata(position, &last);
        state.members().keys().map(Name::to_string).collect()
    }
}

/// Messages that are no records of the room, to be written behind its last one.
fn poison(bench: &Bench) -> Vec<Bytes> {
    let (position, last) = bench.last();
    let next = position.0 + 1;
    let own = |record: &Record| Bytes::from(record.encode().unwrap());
    vec![
        Bytes::from_static(b"garbage"),
        Bytes::new(),
        own(&Record { v: VERSION + 1, ..bench.next(1_000) }),
        own(&Record { prev: Position(next), ..bench.next(1_000) }),
        own(&Record { prev: Position(next + 100), ..bench.next(1_000) }),
        own(&last),
        own(&Record { prev: Position::NONE, prev_id: RecordId::NONE, ..last.clone() }),
        own(&Record { prev_id: RecordId(99), ..bench.next(1_000) }),
    ]
}

#[test]
fn a_message_that_is_no_record_costs_itself() {
    let kinds = poison(&Bench::with_ann(3)).len();
    for kind in 0..kinds {
        let mut bench = Bench::with_ann(3);
        let (before, last) = bench.last();
        bench.at = LogPosition { epoch: Epoch(1), position: before, id: last.id };
        let bad = bench.publish(poison(&bench)[kind].clone());
        bench.propose(1, 9, vec![say(1)]);
        let operations = bench.run();
        assert!(operations <= 6, "{operations}: an append, the last, the ones before, an append");
        let (position, record) = bench.last();
        assert!(position > bad);
        assert_eq!((record.prev, record.prev_id), (before, last.id), "kind {kind}: connectors go on without noticing");
        assert_eq!(bench.outcomes(1), [Outcome::Done(0)], "kind {kind}");
        let (_, told) = bench.records_to(1).pop().unwrap();
        assert!(told.follows(before, last.id));
        assert_eq!(bench.owner.metrics.records_bad.get(), 1, "kind {kind}");
        // What comes behind is as in any log.
        bench.at = LogPosition { epoch: Epoch(1), position, id: record.id };
        bench.propose(1, 10, vec![say(1)]);
        assert_eq!(bench.run(), 1);
        let mut heir = bench.heir();
        heir.attach(2, LogPosition::default());
        assert!(heir.run() <= 3);
        assert_eq!(heir.members(), ["ann"]);
    }
}

#[test]
fn an_heir_that_finds_poison_only_behind_the_last_record_goes_on_from_that() {
    let bench = Bench::with_ann(3);
    let (before, last) = bench.last();
    for _ in 0..5 {
        bench.publish(&b"garbage"[..]);
    }
    let mut heir = bench.heir();
    heir.attach(1, LogPosition { epoch: Epoch(1), position: before, id: last.id });
    heir.run();
    let (now, CatchUp::Since { records, more: false }) = heir.news() else { panic!("{:?}", heir.news()) };
    assert_eq!((records.len(), records[0].1.prev), (1, before));
    assert_eq!(now.position, heir.last().0);
    assert_eq!(heir.members(), ["ann"]);
    assert_eq!(heir.owner.metrics.records_bad.get(), 5);
}

/// Its connector applied a record of a newer version, which this owner passes over.
#[test]
fn a_connector_at_a_message_that_is_passed_over_gets_the_state() {
    let bench = Bench::with_ann(3);
    let newer = Record { v: VERSION + 1, ..bench.next(1_000) };
    let position = bench.publish(newer.encode().unwrap());
    let mut heir = bench.heir();
    heir.attach(1, LogPosition { epoch: Epoch(1), position, id: newer.id });
    heir.run();
    assert!(matches!(heir.news(), (now, CatchUp::State(_)) if now.position > position));
}

#[test]
fn a_room_that_holds_nothing_but_poison_is_new() {
    let mut bench = Bench::new();
    let bad = bench.publish(&b"garbage"[..]);
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    let (position, record) = bench.last();
    assert!(position > bad);
    assert_eq!((record.prev, record.prev_id), (Position::NONE, RecordId::NONE));
    assert_eq!(bench.outcomes(1), [Outcome::Done(0)]);
    let mut heir = bench.heir();
    heir.attach(1, LogPosition::default());
    heir.run();
    assert_eq!(heir.members(), ["ann"], "its first record is behind the poison");
}

/// Poison is all that is left of an erased room: its members stay.
#[test]
fn an_erased_room_with_poison_keeps_its_members() {
    let mut bench = Bench::with_ann(1);
    let (position, last) = bench.last();
    bench.log.expire(u64::MAX);
    bench.publish(&b"garbage"[..]);
    bench.at = LogPosition { epoch: Epoch(1), position, id: last.id };
    bench.propose(2, 1, vec![join(1, "bob")]);
    bench.run();
    assert_eq!(bench.members(), ["ann", "bob"]);
    let (_, first) = bench.last();
    assert!(first.is_behind_erasure() && first.follows(position, last.id));
}

#[test]
fn poison_that_comes_during_an_append_refuses_it_and_nothing_is_lost() {
    let mut bench = Bench::with_ann(2);
    let (position, last) = bench.last();
    bench.at = LogPosition { epoch: Epoch(1), position, id: last.id };
    bench.propose(1, 9, vec![say(1)]);
    bench.publish(&b"garbage"[..]);
    bench.attach(2, bench.at);
    bench.run();
    assert_eq!(bench.outcomes(1), [Outcome::Done(0)]);
    assert!(matches!(bench.news(), (_, CatchUp::Since { records, .. }) if records.len() == 1));
}

/// A certain read finds another last message than the one that is known.
#[test]
fn an_attach_is_proven_behind_poison() {
    let mut bench = Bench::with_ann(2);
    let (position, last) = bench.last();
    let bad = bench.publish(&b"garbage"[..]);
    bench.attach(2, LogPosition { epoch: Epoch(1), position, id: last.id });
    bench.run();
    let (now, CatchUp::Since { records, .. }) = bench.news() else { panic!("{:?}", bench.news()) };
    assert!(records.len() == 1 && now.position > bad);
}

#[test]
fn too_much_poison_makes_the_room_unusable_until_some_is_removed() {
    let mut bench = Bench::with_ann(2);
    let bad: Vec<Position> = (0..300).map(|_| bench.publish(&b"garbage"[..])).collect();
    bench.propose(1, 9, vec![say(1)]);
    let operations = bench.run();
    assert!(operations < 300, "{operations}");
    bench.propose(1, 9, vec![say(1)]);
    assert!(bench.owner.is_unusable() && bench.owner.is_restless());
    assert!(matches!(bench.said.last(), Some(Act::Answer(_, RpcResponse::Unavailable { .. }))), "{:?}", bench.said);
    bad[200..].iter().for_each(|position| bench.log.damage(&room(), *position, None));
    bench.tick(2_000);
    bench.run();
    assert_eq!(bench.outcomes(1), [Outcome::Done(0)]);
    assert!(!bench.owner.is_unusable());
}

/// Records since the checkpoint, which a large room has rarely: one of them is damaged.
fn damaged(garbage: Option<&'static [u8]>) -> (Bench, Position, Position) {
    let mut bench = Bench::with_ann(0);
    bench.propose(2, 1, (1..60).map(|number| join(number, &format!("bob-{number}"))).collect());
    bench.run();
    bench.propose(3, 1, vec![join(1, "cid")]);
    bench.run();
    let lost = bench.last().0;
    bench.propose(1, 2, vec![say(1)]);
    bench.run();
    assert!(bench.last().1.checkpoint.is_none());
    bench.log.damage(&room(), lost, garbage.map(Bytes::from_static));
    let last = bench.last().0;
    (bench, lost, last)
}

#[test]
fn a_bad_record_in_the_middle_costs_what_it_says() {
    for garbage in [Some(&b"garbage"[..]), None] {
        let (bench, lost, last) = damaged(garbage);
        let last_id = bench.id_at(last);
        let mut heir = bench.heir();
        heir.attach(1, LogPosition { epoch: Epoch(1), position: last, id: last_id });
        heir.run();
        if garbage.is_none() {
            assert_eq!(heir.said, [], "it may have been evicted: that is looked at twice");
            heir.tick(2_000);
            heir.run();
        }
        assert!(matches!(heir.news().1, CatchUp::State(_)), "its connector has what is lost: {:?}", heir.news());
        let (_, record) = heir.last();
        assert_eq!((record.prev, record.prev_id), (last, RecordId::NONE));
        assert!(!record.follows(last, last_id));
        let members = heir.members();
        assert!(members.contains(&"ann".to_owned()) && members.contains(&"bob-7".to_owned()));
        assert!(!members.contains(&"cid".to_owned()), "{members:?}");
        assert_eq!(heir.owner.metrics.records_missing.get(), 1);
        // One that was not there yet either.
        heir.attach(2, LogPosition { epoch: Epoch(1), position: lost, id: RecordId(5) });
        heir.run();
        assert!(matches!(heir.news().1, CatchUp::State(_)));
        // It is found once.
        let mut next = heir.heir();
        next.attach(1, LogPosition::default());
        next.run();
        assert_eq!(next.owner.metrics.records_missing.get(), 0);
    }
}

/// The owner that wrote the lost record knows the state behind it.
#[test]
fn an_owner_that_knows_the_last_record_needs_none_before_it() {
    let (mut bench, lost, last) = damaged(None);
    let last = LogPosition { epoch: Epoch(1), position: last, id: bench.id_at(last) };
    bench.owner.start_over(bench.now);
    bench.attach(1, last);
    bench.run();
    bench.tick(2_000);
    bench.run();
    let (_, CatchUp::Since { records, .. }) = bench.news() else { panic!("{:?}", bench.news()) };
    assert!(records[0].1.follows(last.position, last.id));
    assert!(bench.members().contains(&"cid".to_owned()));
    assert_eq!(bench.owner.metrics.records_missing.get(), 1);
    bench.attach(
        2,
        LogPosition { epoch: Epoch(1), position: Position(lost.0 - 1), id: bench.id_at(Position(lost.0 - 1)) },
    );
    bench.run();
    assert!(matches!(bench.news().1, CatchUp::State(_)));
}

#[test]
fn a_room_whose_checkpoint_is_lost_goes_on_from_what_is_left() {
    let (bench, _, last) = damaged(None);
    (1..last.0).for_each(|position| bench.log.damage(&room(), Position(position), None));
    let mut heir = bench.heir();
    heir.attach(1, LogPosition { epoch: Epoch(1), position: last, id: bench.id_at(last) });
    for _ in 0..3 {
        heir.run();
        heir.tick(2_000);
    }
    assert!(matches!(heir.news().1, CatchUp::State(_)));
    assert_eq!(heir.members(), Vec::<String>::new());
}

/// The lost record may have an entrance: a join that it may have overtaken is not decided.
#[test]
fn a_join_from_before_a_lost_record_is_overtaken() {
    let (bench, _, last) = damaged(Some(b"garbage"));
    let seen = Some(bench.id_at(Position(1)));
    let mut heir = bench.heir();
    heir.at = LogPosition { epoch: Epoch(1), position: last, id: bench.id_at(last) };
    let (name, membership) = (Name::new("dan").unwrap(), Token::new(9).membership());
    heir.propose(3, 2, vec![Item::Join { session: 2, name, membership, claim: Claim::Back, seen }]);
    heir.run();
    assert_eq!(heir.outcomes(3), [Outcome::Overtaken]);
}

#[test]
fn a_record_from_the_future_is_applied_and_moves_no_time() {
    let mut bench = Bench::with_ann(1);
    bench.say_once_more(8, "a");
    let (said_at, said) = (bench.last().0.seq(0), bench.last().1.time);
    let from = Name::new("ann").unwrap();
    let id = Token::new(1).membership().message("b");
    let entries = vec![Entry::Message { from, content: "hi".to_owned(), id: Some(id) }];
    let future = Record { entries, ..bench.next(bench.now.wall_ms + FAR_MS) };
    let position = bench.publish(future.encode().unwrap());
    bench.now.wall_ms += 10;
    assert_eq!(bench.say_once_more(9, "a"), Outcome::Duplicate { seq: said_at, time: said }, "no id is forgotten");
    let told = bench.records_to(1).into_iter().find(|(at, _)| *at == position);
    assert_eq!(told, None, "its connector does not follow, and attaches");
    assert_eq!(bench.last().1.time, bench.now.wall_ms);
    assert_eq!(bench.last().1.prev, position, "it is applied");
    let again = Outcome::Duplicate { seq: position.seq(0), time: bench.now.wall_ms };
    assert_eq!(bench.say_once_more(10, "b"), again, "and so is its id");
    let mut heir = bench.heir();
    heir.at = bench.at;
    assert_eq!(heir.say_once_more(11, "a"), Outcome::Duplicate { seq: said_at, time: said });
    assert_eq!(heir.last().1.time, bench.now.wall_ms);
    heir.tick(1_000);
    heir.say_once_more(12, "c");
    assert_eq!(heir.last().1.time, heir.now.wall_ms);
    // Connectors are told of no time that others are ahead of.
    heir.attach(2, LogPosition { epoch: Epoch(1), position: Position(1), id: bench.id_at(Position(1)) });
    heir.run();
    let (_, CatchUp::Since { records, .. }) = heir.news() else { panic!("{:?}", heir.news()) };
    assert!(records.iter().any(|(at, _)| *at == position));
    assert!(records.iter().all(|(_, record)| record.time <= heir.now.wall_ms), "{records:?}");
}

/// The owner's own clock was set back by more than a day: the room's time stands still, and never
/// falls.
#[test]
fn a_clock_that_is_set_back_by_days_is_no_record_from_the_future() {
    let mut bench = Bench::new();
    bench.now.wall_ms = FAR_MS;
    bench.propose(1, 1, vec![join(1, "ann")]);
    bench.run();
    bench.propose(1, 2, vec![say(1)]);
    bench.run();
    let mut heir = bench.heir();
    heir.now.wall_ms = FAR_MS / 2;
    heir.attach(1, LogPosition::default());
    heir.run();
    assert_eq!(heir.last().1.time, FAR_MS);
    assert_eq!(heir.owner.metrics.records_from_future.get(), 0);
}

impl Bench {
    fn say_once_more(&mut self, number: u64, id: &str) -> Outcome {
        self.said.clear();
        let body = format!(r#"{{"content":"hi","target":"*","id":"{id}"}}"#).into_bytes();
        self.propose(1, number, vec![Item::Send { session: 1, membership: Token::new(1).membership(), body }]);
        self.run();
        self.outcomes(1)[0]
    }
}
