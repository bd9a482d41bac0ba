//! What every log promises, as cases that run on each implementation.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use bytes::Bytes;
use chat::log::memory::Memory;
use chat::log::{AppendError, Log};
use shared::config::settings::LogSettings;
use shared::ids::RoomId;
use shared::record::Position;

fn settings() -> LogSettings {
    LogSettings { max_records: 600, max_total_bytes: 8 * 1024 * 1024, ..LogSettings::default() }
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn append(log: &Log, room: &RoomId, expected: Position, text: &str) -> Result<Position, AppendError> {
    log.append(room, expected, bytes(text)).await
}

async fn an_empty_room_has_no_last_record(log: Log) {
    assert_eq!(log.last(&room("lobby")).await.unwrap().last, None);
}

async fn records_are_read_by_their_positions(log: Log) {
    let (lobby, attic) = (room("lobby"), room("attic"));
    let one = append(&log, &lobby, Position::NONE, "one").await.unwrap();
    let other = append(&log, &attic, Position::NONE, "other").await.unwrap();
    let two = append(&log, &lobby, one, "two").await.unwrap();
    assert!(one < other && other < two, "positions rise over all rooms");
    assert_eq!(log.last(&lobby).await.unwrap().last, Some((two, bytes("two"))));
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

async fn a_room_keeps_its_newest_records(log: Log) {
    let lobby = room("lobby");
    let mut positions = vec![Position::NONE];
    for _ in 0..=settings().max_records {
        positions.push(append(&log, &lobby, *positions.last().unwrap(), "x").await.unwrap());
    }
    let read = log.read(&lobby, &positions[1..3]).await.unwrap();
    assert_eq!(read, [None, Some(bytes("x"))]);
}

async fn a_full_log_refuses_and_takes_from_no_other_room(log: Log) {
    let (lobby, attic) = (room("lobby"), room("attic"));
    let kept = append(&log, &attic, Position::NONE, "kept").await.unwrap();
    let large = "x".repeat(1024 * 1024);
    let mut last = Position::NONE;
    let refused = loop {
        match append(&log, &lobby, last, &large).await {
            Ok(position) => last = position,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, AppendError::Full);
    assert_eq!(log.last(&attic).await.unwrap().last, Some((kept, bytes("kept"))));
    assert_eq!(log.last(&lobby).await.unwrap().last.unwrap().0, last, "nothing was appended");
}

async fn ten_thousand_rooms(log: Log) {
    for i in 0..10_000 {
        append(&log, &room(&format!("room-{i}")), Position::NONE, "x").await.unwrap();
    }
    assert_eq!(log.last(&room("room-77")).await.unwrap().last, Some((Position(78), bytes("x"))));
}

macro_rules! contract {
    ($($case:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::Memory::new(&super::settings()).into()).await;
            })+
        }
    };
}

contract! {
    an_empty_room_has_no_last_record,
    records_are_read_by_their_positions,
    a_stale_expectation_is_refused,
    a_room_keeps_its_newest_records,
    a_full_log_refuses_and_takes_from_no_other_room,
    ten_thousand_rooms,
}

#[tokio::test]
async fn what_is_too_old_goes_and_its_positions_do_not_come_again() {
    let memory = Memory::starting_at(0, &settings());
    let log = Log::from(memory.clone());
    let old = append(&log, &room("lobby"), Position::NONE, "old").await.unwrap();
    memory.expire(shared::clock::now_ms() + 8 * 24 * 3_600_000);
    assert_eq!(log.last(&room("lobby")).await.unwrap().last, None);
    let new = append(&log, &room("lobby"), Position::NONE, "new").await.unwrap();
    assert!(new > old);
}
