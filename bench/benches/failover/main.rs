//! The cost of failover, re-sharding and restarts: real processes over their own nats-server,
//! faults, and changed servers, while clients send. Prints the results; fails if a promise of
//! `docs/reference/delivery.md` is broken.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "measures, and prints what it found")]

mod admin_http;
#[path = "../common/configuration.rs"]
mod configuration;
mod delivery_check;
mod deployment;
mod durations;
#[path = "../common/machine.rs"]
mod machine;
#[path = "../common/process.rs"]
mod process;
mod promise_report;
mod room_owners;
mod room_pairs;
mod scenarios;
mod tracer;

use std::process::ExitCode;

use clap::Parser;
use tokio::time::Instant;

use crate::machine::Machine;
use crate::promise_report::PromiseReport;
use crate::scenarios::{Scenario, ScenarioSettings};

/// Shows with real processes what failover and re-sharding cost; fails where a promise is broken.
#[derive(Debug, Parser)]
#[command(name = "failover")]
struct Args {
    /// Scenarios to run; without one, all that check promises
    scenarios: Vec<Scenario>,
    /// Subscribe a tracer to everything on the bus
    #[arg(long)]
    traced: bool,
    /// Rounds of the scenes that have rounds, instead of all
    #[arg(long)]
    rounds: Option<usize>,
    /// Passed by cargo to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // One thread: clients leave the other cores to the servers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let good = runtime.block_on(async {
        let mut signals = cluster::stop_signals().unwrap();
        tokio::select! {
            // Processes end with the scene that owns them.
            () = signals.next() => false,
            good = show(&args) => good,
        }
    });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns true if all promises were kept.
async fn show(args: &Args) -> bool {
    let options = ScenarioSettings { traced: args.traced, rounds: args.rounds };
    let scenarios = if args.scenarios.is_empty() { Scenario::PROMISES } else { &args.scenarios };
    let mut promises = PromiseReport::default();
    for scenario in scenarios {
        println!("\n{scenario:?}{}: {}", if args.traced { ", traced" } else { "" }, scenario.what());
        let (began, machine) = (Instant::now(), Machine::now());
        scenario.run(&options, &mut promises).await;
        println!("  {:.0} s; {}", began.elapsed().as_secs_f64(), Machine::now().usage_since(&machine));
    }
    let broken = promises.broken();
    println!("\n{} promises broken", broken.len());
    broken.iter().for_each(|what| println!("  BROKEN {what}"));
    broken.is_empty()
}
