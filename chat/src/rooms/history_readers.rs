//! Questions for messages of the past, each with a reader of its own.

use tracing::debug;

use super::{Effect, LogRequester, MAX_READERS, Rooms};
use crate::history::{self, HistoryReader, ReaderStep};
use crate::owner::LogResult;

impl Rooms {
    pub(super) fn read(&mut self, mut reader: HistoryReader) {
        if self.readers.values().any(|other| other.is_repeated_by(&reader)) {
            return;
        }
        if self.readers.len() >= MAX_READERS {
            return self.metrics.histories_dropped.add();
        }
        let until = history::until(reader.span());
        let at_hand = self.owners.get(&reader.room).and_then(|owner| owner.walk(until));
        let next = reader.begin(at_hand);
        self.reader += 1;
        self.readers.insert(self.reader, reader);
        self.go_on_reading(self.reader, next);
    }

    pub(super) fn go_on_reading(&mut self, number: u64, next: ReaderStep) {
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
        match self.readers.get_mut(&number).map(|reader| reader.done(done)) {
            Some(Ok(next)) => self.go_on_reading(number, next),
            Some(Err(error)) => {
                debug!(%error, "messages of a room could not be read; the connector asks again");
                self.readers.remove(&number);
            }
            None => {}
        }
    }
}
