//! Values that several crates share: ids, membership, servers, placement, subjects, records, the state of a
//! room, and the messages between servers. No I/O, no clock, no randomness.
//!
//! Reading order: [`ids`], [`membership`], [`servers`], [`log_parts`], [`subjects`], [`rpc`], [`record`], [`room`].

pub mod act;
pub mod allowed_senders;
pub mod backoff;
pub mod client_frame;
pub mod ending;
pub mod failure_detector;
pub mod headers;
pub mod identity;
pub mod ids;
pub mod lineage;
pub mod log_parts;
pub mod membership;
pub mod names;
pub mod network;
pub mod permissions;
pub mod placement;
pub mod record;
pub mod room;
pub mod rpc;
pub mod servers;
pub mod settings;
pub mod size_limits;
pub mod subjects;
mod version;
