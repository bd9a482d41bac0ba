//! The memberships that sessions joined or moved into in a room's newest records. Pure.
//!
//! A session must not resume a membership that continued through another session since the request
//! was sent.

use std::collections::VecDeque;

use model::membership::Membership;
use model::record::{Entry, Record, RecordId};

/// Records whose joins are kept. A request that refers to an older record must be repeated with a
/// newer one.
const RECORDS: usize = 256;

/// The memberships joined in the newest records, oldest record first.
#[derive(Debug)]
pub struct RecentJoins {
    records: VecDeque<(RecordId, Vec<Membership>)>,
}

impl RecentJoins {
    /// Starts empty behind this record.
    pub fn since(record: RecordId) -> Self {
        Self { records: VecDeque::from([(record, Vec::new())]) }
    }

    /// Adds the joins of the room's next record.
    pub fn add(&mut self, record: &Record) {
        self.records.push_back((record.id, record.entries.iter().filter_map(entered_membership).collect()));
        if self.records.len() > RECORDS {
            self.records.pop_front();
        }
    }

    /// Returns true if a session joined with this membership behind the record `seen`, or may have.
    /// Unknown records, too old or lost by the log, count as "may have".
    pub fn may_contain(&self, stay: Membership, seen: RecordId) -> bool {
        // If a session resumed a membership that another one used meanwhile, messages that it sent
        // early would stand behind later ones of the other. Refusing too often is harmless: the
        // request is repeated with a newer record.
        match self.records.iter().rposition(|(id, _)| *id == seen) {
            Some(at) => self.records.iter().skip(at + 1).any(|(_, stays)| stays.contains(&stay)),
            None => true,
        }
    }
}

/// Returns the membership that an entry gives to a session.
pub fn entered_membership(entry: &Entry) -> Option<Membership> {
    match entry {
        Entry::Join { membership, .. } | Entry::Move { membership, .. } => Some(*membership),
        Entry::Open
        | Entry::Leave { .. }
        | Entry::Message { .. }
        | Entry::Whisper { .. }
        | Entry::Expel { .. }
        | Entry::Rule { .. }
        | Entry::Amend { .. }
        | Entry::Redact { .. }
        | Entry::Clear { .. }
        | Entry::Rights { .. }
        | Entry::Revoke { .. }
        | Entry::Erase { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use model::ids::{Incarnation, Name, ServerId, SessionId};
    use model::membership::Token;
    use model::record::{Position, RecordIds, VERSION};

    use super::*;

    fn stay(number: usize) -> Membership {
        Token::new(number as u128).membership()
    }

    /// Records whose entries each let one session join with a membership of its own.
    fn records(count: usize) -> Vec<Record> {
        let chat = ServerId::new("chat-server-1").unwrap();
        let mut ids = RecordIds::new(&chat, Incarnation(1), 1);
        let mut record = |number: usize| {
            let session = SessionId { connector: chat.clone(), incarnation: Incarnation(1), number: number as u64 };
            let name = Name::new("ann").unwrap();
            Record {
                v: VERSION,
                prev: Position::NONE,
                prev_id: RecordId::NONE,
                id: ids.take(),
                links: Vec::new(),
                time: 0,
                owner: chat.clone(),
                proposals: Vec::new(),
                acts: Vec::new(),
                lasting: None,
                entries: vec![Entry::Join { name, session, membership: stay(number), profile: None }],
                notify_connectors: Vec::new(),
                checkpoint: None,
                part: None,
            }
        };
        (0..count).map(&mut record).collect()
    }

    #[test]
    fn entrances_behind_a_record_are_known() {
        let records = records(3);
        let mut recent_joins = RecentJoins::since(RecordId::NONE);
        records.iter().for_each(|record| recent_joins.add(record));
        let held = |seen| [0, 1, 2].map(|number| recent_joins.may_contain(stay(number), seen));
        assert_eq!(held(RecordId::NONE), [true, true, true]);
        assert_eq!(held(records[0].id), [false, true, true]);
        assert_eq!(held(records[2].id), [false, false, false]);
    }

    #[test]
    fn everything_may_have_been_entered_behind_a_record_that_is_not_known() {
        let records = records(RECORDS + 1);
        let mut recent_joins = RecentJoins::since(RecordId::NONE);
        records.iter().for_each(|record| recent_joins.add(record));
        assert!(recent_joins.may_contain(stay(RECORDS + 7), records[0].id), "it is too far back");
        assert!(!recent_joins.may_contain(stay(RECORDS + 7), records[1].id));
    }
}
