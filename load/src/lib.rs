//! A load generator: many users, their messages, and a check of the messages that each user
//! receives. Knows no terminal.
//!
//! It shares a machine with the servers that it measures, so it uses little processor time. All
//! connections of a thread read into one buffer, a push is recognized by the [`MessageTag`] that
//! the sender wrote into it, and a delivery allocates nothing. The wire format is behind
//! [`Protocol`], so that other servers are measured with the same users, the same workload and the
//! same check.
//!
//! ```no_run
//! # async fn example() -> Result<(), load::LoadError> {
//! use load::{Workload, Plan, Shaddock, run};
//! use tokio_util::sync::CancellationToken;
//!
//! let plan = Plan { users: 100, rooms: 10, workload: Workload::Open(vec![500.0]), ..Plan::default() };
//! let report = run(&plan, Shaddock::new, &CancellationToken::new(), &mut |_| ()).await?;
//! assert!(report.is_clean());
//! # Ok(())
//! # }
//! ```

mod connection;
mod counts;
mod framing;
mod loss;
mod plan;
mod process_usage;
mod protocol;
mod report;
mod report_table;
mod run;
mod run_state;
mod schedule;
mod send_timer;
mod sender;
mod session;
mod shaddock;
mod tag;
mod user;

pub use framing::{Framing, OutBuffer};
pub use plan::{Plan, PlanError, StepLoad, Workload};
pub use process_usage::ProcessUsage;
pub use protocol::{Identity, Protocol, ServerEvent, SessionError};
pub use report::{Milliseconds, Report, StepReport};
pub use report_table::ReportTable;
pub use run::{LoadError, Phase, RunStatus, run, run_stepwise};
pub use schedule::Schedule;
pub use shaddock::Shaddock;
pub use tag::{MessageTag, RunMarker, TAG_BYTES};
