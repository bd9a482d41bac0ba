//! A gate: tells users which connector to use, over the Pomelo websocket and over HTTP alike.

mod app;
pub mod entry;
mod http;
mod known;
mod page;
mod prober;
mod reports;
mod server;
mod status;

pub use server::Gate;
