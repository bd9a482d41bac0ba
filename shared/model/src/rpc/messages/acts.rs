//! The outcomes of acts, as api servers get them.

use serde::{Deserialize, Serialize};

use crate::record::{Outcome, Position, Refusal};

/// The outcome of one act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActOutcome {
    /// It is the entry with this `seq`, committed at this time.
    Done { seq: u64, time: u64 },
    /// It was refused, and has no effect, also later.
    Refused(Refusal),
}

impl ActOutcome {
    /// Returns the outcome of an act that a record at this position and time decided.
    pub fn of(outcome: Outcome, position: Position, time: u64) -> Self {
        match outcome {
            Outcome::Done(index) => Self::Done { seq: position.seq(index.into()), time },
            Outcome::Duplicate { seq, time } => Self::Done { seq, time },
            Outcome::Refused(refusal) => Self::Refused(refusal),
            // Nothing to do: the room is as wanted behind that record.
            Outcome::Unchanged | Outcome::Overtaken => Self::Done { seq: position.last_seq(), time },
        }
    }
}
