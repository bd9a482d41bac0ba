//! Starts and stops the servers of an environment; what the program `shaddock` and the end-to-end tests share.

pub mod keys;
pub mod launch;
mod listeners;
mod signals;
pub mod watch;

pub use launch::{Cluster, LogKind, Plan};
pub use signals::{ignore_others, look_asked, stop_asked};
pub use watch::ServersFile;
