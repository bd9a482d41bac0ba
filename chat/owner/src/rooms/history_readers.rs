//! Reads messages of the past, with one reader per request.

use std::collections::BTreeMap;

use model::rpc::messages::LogPosition;

use super::outgoing::Outgoing;
use super::{Effect, LogRequester};
use crate::event::Event;
use crate::history::{HistoryReader, ReaderStep};
use crate::log_operation::LogResult;
use crate::log_walk::Walk;

/// Most history requests that are read at once; further ones are dropped, and their connectors
/// repeat them.
const MAX_READERS: usize = 256;

/// The readers at work.
#[derive(Debug, Default)]
pub(crate) struct HistoryReaders {
    readers: BTreeMap<u64, HistoryReader>,
    last: u64,
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
        if self.readers.len() >= MAX_READERS {
            // Load shedding: history is less urgent than appends, and the connector repeats the
            // request.
            return out.report(Event::HistoryDropped);
        }
        let next = reader.begin(at_hand);
        self.last += 1;
        self.readers.insert(self.last, reader);
        self.advance(self.last, next, out);
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
                reader.into_iter().for_each(|reader| out.respond(reader.requester, &response));
            }
        }
    }

    /// Takes the result of a reader's log operation.
    pub(super) fn on_log_result(&mut self, number: u64, done: LogResult, out: &mut Outgoing<'_>) {
        // A server that yields to a later process drops its readers.
        match self.readers.get_mut(&number).map(|reader| reader.on_log_result(done)) {
            Some(Ok(next)) => self.advance(number, next, out),
            Some(Err(error)) => {
                out.report(Event::HistoryFailed { error: error.to_string() });
                self.readers.remove(&number);
            }
            None => {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.readers.clear();
    }
}
