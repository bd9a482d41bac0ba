//! Reads messages of the past, with one reader per request.

use std::collections::BTreeMap;

use model::rpc::messages::{HistoryRange, LogPosition, RpcResponse, Unavailable};

use super::outgoing::Outgoing;
use super::record_cache::RecordCache;
use super::{Effect, LogRequester};
use crate::event::Event;
use crate::history::{HistoryReader, ReaderStep};
use crate::log_operation::LogResult;
use crate::log_walk::Walk;

/// Most history requests that read the log at once; further ones are dropped, and their connectors
/// repeat them.
const MAX_READERS: usize = 256;

/// Most of them for one room.
// Otherwise one room's clients could keep those of all others waiting.
const MAX_OF_ROOM: usize = MAX_READERS / 2;

/// Most of them for one connector.
const MAX_OF_CONNECTOR: usize = MAX_READERS / 2;

/// Most of them for pages; the rest is for sessions that resume, whose clients wait for the room.
const MAX_PAGES: usize = MAX_READERS / 4 * 3;

/// The readers at work.
#[derive(Debug, Default)]
pub(crate) struct HistoryReaders {
    readers: BTreeMap<u64, HistoryReader>,
    last: u64,
    cache: RecordCache,
}

impl HistoryReaders {
    /// Starts a reader; `at_hand` are the position and the newest records of the room's owner.
    pub(crate) fn start(
        &mut self,
        mut reader: HistoryReader,
        at_hand: Option<(LogPosition, Walk)>,
        out: &mut Outgoing<'_>,
    ) {
        // A repeat of a request that is being read would only double the work of the log.
        if self.readers.values().any(|other| other.is_repeated_by(&reader)) {
            return;
        }
        match reader.begin(at_hand, &self.cache) {
            // All of it was in memory: it takes no place.
            ReaderStep::Answer(response) => out.respond(reader.requester, &response),
            // Load shedding: history is less urgent than appends, and the connector repeats the
            // request.
            ReaderStep::Log(_) if !self.has_place(&reader) => {
                if reader.is_for_application() {
                    let response = RpcResponse::Busy { room: reader.room.clone() };
                    out.respond(reader.requester, &response);
                }
                out.report(Event::HistoryDropped);
            }
            next @ ReaderStep::Log(_) => {
                self.last += 1;
                self.readers.insert(self.last, reader);
                self.advance(self.last, next, out);
            }
        }
    }

    /// Returns true if there is a place for another reader.
    fn has_place(&self, reader: &HistoryReader) -> bool {
        let is_page = |reader: &HistoryReader| !matches!(reader.span(), HistoryRange::Since(_));
        let (mut of_room, mut of_connector, mut pages) = (0, 0, 0);
        for other in self.readers.values() {
            of_room += usize::from(other.room == reader.room);
            of_connector += usize::from(other.requester.server == reader.requester.server);
            pages += usize::from(is_page(other));
        }
        self.readers.len() < MAX_READERS
            && of_room < MAX_OF_ROOM
            && of_connector < MAX_OF_CONNECTOR
            && (pages < MAX_PAGES || !is_page(reader))
    }

    fn advance(&mut self, number: u64, next: ReaderStep, out: &mut Outgoing<'_>) {
        match next {
            ReaderStep::Log(op) => {
                let room = self.readers.get(&number).map(|reader| reader.room.clone());
                debug_assert!(room.is_some(), "reader {number} is gone");
                out.effects.extend(room.map(|room| Effect::Log { room, requester: LogRequester::Reader(number), op }));
            }
            ReaderStep::Answer(response) => {
                let reader = self.readers.remove(&number);
                debug_assert!(reader.is_some(), "reader {number} is gone");
                let Some(mut reader) = reader else { return };
                if let Some((epoch, records)) = reader.take_confirmed() {
                    self.cache.add(&reader.room, epoch, records);
                }
                out.respond(reader.requester, &response);
            }
        }
    }

    /// Takes the result of a reader's log operation.
    pub(super) fn on_log_result(&mut self, number: u64, done: LogResult, out: &mut Outgoing<'_>) {
        // A server that yields to a later process drops its readers.
        match self.readers.get_mut(&number).map(|reader| reader.on_log_result(done, &self.cache)) {
            Some(Ok(next)) => self.advance(number, next, out),
            Some(Err(error)) => {
                out.report(Event::HistoryFailed { error: error.to_string() });
                if let Some(reader) = self.readers.remove(&number).filter(HistoryReader::is_for_application) {
                    let (room, because) = (reader.room, Unavailable::LogAway);
                    out.respond(reader.requester, &RpcResponse::Unavailable { room, because });
                }
            }
            None => {}
        }
    }

    /// Drops records that were kept for long enough.
    pub(super) fn tick(&mut self, now: u64) {
        self.cache.tick(now);
    }

    /// Drops the records, because the log may be another one.
    pub(super) fn start_over(&mut self) {
        self.cache.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.readers.clear();
        self.cache.clear();
    }
}

#[cfg(test)]
mod tests;
