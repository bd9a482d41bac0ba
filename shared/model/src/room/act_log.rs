//! The acts that a room decided lately: the last message of each api server with its outcomes, and
//! the ids under which acts may be repeated. Apart from connectors' proposals and from the
//! deduplication window of messages: no record is sent to api servers, and clients cannot evict ids
//! of acts.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::ids::{Incarnation, ServerId};
use crate::membership::MessageId;
use crate::record::{DecidedActs, Outcome, Position};
use crate::room::dedup_window::counted_step;

/// Most ids of acts that a room remembers.
pub const MAX_ACT_IDS: usize = 4_096;

/// Milliseconds for which an id is remembered, at least: the default of `room.id_secs`.
const ACT_ID_MS: u64 = 300_000;

/// Most milliseconds that one act ages those before it.
// A leap of any length costs ten seconds. The price: where acts are rare, the last thirty are
// remembered for longer.
const MAX_STEP_MS: u64 = 10_000;

/// Most bytes of an id.
pub(super) const ACT_ID_BYTES: usize = 40;

/// Most bytes of the last message of an api server besides its outcomes.
pub(super) const LAST_BYTES: usize = 112;

/// Most bytes of one outcome of it.
pub(super) const OUTCOME_BYTES: usize = 22;

/// The last message of acts of an api server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastActs {
    /// The run of the api server.
    pub incarnation: Incarnation,
    /// The number of the message within that run.
    pub number: u64,
    /// The record that decided it.
    pub position: Position,
    /// One outcome per act. One that was done is a duplicate here, with its `seq` and time.
    pub outcomes: Vec<Outcome>,
}

/// An act that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoneAct {
    /// First bytes of a digest over the act.
    pub digest: u64,
    /// `seq` of its entry.
    pub seq: u64,
    /// Time of its record.
    pub time: u64,
}

/// The acts that a room decided lately.
#[derive(Debug, Clone, Default)]
pub(super) struct ActLog {
    last: BTreeMap<ServerId, LastActs>,
    /// Ids of acts that were done, oldest first.
    ids: VecDeque<(MessageId, DoneAct)>,
    // Invariant: what follows is derived from `ids`, of which the newest with the same id counts.
    by_id: HashMap<MessageId, DoneAct>,
    /// Age of the oldest one: the steps to the newest one.
    age: u64,
    outcomes: usize,
}

impl PartialEq for ActLog {
    fn eq(&self, other: &Self) -> bool {
        (&self.last, &self.ids) == (&other.last, &other.ids)
    }
}

impl Eq for ActLog {}

impl ActLog {
    pub(super) fn last(&self, server: &ServerId) -> Option<&LastActs> {
        self.last.get(server)
    }

    pub(super) fn find(&self, id: MessageId) -> Option<DoneAct> {
        self.by_id.get(&id).copied()
    }

    /// Takes the acts that a record decided.
    pub(super) fn fold(&mut self, position: Position, time: u64, decided: &DecidedActs) {
        let outcomes: Vec<Outcome> = decided.acts.iter().map(|act| resolved(act.outcome, position, time)).collect();
        let last = LastActs { incarnation: decided.incarnation, number: decided.number, position, outcomes };
        self.set_last(decided.server.clone(), last);
        for act in &decided.acts {
            if let Outcome::Done(index) = act.outcome {
                self.add(act.id, DoneAct { digest: act.digest, seq: position.seq(index.into()), time });
            }
        }
    }

    pub(super) fn set_last(&mut self, server: ServerId, last: LastActs) {
        self.outcomes += last.outcomes.len();
        if let Some(before) = self.last.insert(server, last) {
            self.outcomes -= before.outcomes.len();
        }
    }

