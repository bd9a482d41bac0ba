//! Starts and stops the servers of an environment; what the program `shaddock` and the end-to-end tests share.

pub mod launch;
mod signals;

pub use launch::{Cluster, LogKind, Plan};
pub use signals::stop_asked;
