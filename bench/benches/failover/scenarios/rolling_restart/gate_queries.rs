//! New clients that request a connector from the gate, again and again while it restarts.

use std::cell::Cell;
use std::time::Duration;

use client::Options;
use tokio::time::{Instant, sleep, sleep_until};

use super::restart::Restart;
use crate::deployment::Deployment;
use crate::promise_report::PromiseReport;

/// Time between two new clients.
const EVERY: Duration = Duration::from_millis(50);

/// The longest time without a response.
const WITHIN: Duration = Duration::from_secs(5);

pub(super) struct GateQueries {
    gate: String,
}

/// The responses of the gate.
#[derive(Default)]
pub(super) struct GateResponses(Vec<Response>);

struct Response {
    queried: Instant,
    waited: Duration,
    /// Repeats because the gate was down, or knew no connector.
    again: usize,
}

impl GateQueries {
    pub(super) fn of(deployment: &Deployment) -> Self {
        Self { gate: deployment.configuration.gate() }
    }

    /// Sends one request after the other, while `running` is true.
    pub(super) async fn query(&self, running: &Cell<bool>) -> GateResponses {
        let mut responses = Vec::new();
        while running.get() {
            let queried = Instant::now();
            let mut again = 0;
            let name = format!("newcomer-{}", responses.len());
            while client::query_entry(&self.gate, &name, &Options::default()).await.is_err()
                && queried.elapsed() < WITHIN
            {
                again += 1;
                sleep(EVERY).await;
            }
            responses.push(Response { queried, waited: queried.elapsed(), again });
            sleep_until(queried + EVERY).await;
        }
        GateResponses(responses)
    }
}

impl GateResponses {
    /// Prints the longest wait, by restarted server.
    pub(super) fn show(&self, restarts: &[Restart]) {
        for restart in restarts {
            let queried: Vec<_> = self.0.iter().filter(|response| restart.has(response.queried)).collect();
            let again: usize = queried.iter().map(|response| response.again).sum();
            let longest = queried.iter().map(|response| response.waited).max().unwrap_or_default();
            if again > 0 {
                println!("  {:<20} {again} requests of new clients repeated, {longest:.1?} at most", restart.kind.id());
            }
        }
    }

    pub(super) fn report(&self, promises: &mut PromiseReport) {
        let Self(responses) = self;
        let longest = responses.iter().map(|response| response.waited).max().unwrap_or_default();
        let what = format!("{} new clients get a connector within 5 s: {longest:.1?} at most", responses.len());
        promises.check(!responses.is_empty() && longest < WITHIN, &what);
    }
}
