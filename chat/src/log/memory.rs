//! A log in memory, shared by the chat servers of one process. It ends with the process.
//!
//! Its parts share nothing, as streams do.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::ids::RoomId;
use model::log_parts::{LogPart, LogParts, PerPart};
use model::record::{Epoch, Position};
use model::rpc::messages::{RoomPage, RoomPageBuilder, RoomQuery};
use model::settings::LogSettings;
use runtime::clock;
use tokio::time::Instant;

use super::{LogStatus, Split};
use owner::log_operation::{AppendError, Lifetime, Tail};

/// Approximate cost of a record besides its bytes: position, time, place in the queue.
const RECORD_OVERHEAD: usize = 64;

/// Appends between two sweeps for records above the age limit.
// A sweep costs a step per room, so it does not follow every append.
const APPENDS_PER_SWEEP: u64 = 10_000;

/// Rooms' records in memory. Clones are the same log.
#[derive(Debug, Clone)]
pub struct Memory {
    parts: LogParts,
    inner: Arc<PerPart<Mutex<Inner>>>,
}

#[derive(Debug)]
struct Inner {
    epoch: Epoch,
    limits: Limits,
    /// Start of the log, from which ages are measured.
    // Not the wall clock, which may be set.
    started: Instant,
    last: Position,
    bytes: usize,
    appends: u64,
    rooms: HashMap<RoomId, Records>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    records: usize,
    room_bytes: usize,
    total_bytes: usize,
    age_ms: u64,
}

#[derive(Debug, Default)]
struct Records {
    /// Oldest first.
    records: VecDeque<StoredRecord>,
    bytes: usize,
}

#[derive(Debug)]
struct StoredRecord {
    position: Position,
    /// The expectation of the append; none if it was published without one.
    expected: Option<Position>,
    lifetime: Lifetime,
    at_ms: u64,
    bytes: Bytes,
}

impl Memory {
    /// Creates an empty log with a unique epoch.
    pub fn new(settings: &LogSettings) -> Self {
        Self::starting_at(clock::new_epoch(), settings)
    }

    /// Creates an empty log with this epoch.
    pub fn starting_at(epoch: u64, settings: &LogSettings) -> Self {
        let limits = Limits {
            records: settings.max_records,
            room_bytes: settings.max_room_bytes,
            total_bytes: settings.max_part_bytes(settings.parts()),
            age_ms: u64::from(settings.max_age_hours) * 3_600_000,
        };
        let parts = settings.parts();
        Self { parts, inner: Arc::new(PerPart::new(parts, |_| Mutex::new(Inner::new(Epoch(epoch), limits)))) }
    }

    /// See [`super::Log::parts`].
    pub fn parts(&self) -> LogParts {
        self.parts
    }

    /// Empties a part, which gets another epoch, as a stream that is deleted and created again.
    pub fn lose(&self, part: LogPart, epoch: Epoch) {
        let mut inner = self.inner(part);
        *inner = Inner::new(epoch, inner.limits);
    }

    /// See [`super::Log::append`].
    pub fn append(&self, room: &RoomId, expected: Position, record: Bytes) -> Result<Position, AppendError> {
        self.append_for(room, expected, record, Lifetime::Aging)
    }

    /// See [`super::Log::append_for`].
    pub fn append_for(
        &self,
        room: &RoomId,
        expected: Position,
        record: Bytes,
        lifetime: Lifetime,
    ) -> Result<Position, AppendError> {
        let mut inner = self.of(room);
        let now_ms = inner.age_ms();
        inner.append(room, Some((expected, lifetime)), record, now_ms)
    }

    /// See [`super::Log::append_probe`]. The message itself is not kept.
    pub fn append_probe(&self, part: LogPart, bytes: usize) -> Result<Position, AppendError> {
        let mut inner = self.inner(part);
        let now_ms = inner.age_ms();
        // A probe must find the space that an append would find.
        inner.expire(now_ms);
        if inner.bytes + bytes + RECORD_OVERHEAD > inner.limits.total_bytes {
            return Err(AppendError::Full);
        }
        inner.last = Position(inner.last.0 + 1);
        Ok(inner.last)
    }

    /// Adds a message without an expectation, as any program that may publish on a broker can.
    ///
    /// # Errors
    /// If the log is full.
    pub fn publish(&self, room: &RoomId, message: Bytes) -> Result<Position, AppendError> {
        let mut inner = self.of(room);
        let now_ms = inner.age_ms();
        inner.append(room, None, message, now_ms)
    }

    /// Removes a message, as an operator can, or replaces its bytes, as a bad disk does.
    pub fn damage(&self, room: &RoomId, position: Position, bytes: Option<Bytes>) {
        let inner = &mut *self.of(room);
        let Some(records) = inner.rooms.get_mut(room) else { return };
        let before = records.bytes;
        records.records.retain_mut(|stored| {
            let damaged = stored.position == position;
            if let (true, Some(bytes)) = (damaged, &bytes) {
                stored.bytes = bytes.clone();
            }
            !damaged || bytes.is_some()
        });
        records.bytes = records.records.iter().map(|stored| cost(&stored.bytes)).sum();
        inner.bytes = inner.bytes - before + records.bytes;
    }

    /// See [`super::Log::last`].
    pub fn last(&self, room: &RoomId) -> Tail {
        self.before(room, Position(u64::MAX))
    }

