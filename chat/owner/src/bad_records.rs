//! Messages in a room's log that are no records of the room, and records with an implausible time.
//! Pure.
//!
//! Any program that may publish on the broker can write into a room's log. Such a message is lost
//! itself, but does not harm the room.

use std::sync::Arc;

use model::record::{LINKS, Position, Record, RecordError};
use model::room::Checkpoint;
use thiserror::Error;

/// Milliseconds ahead of the reader's wall clock above which a record's time is wrong.
// Clocks that are off by a time zone are still trusted.
const FAR_MS: u64 = 24 * 3_600_000;

/// The reason for passing over a message in a room's log.
#[derive(Debug, Error)]
pub enum BadRecord {
    /// This version cannot decode it.
    #[error(transparent)]
    Undecodable(#[from] RecordError),
    /// It links to itself, or forward: a walk along it would not end.
    #[error("it names a predecessor that is not before it")]
    NotBefore,
    /// It names another predecessor than the room's last record: a copy, or a record of another
    /// room.
    #[error("it does not follow the room's last record: a copy of an older one, or a record of another room")]
    NotNext,
}

/// Decodes a message of a room's log. Drops links that do not lead back.
///
/// # Errors
/// If it is not a record that may have this position.
pub fn read(position: Position, bytes: &[u8]) -> Result<Record, BadRecord> {
    let mut record = Record::decode(bytes)?;
    if record.prev >= position {
        return Err(BadRecord::NotBefore);
    }
    record.links.retain(|link| *link < record.prev);
    record.links.truncate(LINKS - 1);
    Ok(record)
}

/// Replaces times in the far future by the reader's time, so that they do not hold up the times of
/// later records. Returns the positions of these records.
///
/// The records are consecutive, oldest first. A time is in the far future if it is more than a day
/// ahead of both the reader's clock and the record before.
pub fn cap_times(records: &mut [(Position, Arc<Record>)], wall_ms: u64) -> Vec<Position> {
    let first = records.first().and_then(|(_, first)| first.checkpoint.as_deref());
    // A checkpoint was made before its record.
    let mut before = first.map_or(0, Checkpoint::time);
    let mut capped = Vec::new();
    for (position, record) in records {
        // The record was written before it is read, so the reader's clock is the latest time that
        // it can have, and its idempotency keys are remembered for long enough. Where the records
        // before are ahead as well, the reader's clock was set back: the room's time stands still
        // until the clock is there again.
        let latest = wall_ms.max(before);
        if record.time > latest.saturating_add(FAR_MS) {
            Arc::make_mut(record).time = latest;
            capped.push(*position);
        }
        before = record.time;
    }
    capped
}

#[cfg(test)]
pub(crate) mod tests {
    use model::ids::ServerId;
    use model::record::{RecordId, VERSION};

    use super::*;

    /// Returns a record without entries.
    pub(crate) fn record(prev: u64, prev_id: u64, id: u64) -> Record {
        Record {
            v: VERSION,
            prev: Position(prev),
            prev_id: RecordId(prev_id),
            id: RecordId(id),
            links: Vec::new(),
            time: 0,
            owner: ServerId::new("chat-server-1").unwrap(),
            proposals: Vec::new(),
            acts: Vec::new(),
            lasting: None,
            entries: Vec::new(),
            notify_connectors: Vec::new(),
            checkpoint: None,
            part: None,
        }
    }

    #[test]
    fn a_record_that_does_not_lead_back_is_bad() {
        for prev in [10, 11, u64::MAX] {
            let read = read(Position(10), &record(prev, 1, 2).encode().unwrap());
            assert!(matches!(read, Err(BadRecord::NotBefore)), "{prev}: {read:?}");
        }
        assert!(read(Position(10), &record(9, 1, 2).encode().unwrap()).is_ok());
    }

    #[test]
    fn bytes_and_versions_that_are_not_known_are_bad() {
        let newer = Record { v: VERSION + 1, ..record(1, 1, 2) }.encode().unwrap();
        for bytes in [&b""[..], b"garbage", b"\x81\xa1v\x01", &newer] {
            assert!(matches!(read(Position(10), bytes), Err(BadRecord::Undecodable(_))), "{bytes:x?}");
        }
    }

    #[test]
    fn links_that_do_not_lead_back_are_left_out() {
        // None leads forward: the bytes hold how far each is below the one before.
        let links = [9, 8, 8, 7].map(Position).into();
        let bytes = Record { links, ..record(9, 1, 2) }.encode().unwrap();
        assert_eq!(read(Position(10), &bytes).unwrap().links, [8, 8, 7].map(Position));
        let links = (1..1_000).rev().map(Position).collect();
        let bytes = Record { links, ..record(1_000, 1, 2) }.encode().unwrap();
        assert_eq!(read(Position(1_001), &bytes).unwrap().links.len(), LINKS - 1);
    }

    const WALL: u64 = 1_700_000_000_000;
    const YEAR: u64 = 365 * FAR_MS;

    fn times(first: Option<u64>, times: &[u64]) -> Vec<u64> {
        let at = |(number, time): (u64, &u64)| (Position(number), Arc::new(Record { time: *time, ..record(0, 0, 0) }));
        let mut records: Vec<_> = (1..).zip(times).map(at).collect();
        if let Some(time) = first {
            let mut state = model::room::RoomState::default();
            state.apply_metadata(Position(1), &Record { time, ..record(0, 0, 0) });
            Arc::make_mut(&mut records[0].1).checkpoint = Some(Box::new(Checkpoint::from(&state)));
        }
        cap_times(&mut records, WALL);
        records.iter().map(|(_, record)| record.time).collect()
    }

    #[test]
    fn a_time_from_the_far_future_is_the_readers() {
        assert_eq!(times(None, &[WALL, WALL + YEAR, WALL + 5]), [WALL, WALL, WALL + 5]);
        assert_eq!(times(None, &[WALL + 5, u64::MAX, u64::MAX]), [WALL + 5, WALL + 5, WALL + 5]);
        assert_eq!(times(Some(WALL), &[WALL + YEAR]), [WALL], "its own checkpoint says when it was");
    }

    #[test]
    fn a_clock_that_is_off_by_hours_is_believed() {
        let hours = WALL + FAR_MS;
        assert_eq!(times(None, &[WALL, hours]), [WALL, hours]);
    }

    #[test]
    fn a_reader_whose_clock_was_set_back_changes_nothing() {
        let ahead = WALL + YEAR;
        assert_eq!(times(Some(ahead), &[ahead, ahead + 1]), [ahead, ahead + 1]);
        assert_eq!(times(Some(ahead), &[ahead, ahead + YEAR, ahead + 2]), [ahead, ahead, ahead + 2]);
    }
}
