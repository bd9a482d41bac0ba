//! Responds to attaches, once the owner's position is proven: with the records that a connector
//! lacks, or with the state.

use std::sync::Arc;

use bytes::Bytes;
use model::record::{Position, Record};
use model::rpc::messages::{CatchUp, LogPosition, RpcResponse};

use super::activation::{Activation, PendingOperation};
use super::{Attach, Context};
use crate::log_operation::{LogOp, Tail};
use crate::log_walk::{Step, Until, Walk, decode_all};

impl Activation {
    /// Returns the position of the last known record; none in an empty log.
    pub(super) fn place(&self) -> LogPosition {
        LogPosition { epoch: self.epoch, position: self.position, id: self.id }
    }

    /// Returns true if a tail ends with the last message that this activation knows.
    pub(super) fn is_last(&self, tail: &Tail) -> bool {
        let last = tail.last.as_ref().map_or(Position::NONE, |(position, _)| *position);
        tail.epoch == self.epoch && last == self.end
    }

    /// Takes note that the position is the room's last, and answers the attaches that waited for
    /// it.
    pub(super) fn confirm_position(&mut self, cx: &mut Context<'_>) {
        match std::mem::replace(&mut self.pending, PendingOperation::None) {
            PendingOperation::Prove(waiting) => self.add_proven(waiting.into_iter()),
            other => debug_assert!(false, "{}: a position is proven that no request waits for: {other:?}", self.room),
        }
        self.answer_proven_attaches(cx);
    }

    /// Adds attaches that waited while an append proved the position.
    pub(super) fn add_proven(&mut self, attaches: impl Iterator<Item = Attach>) {
        self.proven_attaches.extend(attaches);
    }

    /// Answers attaches whose position is proven, up to the first that needs a read.
    pub(super) fn answer_proven_attaches(&mut self, cx: &mut Context<'_>) {
        while !self.has_pending() {
            let Some(attach) = self.proven_attaches.pop_front() else { return };
            let now = self.place();
            let from = attach.at;
            // An empty list of records confirms the position.
            if from == now {
                self.answer_records(attach, Vec::new(), cx);
            } else if from.epoch != self.epoch || from.position >= now.position {
                self.answer_state(attach, cx);
            } else if let Some(records) = self.recent.after(from.position, from.id) {
                self.answer_records(attach, records, cx);
            } else {
                self.read_since(attach, cx);
            }
        }
    }

    fn read_since(&mut self, attach: Attach, cx: &mut Context<'_>) {
        // Without recent records there is nothing to walk from: the state is the only response.
        let Some(walk) = self.walk(Until::After(attach.at.position)) else {
            return self.answer_state(attach, cx);
        };
        self.proven_attaches.push_front(attach);
        self.step_catch_up(walk, cx);
    }

    /// Takes the records that a proven attach lacked.
    pub(super) fn continue_catch_up(&mut self, records: Vec<(Position, Option<Bytes>)>, cx: &mut Context<'_>) {
        let PendingOperation::CatchUp(mut walk) = std::mem::replace(&mut self.pending, PendingOperation::None) else {
            debug_assert!(false, "{}: records that no attach lacks", self.room);
            return;
        };
        // A bad record counts as evicted.
        walk.feed(decode_all(records).0);
        self.step_catch_up(walk, cx);
    }

    fn step_catch_up(&mut self, walk: Walk, cx: &mut Context<'_>) {
        let is_whole = walk.is_whole();
        match walk.next() {
            Step::Read(positions) => {
                self.pending = PendingOperation::CatchUp(walk);
                cx.request_log(LogOp::Read(positions));
            }
            Step::Done(records) => {
                let Some(attach) = self.proven_attaches.pop_front() else {
                    debug_assert!(false, "{}: a catch-up for no attach", self.room);
                    return;
                };
                // The chain must begin where the connector is; else the records between were
                // evicted.
                let from = attach.at;
                let goes_on = |(at, first): &(Position, Arc<Record>)| {
                    *at > from.position && first.follows(from.position, from.id)
                };
                if is_whole && records.first().is_some_and(goes_on) {
                    let records = records.into_iter().map(|(p, r)| (p, Arc::new(self.for_delivery(&r)))).collect();
                    self.answer_records(attach, records, cx);
                } else {
                    self.answer_state(attach, cx);
                }
            }
            Step::Unreachable => {
                let attach = self.proven_attaches.pop_front();
                debug_assert!(attach.is_some(), "{}: a catch-up for no attach", self.room);
                attach.into_iter().for_each(|attach| self.answer_state(attach, cx));
            }
        }
    }

    /// Returns a record of the log as connectors get it.
    fn for_delivery(&self, record: &Record) -> Record {
        let delivered = record.for_connectors();
        // A time from the future was capped when the record was folded. Connectors must not see a
        // time ahead of the room's.
        Record { time: delivered.time.min(self.state.time()), ..delivered }
    }

    fn answer_state(&self, attach: Attach, cx: &mut Context<'_>) {
        let page = self.policy.size_limits().page();
        // Connectors enforce the rules for all rooms; those of a room are its owner's.
        let has_rules = self.room.is_of_all_rooms();
        let parts = if has_rules { self.state.checkpoints(page) } else { self.state.checkpoints_for_connectors(page) };
        // A state has far fewer parts than members, and those are bounded.
        let of = u16::try_from(parts.len()).unwrap_or(u16::MAX);
        for (index, part) in (0..of).zip(parts) {
            let part = Box::new(part);
            let catch_up = if of == 1 { CatchUp::State(part) } else { CatchUp::StatePart { index, of, part } };
            self.answer(attach.clone(), catch_up, cx);
        }
    }

    fn answer_records(&self, attach: Attach, records: Vec<(Position, Arc<Record>)>, cx: &mut Context<'_>) {
        let size_limits = self.policy.size_limits();
        if records.first().is_some_and(|(_, record)| record.size() > size_limits.record()) {
            // Appended when the broker took larger messages; no message can carry it to a connector
            // now.
            return self.answer_state(attach, cx);
        }
        let all = records.len();
        // A connector that is far behind gets several pages instead of one large message, and
        // attaches again for each.
        let page = size_limits.count_fitting(records.iter().map(|(_, record)| &**record));
        let records = records.into_iter().take(page).collect();
        self.answer(attach, CatchUp::Since { records, more: page < all }, cx);
    }

    fn answer(&self, attach: Attach, catch_up: CatchUp, cx: &mut Context<'_>) {
        let response =
            RpcResponse::Attached { room: self.room.clone(), requested: attach.at, now: self.place(), catch_up };
        cx.respond(attach.requester, &response);
    }
}
