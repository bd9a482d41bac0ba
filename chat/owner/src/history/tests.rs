//! Pages of a log in memory, as different viewers may see them.

use std::cell::RefCell;

use model::ids::{Incarnation, Name, ServerId};
use model::membership::{Membership, Token};
use model::record::{Entry, Epoch, LINKS, RecordId, VERSION};
use model::rpc::Trace;

use super::*;
use crate::test_log::TestLog;

const PAGE_BYTES: usize = 40 * 1024;

fn room() -> RoomId {
    RoomId::new("lobby").unwrap()
}

fn member(number: u128) -> Membership {
    Token::new(number).membership()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn say(text: &str) -> Entry {
    Entry::Message { from: name("ann"), content: text.to_owned(), id: None, meta: None }
}

fn whisper(text: &str, between: [u128; 2]) -> Entry {
    let between = between.map(member);
    Entry::Whisper { from: name("ann"), to: name("bob"), between, content: text.to_owned(), id: None, meta: None }
}

/// A log whose records have the positions 1, 2, 3, ...
struct HistoryHarness {
    log: TestLog,
    records: Vec<(Position, Record)>,
    size_limits: SizeLimits,
    /// Shared by all readers, as at a server.
    cache: RefCell<RecordCache>,
}

impl HistoryHarness {
    /// Retains so many records.
    fn keeping(max_records: usize) -> Self {
        Self {
            log: TestLog::retaining(5, max_records),
            records: Vec::new(),
            size_limits: SizeLimits::default(),
            cache: RefCell::default(),
        }
    }

    fn with(mut self, records: impl IntoIterator<Item = Vec<Entry>>) -> Self {
        for entries in records {
            let mut before = self.records.iter().rev().map(|(position, _)| *position);
            let record = Record {
                v: VERSION,
                prev: before.next().unwrap_or_default(),
                prev_id: RecordId(7),
                id: RecordId(7),
                links: before.take(LINKS - 1).collect(),
                time: 7,
                owner: ServerId::new("chat-server-1").unwrap(),
                proposals: Vec::new(),
                acts: Vec::new(),
                lasting: None,
                entries,
                notify_connectors: Vec::new(),
                checkpoint: None,
                part: None,
            };
            let position = self.log.append(&room(), record.prev, record.encode().unwrap().into()).unwrap();
            self.records.push((position, record));
        }
        self
    }

    /// One message per record.
    fn of_messages(self, count: usize) -> Self {
        self.with((1..=count).map(|number| vec![say(&number.to_string())]))
    }

    /// Returns the page, the position, and the number of reads.
    fn ask(&self, span: HistoryRange, limit: u16, viewer: u128) -> (LogPosition, HistoryPage, usize) {
        let requester = Requester {
            server: ServerId::new("connector-server-1").unwrap(),
            reply: String::new(),
            trace: Trace::new(1, 1),
            is_numbered: true,
        };
        let query = HistoryQuery { viewer: member(viewer), span, limit };
        let request = HistoryRequest { requester, incarnation: Incarnation(1), number: 3, session: None, query };
        let mut reader = HistoryReader::new(room(), request, self.size_limits);
        let (mut next, mut reads) = (reader.begin(None, &self.cache.borrow()), 0);
        loop {
            let op = match next {
                ReaderStep::Answer(RpcResponse::History { number, upto, page, .. }) => {
                    assert_eq!(number, 3);
                    share(&mut self.cache.borrow_mut(), &mut reader);
                    return (upto, page, reads);
                }
                ReaderStep::Answer(other) => panic!("{other:?}"),
                ReaderStep::Log(op) => op,
            };
            reads += usize::from(!matches!(op, LogOp::Epoch));
            next = reader.on_log_result(self.perform(op), &self.cache.borrow()).unwrap();
        }
    }

    fn perform(&self, op: LogOp) -> LogResult {
        match op {
            LogOp::Last { .. } => LogResult::Last(Ok(self.log.last(&room()))),
            LogOp::Before(position) => LogResult::Last(Ok(self.log.before(&room(), position))),
            LogOp::Read(positions) => {
                let read = self.log.read(&room(), &positions);
                LogResult::Read(Ok(positions.into_iter().zip(read).collect()))
            }
            LogOp::Epoch => LogResult::Epoch(Ok(self.log.epoch())),
            LogOp::Append { .. } => panic!("a reader appends"),
        }
    }

    fn texts(&self, span: HistoryRange, limit: u16) -> (Vec<String>, Option<u64>, bool) {
        let (_, page, _) = self.ask(span, limit, 1);
        (page.messages.into_iter().map(|said| said.content).collect(), page.cursor, page.complete)
    }
}

/// Adds what a reader read to the records that others know.
fn share(cache: &mut RecordCache, reader: &mut HistoryReader) {
    if let Some((epoch, records)) = reader.take_confirmed() {
        cache.add(&room(), epoch, records);
    }
}

fn numbers(range: std::ops::RangeInclusive<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn the_last_messages_and_those_before_them() {
    let harness = HistoryHarness::keeping(600).of_messages(120);
    assert_eq!(harness.texts(HistoryRange::Last, 50), (numbers(71..=120), Some(71_000), false));
    assert_eq!(harness.texts(HistoryRange::Before(71_000), 50), (numbers(21..=70), Some(21_000), false));
    assert_eq!(harness.texts(HistoryRange::Before(21_000), 50), (numbers(1..=20), None, true));
    assert_eq!(harness.texts(HistoryRange::Before(1_000), 50), (vec![], None, true));
    assert_eq!(harness.texts(HistoryRange::Before(7), 50), (vec![], None, true));
}

#[test]
fn fifty_messages_are_a_few_reads_away() {
    let (upto, _, reads) = HistoryHarness::keeping(600).of_messages(120).ask(HistoryRange::Last, 50, 1);
    assert_eq!(upto, LogPosition { epoch: Epoch(5), position: Position(120), id: RecordId(7) });
    assert!(reads <= 5, "{reads}");
}

/// Clients of a room read the same pages.
#[test]
fn a_page_that_was_read_is_not_read_again() {
    let harness = HistoryHarness::keeping(3_000).of_messages(2_000);
    let reads = |span| harness.ask(span, 50, 1).2;
    assert!(reads(HistoryRange::After(0)) > 60);
    assert_eq!(reads(HistoryRange::After(0)), 1, "the last record is looked up");
    assert_eq!(reads(HistoryRange::After(1_000_000)), 1);
    assert_eq!(reads(HistoryRange::Since(1_900_000)), 2, "and if the first that was missed is still there");
    assert_eq!(harness.texts(HistoryRange::After(0), 2), (numbers(1..=2), Some(2_000), true));
    harness.cache.borrow_mut().clear();
    assert!(reads(HistoryRange::After(0)) > 60);
}

#[test]
fn the_first_messages_after_one() {
    let harness = HistoryHarness::keeping(600).of_messages(120);
    assert_eq!(harness.texts(HistoryRange::After(20_000), 3), (numbers(21..=23), Some(23_000), true));
    assert_eq!(harness.texts(HistoryRange::After(118_000), 3), (numbers(119..=120), None, true));
    assert_eq!(harness.texts(HistoryRange::After(0), 2), (numbers(1..=2), Some(2_000), true));
    assert_eq!(harness.texts(HistoryRange::After(120_000), 2), (vec![], None, true));
}

#[test]
fn messages_within_one_record_are_told_apart() {
    let harness = HistoryHarness::keeping(600).with([vec![say("a"), say("b"), Entry::Open, say("c")]]);
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(harness.texts(HistoryRange::After(1_000), 9), (texts(&["b", "c"]), None, true));
    assert_eq!(harness.texts(HistoryRange::Before(1_003), 1), (texts(&["b"]), Some(1_001), false));
    assert_eq!(harness.texts(HistoryRange::Since(1_001), 9), (texts(&["c"]), None, true));
}

#[test]
fn a_session_that_was_away_gets_the_newest_and_learns_if_the_others_exist() {
    let harness = HistoryHarness::keeping(600).of_messages(120);
    assert_eq!(harness.texts(HistoryRange::Since(110_000), 50), (numbers(111..=120), None, true));
    assert_eq!(harness.texts(HistoryRange::Since(120_999), 50), (vec![], None, true));
    assert_eq!(harness.texts(HistoryRange::Since(10_999), 50), (numbers(71..=120), Some(71_000), true));
}

#[test]
fn evicted_messages_are_reported() {
    let harness = HistoryHarness::keeping(50).of_messages(120);
    assert_eq!(
        harness.texts(HistoryRange::Since(10_999), 9),
        (numbers(112..=120), Some(112_000), false),
        "behind a cursor"
    );
    assert_eq!(harness.texts(HistoryRange::Since(69_000), 90), (numbers(71..=120), None, false), "70 is gone");
    assert_eq!(
        harness.texts(HistoryRange::Since(70_000), 90),
        (numbers(71..=120), None, false),
        "more of 70 may be gone"
    );
    assert_eq!(harness.texts(HistoryRange::Since(70_999), 90), (numbers(71..=120), None, true));
    assert_eq!(harness.texts(HistoryRange::After(10_000), 2), (numbers(71..=72), Some(72_000), false));
    assert_eq!(harness.texts(HistoryRange::Before(60_000), 9), (vec![], None, false));
    assert_eq!(
        HistoryHarness::keeping(50).texts(HistoryRange::Since(5_000), 9),
        (vec![], None, false),
        "a log with nothing in it"
    );
}

#[test]
fn whispers_are_for_the_two_memberships_only() {
    let harness = HistoryHarness::keeping(50).with([vec![say("a"), whisper("b", [1, 2]), whisper("c", [2, 3])]]);
    let texts = |viewer| {
        harness.ask(HistoryRange::Last, 9, viewer).1.messages.into_iter().map(|said| said.content).collect::<String>()
    };
    assert_eq!([texts(1), texts(2), texts(3), texts(4)], ["ab", "abc", "ac", "a"]);
    let (_, page, _) = harness.ask(HistoryRange::Last, 9, 2);
    assert_eq!(page.messages[1].to, Some(name("bob")));
}

#[test]
fn pages_are_bounded_in_bytes_but_never_empty() {
    let long = "x".repeat(PAGE_BYTES);
    let harness = HistoryHarness::keeping(600).with([vec![say("1")], vec![say(&long)], vec![say("3")]]);
    let (texts, cursor, _) = harness.texts(HistoryRange::Last, 50);
    assert_eq!((texts.len(), cursor), (1, Some(3_000)));
    let (texts, cursor, _) = harness.texts(HistoryRange::Before(3_000), 50);
    assert_eq!((texts.len(), cursor), (1, Some(2_000)));
    let (texts, cursor, _) = harness.texts(HistoryRange::After(1_000), 50);
    assert_eq!((texts.len(), cursor), (1, Some(2_000)));
}

/// A page with this message could never be sent, and the request would be repeated for ever.
#[test]
fn messages_above_the_present_size_limit_are_left_out() {
    let long = "x".repeat(SizeLimits::smallest().record());
    let mut harness = HistoryHarness::keeping(600).with([vec![say("1")], vec![say(&long)], vec![say("3")]]);
    harness.size_limits = SizeLimits::smallest();
    let rest = ["1", "3"].map(str::to_owned).to_vec();
    assert_eq!(harness.texts(HistoryRange::After(0), 50), (rest.clone(), None, false));
    assert_eq!(
        harness.texts(HistoryRange::Since(1_000), 50),
        (rest[1..].to_vec(), None, false),
        "it learns that one was evicted"
    );
    assert_eq!(harness.texts(HistoryRange::Last, 50), (rest, None, false));
}

#[test]
fn a_question_ends_after_so_many_records_and_goes_on_behind_the_cursor() {
    let comings = (0..MAX_SCANNED + 100).map(|_| vec![Entry::Open]);
    let harness = HistoryHarness::keeping(3_000).with([vec![say("far")]]).with(comings);
    let (texts, cursor, complete) = harness.texts(HistoryRange::Last, 50);
    assert_eq!((texts.len(), complete), (0, false));
    assert_eq!(harness.texts(HistoryRange::Before(cursor.unwrap()), 50), (vec!["far".to_owned()], None, true));
}

/// The records before it can be read, and the page reports that one is missing.
#[test]
fn a_bad_record_costs_itself() {
    let harness = HistoryHarness::keeping(600).of_messages(120);
    let garbage = || Some(bytes::Bytes::from_static(b"garbage"));
    harness.log.damage(&room(), Position(100), garbage());
    harness.log.damage(&room(), Position(90), None);
    let rest = || numbers(81..=120).into_iter().filter(|text| text != "100" && text != "90").collect::<Vec<_>>();
    assert_eq!(harness.texts(HistoryRange::Last, 38), (rest(), Some(81_000), false));
    assert_eq!(harness.texts(HistoryRange::Since(80_999), 90), (rest(), None, false));
    assert_eq!(harness.texts(HistoryRange::Since(10_999), 38), (rest(), Some(81_000), false), "although 10 is there");
    assert_eq!(
        harness.texts(HistoryRange::After(98_000), 2),
        (vec!["99".to_owned(), "101".to_owned()], Some(101_000), false)
    );
    assert_eq!(harness.texts(HistoryRange::Since(100_999), 90), (numbers(101..=120), None, true));
    assert_eq!(
        harness.texts(HistoryRange::Before(100_000), 2),
        (numbers(98..=99), Some(98_000), false),
        "a bad cursor"
    );
}

#[test]
fn messages_behind_the_last_record_are_passed_over() {
    let harness = HistoryHarness::keeping(600).of_messages(3);
    for _ in 0..3 {
        harness.log.publish(&room(), bytes::Bytes::from_static(b"garbage")).unwrap();
    }
    assert_eq!(harness.texts(HistoryRange::Last, 9), (numbers(1..=3), None, true));
    assert_eq!(harness.ask(HistoryRange::Last, 9, 1).0.position, Position(3));
    (0..300).for_each(|_| drop(harness.log.publish(&room(), bytes::Bytes::from_static(b"garbage"))));
    let requester = Requester {
        server: ServerId::new("connector-server-1").unwrap(),
        reply: String::new(),
        trace: Trace::new(1, 1),
        is_numbered: true,
    };
    let query = HistoryQuery { viewer: member(1), span: HistoryRange::Last, limit: 9 };
    let request = HistoryRequest { requester, incarnation: Incarnation(1), number: 3, session: None, query };
    let mut reader = HistoryReader::new(room(), request, harness.size_limits);
    let mut next = Ok(reader.begin(None, &harness.cache.borrow()));
    while let Ok(ReaderStep::Log(op)) = next {
        next = reader.on_log_result(harness.perform(op), &harness.cache.borrow());
    }
    assert!(matches!(next, Err(HistoryError::Unusable)), "{next:?}");
}

/// Another log assigns positions again: a page that mixes two logs, or names the wrong epoch, would
/// show messages in the wrong place.
#[test]
fn a_page_is_from_the_log_that_its_epoch_names() {
    let of_text = |epoch: u64, text: &str| {
        let log = TestLog::new(epoch);
        let harness =
            HistoryHarness { log, records: Vec::new(), size_limits: SizeLimits::default(), cache: RefCell::default() };
        harness.with((0..200).map(|_| vec![say(text)]))
    };
    let (old, new) = (of_text(5, "old"), of_text(6, "new"));
    let (mut pages, mut moved) = (0, 0);
    let mut cache = RecordCache::default();
    for span in [
        HistoryRange::Last,
        HistoryRange::Before(150_000),
        HistoryRange::After(20_000),
        HistoryRange::Since(20_000),
        HistoryRange::Since(199_000),
    ] {
        // The epoch changes after so many operations.
        for (replaced_after, is_at_hand) in (0..12).flat_map(|after| [(after, true), (after, false)]) {
            let requester = Requester {
                server: ServerId::new("connector-server-1").unwrap(),
                reply: String::new(),
                trace: Trace::new(1, 1),
                is_numbered: true,
            };
            let query = HistoryQuery { viewer: member(1), span, limit: 100 };
            let request = HistoryRequest { requester, incarnation: Incarnation(1), number: 3, session: None, query };
            let mut reader = HistoryReader::new(room(), request, SizeLimits::default());
            let (position, record) = old.records.last().unwrap();
            let place = LogPosition { epoch: Epoch(5), position: *position, id: record.id };
            let walk = Walk::new(walk_bound(span), *position, Arc::new(record.clone()));
            let mut next = reader.begin(is_at_hand.then_some((place, walk)), &cache);
            let mut operations = 0;
            loop {
                let harness = if operations < replaced_after { &old } else { &new };
                operations += 1;
                next = match next {
                    ReaderStep::Log(op) => match reader.on_log_result(harness.perform(op), &cache) {
                        Ok(next) => next,
                        Err(HistoryError::EpochChanged) => break moved += 1,
                        Err(error) => panic!("{error}"),
                    },
                    ReaderStep::Answer(RpcResponse::History { upto, page, .. }) => {
                        let text = ["new", "old"][usize::from(upto.epoch == Epoch(5))];
                        let is_of_it = page.messages.iter().all(|said| said.content == text);
                        assert!(is_of_it && !page.messages.is_empty(), "{span:?} {upto:?} {page:?}");
                        share(&mut cache, &mut reader);
                        break pages += 1;
                    }
                    ReaderStep::Answer(other) => panic!("{other:?}"),
                };
            }
        }
    }
    assert!(pages > 20 && moved > 20, "{pages} {moved}");
}
