//! Questions for messages of the past, each with a reader of its own.

use tracing::debug;

use super::{Effect, LogRequester, MAX_READERS, Rooms};
use crate::history::{self, HistoryReader, ReaderStep};
use crate::owner::LogResult;

impl Rooms {
    pub(super) fn start_reader(&mut self, mut reader: HistoryReader) {
        if self.readers.values().any(|other| other.is_repeated_by(&reader)) {
            return;
        }
        if self.readers.len() >= MAX_READERS {
            return self.metrics.histories_dropped.add();
        }
        let bound = history::walk_bound(reader.span());
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
            ReaderStep::Answer(answer) => {
                if let Some(reader) = self.readers.remove(&number) {
                    self.answer(reader.requester, &answer);
                }
            }
        }
    }

    pub(super) fn on_history_read(&mut self, number: u64, done: LogResult) {
        match self.readers.get_mut(&number).map(|reader| reader.on_log_result(done)) {
            Some(Ok(next)) => self.advance_reader(number, next),
            Some(Err(error)) => {
                debug!(%error, "messages of a room could not be read; the connector asks again");
                self.readers.remove(&number);
            }
            None => {}
        }
    }
}
