//! The cost of a message with the log in memory, with the log in JetStream, and with signatures
//! besides: the same senders against each in turn, the program's processes over a nats-server of
//! their own. Fails where a message is not acknowledged, and where the messages of a busy room are
//! not appended together; judges no time.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "measures, and prints what it found")]

#[path = "../common/configuration.rs"]
#[expect(dead_code, reason = "nothing changes here while servers run")]
mod configuration;
mod deployment;
#[path = "../common/process.rs"]
mod process;
mod run_metrics;
mod senders;

use std::process::ExitCode;
use std::time::Duration;

use client::ClientError;
use tokio::time::Instant;

use crate::deployment::Deployment;
use crate::run_metrics::RunMetrics;
use crate::senders::{SendPattern, Senders};

/// Every figure is the median of so many runs, each on servers that were just started.
const RUNS: usize = 3;
/// Before it is measured: rooms are activated, connections and caches are warm.
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(5);

/// Configurations of the servers. Each but the first is compared to the one before it.
const SETUPS: [Setup; 3] = [
    Setup { name: "memory", log: "memory", signatures: false },
    Setup { name: "jetstream", log: "jetstream", signatures: false },
    Setup { name: "signed", log: "jetstream", signatures: true },
];

/// The storage of the log, and signing of messages between servers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    name: &'static str,
    pub(crate) log: &'static str,
    pub(crate) signatures: bool,
}

/// Senders in rooms. There are no other listeners, so that pushes cost the least. Each sender still
/// receives its room's messages, so with twenty in a room most of a response's time is spent
/// reading the messages before it.
struct Scenario {
    name: &'static str,
    rooms: usize,
    senders_per_room: usize,
    pattern: SendPattern,
    /// True if messages arrive faster than single appends could commit them.
    batches: bool,
}

const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "low load: 1,000/s in 50 rooms",
        rooms: 50,
        senders_per_room: 1,
        pattern: SendPattern::Paced(Duration::from_millis(50)),
        batches: false,
    },
    Scenario {
        name: "bursts: 20 senders x 200, one room",
        rooms: 1,
        senders_per_room: 20,
        pattern: SendPattern::Bursts(senders::MAX_IN_FLIGHT),
        batches: true,
    },
    Scenario {
        name: "saturated: 64 rooms x 2 x 16",
        rooms: 64,
        senders_per_room: 2,
        pattern: SendPattern::Steady(16),
        batches: false,
    },
];

fn main() -> ExitCode {
    // One thread: the senders leave the other cores to the servers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let good = runtime.block_on(async {
        let mut signals = cluster::stop_signals().unwrap();
        tokio::select! {
            // Processes end with the measurement that owns them.
            () = signals.next() => false,
            good = measure() => good,
        }
    });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns true if every message was acknowledged, and messages were batched where they must be.
async fn measure() -> bool {
    println!("one connector, one chat server, one nats-server; medians of {RUNS} runs of {MEASURED:?}\n");
    println!("{}", run_metrics::HEAD.join("\n"));
    let mut good = true;
    for scenario in &SCENARIOS {
        match scenario.compare().await {
            Ok(batched) => good &= batched,
            Err(error) => {
                println!("{}: a message was not acknowledged: {error}", scenario.name);
                return false;
            }
        }
    }
    good
}

impl Scenario {
    /// Runs on each setup in turn, and prints what was found; whether messages were batched if they
    /// have to be.
    async fn compare(&self) -> Result<bool, ClientError> {
        let mut runs = SETUPS.map(|_| Vec::new());
        for run in 0..RUNS {
            // Each is first in its turn, should the machine change its pace.
            for setup in (0..SETUPS.len()).map(|index| (run + index) % SETUPS.len()) {
                runs[setup].push(self.run(SETUPS[setup]).await?);
            }
        }
        for (setup, runs) in SETUPS.iter().zip(&runs) {
            println!("{:<36} {:<10} {}", self.name, setup.name, RunMetrics::median(runs));
        }
        let [memory, jetstream, signed] = &runs;
        println!("{:<36} jetstream : memory, pair by pair = {}", "", run_metrics::ratio(jetstream, memory));
        println!("{:<36} signed : jetstream, pair by pair = {}\n", "", run_metrics::ratio(signed, jetstream));
        let batched = RunMetrics::median(jetstream).messages_per_record() > 1.0;
        if self.batches && !batched {
            println!("messages were appended one by one: more than one per record was expected");
        }
        Ok(batched || !self.batches)
    }

    /// One run on servers of its own.
    async fn run(&self, setup: Setup) -> Result<RunMetrics, ClientError> {
        let deployment = Deployment::start(setup).await;
        let metrics = self.measure(&deployment).await;
        if metrics.is_err() {
            println!("{}", deployment.output());
        }
        metrics
    }

    async fn measure(&self, deployment: &Deployment) -> Result<RunMetrics, ClientError> {
        let senders = Senders::enter(&deployment.connector(), self.rooms, self.senders_per_room).await?;
        senders.send(&self.pattern, WARM_UP).await?;
        let (before, began) = (deployment.processor_times(), Instant::now());
        let responses = senders.send(&self.pattern, MEASURED).await?;
        let lasted = began.elapsed();
        let after = deployment.processor_times();
        let used = [0, 1, 2].map(|process| after[process] - before[process]);
        Ok(RunMetrics::new(&responses, lasted, used))
    }
}
