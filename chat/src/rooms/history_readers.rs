//! Questions for messages of the past, each with a reader of its own.

use tracing::debug;

use super::{Effect, LogAsker, MAX_READERS, Rooms};
use crate::history::{self, Next, Reader};
use crate::owner::LogDone;

impl Rooms {
    pub(super) fn read(&mut self, mut reader: Reader) {
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

    pub(super) fn go_on_reading(&mut self, number: u64, next: Next) {
        match next {
            Next::Log(op) => {
                let room = self.readers.get(&number).map(|reader| reader.room.clone());
                self.effects.extend(room.map(|room| Effect::Log { room, asker: LogAsker::Reader(number), op }));
            }
            Next::Answer(answer) => {
                if let Some(reader) = self.readers.remove(&number) {
                    self.answer(reader.asker, &answer);
                }
            }
        }
    }

    pub(super) fn on_history_read(&mut self, number: u64, done: LogDone) {
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
