//! Recovers an owner's state from the log: finds the room's last record and reads back to a
//! checkpoint.
//!
//! Messages that are no records are passed over. Where records are missing, the room continues from
//! the remaining ones.

use std::sync::Arc;

use bytes::Bytes;
use model::record::{Epoch, Position, Record};
use model::rpc::messages::Unavailable;

use super::activation::{Activation, ActivationStart, RetainedState};
use super::{Context, Now, Owner, Phase};
use crate::bad_records::{BadRecord, cap_times};
use crate::event::Event;
use crate::log_operation::{LogOp, ReadError, Tail};
use crate::log_tail::{LogEnd, MAX_MESSAGES, TailSearchStep};
use crate::log_walk::{Step, Until, Walk, decode_all};

/// The result of reading a room's log.
struct RecoveredLog {
    epoch: Epoch,
    /// The log's last message.
    end: Position,
    /// The records from the last checkpoint found, oldest first.
    records: Vec<(Position, Arc<Record>)>,
    /// Positions of records that should be among them and are not.
    missing: Vec<Position>,
    /// No record is missing.
    is_whole: bool,
}

impl Owner {
    /// Takes the last message, or one before it.
    pub(super) fn on_tail(&mut self, tail: Tail, now: Now, cx: &mut Context<'_>) {
        let Phase::Reading(search) = &mut self.phase else {
            debug_assert!(false, "a tail for a room that does not read: {:?}", self.phase);
            return;
        };
        match search.feed(tail) {
            TailSearchStep::Before(position) => cx.request_log(LogOp::Before(position)),
            TailSearchStep::Found(end) => self.begin_walk(end, now, cx),
            TailSearchStep::TooMany(last) => self.mark_unusable(last, now, cx),
            TailSearchStep::EpochChanged => self.on_read_failed(&ReadError("its epoch changed".to_owned()), now, cx),
        }
    }

    fn begin_walk(&mut self, LogEnd { epoch, end, last, bad }: LogEnd, now: Now, cx: &mut Context<'_>) {
        self.is_unusable = false;
        let Some((position, record)) = last else {
            self.report_bad(&bad, cx);
            let read = RecoveredLog { epoch, end, records: Vec::new(), missing: Vec::new(), is_whole: true };
            return self.activate(read, now, cx);
        };
        let walk = Walk::new(Until::Checkpoint, position, record);
        self.phase = Phase::Walking { epoch, end, walk, bad };
        self.advance_walk(Vec::new(), now, cx);
    }

    pub(super) fn advance_walk(&mut self, records: Vec<(Position, Option<Bytes>)>, now: Now, cx: &mut Context<'_>) {
        let Phase::Walking { epoch, end, mut walk, mut bad } = std::mem::replace(&mut self.phase, Phase::Idle) else {
            debug_assert!(false, "records for a room that does not walk");
            return;
        };
        let (records, more) = decode_all(records);
        bad.extend(more);
        walk.feed(records);
        let leads_back = match walk.next() {
            Step::Read(positions) => {
                self.phase = Phase::Walking { epoch, end, walk, bad };
                return cx.request_log(LogOp::Read(positions));
            }
            Step::Done(_) => true,
            Step::Unreachable => false,
        };
        let missing: Vec<_> = walk.passed_over().collect();
        let are_bad = missing.iter().all(|position| bad.iter().any(|(at, _)| at == position));
        // Retention may have evicted a record while it was read for: then there is a newer record,
        // and all that it needs is there.
        let is_certain = (leads_back && are_bad) || self.incomplete_at == Some(end);
        if !is_certain {
            // Read once more before records count as missing: the loss costs members or messages,
            // the second read a moment.
            self.incomplete_at = Some(end);
            return self.on_records_missing(now, cx);
        }
        self.report_bad(&bad, cx);
        let is_whole = leads_back && missing.is_empty();
        self.activate(RecoveredLog { epoch, end, records: walk.records(), missing, is_whole }, now, cx);
    }

    fn activate(&mut self, read: RecoveredLog, now: Now, cx: &mut Context<'_>) {
        let RecoveredLog { epoch, end, mut records, missing, is_whole } = read;
        cx.report(Event::Activated);
        self.incomplete_at = None;
        let is_too_old = |missing: &Position| {
            let mut behind = records.iter().filter(|(_, record)| record.prev == *missing);
            behind.any(|(_, record)| self.policy.is_too_old(record.time, now.wall_ms))
        };
        let (aged, positions): (Vec<_>, Vec<_>) = missing.into_iter().partition(is_too_old);
        // No loss if age removed all of them, and left one behind them that it removes never.
        if !is_whole && (aged.is_empty() || !positions.is_empty()) {
            let room = self.room.clone();
            cx.report(Event::RecordsMissing { room, positions });
        }
        // Capped before folding, so that no later record is held up by a time from the future.
        for position in cap_times(&mut records, now.wall_ms) {
            let room = self.room.clone();
            cx.report(Event::RecordFromFuture { room, position });
        }
        // A log that holds the room's records defines its state; an empty one of the same epoch was
        // erased. Where some are missing, the retained state behind the last one may be complete.
        let last = records.last().map(|(_, last)| last.id);
        let is_needed = |retained: &RetainedState| {
            retained.is_of(epoch) && last.is_none_or(|last| !is_whole && retained.is_at(last))
        };
        let retained = self.retained.take().filter(is_needed);
        self.phase = Phase::Active(Box::new(Activation::new(ActivationStart {
            me: self.me.clone(),
            room: self.room.clone(),
            policy: self.policy.clone(),
            epoch,
            liveness: self.liveness.clone(),
            end,
            records,
            is_whole,
            retained,
        })));
    }

    fn report_bad(&self, bad: &[(Position, BadRecord)], cx: &mut Context<'_>) {
        for (position, reason) in bad {
            let (room, position, reason) = (self.room.clone(), *position, reason.to_string());
            cx.report(Event::RecordBad { room, position, reason });
        }
    }

    fn mark_unusable(&mut self, last: Position, now: Now, cx: &mut Context<'_>) {
        let reason = format!("more than {MAX_MESSAGES} messages behind the last record, this one is the last");
        let event = Event::RoomUnusable { room: self.room.clone(), position: last, reason: reason.clone() };
        cx.report(event);
        self.is_unusable = true;
        self.end_activation(now);
        self.fail_waiting(Unavailable::LogAway, &reason, now, cx);
    }
}
