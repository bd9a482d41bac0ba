//! What failover, re-sharding and restarts cost: real processes over a nats-server of their own,
//! things that break and servers that come and go under people who talk. Prints what it found;
//! fails where a promise of `docs/delivery.md` is broken.
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
    /// What to show; without one, all that have promises
    scenarios: Vec<Scenario>,
    /// With somebody who listens to everything on the bus
    #[arg(long)]
    traced: bool,
    /// Rounds of the scenes that have rounds, instead of all
    #[arg(long)]
    rounds: Option<usize>,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // One thread: people leave the other cores to the servers.
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

/// Whether all promises were kept.
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
