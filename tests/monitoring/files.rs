//! The files under `monitoring`, and what they are compared with. Of YAML it reads what is written
//! one value a line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn dashboard() -> Value {
    serde_json::from_str(&read("monitoring/grafana/dashboards/shaddock.json")).unwrap()
}

/// Every expression in a part of the dashboard.
pub(crate) fn expressions(part: &Value) -> Vec<String> {
    match part {
        Value::Object(fields) => {
            let ours = fields.get("expr").and_then(Value::as_str).map(str::to_owned);
            ours.into_iter().chain(fields.values().flat_map(expressions)).collect()
        }
        Value::Array(items) => items.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

/// An alert rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) name: String,
    pub(crate) expression: String,
    pub(crate) lasting: String,
}

/// Returns the alerts of the rules' file.
pub(crate) fn alerts() -> Vec<Alert> {
    let text = read("monitoring/prometheus/alerts.yml");
    let alerts = text.split("- alert: ").skip(1).map(|rule| {
        let field = |name: &str| {
            let value = rule.lines().find_map(|line| line.trim().strip_prefix(name));
            value.unwrap_or_else(|| panic!("no {name} in {rule}")).trim().to_owned()
        };
        let summary = field("summary:");
        assert!(summary.len() > 40, "too little to go by: {summary}");
        assert!(field("labels:").contains("severity: "), "{rule}");
        let name = rule.lines().next().unwrap().to_owned();
        Alert { name, expression: field("expr:"), lasting: field("for:") }
    });
    alerts.collect()
}

/// Returns the alerts that the documentation lists, as `NAME`: `EXPRESSION` for `TIME`.
pub(crate) fn documented_alerts() -> Vec<Alert> {
    let page = read("docs/how-to/monitoring.md");
    let (_, section) = page.split_once("## What to alert on").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let alerts = section.split("\n- `Shaddock").skip(1).map(|item| {
        let parts: Vec<&str> = item.split('`').collect();
        let [name, _, expression, _, lasting, ..] = parts[..] else { panic!("no alert: {item}") };
        let expression = expression.split_whitespace().collect::<Vec<_>>().join(" ");
        Alert { name: format!("Shaddock{name}"), expression, lasting: lasting.to_owned() }
    });
    alerts.collect()
}

/// Returns the targets of Prometheus: the job of each `host:port`.
pub(crate) fn targets() -> BTreeMap<String, String> {
    let (mut job, mut targets) = (String::new(), BTreeMap::new());
    for line in read("monitoring/prometheus/prometheus.yml").lines() {
        let Some(item) = line.trim().strip_prefix("- ") else { continue };
        if let Some(name) = item.strip_prefix("job_name: ") {
            name.clone_into(&mut job);
        } else if item.split_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            targets.insert(item.to_owned(), job.clone());
        }
    }
    targets
}

/// The labels and their values of every figure that `/metrics` writes.
pub(crate) fn written(text: &str) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut figures = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
    // Some gauges have no value at first.
    let gauges = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" gauge"));
    figures.extend(gauges.map(|name| (name.to_owned(), BTreeMap::new())));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (figure, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = figure.split_once('{').unwrap_or((figure, ""));
        let known = figures.entry(name.to_owned()).or_default();
        for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').unwrap();
            known.entry(label.to_owned()).or_default().insert(value.trim_matches('"').to_owned());
        }
    }
    figures
}
