//! Answering attaches: with the records that a connector lacks, or the state, once the owner's position is proven.

use std::sync::Arc;

use bytes::Bytes;
use shared::record::{Position, Record, RecordError};
use shared::room::Checkpoint;
use shared::rpc::messages::{Answer, News, Place};

use super::active::{Active, Busy};
use super::recent::weight;
use super::{Act, Attach, LogOp};
use crate::log::Tail;
use crate::walk::{ReadRecord, Step, Until, Walk};

/// Bytes of records in one answer, not counting the record that passes it; what is more is asked for again. With a record's
/// most (a draft's 128 KiB and the proposal that passes it) it stays below half of the bus's smallest usual message, 1 MiB.
const PAGE_BYTES: usize = 128 * 1024;

/// Decodes what a read brought; `None` stays for what is gone.
pub(super) fn decode_all(records: Vec<(Position, Option<Bytes>)>) -> Result<Vec<ReadRecord>, RecordError> {
    let decode = |(position, bytes): (Position, Option<Bytes>)| {
        let record = bytes.map(|bytes| Record::decode(&bytes)).transpose()?;
        Ok((position, record.map(Arc::new)))
    };
    records.into_iter().map(decode).collect()
}

impl Active {
    /// Whether what was read is this activation's last record.
    pub(super) fn is_last(&self, tail: &Tail) -> bool {
        let last = tail.last.as_ref().map_or(Position::NONE, |(position, _)| *position);
        tail.epoch == self.epoch && last == self.position
    }

    /// The position is the room's last: those who waited for the proof are answered.
    pub(super) fn proven(&mut self, acts: &mut Vec<Act>) {
        if let Busy::Prove(waiting) = std::mem::replace(&mut self.busy, Busy::No) {
            self.prove(waiting.into_iter());
        }
        self.answer_proven(acts);
    }

    /// These waited while the position was proven by an append.
    pub(super) fn prove(&mut self, attaches: impl Iterator<Item = Attach>) {
        self.proven.extend(attaches);
    }

    /// Answers those whose position is proven, as far as that needs no reading.
    pub(super) fn answer_proven(&mut self, acts: &mut Vec<Act>) {
        while !self.is_busy() {
            let Some(attach) = self.proven.pop_front() else { return };
            let Place { epoch, position } = attach.at;
            if epoch != self.epoch || position == Position::NONE || position > self.position {
                self.answer_state(attach, acts);
            } else if position == self.position {
                self.answer_records(attach, Vec::new(), acts);
            } else if let Some(records) = self.recent.after(position) {
                self.answer_records(attach, records, acts);
            } else {
                self.read_since(attach, acts);
            }
        }
    }

    fn read_since(&mut self, attach: Attach, acts: &mut Vec<Act>) {
        let Some((last, record)) = self.recent.last() else { return self.answer_state(attach, acts) };
        // What is at hand has no links: the walk begins at the last record as the log has it.
        let mut first = Record::clone(record);
        first.links = self.behind.iter().skip(1).copied().collect();
        let walk = Walk::new(Until::After(attach.at.position), *last, Arc::new(first));
        self.proven.push_front(attach);
        self.step(walk, acts);
    }

    /// Takes the records that a proven attach lacked.
    pub(super) fn caught_up(
        &mut self,
        records: Vec<(Position, Option<Bytes>)>,
        acts: &mut Vec<Act>,
    ) -> Result<(), RecordError> {
        let Busy::CatchUp(mut walk) = std::mem::replace(&mut self.busy, Busy::No) else { return Ok(()) };
        walk.feed(decode_all(records)?);
        self.step(walk, acts);
        Ok(())
    }

    fn step(&mut self, walk: Walk, acts: &mut Vec<Act>) {
        match walk.next() {
            Step::Read(positions) => {
                self.busy = Busy::CatchUp(walk);
                acts.push(Act::Log(LogOp::Read(positions)));
            }
            Step::Done(records) => {
                let Some(attach) = self.proven.pop_front() else { return };
                // The chain must begin where the connector is: else what is between was removed.
                if records.first().is_some_and(|(_, first)| first.prev == attach.at.position) {
                    let records = records.into_iter().map(|(p, r)| (p, Arc::new(r.for_connectors()))).collect();
                    self.answer_records(attach, records, acts);
                } else {
                    self.answer_state(attach, acts);
                }
            }
            Step::Gone => {
                if let Some(attach) = self.proven.pop_front() {
                    self.answer_state(attach, acts);
                }
            }
        }
    }

    fn answer_state(&self, attach: Attach, acts: &mut Vec<Act>) {
        let news = News::State(Box::new(Checkpoint::from(&self.state)));
        self.answer(attach, news, acts);
    }

    fn answer_records(&self, attach: Attach, records: Vec<(Position, Arc<Record>)>, acts: &mut Vec<Act>) {
        let mut bytes = 0;
        let all = records.len();
        let page: Vec<_> = records
            .into_iter()
            .take_while(|(_, record)| {
                let fits = bytes < PAGE_BYTES;
                bytes += weight(record);
                fits
            })
            .collect();
        let more = page.len() < all;
        self.answer(attach, News::Since { records: page, more }, acts);
    }

    fn answer(&self, attach: Attach, news: News, acts: &mut Vec<Act>) {
        let now = Place { epoch: self.epoch, position: self.position };
        let answer = Answer::Attached { room: self.room.clone(), asked: attach.at, now, news };
        acts.push(Act::Answer(attach.asker, answer));
    }
}
