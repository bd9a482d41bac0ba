//! A connector: holds client connections, proposes the clients' requests to the owners of their
//! rooms, follows the rooms' records, and pushes them to the clients.
//!
//! The crate `follower` decides; here is the edge: sessions' handlers, and one task that carries
//! out the effects.

mod report;
mod request_metrics;
mod server;
mod session_handler;

pub use server::{Connector, StartError};
