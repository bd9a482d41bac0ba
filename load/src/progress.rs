//! A progress bar; hidden if stderr is no terminal.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};
use load::{Phase, Plan, RunStatus, Workload};

/// Ticks of a whole bar.
const WHOLE: u64 = 1_000;

/// The bar on stderr, hidden where that is no terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    users: u32,
    storm: bool,
}

impl Progress {
    pub(crate) fn new(plan: &Plan) -> Self {
        let bar = if io::stderr().is_terminal() { ProgressBar::new(WHOLE) } else { ProgressBar::hidden() };
        // The template is a constant; where it is wrong the bar is a plainer one.
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, users: plan.users, storm: plan.workload == Workload::Storm }
    }

    pub(crate) fn show(&mut self, status: &RunStatus) {
        let RunStatus { step, logins, received, wrong, .. } = status;
        let message = match status.phase {
            Phase::LoggingIn => format!("logging in: {logins} of {}", self.users),
            Phase::WarmingUp => format!("step {step}, warming up"),
            Phase::Measuring if self.storm => format!("measuring: {logins} logins"),
            Phase::Measuring => format!("step {step}, measuring: {received} received, {wrong} wrong"),
            Phase::Draining => format!("step {step}, waiting for messages in flight: {received} received"),
        };
        self.bar.set_position((status.done * WHOLE as f64) as u64);
        self.bar.set_message(message);
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
