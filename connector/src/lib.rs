//! A connector: holds client connections, proposes what clients want to the owners of their rooms, follows the rooms'
//! records, and tells the clients.
//!
//! Reading order: [`bodies`], [`room`], [`hub`], [`deliver`] (all pure), then `app` and `server`, the edge that moves their
//! effects.

mod app;
pub mod bodies;
pub mod deliver;
pub mod drain;
mod fanout;
mod figures;
pub mod hub;
pub mod owners;
pub mod room;
mod server;

pub use server::{Connector, StartError};
