//! A log in memory for tests, with the contract of the logs of the crate `chat`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use model::ids::RoomId;
use model::record::{Epoch, Position};

use crate::log_operation::{AppendError, Lifetime, Tail};

/// Clones are the same log.
#[derive(Debug, Clone)]
pub(crate) struct TestLog(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    epoch: u64,
    last: u64,
    /// Most records of a room.
    max_records: usize,
    is_full: bool,
    /// Positions of records that no age removes.
    lasting: BTreeSet<u64>,
    rooms: BTreeMap<RoomId, BTreeMap<u64, (Option<Position>, Bytes)>>,
}

impl TestLog {
    /// Creates an empty log.
    pub(crate) fn new(epoch: u64) -> Self {
        let (last, rooms, lasting) = (0, BTreeMap::new(), BTreeSet::new());
        Self(Rc::new(RefCell::new(Inner { epoch, last, max_records: usize::MAX, is_full: false, lasting, rooms })))
    }

    /// Creates an empty log that evicts the oldest records above this number.
    pub(crate) fn retaining(epoch: u64, max_records: usize) -> Self {
        let log = Self::new(epoch);
        log.0.borrow_mut().max_records = max_records;
        log
    }

    /// Creates a log that takes no records.
    pub(crate) fn full(epoch: u64) -> Self {
        let log = Self::new(epoch);
        log.0.borrow_mut().is_full = true;
        log
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.0.borrow().epoch)
    }

    pub(crate) fn append(&self, room: &RoomId, expected: Position, record: Bytes) -> Result<Position, AppendError> {
        self.store(room, Some(expected), record)
    }

    pub(crate) fn append_for(
        &self,
        room: &RoomId,
        expected: Position,
        record: Bytes,
        lifetime: Lifetime,
    ) -> Result<Position, AppendError> {
        let position = self.append(room, expected, record)?;
        if lifetime == Lifetime::Lasting {
            self.0.borrow_mut().lasting.insert(position.0);
        }
        Ok(position)
    }

    /// Removes all records that are not lasting, as retention by age does.
    pub(crate) fn age(&self) {
        let Inner { lasting, rooms, .. } = &mut *self.0.borrow_mut();
        rooms.values_mut().for_each(|records| records.retain(|position, _| lasting.contains(position)));
    }

    /// Adds a message without an expectation, as any program that may publish on a broker can.
    pub(crate) fn publish(&self, room: &RoomId, message: Bytes) -> Result<Position, AppendError> {
        self.store(room, None, message)
    }

    fn store(&self, room: &RoomId, expected: Option<Position>, bytes: Bytes) -> Result<Position, AppendError> {
        let inner = &mut *self.0.borrow_mut();
        let records = inner.rooms.entry(room.clone()).or_default();
        let last = records.last_key_value().map_or(Position::NONE, |(at, _)| Position(*at));
        if expected.is_some_and(|expected| expected != last) {
            return Err(AppendError::Refused);
        }
        if inner.is_full {
            return Err(AppendError::Full);
        }
        inner.last += 1;
        records.insert(inner.last, (expected, bytes));
        while records.len() > inner.max_records {
            records.pop_first();
        }
        Ok(Position(inner.last))
    }

    /// Removes a message, as an operator can, or replaces its bytes, as a bad disk does.
    pub(crate) fn damage(&self, room: &RoomId, position: Position, bytes: Option<Bytes>) {
        let mut inner = self.0.borrow_mut();
        let records = inner.rooms.entry(room.clone()).or_default();
        if let (Some((expected, _)), Some(bytes)) = (records.remove(&position.0), bytes) {
            records.insert(position.0, (expected, bytes));
        }
    }

    /// Removes all records, as retention by age does.
    pub(crate) fn erase(&self) {
        self.0.borrow_mut().rooms.clear();
    }

    pub(crate) fn last(&self, room: &RoomId) -> Tail {
        self.before(room, Position(u64::MAX))
    }

    pub(crate) fn before(&self, room: &RoomId, position: Position) -> Tail {
        let inner = self.0.borrow();
        let last = inner.rooms.get(room).and_then(|records| records.range(..position.0).next_back());
        Tail {
            epoch: Epoch(inner.epoch),
            last: last.map(|(at, (_, bytes))| (Position(*at), bytes.clone())),
            expected: last.and_then(|(_, (expected, _))| *expected),
        }
    }

    pub(crate) fn read(&self, room: &RoomId, positions: &[Position]) -> Vec<Option<Bytes>> {
        let inner = self.0.borrow();
        let records = inner.rooms.get(room);
        positions.iter().map(|at| Some(records?.get(&at.0)?.1.clone())).collect()
    }
}
