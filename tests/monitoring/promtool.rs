//! The alerts as Prometheus evaluates them: at their events, and at harmless ones.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::files::{alerts, read};

/// The one that `make tools` fetched, else the one on the `PATH`.
fn promtool() -> PathBuf {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/promtool");
    if fetched.exists() { fetched } else { "promtool".into() }
}

fn succeeds<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitoring/prometheus");
    let output = Command::new(promtool()).args(args).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("promtool: {error}; run `make tools`"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn alerts_fire_at_their_events_and_not_at_what_is_harmless() {
    succeeds(["check", "rules", "alerts.yml"]);
    succeeds(["test", "rules", "alerts.test.yml"]);
}

#[test]
fn each_alert_has_an_event_and_a_harmless_one() {
    let tests = read("monitoring/prometheus/alerts.test.yml");
    for alert in alerts() {
        let name = alert.name;
        let test = |kind: &str| {
            let found = tests.split("\n  - name: ").find(|test| test.starts_with(&format!("\"{name}: {kind}\"\n")));
            found.unwrap_or_else(|| panic!("there is no {kind} of {name}"))
        };
        let fires = format!("count(ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}})");
        assert!(test("event").contains(&fires), "the event of {name} asks for {fires}");
        let harmless = test("harmless");
        let is_silent =
            harmless.contains("promql_expr_test: *nothing") || harmless.contains("promql_expr_test: &nothing");
        assert!(is_silent, "the harmless one of {name} wants that nothing fires");
    }
}
