//! Memory, descriptors, log lines and metrics of the servers' processes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use testkit::{Deployment, Topology, http_get};

use crate::witness::TEXT;

/// Most lines of a kind that a process may log in a second.
const MOST_LINES: usize = 10;

/// The longest wait for metrics.
const METRICS: Duration = Duration::from_secs(10);

/// Memory and descriptors of all servers' processes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) memory_mib: f64,
    pub(crate) descriptors: usize,
}

impl Usage {
    pub(crate) fn of(deployment: &Deployment) -> Self {
        let mut usage = Self::default();
        for (_, process) in deployment.processes() {
            let directory = format!("/proc/{}", process.id());
            let status = fs::read_to_string(format!("{directory}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
            let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or_default();
            usage.memory_mib += kib / 1_024.0;
            usage.descriptors += fs::read_dir(format!("{directory}/fd")).map(Iterator::count).unwrap_or_default();
        }
        usage
    }

    /// The larger of each.
    pub(crate) fn max(self, other: Self) -> Self {
        Self { memory_mib: self.memory_mib.max(other.memory_mib), descriptors: self.descriptors.max(other.descriptors) }
    }
}

/// Returns the names of processes that have ended.
pub(crate) fn ended(deployment: &Deployment) -> Vec<String> {
    let has_ended = |id: u32| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    };
    deployment.processes().filter(|(_, process)| has_ended(process.id())).map(|(name, _)| name.to_owned()).collect()
}

/// The sums of all processes' metrics, by the line's name and labels.
pub(crate) async fn metrics(deployment: &Deployment) -> BTreeMap<String, f64> {
    let ports = match deployment.topology() {
        // One process shows the same at each port.
        Topology::OneProcess => vec![deployment.gate()],
        Topology::ProcessPerServer => {
            let installation = &deployment.installation;
            deployment.processes().filter_map(|(name, _)| installation.operators(name)).collect()
        }
    };
    let mut sums = BTreeMap::new();
    for port in ports {
        let response = tokio::time::timeout(METRICS, http_get(port, "/metrics", &["Host: 127.0.0.1"])).await;
        let Ok(Some(response)) = response else { continue };
        for line in response.body.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, value)) = line.rsplit_once(' ') {
                *sums.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap_or_default();
            }
        }
    }
    sums
}

/// The sum of all lines of a metric, whatever their labels.
pub(crate) fn sum(metrics: &BTreeMap<String, f64>, name: &str) -> f64 {
    let is_of = |line: &str| line == name || line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
    metrics.iter().filter(|(line, _)| is_of(line)).map(|(_, value)| value).sum()
}

/// The lengths of all outputs, by process.
pub(crate) fn output_lengths(deployment: &Deployment) -> BTreeMap<String, usize> {
    deployment.processes().map(|(name, process)| (name.to_owned(), process.output().len())).collect()
}

/// Returns the faults of what processes logged since their outputs had these lengths. With
/// `are_counted`, too many lines are one.
pub(crate) fn log_faults(
    deployment: &Deployment,
    since: &BTreeMap<String, usize>,
    secrets: &[String],
    are_counted: bool,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, process) in deployment.processes() {
        let output = process.output();
        let new = output.get(since.get(name).copied().unwrap_or_default()..).unwrap_or_default();
        if let Some(line) = new.lines().find(|line| line.contains("panicked at")) {
            faults.push(format!("{name}: {line}"));
        }
        if new.contains(TEXT) || secrets.iter().any(|secret| !secret.is_empty() && new.contains(secret)) {
            faults.push(format!("{name} logs a token or a text"));
        }
        if new.chars().any(|c| c.is_control() && c != '\n') {
            faults.push(format!("{name} logs control characters"));
        }
        for (kind, count) in most_lines(new) {
            if are_counted && count > MOST_LINES {
                faults.push(format!("{name} logs {count} lines a second: {kind}"));
            }
        }
    }
    faults
}

/// The most lines in a second, by kind: the line without its time and its fields.
fn most_lines(log: &str) -> BTreeMap<String, usize> {
    let mut by_second: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for line in log.lines() {
        let (time, rest) = line.split_once(' ').unwrap_or((line, ""));
        let message =
            rest.split_once('=').map_or(rest, |(before, _)| before.rsplit_once(' ').map_or("", |(text, _)| text));
        *by_second.entry((time.get(..19).unwrap_or(time), message.trim().to_owned())).or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((_, kind), count) in by_second {
        let entry = most.entry(kind).or_default();
        *entry = count.max(*entry);
    }
    most
}
