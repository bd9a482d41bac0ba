//! The contract of every log, as cases that run on each implementation.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream as nats_jetstream;
use bus::Bus;
use bytes::Bytes;
use chat::log::jetstream::JetStream;
use chat::log::memory::Memory;
use chat::log::{Log, ReadConsistency};
use futures_util::future::join_all;
use model::ids::RoomId;
use model::log_parts::{LogPart, LogParts};
use model::record::Position;
use model::rpc::messages::{RoomPage, RoomQuery};
use model::settings::{LogSettings, NatsSettings};
use model::subjects::{self, SubjectPrefix};
use owner::log_operation::{AppendError, Lifetime};
use runtime::metrics::Metrics;
use testkit::NatsServer;

/// Appends in flight in the concurrent cases.
const AT_ONCE: usize = 100;

/// Bytes of each part of the log.
const PART_BYTES: usize = 8 * 1024 * 1024;

fn settings(streams: usize) -> LogSettings {
    LogSettings { streams, max_records: 600, max_total_bytes: streams * PART_BYTES, ..LogSettings::default() }
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

/// Returns another room of the lobby's part.
fn neighbour(log: &Log) -> RoomId {
    let is_same = |room: &RoomId| log.parts().of(room) == part(log);
    (0..).map(|number| room(&format!("neighbour-{number}"))).find(is_same).unwrap()
}

/// Returns a room of each part.
fn room_of_each_part(log: &Log) -> Vec<RoomId> {
    let of = |part| (0..).map(|number| room(&format!("room-{number}"))).find(|room| log.parts().of(room) == part);
    log.parts().iter().map(|part| of(part).unwrap()).collect()
}

/// Returns the lobby's part.
fn part(log: &Log) -> LogPart {
    log.parts().of(&room("lobby"))
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn append(log: &Log, room: &RoomId, expected: Position, text: &str) -> Result<Position, AppendError> {
    log.append(room, expected, bytes(text)).await
}

/// Returns position and bytes of a room's last record; both consistencies must agree.
async fn last_of(log: &Log, name: &str) -> Option<(Position, Bytes)> {
    let certain = log.last(&room(name), ReadConsistency::Latest).await.unwrap();
    assert_eq!(log.last(&room(name), ReadConsistency::Any).await.unwrap(), certain);
    certain.last
}

async fn an_empty_room_has_no_last_record(log: Log) {
    assert_eq!(last_of(&log, "lobby").await, None);
    assert_eq!(log.read(&room("lobby"), &[Position::NONE, Position(1)]).await.unwrap(), [None, None]);
}

async fn its_epoch_stays(log: Log) {
    let epoch = log.status(part(&log)).await.unwrap().epoch;
    append(&log, &room("lobby"), Position::NONE, "one").await.unwrap();
    assert_eq!(log.last(&room("lobby"), ReadConsistency::Any).await.unwrap().epoch, epoch);
    assert_eq!(log.status(part(&log)).await.unwrap().epoch, epoch);
}

async fn any_name_and_any_bytes_come_back(log: Log) {
    for name in ["a.b c", "聊天室", "100%.>"] {
        append(&log, &room(name), Position::NONE, "\0\r\n聊").await.unwrap();
        assert_eq!(last_of(&log, name).await.unwrap().1, bytes("\0\r\n聊"));
    }
    let position = append(&log, &room("empty"), Position::NONE, "").await.unwrap();
    assert_eq!(last_of(&log, "empty").await, Some((position, Bytes::new())));
}

async fn records_are_read_by_their_positions(log: Log) {
    let (lobby, attic) = (room("lobby"), neighbour(&log));
    let one = append(&log, &lobby, Position::NONE, "one").await.unwrap();
    let other = append(&log, &attic, Position::NONE, "other").await.unwrap();
    let two = append(&log, &lobby, one, "two").await.unwrap();
    assert!(one < other && other < two, "positions rise over all rooms of a part");
    assert_eq!(last_of(&log, "lobby").await, Some((two, bytes("two"))));
    let read = log.read(&lobby, &[two, other, one]).await.unwrap();
    assert_eq!(read, [Some(bytes("two")), None, Some(bytes("one"))]);
}

async fn a_stale_expectation_is_refused(log: Log) {
    let lobby = room("lobby");
    let one = append(&log, &lobby, Position::NONE, "one").await.unwrap();
    append(&log, &lobby, one, "two").await.unwrap();
    assert_eq!(append(&log, &lobby, one, "late").await, Err(AppendError::Refused));
    assert_eq!(append(&log, &lobby, Position::NONE, "late").await, Err(AppendError::Refused));
}

/// A look at the log shows the bytes that were appended before it, and those that it may have.
async fn its_status_shows_how_full_it_is(log: Log) {
    let empty = log.status(part(&log)).await.unwrap();
    assert_eq!((empty.bytes, empty.max_bytes), (0, PART_BYTES as u64));
    let (lobby, large) = (room("lobby"), "x".repeat(100_000));
    let mut last = Position::NONE;
    for appended in 1..=3 {
        last = append(&log, &lobby, last, &large).await.unwrap();
        let status = log.status(part(&log)).await.unwrap();
        assert_eq!(status.max_bytes, empty.max_bytes);
        assert!((appended * 100_000..appended * 100_000 + 1_000).contains(&status.bytes), "{status:?}");
    }
}

async fn a_room_keeps_its_newest_records(log: Log) {
    let lobby = room("lobby");
    let mut positions = vec![Position::NONE];
    for _ in 0..=settings(1).max_records {
        positions.push(append(&log, &lobby, *positions.last().unwrap(), "x").await.unwrap());
    }
    let read = log.read(&lobby, &positions[1..3]).await.unwrap();
    assert_eq!(read, [None, Some(bytes("x"))]);
}

async fn a_full_log_refuses_and_takes_from_no_other_room(log: Log) {
    let (lobby, attic) = (room("lobby"), neighbour(&log));
    let kept = append(&log, &attic, Position::NONE, "kept").await.unwrap();
    let large = "x".repeat(256 * 1024);
    let mut last = Position::NONE;
    let refused = loop {
        match append(&log, &lobby, last, &large).await {
            Ok(position) => last = position,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, AppendError::Full);
    assert_eq!(last_of(&log, attic.as_str()).await, Some((kept, bytes("kept"))));
    assert_eq!(last_of(&log, "lobby").await.unwrap().0, last, "nothing was appended");
}

/// A probe shows if there is space for a record of that size.
async fn an_append_probe_shows_if_there_is_space(log: Log) {
    let lobby = room("lobby");
    let one = append(&log, &lobby, Position::NONE, "one").await.unwrap();
    let proof = log.append_probe(part(&log), 100).await.unwrap();
    assert!(proof > one);
    let mut last = append(&log, &lobby, one, "two").await.unwrap();
    assert!(last > proof);
    let large = "x".repeat(256 * 1024);
    while let Ok(position) = append(&log, &lobby, last, &large).await {
        last = position;
    }
    assert_eq!(log.append_probe(part(&log), large.len()).await, Err(AppendError::Full));
    assert_eq!(last_of(&log, "lobby").await.unwrap().0, last);
}

async fn ten_thousand_rooms(log: Log) {
    let names: Vec<String> = (0..10_000).map(|number| format!("room-{number}")).collect();
    let mut positions = Vec::new();
    for names in names.chunks(AT_ONCE) {
        let appends = names.iter().map(async |name| append(&log, &room(name), Position::NONE, name).await.unwrap());
        positions.extend(join_all(appends).await);
    }
    assert_eq!(last_of(&log, "room-77").await, Some((positions[77], bytes("room-77"))));
    let (listed, more) = rooms(&log, "room-99", Some("room-998"), 20).await;
    assert_eq!((listed.len(), &*listed[0], &*listed[10], more), (20, "room-9980", "room-999", true));
}

/// Returns a page of the list of rooms, and if there are others behind it.
async fn rooms(log: &Log, prefix: &str, after: Option<&str>, limit: u16) -> (Vec<String>, bool) {
    let query = RoomQuery { prefix: prefix.to_owned(), after: after.map(room), limit };
    let RoomPage { rooms, more } = log.rooms(&query).await.unwrap();
    (rooms.iter().map(RoomId::to_string).collect(), more)
}

async fn rooms_are_listed_by_their_names(log: Log) {
    assert_eq!(rooms(&log, "", None, 9).await, (vec![], false));
    let names = ["a.b c", "attic", "lobby", "room-1", "room-10", "room-2", "聊天室"];
    for name in names.iter().rev() {
        let one = append(&log, &room(name), Position::NONE, "one").await.unwrap();
        append(&log, &room(name), one, "two").await.unwrap();
    }
    // It belongs to no room.
    log.append_probe(part(&log), 9).await.unwrap();
    assert_eq!(rooms(&log, "", None, 99).await, (names.map(str::to_owned).to_vec(), false));
    assert_eq!(rooms(&log, "room-1", None, 99).await, (vec!["room-1".into(), "room-10".into()], false));
    assert_eq!(rooms(&log, "room", Some("room-1"), 1).await, (vec!["room-10".into()], true));
    assert_eq!(rooms(&log, "room", Some("room-10"), 1).await, (vec!["room-2".into()], false));
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let (page, more) = rooms(&log, "", after.as_deref(), 2).await;
        after = page.last().cloned();
        listed.extend(page);
        if !more {
            break;
        }
    }
    assert_eq!(listed, names);
}

/// A part that is full takes nothing from the rooms of the others.
async fn a_full_part_refuses_its_rooms_alone(log: Log) {
    let rooms = room_of_each_part(&log);
    let large = "x".repeat(256 * 1024);
    let (full, others) = rooms.split_first().unwrap();
    let mut last = Position::NONE;
    while let Ok(position) = append(&log, full, last, &large).await {
        last = position;
    }
    assert_eq!(append(&log, full, last, &large).await, Err(AppendError::Full));
    for other in others {
        append(&log, other, Position::NONE, &large).await.unwrap();
    }
    let bytes: Vec<_> = join_all(log.parts().iter().map(async |part| log.status(part).await.unwrap().bytes)).await;
    assert!(bytes[0] > 7 << 20 && bytes[1..].iter().all(|bytes| *bytes < 1 << 20), "{bytes:?}");
}

async fn each_part_has_positions_and_a_name_of_its_own(log: Log) {
    let mut positions = Vec::new();
    for room in room_of_each_part(&log) {
        positions.push(append(&log, &room, Position::NONE, "first").await.unwrap());
    }
    assert!(positions.iter().all(|position| *position == positions[0]), "{positions:?}");
    let names: BTreeSet<_> = log.parts().iter().map(|part| log.part_name(part)).collect();
    assert_eq!(names.len(), log.parts().count());
}

/// Another program that may write into the log, and an operator.
enum Stranger {
    Memory(Memory),
    Nats(async_nats::Client, SubjectPrefix, LogParts),
}

impl Stranger {
    async fn publish(&self, room: &RoomId, text: &str) {
        match self {
            Self::Memory(memory) => {
                memory.publish(room, bytes(text)).unwrap();
            }
            Self::Nats(nats, prefix, _) => {
                let subject = prefix.apply(&subjects::log(room)).into_owned();
                let acked = nats_jetstream::new(nats.clone()).publish(subject, bytes(text)).await.unwrap();
                acked.await.unwrap();
            }
        }
    }

    async fn remove(&self, room: &RoomId, position: Position) {
        match self {
            Self::Memory(memory) => memory.damage(room, position, None),
            Self::Nats(nats, prefix, parts) => {
                let name = prefix.stream(&subjects::log_stream(*parts, parts.of(room)));
                let stream = nats_jetstream::new(nats.clone()).get_stream(name).await.unwrap();
                stream.delete_message(position.0).await.unwrap();
            }
        }
    }

    /// Makes everything that was appended so far too old.
    async fn age(&self) {
        match self {
            Self::Memory(memory) => memory.expire(8 * 24 * 3_600_000),
            Self::Nats(nats, prefix, parts) => {
                let context = nats_jetstream::new(nats.clone());
                for part in parts.iter() {
                    let stream = context.get_stream(prefix.stream(&subjects::log_stream(*parts, part))).await.unwrap();
                    let max_age = Duration::from_millis(200);
                    let short = nats_jetstream::stream::Config { max_age, ..stream.cached_info().config.clone() };
                    context.update_stream(&short).await.unwrap();
                }
            }
        }
    }
}

/// Returns the last message of the lobby, and the expectation of its author.
async fn last_and_expected(log: &Log) -> (Position, Option<Position>) {
    let certain = log.last(&room("lobby"), ReadConsistency::Latest).await.unwrap();
    assert_eq!(log.last(&room("lobby"), ReadConsistency::Any).await.unwrap(), certain);
    (certain.last.unwrap().0, certain.expected)
}

async fn the_expectation_of_an_append_is_remembered(log: Log, stranger: Stranger) {
    let lobby = room("lobby");
    let one = append(&log, &lobby, Position::NONE, "one").await.unwrap();
    assert_eq!(last_and_expected(&log).await, (one, Some(Position::NONE)));
    let two = append(&log, &lobby, one, "two").await.unwrap();
    assert_eq!(last_and_expected(&log).await, (two, Some(one)));
    stranger.publish(&lobby, "poison").await;
    let (poison, expected) = last_and_expected(&log).await;
    assert!(poison > two && expected.is_none());
}

async fn an_append_goes_behind_messages_of_other_programs(log: Log, stranger: Stranger) {
    let lobby = room("lobby");
    let one = append(&log, &lobby, Position::NONE, "one").await.unwrap();
    stranger.publish(&lobby, "poison").await;
    assert_eq!(append(&log, &lobby, one, "two").await, Err(AppendError::Refused));
    let (poison, _) = last_and_expected(&log).await;
    let two = append(&log, &lobby, poison, "two").await.unwrap();
    assert_eq!(last_and_expected(&log).await, (two, Some(poison)));
}

async fn before(log: &Log, position: Position) -> Option<(Position, Bytes, Option<Position>)> {
    let tail = log.before(&room("lobby"), position).await.unwrap();
    assert_eq!(tail.epoch, log.status(part(log)).await.unwrap().epoch);
    tail.last.map(|(position, bytes)| (position, bytes, tail.expected))
}

async fn the_last_message_below_a_position_is_found(log: Log, stranger: Stranger) {
    let (lobby, attic) = (room("lobby"), neighbour(&log));
    assert_eq!(before(&log, Position(u64::MAX >> 1)).await, None);
    let one = append(&log, &lobby, Position::NONE, "one").await.unwrap();
    let mut other = append(&log, &attic, Position::NONE, "other").await.unwrap();
    let two = append(&log, &lobby, one, "two").await.unwrap();
    for _ in 0..50 {
        other = append(&log, &attic, other, "other").await.unwrap();
    }
    stranger.publish(&lobby, "poison").await;
    let (poison, _) = last_and_expected(&log).await;
    assert_eq!(before(&log, poison).await, Some((two, bytes("two"), Some(one))));
    assert_eq!(before(&log, Position(poison.0 + 7)).await, Some((poison, bytes("poison"), None)));
    assert_eq!(before(&log, two).await, Some((one, bytes("one"), Some(Position::NONE))));
    for position in [Position::NONE, Position(1), one] {
        assert_eq!(before(&log, position).await, None, "{position:?}");
    }
    stranger.remove(&lobby, two).await;
    assert_eq!(before(&log, poison).await, Some((one, bytes("one"), Some(Position::NONE))));
    assert_eq!(log.read(&lobby, &[two]).await.unwrap(), [None]);
}

/// Records of rules, and the checkpoints with them, must be there for as long as the rules hold.
async fn a_lasting_record_outlives_the_age_of_others(log: Log, stranger: Stranger) {
    let lobby = room("lobby");
    let lasting =
        async |expected, text| log.append_for(&lobby, expected, bytes(text), Lifetime::Lasting).await.unwrap();
    let one = append(&log, &lobby, Position::NONE, "one").await.unwrap();
    let two = lasting(one, "two").await;
    let three = append(&log, &lobby, two, "three").await.unwrap();
    let four = lasting(three, "four").await;
    let five = append(&log, &lobby, four, "five").await.unwrap();
    stranger.age().await;
    let is_gone = async |position| log.read(&lobby, &[position]).await.unwrap() == [None];
    testkit::eventually(Duration::from_secs(20), "the last record to be too old", async || is_gone(five).await).await;
    let left = [None, Some(bytes("two")), None, Some(bytes("four")), None];
    assert_eq!(log.read(&lobby, &[one, two, three, four, five]).await.unwrap(), left);
    assert_eq!(last_and_expected(&log).await, (four, Some(three)));
    assert_eq!(before(&log, four).await.map(|(position, ..)| position), Some(two));
    assert_eq!(append(&log, &lobby, five, "six").await, Err(AppendError::Refused));
    assert!(append(&log, &lobby, four, "six").await.unwrap() > five);
}

/// A log at a server of its own, which stops when it is dropped.
async fn jetstream_log(prefix: &str, streams: usize) -> (NatsServer, Log, Stranger) {
    let nats = NatsServer::start_with_jetstream().await;
    let with_prefix = NatsSettings { prefix: prefix.to_owned(), ..NatsSettings::default() };
    let bus = Bus::nats(nats.url(), &with_prefix, "log", Metrics::new()).await.unwrap();
    let (client, prefix) = (bus.nats_client().unwrap().clone(), bus.prefix());
    let log = JetStream::open(bus, &settings(streams)).await.unwrap();
    let stranger = Stranger::Nats(client, prefix, log.parts());
    (nats, log.into(), stranger)
}

fn memory_log(streams: usize) -> (Log, Stranger) {
    let memory = Memory::new(&settings(streams));
    (memory.clone().into(), Stranger::Memory(memory))
}

/// Each case on both implementations, with one part and with several.
macro_rules! contract {
    ($($case:ident),+; strangers: $($with_stranger:ident),+ $(,)?) => {
        contract! { @memory memory, 1; $($case),+; $($with_stranger),+ }
        contract! { @memory memory_in_two_parts, 2; $($case),+; $($with_stranger),+ }
        contract! { @memory memory_in_four_parts, 4; $($case),+; $($with_stranger),+ }
        contract! { @jetstream jetstream, "", 1; $($case),+; $($with_stranger),+ }
        contract! { @jetstream jetstream_with_prefix, "staging", 1; $($case),+; $($with_stranger),+ }
        contract! { @jetstream jetstream_of_two_streams, "", 2; $($case),+; $($with_stranger),+ }
        contract! { @jetstream jetstream_of_four_streams_with_prefix, "staging", 4; $($case),+; $($with_stranger),+ }
    };
    (@memory $name:ident, $streams:literal; $($case:ident),+; $($with_stranger:ident),+) => {
        mod $name {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::memory_log($streams).0).await;
            })+
            $(#[tokio::test]
            async fn $with_stranger() {
                let (log, stranger) = super::memory_log($streams);
                super::$with_stranger(log, stranger).await;
            })+
        }
    };
    (@jetstream $name:ident, $prefix:literal, $streams:literal; $($case:ident),+; $($with_stranger:ident),+) => {
        mod $name {
            $(#[tokio::test]
            async fn $case() {
                let (_nats, log, _) = super::jetstream_log($prefix, $streams).await;
                super::$case(log).await;
            })+
            $(#[tokio::test]
            async fn $with_stranger() {
                let (_nats, log, stranger) = super::jetstream_log($prefix, $streams).await;
                super::$with_stranger(log, stranger).await;
            })+
        }
    };
}

