//! Newcomers, who ask the gate for a connector all the while, and again while it is away.

use std::cell::Cell;
use std::time::Duration;

use client::Options;
use tokio::time::{Instant, sleep, sleep_until};

use super::restart::Step;
use crate::deployment::Deployment;
use crate::promise_report::Verdict;

/// Between two newcomers.
const EVERY: Duration = Duration::from_millis(50);

/// The longest that one may be without an answer.
const WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Newcomers {
    gate: String,
}

/// What they were answered.
#[derive(Default)]
pub(super) struct Asked(Vec<Answer>);

struct Answer {
    asked: Instant,
    waited: Duration,
    /// Times that the gate was not there, or knew no connector.
    again: usize,
}

impl Newcomers {
    pub(super) fn of(deployment: &Deployment) -> Self {
        Self { gate: deployment.configuration.gate() }
    }

    /// One asks after the other, while `goes_on` says so.
    pub(super) async fn ask(&self, goes_on: &Cell<bool>) -> Asked {
        let mut answers = Vec::new();
        while goes_on.get() {
            let asked = Instant::now();
            let mut again = 0;
            let name = format!("newcomer-{}", answers.len());
            while client::query_entry(&self.gate, &name, &Options::default()).await.is_err() && asked.elapsed() < WITHIN
            {
                again += 1;
                sleep(EVERY).await;
            }
            answers.push(Answer { asked, waited: asked.elapsed(), again });
            sleep_until(asked + EVERY).await;
        }
        Asked(answers)
    }
}

impl Asked {
    /// How long they waited at most, by what was restarted meanwhile.
    pub(super) fn show(&self, steps: &[Step]) {
        for step in steps {
            let asked: Vec<_> = self.0.iter().filter(|answer| step.has(answer.asked)).collect();
            let again: usize = asked.iter().map(|answer| answer.again).sum();
            let longest = asked.iter().map(|answer| answer.waited).max().unwrap_or_default();
            if again > 0 {
                println!(
                    "  {:<20} {again} of the newcomers' questions asked again, {longest:.1?} at most",
                    step.kind.id()
                );
            }
        }
    }

    pub(super) fn judge(&self, verdict: &mut Verdict) {
        let Self(answers) = self;
        let longest = answers.iter().map(|answer| answer.waited).max().unwrap_or_default();
        let what = format!("{} newcomers are told a connector within 5 s: {longest:.1?} at most", answers.len());
        verdict.promise(!answers.is_empty() && longest < WITHIN, &what);
    }
}
