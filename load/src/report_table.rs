//! A report as a text table. Pure.

use std::collections::BTreeMap;
use std::fmt;

use wire::text::without_display_controls;

use super::process_usage::ProcessUsage;
use super::report::{Milliseconds, Report, StepReport};

const MIB: f64 = 1024.0 * 1024.0;

/// Shows a report as a table.
#[derive(Debug)]
pub struct ReportTable<'r>(pub &'r Report);

impl fmt::Display for ReportTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = &self.0.steps;
        if let Some(step) = steps.first() {
            logins(step, f)?;
        }
        if steps.iter().any(|step| step.sent + step.deliveries > 0) {
            messages(steps, f)?;
        }
        steps.iter().try_for_each(|step| notes(step, f))?;
        processes(steps, f)?;
        if self.0.is_clean() {
            if let Some(reason) = self.0.unmeasured() {
                return writeln!(f, "NOT MEASURED: {}", without_display_controls(&reason));
            }
            return writeln!(f, "nothing was lost, doubled or out of order");
        }
        let sum = |of: fn(&StepReport) -> u64| steps.iter().map(of).sum::<u64>();
        let (lost, doubled) = (sum(|step| step.lost), sum(|step| step.doubled));
        let (reordered, misplaced) = (sum(|step| step.reordered), sum(|step| step.misplaced));
        writeln!(f, "WRONG: {lost} lost, {doubled} doubled, {reordered} out of order, {misplaced} in another room")
    }
}

fn logins(step: &StepReport, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let StepReport { logins, logins_per_sec, login_ms, users, rooms, senders, payload, .. } = step;
    writeln!(f, "{logins} logins, {logins_per_sec:.0}/s, ms: {login_ms}")?;
    counts("denied", &step.denied, f)?;
    if *users > 0 {
        writeln!(f, "{users} users in {rooms} rooms, {senders} senders, {payload} bytes")?;
    }
    Ok(())
}

fn messages(steps: &[StepReport], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f)?;
    writeln!(f, "{:>9} {:>9} {:>12} {:^39} {:^39}", "", "", "", "delivery ms", "acknowledgement ms")?;
    let times = format!("{:>7} {:>7} {:>7} {:>7} {:>7}", "p50", "p90", "p99", "p99.9", "max");
    writeln!(f, "{:>9} {:>9} {:>12} {times} {times}", "due/s", "sent/s", "deliveries/s")?;
    for step in steps {
        let rate = step.rate.map_or("-".to_owned(), |rate| format!("{rate:.0}"));
        let sent = super::report::per_sec(step.acknowledged, step.secs);
        write!(f, "{rate:>9} {sent:>9.0} {:>12.0} ", step.deliveries_per_sec)?;
        writeln!(f, "{} {}", Columns(&step.latency_ms), Columns(&step.ack_ms))?;
    }
    Ok(())
}

/// Writes a line for each kind of failure.
fn notes(step: &StepReport, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let rate = step.rate.map_or(String::new(), |rate| format!("at {rate:.0}/s: "));
    for (count, what) in [
        (step.unsent, "were due and not sent in time: see `unsent` in docs/reference/load.md"),
        (step.unknown, "have an unknown outcome"),
        (step.repeated, "were sent again"),
    ] {
        if count > 0 {
            writeln!(f, "{rate}{count} messages {what}")?;
        }
    }
    counts(&format!("{rate}refused"), &step.refused, f)?;
    counts(&format!("{rate}sessions that ended"), &step.closed, f)
}

fn counts<K: fmt::Display>(what: &str, counts: &BTreeMap<K, u64>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if counts.is_empty() {
        return Ok(());
    }
    let counts: Vec<_> = counts.iter().map(|(key, count)| format!("{key} ({count})")).collect();
    // Reasons are texts of the server that is measured, which may have escapes of a terminal.
    writeln!(f, "{what}: {}", without_display_controls(&counts.join(", ")))
}

