//! A connector: holds client connections, proposes the clients' requests to the owners of their
//! rooms, follows the rooms' records, and pushes them to the clients.
//!
//! Reading order: [`request_body`], [`room`], [`connector_state`], [`render`] (all pure), then
//! `session_handler` and `server`, the edge that carries out their effects.

pub mod chat_servers;
pub mod connector_state;
pub mod drain_schedule;
pub mod event;
mod push_batch;
pub mod render;
mod report;
pub mod request_body;
mod request_metrics;
pub mod room;
mod server;
mod session_handler;

pub use server::{Connector, StartError};
