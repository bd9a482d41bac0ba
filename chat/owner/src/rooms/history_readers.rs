//! Reads messages of the past, with one reader per request.

use super::{Effect, LogRequester, MAX_READERS, Rooms};
use crate::event::Event;
use crate::history::{self, HistoryReader, ReaderStep};
use crate::log_operation::LogResult;

impl Rooms {
    pub(super) fn start_reader(&mut self, mut reader: HistoryReader) {
        // A repeat of a request that is being read would only double the work of the log.
        if self.readers.values().any(|other| other.is_repeated_by(&reader)) {
            return;
        }
        if self.readers.len() >= MAX_READERS {
            // Load shedding: history is less urgent than appends, and the connector repeats the
            // request.
            return self.report(Event::HistoryDropped);
        }
        let bound = history::walk_bound(reader.span());
        // Records in the owner's memory save the search of the log's end, and often the read.
        let at_hand = self.owners.get(&reader.room).and_then(|owner| owner.walk(bound));
        let next = reader.begin(at_hand);
        self.last_reader += 1;
        self.readers.insert(self.last_reader, reader);
        self.advance_reader(self.last_reader, next);
    }

    pub(super) fn advance_reader(&mut self, number: u64, next: ReaderStep) {
        match next {
            ReaderStep::Log(op) => {
                let room = self.readers.get(&number).map(|reader| reader.room.clone());
                self.effects.extend(room.map(|room| Effect::Log { room, requester: LogRequester::Reader(number), op }));
            }
            ReaderStep::Answer(response) => {
                if let Some(reader) = self.readers.remove(&number) {
                    self.answer(reader.requester, &response);
                }
            }
        }
    }

    pub(super) fn on_history_read(&mut self, number: u64, done: LogResult) {
        match self.readers.get_mut(&number).map(|reader| reader.on_log_result(done)) {
            Some(Ok(next)) => self.advance_reader(number, next),
            Some(Err(error)) => {
                self.report(Event::HistoryFailed { error: error.to_string() });
                self.readers.remove(&number);
            }
            None => {}
        }
    }
}
