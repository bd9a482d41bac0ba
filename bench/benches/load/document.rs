//! The files in `docs/bench` that a complete run writes.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use crate::host::Host;
use crate::plot;
use crate::ratios::ratios;
use crate::results::Results;
use crate::table::{ratio_table, tables};

const HEADER: &str = "\
# Results

Written by `make bench`; [README.md](README.md) says what the figures mean. Only ratios may be quoted: machines differ.

![Processor time per delivery](cpu-per-delivery.svg)

![Latency at half load](latency.svg)

## Machine
";

/// A run that is over.
pub(crate) struct Document {
    pub(crate) host: Host,
    /// The use of the machine's processors.
    pub(crate) usage: String,
    pub(crate) results: Results,
}

impl Document {
    /// The tables.
    pub(crate) fn figures(&self) -> String {
        format!("{}\n{}", ratio_table(&ratios(&self.results)), tables(&self.results))
    }

    /// Every step in full.
    fn json(&self) -> String {
        let Self { host, usage, results } = self;
        let [floors, rows] = [lines(&results.baselines), lines(&results.rows)];
        let [handshakes, logins] = [lines(&results.handshakes), lines(&results.logins)];
        format!(
            "{{\"machine\":{},\n\"usage\":{},\n\"floors\":{floors},\n\"rows\":{rows},\n\
             \"handshakes\":{handshakes},\n\"logins\":{logins}}}\n",
            json!(host),
            json!(usage)
        )
    }

    /// Writes all files; returns a line for the terminal.
    pub(crate) fn write(&self) -> String {
        let directory = directory();
        fs::create_dir_all(&directory).unwrap();
        let text = format!("{HEADER}\n{}- {}\n\n{}", self.host, self.usage, self.figures());
        fs::write(directory.join("results.md"), text).unwrap();
        fs::write(directory.join("results.json"), self.json()).unwrap();
        plot::cpu(&self.results, &directory.join("cpu-per-delivery.svg")).unwrap();
        plot::latency(&self.results, &directory.join("latency.svg")).unwrap();
        "docs/bench was written anew".to_owned()
    }
}

/// A value a line, so that differences can be read.
fn lines<T: Serialize>(values: &[T]) -> String {
    let lines: Vec<_> = values.iter().map(|value| format!("  {}", json!(value))).collect();
    format!("[\n{}\n]", lines.join(",\n"))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench")
}
