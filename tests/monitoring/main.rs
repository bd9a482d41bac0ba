//! The files of `monitoring` ask for figures, labels, servers and limits that exist, and alerts
//! fire at their events alone. Neither Prometheus nor Grafana runs here, but Prometheus' own
//! promtool.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod expression;
mod files;
mod promtool;

use std::collections::{BTreeMap, BTreeSet};

use runtime::config::Settings;
use runtime::metrics::Metrics;
use serde_json::Value;

use expression::{Expression, Figure};
use files::{alerts, dashboard, documented_alerts, expressions, read, targets, written};

/// Metrics of Prometheus itself.
const ITS_OWN: [&str; 2] = ["up", "ALERTS"];

/// Suffixes that Prometheus adds to the name of a metric.
const ENDINGS: [&str; 4] = ["_total", "_bucket", "_sum", "_count"];

/// Everything that is asked for.
fn all_expressions() -> Vec<String> {
    let mut all = expressions(&dashboard());
    assert!(all.len() > 50, "the expressions were not found");
    all.extend(alerts().into_iter().map(|alert| alert.expression));
    all
}

#[test]
fn every_figure_that_is_asked_for_is_written() {
    let metrics = Metrics::new();
    // These are written from a chat server's first look at its log on.
    for of_stream in [&metrics.log_bytes, &metrics.log_max_bytes, &metrics.log_failing] {
        of_stream.set("ROOMS", 0);
    }
    let mut written = written(&metrics.text());
    let jobs: BTreeSet<String> = targets().into_values().chain(["gate".to_owned()]).collect();
    for own in ITS_OWN {
        written.insert(own.to_owned(), BTreeMap::new());
    }
    for text in all_expressions() {
        let expression = Expression::parse(&text);
        assert!(!expression.figures.is_empty(), "{text} asks for nothing");
        let mut labels: BTreeSet<&str> = ["job", "instance"].into();
        for figure in &expression.figures {
            let known = written.get(&figure.name).unwrap_or_else(|| panic!("there is no {} for {text}", figure.name));
            labels.extend(known.keys().map(String::as_str));
            if figure.name != "ALERTS" {
                check_labels(figure, known, &jobs);
            }
        }
        for label in &expression.grouped_by {
            assert!(labels.contains(label.as_str()), "no figure in {text} has {label}");
        }
    }
}

fn check_labels(figure: &Figure, known: &BTreeMap<String, BTreeSet<String>>, jobs: &BTreeSet<String>) {
    for (label, values) in &figure.labels {
        let known = match label.as_str() {
            // Which, is chosen in Grafana.
            "instance" => continue,
            "job" => jobs,
            _ => known.get(label).unwrap_or_else(|| panic!("{} has no {label}", figure.name)),
        };
        for value in values {
            assert!(known.contains(value), "{label} of {} is never {value}", figure.name);
        }
    }
}

#[test]
fn the_dashboard_shows_every_figure() {
    let shown = expressions(&dashboard()).iter().flat_map(|text| Expression::parse(text).figures).collect::<Vec<_>>();
    for (name, ..) in Metrics::described() {
        let is_it = |figure: &Figure| {
            figure.name.strip_prefix(&name).is_some_and(|ending| ending.is_empty() || ENDINGS.contains(&ending))
        };
        assert!(shown.iter().any(is_it), "{name} is nowhere on the dashboard");
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_what() {
    let dashboard = dashboard();
    let source = read("monitoring/grafana/provisioning/datasources/prometheus.yml");
    let uid = source.lines().find_map(|line| line.trim().strip_prefix("uid: ")).unwrap();
    let panels: Vec<&Value> = dashboard["panels"].as_array().unwrap().iter().collect();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = &panel["title"];
        assert!(title.as_str() > Some("") && panel["description"].as_str() > Some(""), "{panel}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        assert_eq!(panel["datasource"]["uid"], uid, "{title}");
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        assert_eq!(variable["datasource"]["uid"], uid, "{variable}");
    }
}

#[test]
fn prometheus_asks_every_server_that_has_a_port() {
    let servers: Value = serde_json::from_str(&read("config/servers.json")).unwrap();
    let compose = read("docker-compose.yml");
    let mut expected = BTreeMap::new();
    for (kind, servers) in servers["production"].as_object().unwrap() {
        for server in servers.as_array().unwrap() {
            let (id, port) = (server["id"].as_str().unwrap(), server["port"].as_u64());
            assert!(compose.contains(&format!("\n  {id}:\n")), "{id} is no service");
            expected.extend(port.map(|port| (format!("{id}:{port}"), kind.clone())));
        }
    }
    assert_eq!(targets(), expected);
}

#[test]
fn alerts_are_those_that_the_documentation_lists() {
    assert_eq!(alerts(), documented_alerts());
}

#[test]
fn limits_in_alerts_are_those_of_the_settings() {
    let Settings { log, frontend, .. } = Settings::default();
    for (name, limit) in [
        ("ShaddockLogNearlyFull", log.pressure.to_string()),
        ("ShaddockConnectionsNearlyFull", format!("0.9 * {}", frontend.max_connections)),
    ] {
        let alert = alerts().into_iter().find(|alert| alert.name == name).unwrap();
        assert!(alert.expression.ends_with(&format!("> {limit}")), "{alert:?}");
    }
}
