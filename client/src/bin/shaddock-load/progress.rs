//! A bar that says what goes on; nothing where nobody looks.

use std::io::{self, IsTerminal};

use client::load::{Glance, Pace, Part, Plan};
use indicatif::{ProgressBar, ProgressStyle};

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
        Self { bar, users: plan.users, storm: plan.pace == Pace::Storm }
    }

    pub(crate) fn show(&mut self, glance: &Glance) {
        let Glance { step, logins, heard, wrong, .. } = glance;
        let what = match glance.part {
            Part::Entering => format!("logging in: {logins} of {}", self.users),
            Part::WarmingUp => format!("step {step}, warming up"),
            Part::Measuring if self.storm => format!("measuring: {logins} logins"),
            Part::Measuring => format!("step {step}, measuring: {heard} heard, {wrong} wrong"),
            Part::Draining => format!("step {step}, waiting for what is under way: {heard} heard"),
        };
        self.bar.set_position((glance.done * WHOLE as f64) as u64);
        self.bar.set_message(what);
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
