//! A chat server: the edge around the rooms that it owns (the crate `owner`), and their log.
//!
//! Reading order: [`log`], [`server`], [`report`].

pub mod log;
pub mod operations;
pub mod report;
pub mod server;

pub use server::Chat;