    pub(super) fn add(&mut self, id: MessageId, done: DoneAct) {
        self.age += self.ids.back().map_or(0, |(_, newest)| step(newest, &done));
        self.ids.push_back((id, done));
        self.by_id.insert(id, done);
        // By the times of records: all readers forget the same.
        while self.ids.len() > MAX_ACT_IDS || self.age > ACT_ID_MS {
            let Some((oldest, first)) = self.ids.pop_front() else { break };
            self.age -= self.ids.front().map_or(0, |(_, next)| step(&first, next));
            if self.by_id.get(&oldest) == Some(&first) {
                self.by_id.remove(&oldest);
            }
        }
    }

    /// All ids, oldest first.
    pub(super) fn ids(&self) -> impl Iterator<Item = (MessageId, DoneAct)> {
        self.ids.iter().copied()
    }

    /// The last message of each api server.
    pub(super) fn all_last(&self) -> impl Iterator<Item = (&ServerId, &LastActs)> {
        self.last.iter()
    }

    /// Most bytes in a checkpoint.
    pub(super) fn size(&self) -> usize {
        self.last.len() * LAST_BYTES + self.outcomes * OUTCOME_BYTES + self.ids.len() * ACT_ID_BYTES
    }
}

/// Returns an outcome that names an entry without its record, which a repeat does not see.
pub(super) fn resolved(outcome: Outcome, position: Position, time: u64) -> Outcome {
    match outcome {
        Outcome::Done(index) => Outcome::Duplicate { seq: position.seq(index.into()), time },
        other => other,
    }
}

/// Milliseconds from one act to the next, as far as they count.
fn step(before: &DoneAct, next: &DoneAct) -> u64 {
    counted_step(before.time, next.time, MAX_STEP_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Token;
    use crate::record::DecidedAct;

    fn id(number: u64) -> MessageId {
        Token::new(1).membership().message(&number.to_string())
    }

    /// A log of acts with ids from 0 on, done at these times.
    fn done_at(times: impl IntoIterator<Item = u64>) -> ActLog {
        let mut log = ActLog::default();
        for (number, time) in (0..).zip(times) {
            log.add(id(number), DoneAct { digest: 0, seq: number, time });
        }
        log
    }

    fn remembered(log: &ActLog) -> Vec<u64> {
        (0..=MAX_ACT_IDS as u64).filter(|number| log.find(id(*number)).is_some()).collect()
    }

    #[test]
    fn the_outcomes_of_the_last_message_name_entries_without_their_record() {
        let mut log = ActLog::default();
        let server = ServerId::new("api-server-1").unwrap();
        let refused = Outcome::Refused(crate::record::Refusal::TooMany);
        let acts = [Outcome::Done(2), refused].map(|outcome| DecidedAct { id: id(1), digest: 7, outcome }).to_vec();
        let decided = DecidedActs { server: server.clone(), incarnation: Incarnation(1), number: 3, acts };
        log.fold(Position(5), 99, &decided);
        let last = log.last(&server).unwrap();
        assert_eq!(last.outcomes, [Outcome::Duplicate { seq: 5_002, time: 99 }, refused]);
        assert_eq!(log.find(id(1)), Some(DoneAct { digest: 7, seq: 5_002, time: 99 }));
    }

    #[test]
    fn ids_are_remembered_for_five_minutes() {
        let each_second = |secs: u64| remembered(&done_at((0..=secs).map(|secs| secs * 1_000)));
        assert_eq!(each_second(300).len(), 301);
        assert_eq!(each_second(301).first(), Some(&1));
        assert_eq!(remembered(&done_at(0..=MAX_ACT_IDS as u64)).first(), Some(&1), "there are too many");
    }

    #[test]
    fn a_clock_that_leaps_forgets_no_act() {
        let day = 86_400_000;
        assert_eq!(remembered(&done_at([0, day, 1, 2 * day, 3 * day])), [0, 1, 2, 3, 4]);
        let rare = done_at((0..40).map(|days| days * day));
        assert_eq!(remembered(&rare).len(), 31);
        assert_eq!(rare.age, ACT_ID_MS);
    }
}
