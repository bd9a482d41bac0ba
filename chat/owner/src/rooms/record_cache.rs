//! Records that history readers read lately, for the readers behind them.
//!
//! Clients of a room read the same pages. Without the cache, each page of a room of many joins and
//! leaves would cost up to two thousand reads of the log, and as many decoded records in memory
//! while it is made; with it, readers share one copy. Pure; times are arguments.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::ids::RoomId;
use model::record::{Epoch, Position, Record, RecordId};

/// Most bytes of records kept, as [`Record::size`] counts them.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of a record besides its size.
const AROUND: usize = 512;

/// Milliseconds for which a room's records are kept after the first was.
// Retention may have evicted them meanwhile, or an operator removed them: so long they are shown
// all the same.
const KEPT_MS: u64 = 5_000;

/// A record and its position.
pub(crate) type PlacedRecord = (Position, Arc<Record>);

/// Records of rooms, as history readers need them: see [`RecordCache::strip`].
#[derive(Debug, Default)]
pub(crate) struct RecordCache {
    rooms: BTreeMap<RoomId, CachedRoom>,
    bytes: usize,
    now: u64,
}

#[derive(Debug)]
struct CachedRoom {
    epoch: Epoch,
    records: BTreeMap<Position, Arc<Record>>,
    bytes: usize,
    until: u64,
}

/// The known records of one room in one epoch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KnownRecords<'a>(Option<&'a BTreeMap<Position, Arc<Record>>>);

impl KnownRecords<'_> {
    /// Returns a record, if it is known and has this id.
    // A log that lost its end gives positions a second time, an id never.
    pub(crate) fn get(&self, position: Position, id: RecordId) -> Option<Arc<Record>> {
        self.0?.get(&position).filter(|record| record.id == id).cloned()
    }
}

impl RecordCache {
    /// Takes out of a record what no history reader needs: most of the bytes of some.
    pub(crate) fn strip(record: &mut Record) {
        record.checkpoint = None;
        record.proposals = Vec::new();
        record.notify_connectors = Vec::new();
    }

    /// Sets the time, and drops records that were kept for long enough.
    pub(crate) fn tick(&mut self, now: u64) {
        self.now = now;
        let bytes = &mut self.bytes;
        self.rooms.retain(|_, room| {
            let stays = room.until > now;
            *bytes -= if stays { 0 } else { room.bytes };
            stays
        });
    }

    /// Returns the known records of a room in this epoch.
    pub(crate) fn known(&self, room: &RoomId, epoch: Option<Epoch>) -> KnownRecords<'_> {
        KnownRecords(self.rooms.get(room).filter(|room| Some(room.epoch) == epoch).map(|room| &room.records))
    }

    /// Adds records of a room that are certainly from this epoch, as long as there is space.
    pub(crate) fn add(&mut self, room: &RoomId, epoch: Epoch, records: Vec<PlacedRecord>) {
        if records.is_empty() {
            return;
        }
        if self.rooms.get(room).is_some_and(|room| room.epoch != epoch) {
            self.remove(room);
        }
        let new = || CachedRoom { epoch, records: BTreeMap::new(), bytes: 0, until: self.now + KEPT_MS };
        let cached = self.rooms.entry(room.clone()).or_insert_with(new);
        for (position, record) in records {
            let bytes = record.size() + AROUND;
            if self.bytes + bytes > MOST_BYTES {
                break;
            }
            if cached.records.insert(position, record).is_none() {
                cached.bytes += bytes;
                self.bytes += bytes;
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.rooms.clear();
        self.bytes = 0;
    }

    fn remove(&mut self, room: &RoomId) {
        self.bytes -= self.rooms.remove(room).map_or(0, |room| room.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bad_records::tests::record;

    const EPOCH: Epoch = Epoch(1);

    fn room(name: &str) -> RoomId {
        RoomId::new(name).unwrap()
    }

    fn records(positions: std::ops::RangeInclusive<u64>) -> Vec<(Position, Arc<Record>)> {
        positions.map(|position| (Position(position), Arc::new(record(position - 1, 1, 1)))).collect()
    }

    fn known(cache: &RecordCache, name: &str, epoch: Epoch) -> Vec<u64> {
        let known = cache.known(&room(name), Some(epoch));
        assert!((1..=9).all(|position| known.get(Position(position), RecordId(7)).is_none()), "another id");
        (1..=9).filter(|position| known.get(Position(*position), RecordId(1)).is_some()).collect()
    }

    #[test]
    fn records_are_known_for_a_time_and_in_their_epoch() {
        let mut cache = RecordCache::default();
        cache.tick(100);
        cache.add(&room("a"), EPOCH, records(2..=3));
        cache.tick(101);
        cache.add(&room("a"), EPOCH, records(3..=4));
        cache.add(&room("b"), EPOCH, records(2..=2));
        assert_eq!(known(&cache, "a", EPOCH), [2, 3, 4]);
        assert_eq!(known(&cache, "a", Epoch(2)), [0; 0]);
        cache.tick(100 + KEPT_MS);
        assert_eq!((known(&cache, "a", EPOCH), known(&cache, "b", EPOCH)), (vec![], vec![2]));
        cache.add(&room("b"), Epoch(2), records(5..=5));
        assert_eq!(known(&cache, "b", Epoch(2)), [5]);
        cache.tick(100 + 2 * KEPT_MS);
        assert_eq!((cache.rooms.len(), cache.bytes), (0, 0));
    }

    #[test]
    fn the_cache_has_a_size() {
        let mut cache = RecordCache::default();
        cache.add(&room("a"), EPOCH, records(1..=100_000));
        let bytes = cache.bytes;
        assert!(bytes <= MOST_BYTES && bytes > MOST_BYTES - 2 * AROUND - 200, "{bytes}");
        cache.add(&room("b"), EPOCH, records(1..=1));
        assert_eq!((cache.bytes, known(&cache, "b", EPOCH)), (bytes, vec![]));
        cache.clear();
        assert_eq!(cache.bytes, 0);
    }
}
