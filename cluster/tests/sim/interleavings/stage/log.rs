//! What becomes of the log on a stage.

use chat::log::memory::Memory;
use shared::config::settings::LogSettings;
use shared::record::Position;

use super::{HOME, Stage, room};
use crate::checks;

impl Stage {
    /// The log removes what it need not keep: all before the newest checkpoint.
    fn forget(&mut self) {
        let mut records = checks::records(&self.log, &room()).into_iter();
        let newest = records.find(|(_, record)| record.checkpoint.is_some());
        self.oldest = newest.unwrap().0;
    }

    /// A session talks until the room has a newer checkpoint. Then the home dies, and with it all that it had at hand, and the log
    /// removes what it need not keep: connectors that missed records are given the state.
    pub(in super::super) fn outlive_records(&mut self, session: u64) {
        for number in 0..20 {
            self.say(session, &format!("{number}"));
            self.settle();
        }
        self.kill(HOME);
        self.forget();
    }

    /// The log loses its newest records, as in a power cut, and all connections to it are made anew.
    pub(in super::super) fn lose_end(&mut self, lost: usize) {
        self.truncate(lost);
        self.reconnect();
    }

    /// The same, and the connections of connectors hold.
    pub(in super::super) fn lose_end_unnoticed(&mut self, lost: usize) {
        self.truncate(lost);
        self.reconnect_chats();
    }

    /// The log is another one, which has nothing. The connections of connectors hold.
    pub(in super::super) fn lose_log(&mut self) {
        self.log = Memory::starting_at(2, &LogSettings::default());
        (self.appended, self.before) = (0, 0);
        self.reconnect_chats();
    }

    /// From now on a replica of the log knows of no newer record: reads that need not be certain get its answer.
    pub(in super::super) fn freeze_replica(&mut self) {
        self.replica = Some(self.log.last(&room()));
    }

    fn truncate(&mut self, lost: usize) {
        let mut records = checks::records(&self.log, &room());
        let records = records.split_off(lost.min(records.len()));
        self.log = Memory::starting_at(1, &LogSettings::default());
        (self.appended, self.before) = (records.len(), self.before.min(records.len()));
        for (position, record) in records.into_iter().rev() {
            let last = self.log.last(&room()).last.map_or(Position::NONE, |(position, _)| position);
            assert_eq!(self.log.append(&room(), last, record.encode().unwrap().into()), Ok(position));
        }
    }

    /// All records of the room are removed, by age or by hand.
    pub(in super::super) fn erase(&mut self) {
        self.log.expire(u64::MAX);
        (self.appended, self.before) = (0, 0);
    }
}
