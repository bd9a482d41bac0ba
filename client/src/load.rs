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

mod conductor;
mod dialect;
mod ear;
mod framing;
mod line;
mod lost;
mod pacer;
mod person;
mod plan;
mod process;
mod report;
mod schedule;
mod session;
mod shaddock;
mod stage;
mod stamp;
mod table;
mod tally;
mod voice;

pub use conductor::{Glance, LoadError, Part, run, run_stepwise};
pub use dialect::{Broken, Dialect, Heard, Named};
pub use framing::{Framing, Out};
pub use plan::{Load, Pace, Plan, PlanError};
pub use process::ProcessFigures;
pub use report::{Milliseconds, Report, StepReport};
pub use schedule::Schedule;
pub use shaddock::Shaddock;
pub use stamp::{Mark, STAMP_BYTES, Stamp};
pub use table::Table;
