//! The rooms that a chat server owns: decides proposals, appends the result to each room's log, and
//! responds with the committed records. No I/O, no clock, no randomness: takes messages, results of
//! log operations and the time, and returns effects.
//!
//! Reading order: [`rules`], [`recent_joins`], [`log_space`], [`draft`], [`room`], [`history`],
//! [`rooms`].

pub mod bad_records;
pub mod connector_liveness;
pub mod draft;
pub mod event;
pub mod history;
pub mod log_operation;
pub mod log_space;
pub mod log_tail;
pub mod log_walk;
pub mod recent_joins;
pub mod room;
pub mod rooms;
pub mod rules;

#[cfg(test)]
mod test_log;
