//! The operations on a room's log, and their results. Plain values: an implementation of the log
//! performs the operations.

use bytes::Bytes;
use model::record::{Epoch, Position};
use thiserror::Error;

/// A log operation. An owner has at most one in flight.
#[derive(Debug, PartialEq, Eq)]
pub enum LogOp {
    /// Read the room's last message. Unless `certain`, a replica that lags behind may respond: the
    /// compare-and-set append that follows is refused then.
    Last { certain: bool },
    /// Read the room's last message below a position.
    Before(Position),
    /// Read records by position.
    Read(Vec<Position>),
    /// Append a record if the room's last position is `expected`.
    Append { expected: Position, record: Bytes, lifetime: Lifetime },
    /// Read the log's epoch.
    Epoch,
}

/// The time for which the log keeps a record, if the room has not too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Up to the log's age limit.
    Aging,
    /// At any age.
    // An acknowledged rule holds until its end, also in a room that nobody uses meanwhile.
    Lasting,
}

/// The result of a log operation.
#[derive(Debug)]
pub enum LogResult {
    /// Of [`LogOp::Last`] and [`LogOp::Before`].
    Last(Result<Tail, ReadError>),
    /// Of [`LogOp::Read`], with the requested positions.
    Read(Result<Vec<(Position, Option<Bytes>)>, ReadError>),
    /// Of [`LogOp::Append`].
    Append(Result<Position, AppendError>),
    /// Of [`LogOp::Epoch`].
    Epoch(Result<Epoch, ReadError>),
}

/// The last message of a room's log, or the last one below a position. It need not be a record: any
/// program that may publish on the broker can write there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The log's epoch.
    pub epoch: Epoch,
    /// Position and bytes of the message; none if the room has none, or none any more.
    pub last: Option<(Position, Bytes)>,
    /// The room's last position as the message's author expected it and the log confirmed it; none
    /// if it was published without an expectation.
    pub expected: Option<Position>,
}

/// An append that failed, or may have failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The room's last record is not the expected one: another server appended. Certainly nothing
    /// was appended.
    #[error("the room's last record is another one than expected")]
    Refused,
    /// The log reached its size limit. Certainly nothing was appended.
    #[error("the log is full: raise log.max_total_bytes, or lower log.max_age_hours or log.max_records")]
    Full,
    /// The broker takes no record of this size. Certainly nothing was appended.
    #[error("the broker takes no record of {bytes} bytes")]
    TooLarge {
        /// Bytes of the record.
        bytes: usize,
    },
    /// No clear outcome: the record may have been appended, or may yet be.
    #[error("the log gave no clear answer: {0}")]
    Unclear(String),
}

/// A read that failed; it implies nothing about the content of the log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the log cannot be read now: {0}")]
pub struct ReadError(pub String);
