//! `make attacks`: each attack beside innocent users, in one process and over NATS, as a Markdown
//! table.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod arena;
mod forgery;
mod measure;
mod provider;
mod row;
mod rows;
mod session;
mod socket;
mod suite;
mod witness;

use std::process::ExitCode;

use testkit::Topology;

use crate::row::{Row, Undefended};
use crate::suite::{Outcome, attacked, print_line};

/// The variable with the rows to run, by id; all if it is missing.
const ROWS: &str = "SHADDOCK_ROWS";

/// The variable with the state of the defences: `on` (the default), `off` by settings, or `patched`
/// where the program itself lacks them.
const DEFENCE: &str = "SHADDOCK_DEFENCE";

fn main() -> ExitCode {
    if attacked() {
        return ExitCode::SUCCESS;
    }
    let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let wanted = variable(ROWS).unwrap_or_default();
    let rows = row::all().into_iter().filter(|row| wanted.is_empty() || wanted.split(' ').any(|id| id == row.id));
    let defence = variable(DEFENCE).unwrap_or_else(|| "on".to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut is_well = true;
    for row in rows {
        is_well &= runtime.block_on(async {
            match defence.as_str() {
                "on" => defended(&row).await,
                "off" if !matches!(row.undefended, Undefended::Settings(_)) => true,
                off => undefended(&row, off == "off").await,
            }
        });
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a row, and prints its line for each topology. Returns true if it is as it should be.
async fn defended(row: &Row) -> bool {
    let mut is_well = true;
    for (topology, name) in [(Topology::OneProcess, "one"), (Topology::ProcessPerServer, "NATS")] {
        let outcome = row.run(topology, false, true).await;
        let verdict = if outcome.holds() { "holds".to_owned() } else { format!("**fails**: {}", outcome.all_faults()) };
        is_well &= outcome.holds();
        let cases = if row.cases.is_empty() { String::new() } else { format!(" ({})", row.cases) };
        print_line(&format!("| {}{cases} {name} | {} | {} |", row.id, row.about, outcome.cells(&verdict)));
    }
    is_well
}

/// Runs a row without its defence, and prints its line. Returns true if it fails.
async fn undefended(row: &Row, by_settings: bool) -> bool {
    let outcome: Outcome = row.run(Topology::OneProcess, false, !by_settings).await;
    let how = match row.undefended {
        Undefended::Settings(settings) => {
            settings.iter().map(|(key, value)| format!("`{key} = {value}`")).collect::<Vec<_>>().join(", ")
        }
        Undefended::Patch(name) => format!("`{name}.patch`"),
        Undefended::Never(why) => why.to_owned(),
    };
    let fails = !outcome.holds();
    let found = if fails { format!("fails: {}", outcome.all_faults()) } else { "**holds**".to_owned() };
    print_line(&format!("| {} | {how} | {found} |", row.id));
    fails
}
