//! A load generator: many users, their messages, and a check of what each of them hears. Knows no terminal.
//!
//! It shares a machine with what it measures, so it is made to be cheap: bytes are read into one buffer per thread, a push is
//! recognized by the [`Stamp`] that the sender wrote into it, and nothing is allocated for a delivery. How a session speaks is
//! behind [`Dialect`], so that other servers can be measured with the same users, the same pace and the same check.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::load::LoadError> {
//! use client::load::{Pace, Plan, Shaddock, run};
//! use tokio_util::sync::CancellationToken;
//!
//! let plan = Plan { users: 100, rooms: 10, pace: Pace::Open(vec![500.0]), ..Plan::default() };
//! let report = run(&plan, Shaddock::new, &CancellationToken::new(), &mut |_| ()).await?;
//! assert!(report.is_clean());
//! # Ok(())
//! # }
//! ```

mod connection;
mod counts;
mod framing;
mod listener_check;
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

pub use framing::{Framing, Out};
pub use plan::{Load, Pace, Plan, PlanError};
pub use process_usage::ProcessFigures;
pub use protocol::{Broken, Dialect, Heard, Named};
pub use report::{Milliseconds, Report, StepReport};
pub use report_table::Table;
pub use run::{Glance, LoadError, Part, run, run_stepwise};
pub use schedule::Schedule;
pub use shaddock::Shaddock;
pub use tag::{Mark, STAMP_BYTES, Stamp};
