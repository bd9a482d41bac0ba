//! A split of parts of the log while the server runs: operations of rooms that move to another part
//! wait until that has them, and the rooms start over there. Other rooms notice nothing.
//!
//! At most one operation of a room waits, and its requests behind it: connectors repeat them, and
//! answer their clients after `rpc.request_ms`.

use std::time::Duration;

use model::ids::RoomId;
use model::log_parts::LogPart;
use owner::log_operation::{AppendError, LogOp, LogResult, ReadError};
use owner::rooms::LogRequester;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use super::Chat;
use super::log_operations::OperationOrigin;
use super::log_parts::PartState;
use crate::log::{DivisionCheck, Log, Split};
use crate::operations::Work;

/// Interval between two looks for new parts while rooms wait for them.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Time for which one task looks for them.
const LOOK_FOR: Duration = Duration::from_secs(1);

/// An operation of a room that moves to another part of the log.
pub(super) enum HeldOperation {
    /// It has not begun.
    Waiting(RoomId, LogRequester, LogOp),
    /// It failed.
    Failed(OperationOrigin, LogResult),
}

impl HeldOperation {
    fn room(&self) -> &RoomId {
        match self {
            Self::Waiting(room, ..) | Self::Failed(OperationOrigin { room, .. }, _) => room,
        }
    }
}

impl Chat {
    /// Returns true if an operation must not begin, because the room's part does not have it any more.
    pub(super) fn must_wait(&self, room: &RoomId, work: Work) -> bool {
        let parts = self.log.parts();
        let split = self.parts.get(parts.of(room)).split;
        // Earlier records stay where they are for a day: history reads them there.
        work != Work::History && matches!(split, Split::Begun(_)) && split.moves(room, parts)
    }

    /// Returns true if an operation failed, and the reason may be that its room moved.
    pub(super) fn is_held(
        &self,
        OperationOrigin { room, part: (division, part), .. }: &OperationOrigin,
        done: &LogResult,
    ) -> bool {
        let has_failed = match done {
            LogResult::Append(result) => matches!(result, Err(AppendError::Unclear(_))),
            LogResult::Last(result) => result.is_err(),
            LogResult::Read(result) => result.is_err(),
            LogResult::Epoch(result) => result.is_err(),
        };
        has_failed && *division == self.log.parts() && self.parts.get(*part).split.moves(room, *division)
    }

    /// Holds a failure until a check has shown if the room moved.
    pub(super) fn hold_result(&mut self, origin: OperationOrigin, done: LogResult) {
        let (_, part) = origin.part;
        debug!(server = %self.id, room = %origin.room, result = ?done, "an operation of a room that may move failed");
        self.held.push(HeldOperation::Failed(origin, done));
        self.check_part_now(part);
    }

    fn check_part_now(&mut self, part: LogPart) {
        self.parts.get_mut(part).checked_at = None;
        self.check_part(part);
    }

    /// Takes the split of a part as a check found it; none if the check failed.
    pub(super) fn on_split_seen(&mut self, part: LogPart, found: Option<Split>) {
        let state = self.parts.get_mut(part);
        if let Some(split) = found {
            if split != state.split {
                info!(server = %self.id, log = state.name, ?split, "a split of the rooms' log");
            }
            state.split = split;
        }
        if matches!(state.split, Split::Begun(_)) {
            state.moving_since.get_or_insert_with(Instant::now);
            return self.look_for_parts();
        }
        state.moving_since = None;
        // A check that was requested while this one ran decides.
        if state.checked_at.is_some() {
            self.release(part);
        } else {
            self.check_part(part);
        }
    }

    /// Looks for new parts of the log until they are there, or a second is over.
    fn look_for_parts(&mut self) {
        if self.division_checks.is_empty() {
            self.division_checks.push(Box::pin(look_for_parts(self.log.clone())));
        }
    }

    pub(super) fn on_division_checked(&mut self, found: DivisionCheck) {
        match found {
            DivisionCheck::Divided(log) => self.divide(log),
            // Perhaps the split is undone.
            DivisionCheck::Same | DivisionCheck::Incomplete(_) => {
                let is_moving = |part: &LogPart| self.parts.get(*part).moving_since.is_some();
                let moving: Vec<_> = self.log.parts().iter().filter(is_moving).collect();
                moving.into_iter().for_each(|part| self.check_part_now(part));
            }
        }
    }

    /// Goes on with a log of more parts. The rooms that moved start over there.
    fn divide(&mut self, log: Log) {
        let (from, to) = (self.log.parts(), log.parts());
        info!(server = %self.id, parts = to.count(), "the rooms' log has more parts now");
        self.reporter.set_log(log.clone());
        self.log = log;
        self.operations.divide(to, |(room, _)| to.of(room));
        let metrics = self.node.metrics.clone();
        let unknown = PartState::of(&self.log, &metrics);
        let before = std::mem::replace(&mut self.parts, unknown);
        self.parts = PartState::divided(before, from, &self.log, &metrics);
        let effects = self.rooms.divide_log(to, self.now());
        self.perform(effects);
        let (held, now) = (std::mem::take(&mut self.held), self.now());
        for operation in held {
            match operation {
                HeldOperation::Failed(origin, done) => self.pass_result(&origin, done),
                // The room discards what it requested before it moved.
                HeldOperation::Waiting(room, LogRequester::Owner, op) => {
                    let effects = self.rooms.on_log_result(&room, LogRequester::Owner, failed(&op), now);
                    self.perform(effects);
                }
                HeldOperation::Waiting(room, reader, op) => self.request_operation(room, reader, op),
            }
        }
        to.iter().for_each(|part| self.start_operations(part));
        self.check_log();
    }

    /// Goes on with the operations of a part whose rooms do not move.
    fn release(&mut self, part: LogPart) {
        let parts = self.log.parts();
        let held = std::mem::take(&mut self.held);
        let (released, held) = held.into_iter().partition::<Vec<_>, _>(|held| parts.of(held.room()) == part);
        self.held = held;
        for operation in released {
            match operation {
                HeldOperation::Failed(origin, done) => self.pass_result(&origin, done),
                HeldOperation::Waiting(room, requester, op) => self.request_operation(room, requester, op),
            }
        }
    }
}

async fn look_for_parts(log: Log) -> DivisionCheck {
    let until = Instant::now() + LOOK_FOR;
    loop {
        match log.check_division().await {
            DivisionCheck::Divided(log) => return DivisionCheck::Divided(log),
            found => {
                debug!(?found, "the rooms' log is being split");
                sleep(LOOK_EVERY).await;
                // Perhaps the first stream is not split yet, or not any more.
                if matches!(found, DivisionCheck::Same) || Instant::now() >= until {
                    return found;
                }
            }
        }
    }
}

/// Returns the failure of an operation that was not begun.
fn failed(op: &LogOp) -> LogResult {
    let moved = || ReadError("the room moved to another part of the log".to_owned());
    match op {
        LogOp::Last { .. } | LogOp::Before(_) => LogResult::Last(Err(moved())),
        LogOp::Read(_) => LogResult::Read(Err(moved())),
        LogOp::Append { .. } => LogResult::Append(Err(AppendError::Refused)),
        LogOp::Epoch => LogResult::Epoch(Err(moved())),
    }
}
