//! A gate: sends each user to a connector, over the Pomelo websocket and over HTTP alike.

mod chat_reports;
pub mod entry;
mod http;
mod page;
mod prober;
mod server;
mod server_status;
mod session_handler;
mod status_page;

pub use server::Gate;
