//! A gate: tells users which connector to use, over the Pomelo websocket and over HTTP alike.

mod app;
pub mod entry;
mod http;
mod prober;
mod server;

pub use server::Gate;
