//! A chat server: owns rooms, decides what happens in them, appends it to their log, and answers with what was committed.
//!
//! Reading order: [`rules`], [`entrances`], [`decide`], [`owner`], [`history`], [`rooms`] (all pure), then [`log`] and [`server`], the edge that
//! moves their effects.

pub mod bad_records;
pub mod decide;
pub mod entrances;
pub mod gone;
pub mod history;
mod homes;
pub mod log;
mod operations;
pub mod owner;
pub mod rooms;
pub mod rules;
pub mod server;
pub mod tail;
pub mod walk;

pub use server::Chat;
