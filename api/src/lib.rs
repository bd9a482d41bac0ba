//! The server API: back ends of the application speak in rooms, read them and moderate them, over
//! HTTP and over NATS, each act exactly once.
//!
//! Commands are parsed and checked here; the task behind [`rooms::Rooms`] talks to chat servers and
//! connectors.

mod access;
mod bus_commands;
pub mod command;
mod execute;
mod http;
pub mod idempotency;
pub mod keys;
pub mod openapi;
mod refused;
mod reply;
mod request;
pub mod rooms;
mod rooms_task;
mod server;
mod service;

pub use refused::Refused;
pub use server::Api;
pub use service::Service;
