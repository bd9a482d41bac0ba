//! Runs a log operation of a room.

use std::sync::Arc;

use model::ids::RoomId;
use model::log_parts::{LogPart, LogParts};
use owner::log_operation::{LogOp, LogResult};
use owner::rooms::LogRequester;
use runtime::metrics::Metrics;
use tokio::time::Instant;

use crate::log::{Log, ReadConsistency};
use crate::operations::Work;

/// The origin of a log operation.
pub(super) struct OperationOrigin {
    pub(super) room: RoomId,
    pub(super) requester: LogRequester,
    /// The part of the log that held the room at the begin, and the division then.
    pub(super) part: (LogParts, LogPart),
    pub(super) work: Work,
    pub(super) requests: usize,
    /// Bytes of the appended record; 0 for other operations.
    pub(super) bytes: usize,
}

/// Runs an operation.
pub(super) async fn run_operation(
    log: Log,
    origin: OperationOrigin,
    op: LogOp,
    metrics: Arc<Metrics>,
) -> (OperationOrigin, LogResult) {
    let room = &origin.room;
    let done = match op {
        LogOp::Last { certain } => {
            let consistency = if certain { ReadConsistency::Latest } else { ReadConsistency::Any };
            LogResult::Last(log.last(room, consistency).await)
        }
        LogOp::Before(position) => LogResult::Last(log.before(room, position).await),
        LogOp::Append { expected, record, lifetime } => {
            let began = Instant::now();
            let done = log.append_for(room, expected, record, lifetime).await;
            metrics.stage_seconds.log.add(began.elapsed());
            LogResult::Append(done)
        }
        LogOp::Read(positions) => {
            let read = log.read(room, &positions).await;
            LogResult::Read(read.map(|records| positions.into_iter().zip(records).collect()))
        }
        LogOp::Epoch => LogResult::Epoch(log.epoch(room).await),
    };
    (origin, done)
}
