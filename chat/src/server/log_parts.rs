//! The parts of the log: for each, the operations that wait and are in flight, its health, and the
//! checks of its status. A part that stalls or fails concerns its own rooms only.

use std::time::Duration;

use model::ids::RoomId;
use model::log_parts::{LogPart, LogParts, PerPart};
use model::record::{Epoch, Position};
use owner::log_operation::{AppendError, LogOp, ReadError};
use owner::rooms::LogRequester;
use runtime::metrics::{GaugeShare, Metrics};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Chat;
use super::log_operations::{OperationOrigin, run_operation};
use super::log_split::HeldOperation;
use crate::log::log_health::LogHealth;
use crate::log::{Log, LogStatus, Split};
use crate::operations::{Work, requests};

/// The knowledge about a part of the log.
#[derive(Debug)]
pub(super) struct PartState {
    /// Its name, for operators.
    pub(super) name: String,
    pub(super) health: LogHealth,
    /// Its epoch at the last check.
    epoch: Option<Epoch>,
    /// A read of its status is in flight; the last one began at this time.
    is_checking: bool,
    pub(super) checked_at: Option<Instant>,
    /// An append that checks if it takes records again is in flight.
    is_probing: bool,
    /// Shows if it fails.
    failing: GaugeShare,
    /// The split that it is in, and the time at which its rooms began to move.
    pub(super) split: Split,
    pub(super) moving_since: Option<Instant>,
}

impl PartState {
    /// Returns the state of each part before any check.
    pub(super) fn of(log: &Log, metrics: &Metrics) -> PerPart<Self> {
        PerPart::new(log.parts(), |part| Self::new(log.part_name(part), metrics))
    }

    fn new(name: String, metrics: &Metrics) -> Self {
        Self {
            failing: metrics.log_failing.share(&name),
            name,
            health: LogHealth::default(),
            epoch: None,
            is_checking: false,
            checked_at: None,
            is_probing: false,
            split: Split::None,
            moving_since: None,
        }
    }

    /// Returns the state of each part of a log that was divided: the first piece of a part goes on
    /// with its state, and the others have its epoch.
    pub(super) fn divided(before: PerPart<Self>, from: LogParts, log: &Log, metrics: &Metrics) -> PerPart<Self> {
        let to = log.parts();
        let epochs = PerPart::new(from, |part| before.get(part).epoch);
        let mut kept = before.into_values();
        let mut next = |part: LogPart| {
            let is_first = from.in_division(to.in_division(part, from), to) == part;
            let kept = is_first.then(|| kept.next()).flatten();
            let is_kept = kept.is_some();
            let mut state = kept.unwrap_or_else(|| Self::new(log.part_name(part), metrics));
            state.epoch = *epochs.get(to.in_division(part, from));
            (state.is_checking, state.checked_at, state.is_probing) = (false, None, false);
            (state.split, state.moving_since) = (Split::None, None);
            if !is_kept {
                // It was looked at when it was found.
                state.health.record_found();
            }
            state
        };
        PerPart::new(to, &mut next)
    }

    /// Returns the fault, if there is one.
    fn fault(&self) -> Option<String> {
        let is_stuck = self.moving_since.is_some_and(|since| since.elapsed() >= MOVES_WITHIN);
        let stuck = || {
            "half of its rooms are on the way to another stream: see that `shaddock log split` runs, and that this server's \
             user may use the new streams"
                .to_owned()
        };
        self.health.fault().or_else(|| is_stuck.then(stuck))
    }
}

/// The longest that rooms are usually on the way to another part.
const MOVES_WITHIN: Duration = Duration::from_secs(3);

