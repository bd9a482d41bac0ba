//! Starts and stops the servers of an environment; what the program `shaddock` and the end-to-end tests share.

mod front;
pub mod launch;
mod signals;
pub mod watch;

pub use launch::{Cluster, LogKind, Plan};
pub use signals::{look_asked, stop_asked};
pub use watch::ServersFile;
