//! Events of the log in a scripted cluster.

use bytes::Bytes;
use chat::log::memory::Memory;
use model::ids::RoomId;
use model::log_parts::LogParts;
use model::record::{Position, Record, RecordId};
use model::settings::LogSettings;

use super::{HOME, ROOM, ScriptedCluster, room};
use crate::checks;
use crate::poison::{Poison, Rooms};

/// Another room than that of the scripts.
const ATTIC: &str = "attic";

impl ScriptedCluster {
    /// The log removes what it need not keep: all before the newest checkpoint.
    fn evict_old_records(&mut self) {
        let mut records = checks::records(&self.log, &room(), &self.bad).into_iter();
        let newest = records.find(|(_, record)| record.checkpoint.is_some());
        self.oldest = newest.unwrap().0;
    }

    /// A session sends until the room has a newer checkpoint. Then the home dies with its memory,
    /// and the log evicts what it need not keep: connectors that missed records get the state.
    pub(in super::super) fn evict_records(&mut self, session: u64) {
        for number in 0..20 {
            self.send(session, &format!("{number}"));
            self.settle();
        }
        self.kill(HOME);
        self.evict_old_records();
    }

    /// The log loses its newest records, as in a power cut, and all connections to it are made
    /// anew.
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

    /// From now on a replica of the log knows of no newer record: reads that need not be certain
    /// get its answer.
    pub(in super::super) fn freeze_replica(&mut self) {
        self.replica = Some(self.log.last(&room()));
    }

    /// A chat server finds that the log has two parts, and the room is in the second one.
    pub(in super::super) fn find_room_moved(&mut self, chat: usize) {
        let now = self.chat_now();
        let two = LogParts::new(2).unwrap();
        assert!(LogParts::ONE.moves(&room(), two));
        let effects = self.chats[chat].rooms.divide_log(two, now);
        self.chat_effects(chat, effects);
    }

    fn truncate(&mut self, lost: usize) {
        let mut records = checks::records(&self.log, &room(), &self.bad);
        let records = records.split_off(lost.min(records.len()));
        self.log = Memory::starting_at(1, &LogSettings::default());
        (self.appended, self.before) = (records.len(), self.before.min(records.len()));
        for (position, record) in records.into_iter().rev() {
            let last = self.log.last(&room()).last.map_or(Position::NONE, |(position, _)| position);
            assert_eq!(self.log.append(&room(), last, record.encode().unwrap().into()), Ok(position));
        }
    }

    /// Another program writes into the room's log.
    pub(in super::super) fn poison(&mut self, poison: Poison) {
        let rooms = Rooms { log: &self.log, names: &[ROOM, ATTIC], bad: &self.bad };
        let (position, is_record) = poison.publish(&rooms, &room(), self.now);
        if is_record {
            self.appended += 1;
        } else {
            self.bad.insert(position);
        }
    }

    /// Another room has two records.
    pub(in super::super) fn fill_other_room(&mut self) {
        let (_, record) = checks::records(&self.log, &room(), &self.bad).remove(0);
        let attic = RoomId::new(ATTIC).unwrap();
        let first = Record { prev: Position::NONE, prev_id: RecordId::NONE, ..record };
        let append = |record: &Record| self.log.append(&attic, record.prev, record.encode().unwrap().into()).unwrap();
        let prev = append(&first);
        append(&Record { prev, prev_id: first.id, id: RecordId(5), ..first });
    }

    /// The bytes of one of the room's newest records become garbage, or an operator removes it.
    pub(in super::super) fn damage(&mut self, from_the_last: usize, is_removed: bool) {
        let (position, _) = checks::records(&self.log, &room(), &self.bad)[from_the_last];
        let garbage = (!is_removed).then(|| Bytes::from_static(b"garbage"));
        self.log.damage(&room(), position, garbage);
        self.bad.insert(position);
        self.appended -= 1;
    }

    /// All records of the room are removed, by age or by hand.
    pub(in super::super) fn erase(&mut self) {
        self.log.erase();
        (self.appended, self.before) = (0, 0);
    }
}
