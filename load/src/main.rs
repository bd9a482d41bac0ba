//! The program `shaddock-load`: a terminal interface of the crate `load`.

mod args;
mod progress;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use client::without_display_controls;
use load::{LoadError, Plan, Report, ReportTable, Shaddock, run};
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::progress::Progress;

/// A message was lost, doubled or out of order.
const WRONG: u8 = 1;
/// Nothing was measured, or not what the options request.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let failed = match measure(&args).and_then(|report| print(&report, args.json).map(|()| report)) {
        Ok(report) if !report.is_clean() => return ExitCode::from(WRONG),
        Ok(report) => match report.unmeasured() {
            None => return ExitCode::SUCCESS,
            Some(reason) => format!("not measured: {reason}"),
        },
        Err(error) => format!("{error:#}"),
    };
    // There is no other place to report to.
    writeln!(io::stderr().lock(), "{}", without_display_controls(&failed)).ok();
    ExitCode::from(FAILED)
}

fn measure(args: &Args) -> anyhow::Result<Report> {
    let plan = args.plan();
    // One thread unless the options ask for more: the servers on the same machine need the other
    // cores.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(args.threads).enable_all().build()?;
    Ok(runtime.block_on(until_interrupted(&plan))?)
}

/// Ends early at the first Ctrl-C, with what was measured until then.
async fn until_interrupted(plan: &Plan) -> Result<Report, LoadError> {
    let stop = CancellationToken::new();
    let interrupted = async {
        // If the program cannot listen for the signal, the signal ends it.
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
        std::future::pending().await
    };
    let mut progress = Progress::new(plan);
    let mut show = |status: &_| progress.show(status);
    let report = tokio::select! {
        report = run(plan, Shaddock::new, &stop, &mut show) => report,
        never = interrupted => never,
    };
    progress.end();
    report
}

/// Prints the report.
fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        for step in &report.steps {
            writeln!(out, "{}", serde_json::to_string(step)?)?;
        }
    } else {
        write!(out, "{}", ReportTable(report))?;
    }
    Ok(())
}