    /// See [`super::Log::before`].
    pub fn before(&self, room: &RoomId, position: Position) -> Tail {
        let inner = self.of(room);
        let records = inner.rooms.get(room).map(|r| &r.records);
        let last = records.and_then(|records| {
            let count = records.partition_point(|stored| stored.position < position);
            records.get(count.checked_sub(1)?)
        });
        Tail {
            epoch: inner.epoch,
            last: last.map(|stored| (stored.position, stored.bytes.clone())),
            expected: last.and_then(|stored| stored.expected),
        }
    }

    /// See [`super::Log::read`].
    pub fn read(&self, room: &RoomId, positions: &[Position]) -> Vec<Option<Bytes>> {
        let inner = self.of(room);
        let records = inner.rooms.get(room).map(|r| &r.records);
        let find = |position: &Position| {
            let records = records?;
            let index = records.binary_search_by_key(position, |stored| stored.position).ok()?;
            records.get(index).map(|stored| stored.bytes.clone())
        };
        positions.iter().map(find).collect()
    }

    /// See [`super::Log::rooms`].
    pub fn rooms(&self, query: &RoomQuery) -> RoomPage {
        let mut page = RoomPageBuilder::new(query);
        for part in self.parts.iter() {
            let inner = self.inner(part);
            let rooms = inner.rooms.iter().filter(|(_, records)| !records.records.is_empty());
            rooms.for_each(|(room, _)| page.add(room.clone()));
        }
        page.finish()
    }

    /// See [`super::Log::status`].
    pub fn status(&self, part: LogPart) -> LogStatus {
        let inner = self.inner(part);
        LogStatus {
            epoch: inner.epoch,
            bytes: inner.bytes as u64,
            max_bytes: inner.limits.total_bytes as u64,
            split: Split::None,
        }
    }

    /// Evicts records above the age limit when the log is `age_ms` old; appends do so from time to
    /// time.
    pub fn expire(&self, age_ms: u64) {
        self.parts.iter().for_each(|part| self.inner(part).expire(age_ms));
    }

    /// Removes all records, as an operator can.
    pub fn erase(&self) {
        for part in self.parts.iter() {
            let mut inner = self.inner(part);
            inner.rooms.clear();
            inner.bytes = 0;
        }
    }

    fn of(&self, room: &RoomId) -> MutexGuard<'_, Inner> {
        self.inner(self.parts.of(room))
    }

    fn inner(&self, part: LogPart) -> MutexGuard<'_, Inner> {
        // No code panics while holding the lock, and every change under it is complete in itself.
        self.inner.get(part).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn new(epoch: Epoch, limits: Limits) -> Self {
        Self {
            epoch,
            limits,
            started: Instant::now(),
            last: Position::NONE,
            bytes: 0,
            appends: 0,
            rooms: HashMap::new(),
        }
    }

    /// Returns the milliseconds since the log began.
    fn age_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn append(
        &mut self,
        room: &RoomId,
        append: Option<(Position, Lifetime)>,
        record: Bytes,
        now_ms: u64,
    ) -> Result<Position, AppendError> {
        let expected = append.map(|(expected, _)| expected);
        let lifetime = append.map_or(Lifetime::Aging, |(_, lifetime)| lifetime);
        self.appends += 1;
        if self.appends.is_multiple_of(APPENDS_PER_SWEEP) {
            self.expire(now_ms);
        }
        let last = self.rooms.get(room).and_then(|r| r.records.back()).map_or(Position::NONE, |stored| stored.position);
        if expected.is_some_and(|expected| expected != last) {
            return Err(AppendError::Refused);
        }
        if self.bytes + cost(&record) > self.limits.total_bytes {
            return Err(AppendError::Full);
        }
        self.last = Position(self.last.0 + 1);
        self.bytes += cost(&record);
        let records = self.rooms.entry(room.clone()).or_default();
        records.push(StoredRecord { position: self.last, expected, lifetime, at_ms: now_ms, bytes: record });
        // As JetStream does with max_msgs_per_subject: by number, whatever lasts. Owners write what must
        // last again in time.
        while records.records.len() > self.limits.records || records.bytes > self.limits.room_bytes {
            self.bytes -= records.pop();
        }
        Ok(self.last)
    }

    fn expire(&mut self, now_ms: u64) {
        let oldest = now_ms.saturating_sub(self.limits.age_ms);
        let bytes = &mut self.bytes;
        // Rooms without records are dropped, or each name that was ever used would stay.
        self.rooms.retain(|_, records| {
            *bytes -= records.expire(oldest);
            !records.records.is_empty()
        });
    }
}

impl Records {
    fn push(&mut self, stored: StoredRecord) {
        self.bytes += cost(&stored.bytes);
        self.records.push_back(stored);
    }

    /// Removes records from before a time, but for lasting ones, and returns their cost.
    fn expire(&mut self, oldest: u64) -> usize {
        let count = self.records.partition_point(|stored| stored.at_ms < oldest);
        let (lasting, expired): (Vec<_>, Vec<_>) =
            self.records.drain(..count).partition(|stored| stored.lifetime == Lifetime::Lasting);
        lasting.into_iter().rev().for_each(|stored| self.records.push_front(stored));
        let freed: usize = expired.iter().map(|stored| cost(&stored.bytes)).sum();
        self.bytes -= freed;
        freed
    }

    /// Removes the oldest record and returns its cost.
    fn pop(&mut self) -> usize {
        let freed = self.records.pop_front().map_or(0, |stored| cost(&stored.bytes));
        self.bytes -= freed;
        freed
    }
}

fn cost(record: &Bytes) -> usize {
    record.len() + RECORD_OVERHEAD
}
