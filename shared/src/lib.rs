//! Everything that two or more roles need: names, configuration, the bus, the rooms' records, the
//! websocket frontend.
//!
//! Reading order: [`ids`], [`membership`], [`config`], [`placement`], [`subjects`], [`bus`],
//! [`rpc`], [`signing`], [`record`], [`room`], [`frontend`], [`lifecycle`], [`health`], [`admin`].

pub mod admin;
pub mod allowed_senders;
pub mod backoff;
pub mod batching;
pub mod bus;
pub mod clock;
pub mod config;
pub mod fault;
pub mod frontend;
pub mod health;
pub mod ids;
pub mod lifecycle;
pub mod lineage;
pub mod log_rate_limit;
pub mod membership;
pub mod metrics;
pub mod node;
pub mod payload;
pub mod placement;
pub mod record;
pub mod room;
pub mod rpc;
pub mod server_list;
pub mod signing;
pub mod size_limits;
pub mod subjects;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text_file;
mod version;
