//! Tables as Markdown. Pure.

use load::StepReport;

use crate::dimensions::{Component, Shape, StepKind, System};
use crate::load_steps::{FAN_OUT, IDLE, ROOMS, STORM};
use crate::ratios::Ratio;
use crate::results::{Baseline, HandshakeRow, LoginRow, Results, Row, is_sustained};

/// Below one in this many, messages that were not sent in time are no sign of a problem.
const FEW: u64 = 1_000;

const MIB: f64 = 1024.0 * 1024.0;

/// All that was measured.
pub(crate) fn tables(results: &Results) -> String {
    let mut all = vec![floors(results)];
    all.extend(FAN_OUT.iter().map(|fan_out| fan_out_table(results, fan_out.shape)));
    all.extend([rooms(results), logins(results), memory(results), handshakes(results)]);
    all.extend([tokens(results), notes(results)]);
    all.retain(|table| !table.is_empty());
    all.join("\n")
}

/// Renders the ratios.
pub(crate) fn ratio_table(ratios: &[Ratio]) -> String {
    let row = |ratio: &Ratio| {
        let met = match ratio.is_met() {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        let target = ratio.target.map(|target| target.to_string()).unwrap_or_default();
        let words = [&ratio.about, &ratio.what].map(Clone::clone);
        let [about, what] = words;
        vec![about, ratio.system.to_string(), what, digits(ratio.value), target, met.to_owned()]
    };
    let head = ["", "system", "what", "found", "to be", ""];
    titled("Ratios", &head, ratios.iter().map(row).collect())
}

fn floors(results: &Results) -> String {
    let row = |baseline: &Baseline| {
        vec![
            baseline.kind.to_string(),
            digits(baseline.sum()),
            split(&baseline.micros),
            format!("{:.0}", baseline.per_sec),
        ]
    };
    titled("Floor", &["what", "CPU us", "of it", "per s"], results.baselines.iter().map(row).collect())
}

const MESSAGES: [&str; 11] = [
    "system",
    "load",
    "messages/s",
    "deliveries/s",
    "CPU us per delivery",
    "of it",
    "per message",
    "p50 ms",
    "p90",
    "p99",
    "cores: servers + load",
];

fn fan_out_table(results: &Results, shape: Shape) -> String {
    let rows = System::ALL.iter().flat_map(|system| results.rows(shape, *system));
    let rows = rows
        .filter(|row| row.step != StepKind::Settling)
        .map(|row| messages(row, load(row), [Row::per_delivery, Row::per_message]));
    titled(&format!("Fan-out, {shape}"), &MESSAGES, rows.collect())
}

fn rooms(results: &Results) -> String {
    let head = MESSAGES.map(|name| match name {
        "CPU us per delivery" => "CPU us per message",
        "per message" => "per delivery",
        other => other,
    });
    let rows = System::ALL.iter().flat_map(|system| {
        // A rate that a system does not sustain says nothing about latency at that rate.
        let is_shown = |row: &&Row| row.step != StepKind::Search && is_sustained(&row.report);
        let rates = results.rows(ROOMS, *system).filter(is_shown).map(|row| (row, load(row)));
        let most = results.highest_sustained(ROOMS, *system).map(|row| (row, "the most".to_owned()));
        rates.chain(most)
    });
    let rows = rows.map(|(row, load)| messages(row, load, [Row::per_message, Row::per_delivery]));
    titled(&format!("Small rooms, {ROOMS}"), &head, rows.collect())
}

/// With two costs, the first one split.
fn messages(row: &Row, load: String, [cost, other]: [fn(&Row) -> f64; 2]) -> Vec<String> {
    let StepReport { latency_ms, deliveries_per_sec, .. } = &row.report;
    let [servers, load_cores] = row.cores();
    vec![
        row.system.to_string(),
        load,
        format!("{:.0}", row.messages_per_sec()),
        format!("{deliveries_per_sec:.0}"),
        digits(cost(row)),
        split(&row.split(cost)),
        digits(other(row)),
        digits(latency_ms.p50),
        digits(latency_ms.p90),
        digits(latency_ms.p99),
        format!("{servers:.2} + {load_cores:.2}"),
    ]
}

fn load(row: &Row) -> String {
    match (row.step, row.report.rate) {
        (StepKind::Saturated, _) => "saturated".to_owned(),
        (StepKind::Half, _) => "half".to_owned(),
        (StepKind::Storm, _) => "storm".to_owned(),
        (StepKind::Idle, _) => "idle".to_owned(),
        (_, rate) => format!("{:.0}/s", rate.unwrap_or_default()),
    }
}

fn logins(results: &Results) -> String {
    let rows = System::ALL.iter().filter_map(|system| results.row(STORM, *system, StepKind::Storm));
    let row = |row: &Row| {
        let StepReport { logins_per_sec, login_ms, .. } = &row.report;
        let cost = [digits(row.per_login()), split(&row.split(Row::per_login))];
        let [cost, of_it] = cost;
        let times = [login_ms.p50, login_ms.p99].map(digits);
        let [p50, p99] = times;
        vec![row.system.to_string(), format!("{logins_per_sec:.0}"), cost, of_it, p50, p99]
    };
    let head = ["system", "logins/s", "CPU us per login", "of it", "p50 ms", "p99"];
    titled(&format!("Logins, {} at once", STORM.users()), &head, rows.map(row).collect())
}

fn memory(results: &Results) -> String {
    let rows = System::ALL.iter().filter_map(|system| results.row(IDLE, *system, StepKind::Idle));
    let row = |row: &Row| {
        let of = row.components.iter().zip(&row.report.cpu);
        let resident = of
            .map(|(component, process)| (*component, process.rss_bytes.unwrap_or_default() as f64 / MIB))
            .collect::<Vec<_>>();
        let all = resident.iter().map(|(_, mib)| mib).sum();
        let cost = digits(row.per_session() / 1024.0);
        vec![row.system.to_string(), row.report.users.to_string(), cost, digits(all), split(&resident)]
    };
    let head = ["system", "sessions", "KiB per session", "MiB in all", "of it"];
    titled("Memory, idle", &head, rows.map(row).collect())
}

fn handshakes(results: &Results) -> String {
    let row = |row: &HandshakeRow| {
        vec![row.certificate.to_string(), format!("{:.0}", row.per_sec), digits(row.server_micros)]
    };
    let head = ["certificate", "connections/s", "server's CPU us each"];
    titled("Connections, with TLS and without", &head, results.handshakes.iter().map(row).collect())
}

fn tokens(results: &Results) -> String {
    let row =
        |row: &LoginRow| vec![row.algorithm.to_string(), format!("{:.0}", row.per_sec), digits(row.server_micros)];
    let head = ["token", "logins/s", "servers' CPU us each"];
    titled("Logins of one process, with tokens and without", &head, results.logins.iter().map(row).collect())
}

/// Renders failures that make figures doubtful.
fn notes(results: &Results) -> String {
    let doubtful = |row: &&Row| !matches!(row.step, StepKind::Search | StepKind::Settling);
    let notes = results.rows.iter().filter(doubtful).filter_map(|row| {
        let StepReport { refused, denied, closed, unknown, unsent, sent, .. } = &row.report;
        let counts = [
            (refused.values().sum(), "refused"),
            (denied.values().sum(), "logins denied"),
            (closed.values().sum(), "closed"),
            (*unknown, "unknown"),
            (if unsent * FEW > *sent { *unsent } else { 0 }, "due and not sent"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        (!counts.is_empty()).then(|| format!("- {}, {}, {}: {counts}\n", row.shape, row.system, load(row)))
    });
    let notes: String = notes.collect();
    if notes.is_empty() { notes } else { format!("## Not as planned\n\n{notes}") }
}

fn split(shares: &[(Component, f64)]) -> String {
    if shares.len() < 2 {
        return String::new();
    }
    shares.iter().map(|(component, value)| format!("{component} {}", digits(*value))).collect::<Vec<_>>().join(", ")
}

/// Formats three significant digits.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Nothing where there are no rows.
fn titled(title: &str, head: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).chain([head[column].len()]).max();
    let widths: Vec<_> = (0..head.len()).map(|column| width(column).unwrap_or_default().max(3)).collect();
    let line = |words: &[&str]| {
        let padded = words.iter().zip(&widths).map(|(word, width)| format!("{word:<width$}"));
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let rule: Vec<_> = rule.iter().map(String::as_str).collect();
    let body: String = rows.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>())).collect();
    format!("## {title}\n\n{}{}{body}", line(head), line(&rule))
}
