//! The cost of Shaddock under load, compared with baselines of the machine and with Socket.IO:
//! fan-out, small rooms, logins, memory; in one process and over NATS. Prints tables and ratios;
//! fails only if a promise of `docs/reference/delivery.md` is broken, never for a duration. A complete run
//! writes `docs/bench`.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "measures, and prints what it found")]

mod baseline;
#[path = "../common/configuration.rs"]
#[expect(dead_code, reason = "nothing changes here while servers run")]
mod configuration;
mod deployment;
mod dimensions;
mod document;
mod handshakes;
mod host;
mod load_steps;
#[path = "../common/machine.rs"]
mod machine;
mod peer;
mod plot;
#[path = "../common/process.rs"]
mod process;
mod ratios;
mod results;
mod scenarios;
mod search;
mod table;
mod tokens;

use std::process::ExitCode;

use clap::Parser;
use load::LoadError;
use tokio::time::Instant;

use crate::document::Document;
use crate::host::Host;
use crate::machine::Machine;
use crate::scenarios::{BenchRun, Scenario};

/// Measures what Shaddock costs under load, beside Socket.IO and beside plain sockets.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Args {
    /// Scenarios to measure; without one, all, and docs/bench is written anew
    scenarios: Vec<Scenario>,
    /// Run as the writer to plain sockets: number of sockets, and pushes per write
    #[arg(long, hide = true, num_args = 2)]
    write: Vec<u32>,
    /// Passed by cargo to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let [sockets, at_once] = args.write[..] {
        baseline::run_writer(sockets, at_once);
        return ExitCode::SUCCESS;
    }
    // One thread: the load leaves the other cores to the servers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let good = runtime.block_on(async {
        let mut signals = cluster::stop_signals().unwrap();
        tokio::select! {
            // Processes end with the scene that owns them.
            () = signals.next() => false,
            measured = measure(&args.scenarios) => match measured {
                Ok(good) => good,
                Err(error) => {
                    println!("nothing could be measured: {error}");
                    false
                }
            },
        }
    });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns true if all promises were kept.
async fn measure(scenarios: &[Scenario]) -> Result<bool, LoadError> {
    let (began, machine, mut bench) = (Instant::now(), Machine::now(), BenchRun::default());
    host::enough_files();
    for scenario in if scenarios.is_empty() { &Scenario::ALL } else { scenarios } {
        scenario.measure(&mut bench).await?;
    }
    let usage = Machine::now().usage_since(&machine).to_string();
    println!("\nmeasured for {:.0} s; {usage}\n", began.elapsed().as_secs_f64());
    let document = Document { host: Host::this(), usage, results: bench.results };
    println!("{}", document.figures());
    if scenarios.is_empty() {
        println!("{}", document.write());
    }
    println!("{} promises broken", bench.broken.len());
    bench.broken.iter().for_each(|what| println!("  BROKEN {what}"));
    Ok(bench.broken.is_empty())
}
