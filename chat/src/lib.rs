//! A chat server: owns rooms, decides their proposals, appends the result to their log, and answers
//! with the committed records.
//!
//! Reading order: [`rules`], [`recent_joins`], [`draft`], [`owner`], [`history`], [`rooms`] (all
//! pure), then [`log`] and [`server`], the edge that performs their effects.

pub mod bad_records;
pub mod connector_liveness;
pub mod draft;
pub mod event;
pub mod history;
mod home_liveness;
pub mod log;
pub mod log_operation;
pub mod log_tail;
pub mod log_walk;
mod operations;
pub mod owner;
pub mod recent_joins;
pub mod report;
pub mod rooms;
pub mod rules;
pub mod server;

pub use server::Chat;
