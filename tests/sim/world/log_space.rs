//! A log whose fullness rises and falls, and the looks of chat servers at it.

use model::record::Entry;
use owner::log_operation::LogOp;

use super::*;

/// Milliseconds between two looks at the log.
const LOOK_MS: u64 = 300;

/// Bytes of the log, as chat servers see it. A room's share is about twenty messages.
const LOG_BYTES: u64 = 2_000_000;

/// Percents of the log above which it is in its reserve.
const RESERVE: u64 = 95;

/// A log of which so many percent are used.
#[derive(Debug, Default)]
pub(super) struct Fullness {
    percent: u64,
    /// Joins and leaves that were appended in the reserve.
    moves_in_reserve: usize,
}

impl World {
    /// Plans the times at which the log becomes fuller, or retention frees some of it.
    pub(super) fn plan_fillings(&mut self) {
        self.plan_some(self.scenario.troubles().fillings, |world, _| {
            // Often near the limits.
            let percent = [world.chance.between(0, 80), world.chance.between(78, 100), world.chance.between(94, 101)];
            Event::LogFills(percent[world.chance.index(3)])
        });
        if self.scenario.troubles().fillings > 0 {
            // At the end users must get all that they ask for.
            self.agenda.at(BUSY_MS, Event::LogFills(10));
        }
    }

    pub(super) fn fill_log_to(&mut self, percent: u64) {
        self.trace.line(self.now, "fault", format_args!("{percent} percent of the log are used"));
        self.fullness.percent = percent;
    }

    /// A chat server looks at the log, if it is time and it can.
    pub(super) fn look_at_log(&mut self, chat: usize) {
        let is_due = self.now.is_multiple_of(LOOK_MS) && self.scenario.troubles().fillings > 0;
        let node = &mut self.chats[chat];
        if is_due && node.up {
            for part in self.log.parts().iter() {
                node.rooms.log_space(part).begin_check();
                node.rooms.log_space(part).end_check(LOG_BYTES / 100 * self.fullness.percent, LOG_BYTES);
            }
            node.seen_percent = self.fullness.percent;
        }
    }

    /// Asserts that a chat server which has seen that the log is in its reserve appends no message.
    pub(super) fn check_append(&self, chat: usize, op: &LogOp) {
        let LogOp::Append { record, .. } = op else { return };
        let record = model::record::Record::decode(record).unwrap();
        let has_message = record.entries.iter().any(|entry| entry.message().is_some());
        assert!(
            !has_message || self.chats[chat].seen_percent <= RESERVE,
            "a message was appended at {} percent",
            self.chats[chat].seen_percent
        );
    }

    /// Counts the joins and leaves of a record that was appended in the reserve.
    pub(super) fn count_moves(&mut self, record: &[u8]) {
        if self.fullness.percent > RESERVE {
            let record = model::record::Record::decode(record).unwrap();
            let is_move = |entry: &&Entry| matches!(entry, Entry::Join { .. } | Entry::Leave { .. });
            self.fullness.moves_in_reserve += record.entries.iter().filter(is_move).count();
        }
    }

    /// Returns the number of joins and leaves that were appended in the reserve.
    pub(crate) fn moves_in_reserve(&self) -> usize {
        self.fullness.moves_in_reserve
    }

    /// Returns the address of a user: with a log that fills all users have one.
    pub(super) fn address(&self) -> Option<AddressGroup> {
        let address = std::net::Ipv4Addr::new(203, 0, 113, 1).into();
        (self.scenario.troubles().fillings > 0).then(|| AddressGroup::of(address))
    }

    /// Returns the limits of connectors: with a log that fills they are low.
    pub(super) fn limits(&self) -> Limits {
        let limits = connector_limits();
        if self.scenario.troubles().fillings == 0 {
            return limits;
        }
        let quotas = QuotaLimits { pressure_bytes_per_min: 4_096, max_content: 1_000, new_rooms_per_min: 6 };
        Limits { members_per_address: 3, quotas, ..limits }
    }
}