contract! {
    an_empty_room_has_no_last_record,
    its_epoch_stays,
    any_name_and_any_bytes_come_back,
    records_are_read_by_their_positions,
    a_stale_expectation_is_refused,
    its_status_shows_how_full_it_is,
    a_room_keeps_its_newest_records,
    a_full_log_refuses_and_takes_from_no_other_room,
    an_append_probe_shows_if_there_is_space,
    ten_thousand_rooms,
    rooms_are_listed_by_their_names,
    a_full_part_refuses_its_rooms_alone,
    each_part_has_positions_and_a_name_of_its_own;
    strangers:
    the_expectation_of_an_append_is_remembered,
    an_append_goes_behind_messages_of_other_programs,
    the_last_message_below_a_position_is_found,
    a_lasting_record_outlives_the_age_of_others,
}

#[tokio::test]
async fn old_records_are_evicted_and_their_positions_are_not_reused() {
    let memory = Memory::starting_at(0, &settings(2));
    let log = Log::from(memory.clone());
    let old = append(&log, &room("lobby"), Position::NONE, "old").await.unwrap();
    memory.expire(8 * 24 * 3_600_000);
    assert_eq!(last_of(&log, "lobby").await, None);
    let new = append(&log, &room("lobby"), Position::NONE, "new").await.unwrap();
    assert!(new > old);
}
