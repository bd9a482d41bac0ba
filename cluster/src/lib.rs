//! Starts and stops the servers of an environment; what the program `shaddock` and the end-to-end
//! tests share.

mod bind;
pub mod keys;
pub mod launch;
pub mod servers_file;
mod signals;
mod system_limits;

pub use launch::{Cluster, LogKind, Plan};
pub use servers_file::ServersFile;
pub use signals::{ignore_other_signals, reload_signals, stop_signals};
