//! Answering attaches: with the records that a connector lacks, or the state, once the owner's position is proven.

use std::sync::Arc;

use bytes::Bytes;
use shared::record::{Position, Record};
use shared::rpc::messages::{CatchUp, LogPosition, RpcResponse};

use super::active::{Active, Busy};
use super::{Act, Attach, LogOp};
use crate::log::Tail;
use crate::walk::{Step, Until, Walk, decode_all};

impl Active {
    /// How far the log is known: to its last record, or to nowhere in an empty one.
    pub(super) fn place(&self) -> LogPosition {
        LogPosition { epoch: self.epoch, position: self.position, id: self.id }
    }

    /// Returns true if a tail ends with the last message that this activation knows.
    pub(super) fn is_last(&self, tail: &Tail) -> bool {
        let last = tail.last.as_ref().map_or(Position::NONE, |(position, _)| *position);
        tail.epoch == self.epoch && last == self.end
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
            let now = self.place();
            let from = attach.at;
            if from == now {
                self.answer_records(attach, Vec::new(), acts);
            } else if from.epoch != self.epoch || from.position >= now.position {
                self.answer_state(attach, acts);
            } else if let Some(records) = self.recent.after(from.position, from.id) {
                self.answer_records(attach, records, acts);
            } else {
                self.read_since(attach, acts);
            }
        }
    }

    fn read_since(&mut self, attach: Attach, acts: &mut Vec<Act>) {
        let Some(walk) = self.walk(Until::After(attach.at.position)) else {
            return self.answer_state(attach, acts);
        };
        self.proven.push_front(attach);
        self.step(walk, acts);
    }

    /// Takes the records that a proven attach lacked.
    pub(super) fn caught_up(&mut self, records: Vec<(Position, Option<Bytes>)>, acts: &mut Vec<Act>) {
        let Busy::CatchUp(mut walk) = std::mem::replace(&mut self.busy, Busy::No) else { return };
        // What is bad is as if it were gone.
        walk.feed(decode_all(records).0);
        self.step(walk, acts);
    }

    fn step(&mut self, walk: Walk, acts: &mut Vec<Act>) {
        let is_whole = walk.is_whole();
        match walk.next() {
            Step::Read(positions) => {
                self.busy = Busy::CatchUp(walk);
                acts.push(Act::Log(LogOp::Read(positions)));
            }
            Step::Done(records) => {
                let Some(attach) = self.proven.pop_front() else { return };
                // The chain must begin where the connector is: else what is between was removed.
                let from = attach.at;
                let goes_on = |(at, first): &(Position, Arc<Record>)| {
                    *at > from.position && first.follows(from.position, from.id)
                };
                if is_whole && records.first().is_some_and(goes_on) {
                    let records = records.into_iter().map(|(p, r)| (p, Arc::new(self.as_told(&r)))).collect();
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

    /// A record of the log as connectors get it. One whose time is from the future has none that is
    /// ahead of the room.
    fn as_told(&self, record: &Record) -> Record {
        let told = record.for_connectors();
        Record { time: told.time.min(self.state.time()), ..told }
    }

    fn answer_state(&self, attach: Attach, acts: &mut Vec<Act>) {
        let parts = self.state.checkpoints_for_connectors(self.judge.size_limits().page());
        // A state has far fewer parts than members, and those are bounded.
        let of = u16::try_from(parts.len()).unwrap_or(u16::MAX);
        for (index, part) in (0..of).zip(parts) {
            let part = Box::new(part);
            let news = if of == 1 { CatchUp::State(part) } else { CatchUp::StatePart { index, of, part } };
            self.answer(attach.clone(), news, acts);
        }
    }

    fn answer_records(&self, attach: Attach, records: Vec<(Position, Arc<Record>)>, acts: &mut Vec<Act>) {
        let size_limits = self.judge.size_limits();
        if records.first().is_some_and(|(_, record)| record.size() > size_limits.record()) {
            // It was appended when the broker took more; no message can carry it to a connector now.
            return self.answer_state(attach, acts);
        }
        let all = records.len();
        let page = size_limits.count_fitting(records.iter().map(|(_, record)| &**record));
        let records = records.into_iter().take(page).collect();
        self.answer(attach, CatchUp::Since { records, more: page < all }, acts);
    }

    fn answer(&self, attach: Attach, news: CatchUp, acts: &mut Vec<Act>) {
        let answer = RpcResponse::Attached { room: self.room.clone(), asked: attach.at, now: self.place(), news };
        acts.push(Act::Answer(attach.asker, answer));
    }
}
