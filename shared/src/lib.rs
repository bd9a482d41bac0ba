//! What two or more roles need: names, configuration, the bus, the rooms' records, the websocket front.
//!
//! Reading order: [`ids`], [`membership`], [`config`], [`dispatcher`], [`subjects`], [`bus`], [`rpc`], [`signing`], [`record`], [`room`],
//! [`frontend`], [`lifecycle`], [`health`], [`admin`].

pub mod admin;
pub mod backoff;
pub mod budget;
pub mod bus;
pub mod clock;
pub mod config;
pub mod dispatcher;
pub mod fault;
pub mod frontend;
pub mod health;
pub mod ids;
pub mod lifecycle;
pub mod lineage;
pub mod log_limit;
pub mod membership;
pub mod metrics;
pub mod node;
pub mod pace;
pub mod payload;
pub mod record;
pub mod room;
pub mod roster;
pub mod rpc;
pub mod senders;
pub mod signing;
pub mod subjects;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text_file;
mod version;