fn processes(steps: &[StepReport], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f)?;
    write!(f, "{:>9} {:<32} {:>6} {:>11} {:>10} ", "due/s", "process", "cores", "us/delivery", "us/message")?;
    writeln!(f, "{:>8} {:>8} {:>13}", "us/login", "RSS MiB", "bytes/session")?;
    for step in steps {
        let rate = step.rate.map_or("-".to_owned(), |rate| format!("{rate:.0}"));
        for process in &step.cpu {
            write!(f, "{rate:>9} ")?;
            row(process, step, f)?;
        }
        let cores = step.load_cpu_secs / step.secs.max(f64::MIN_POSITIVE);
        let each = number((step.deliveries > 0).then(|| step.load_cpu_secs * 1e6 / step.deliveries as f64), 2);
        writeln!(f, "{rate:>9} {:<32} {cores:>6.2} {each:>11}", "this one")?;
    }
    Ok(())
}

fn row(process: &ProcessUsage, step: &StepReport, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let name = format!("{} {}", process.pid, process.name);
    let cores = process.secs / step.secs.max(f64::MIN_POSITIVE);
    let (delivery, message) = (number(process.us_per_delivery, 2), number(process.us_per_message, 1));
    let login = number(process.us_per_login, 0);
    let rss = number(process.rss_bytes.map(|bytes| bytes as f64 / MIB), 1);
    // Messages take memory, too, which is no session's: only idle steps measure sessions.
    let session = process.rss_per_session.filter(|_| step.deliveries == 0);
    let session = number(session.map(|bytes| bytes as f64), 0);
    writeln!(f, "{name:<32} {cores:>6.2} {delivery:>11} {message:>10} {login:>8} {rss:>8} {session:>13}")
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p999, max } = self;
        write!(f, "p50 {p50:.2}, p90 {p90:.2}, p99 {p99:.2}, p99.9 {p999:.2}, max {max:.2}")
    }
}

struct Columns<'m>(&'m Milliseconds);

impl fmt::Display for Columns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Milliseconds { p50, p90, p99, p999, max } = self.0;
        write!(f, "{p50:>7.2} {p90:>7.2} {p99:>7.2} {p999:>7.2} {max:>7.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::counts::Counts;
    use super::super::plan::Plan;
    use super::super::report::LoginPhase;
    use super::*;

    fn step(change: fn(&mut StepReport)) -> StepReport {
        let counts = Counts { logins: 5, ..Counts::default() };
        let mut step = LoginPhase { counts, secs: 1.0 }.report(&Plan::default());
        change(&mut step);
        step
    }

    #[test]
    fn what_is_wrong_is_summed_over_all_rates() {
        let steps = vec![step(|step| step.lost = 2), step(|step| (step.lost, step.doubled) = (1, 4))];
        let shown = ReportTable(&Report { steps }).to_string();
        assert!(shown.ends_with("WRONG: 3 lost, 4 doubled, 0 out of order, 0 in another room\n"), "{shown}");
    }

    #[test]
    fn only_what_happened_is_noted() {
        let shown = ReportTable(&Report { steps: vec![step(|_| ())] }).to_string();
        assert!(!shown.contains("refused") && !shown.contains("delivery ms") && shown.contains("5 logins"), "{shown}");
        let busy = |step: &mut StepReport| {
            (step.sent, step.unknown, step.rate) = (10, 1, Some(30.0));
            step.refused.insert(429, 7);
            step.unmeasured = Some("it failed".to_owned());
        };
        let shown = ReportTable(&Report { steps: vec![step(busy)] }).to_string();
        assert!(shown.ends_with("NOT MEASURED: at 30/s: it failed\n"), "{shown}");
        assert!(shown.contains("at 30/s: 1 messages have an unknown outcome\nat 30/s: refused: 429 (7)\n"), "{shown}");
    }
}