/// Returns the faults of the parts, if there is one; with their names, unless the log is whole.
pub(super) fn fault(parts: &PerPart<PartState>) -> Option<String> {
    let is_whole = parts.iter().count() == 1;
    let faults = parts.iter().filter_map(|(_, state)| {
        let fault = state.fault()?;
        Some(if is_whole { fault } else { format!("{}: {fault}", state.name) })
    });
    let faults: Vec<String> = faults.collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// The result of a read of a part's status.
pub(super) type CheckResult = ((LogParts, LogPart), Result<LogStatus, ReadError>);

/// The result of a probe: the part, the bytes that it was to take, and the outcome.
pub(super) type ProbeResult = ((LogParts, LogPart), usize, Result<Position, AppendError>);

impl Chat {
    /// Queues an operation, and starts it if the bounds of its part allow.
    pub(super) fn request_operation(&mut self, room: RoomId, requester: LogRequester, op: LogOp) {
        let part = self.log.parts().of(&room);
        self.operations.add(part, Work::of(requester, &op), (room, requester), op);
        self.start_operations(part);
    }

    /// Starts waiting operations of a part up to its bounds.
    pub(super) fn start_operations(&mut self, part: LogPart) {
        let division = self.log.parts();
        while let Some((work, (room, requester), op)) = self.operations.begin(part) {
            if self.must_wait(&room, work) {
                self.operations.end(part, work, requests(&op));
                self.held.push(HeldOperation::Waiting(room, requester, op));
                continue;
            }
            let bytes = if let LogOp::Append { record, .. } = &op { record.len() } else { 0 };
            let origin =
                OperationOrigin { room, requester, part: (division, part), work, requests: requests(&op), bytes };
            let operations = match work {
                Work::Owner | Work::LeaderRead => &self.in_flight,
                Work::History => &self.reads,
            };
            operations.push(Box::pin(run_operation(self.log.clone(), origin, op, self.node.metrics.clone())));
        }
    }

    /// Reads the status of the parts for which that is due.
    pub(super) fn check_log(&mut self) {
        for part in self.log.parts().iter() {
            self.check_part(part);
        }
    }

    /// Reads a part's status if that is due.
    // A new connection is checked at once. The interval finds a stream that was deleted behind a
    // healthy connection.
    pub(super) fn check_part(&mut self, part: LogPart) {
        let due = Duration::from_millis(self.rooms.log_space(part).check_ms());
        let state = self.parts.get_mut(part);
        if state.is_checking || state.checked_at.is_some_and(|at| at.elapsed() < due) {
            return;
        }
        (state.is_checking, state.checked_at) = (true, Some(Instant::now()));
        self.rooms.log_space(part).begin_check();
        let log = self.log.clone();
        self.log_checks.push(Box::pin(async move { ((log.parts(), part), log.status(part).await) }));
    }

    pub(super) fn on_log_status(&mut self, ((division, part), found): CheckResult) {
        if division != self.log.parts() {
            return;
        }
        self.parts.get_mut(part).is_checking = false;
        self.on_split_seen(part, found.as_ref().ok().map(|status| status.split));
        let state = self.parts.get_mut(part);
        state.health.record_status(&found);
        let LogStatus { epoch, bytes, max_bytes, .. } = match found {
            Ok(status) => status,
            // A room that needs the log reports the failure with its effect.
            Err(error) => {
                return debug!(server = %self.id, log = state.name, %error, "the status of the log cannot be read");
            }
        };
        self.rooms.log_space(part).end_check(bytes, max_bytes);
        self.node.metrics.log_bytes.set(&state.name, bytes);
        self.node.metrics.log_max_bytes.set(&state.name, max_bytes);
        if state.epoch.replace(epoch).is_some_and(|before| before != epoch) {
            warn!(
                server = %self.id,
                log = state.name,
                epoch = epoch.0,
                "the epoch of the rooms' log changed, its rooms start over"
            );
            let effects = self.rooms.start_part_over(part, self.now());
            self.perform(effects);
        }
    }

    /// Appends a message of no room to each part that failed and that no room retries.
    pub(super) fn probe_log(&mut self) {
        // With a later process of the same id, that one probes.
        if self.rooms.is_yielding() {
            return;
        }
        for part in self.log.parts().iter() {
            let state = self.parts.get_mut(part);
            // One probe at a time.
            let due = state.health.probe_size_due(Instant::now()).filter(|_| !state.is_probing);
            let Some(bytes) = due else { continue };
            state.is_probing = true;
            let log = self.log.clone();
            self.log_probes
                .push(Box::pin(async move { ((log.parts(), part), bytes, log.append_probe(part, bytes).await) }));
        }
    }

    pub(super) fn on_probed(&mut self, ((division, part), bytes, outcome): ProbeResult) {
        if division != self.log.parts() {
            return;
        }
        let state = self.parts.get_mut(part);
        state.is_probing = false;
        state.health.record_append(&outcome, bytes, Instant::now());
    }

    /// Shows which parts fail.
    pub(super) fn show_log_health(&mut self) {
        for part in self.log.parts().iter() {
            let state = self.parts.get_mut(part);
            state.failing.set(state.fault().is_some().into());
        }
    }
}
