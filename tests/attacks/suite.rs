//! Runs rows: servers, innocent users, and the attacker in a process of its own; compares what was
//! noticed with the common criterion.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use testkit::{Certificates, Deployment, Layout, Process, Scratch, Topology, shaddock};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::arena::{Arena, ORDERS, Orders, REPORT, Report, TlsFiles};
use crate::forgery;
use crate::measure::{self, Usage};
use crate::provider::Provider;
use crate::row::{Row, Undefended};
use crate::socket::{PROXY, Via};
use crate::witness::{Innocents, Noticed, Phase};

/// The variable with the program to attack, instead of the one that is built for tests.
const PROGRAM: &str = "SHADDOCK_PROGRAM";

/// Time that the innocent users talk before the attack.
const QUIET: Duration = Duration::from_secs(4);
const QUIET_QUICK: Duration = Duration::from_millis(1_500);

/// Time between two looks at memory and descriptors.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Memory that an attack may take, and that may be left of it; and for how long it may last.
const DURING_MIB: f64 = 64.0;
const LEFT_MIB: f64 = 16.0;
const LEFT_DESCRIPTORS: usize = 5;
const RECOVERS_WITHIN: Duration = Duration::from_secs(15);

/// Pairs of a certificate and a key that could take the place of the first.
const PAIRS: usize = 8;

/// Chat servers.
const CHATS: usize = 2;

const MIB: f64 = 1_048_576.0;

/// Memory for each byte of a log in memory.
const LOG_IN_MEMORY: f64 = 1.25;

/// The longest p99 of innocent users that is well in any case, in milliseconds.
const FINE_P99: f64 = 100.0;
// Debug builds beside other tests.
const FINE_P99_QUICK: f64 = 500.0;

/// The longest p99 of their reads of the history, in milliseconds.
const FINE_HISTORY_P99: f64 = 1_000.0;

/// Time of an attacker beyond that of the attack.
const ATTACKER_EXTRA: Duration = Duration::from_secs(90);

/// A row as it was measured.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) report: Report,
    pub(crate) noticed: Noticed,
    before: Usage,
    /// `before`, with what the log in memory grew.
    base: Usage,
    during: Usage,
    after: Usage,
    after_secs: f64,
    counters: String,
    pub(crate) faults: BTreeSet<String>,
}

/// The program that is attacked.
pub(crate) fn program() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| shaddock().to_owned(), PathBuf::from)
}

/// Runs the attacker if this process is one. Returns false if it is not.
pub(crate) fn attacked() -> bool {
    let Some(orders) = std::env::var_os(ORDERS) else { return false };
    let orders: Orders = serde_json::from_str(&orders.to_string_lossy()).unwrap();
    let row = crate::row::all().into_iter().find(|row| row.id == orders.row).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let report = runtime.block_on(async {
        let arena = Arena::new(orders);
        let note = (row.attack)(arena.clone()).await;
        arena.report(note)
    });
    print_line(&format!("{REPORT}{}", serde_json::to_string(&report).unwrap()));
    // Connections that are still open end with the process.
    std::process::exit(0);
}

/// Prints a line of a table, or of a report.
#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
pub(crate) fn print_line(line: &str) {
    println!("{line}");
}

impl Row {
    /// The settings of the servers, with others in their place.
    fn layout(
        &self,
        topology: Topology,
        (tls, tokens): (Option<&TlsFiles>, Option<&BTreeMap<&'static str, String>>),
        others: &[(&str, &str)],
    ) -> Layout {
        let is_proxied = self.via == Via::ProxyHeader;
        let trusted = format!("[{PROXY:?}]");
        let mut settings: BTreeMap<&str, &str> = [
            ("frontend.trusted_proxies", trusted.as_str()),
            ("frontend.proxy_protocol", if is_proxied { "true" } else { "false" }),
        ]
        .into();
        let quoted =
            tls.map(|TlsFiles { served: (certificate, key), .. }| (format!("{certificate:?}"), format!("{key:?}")));
        if let Some((certificate, key)) = &quoted {
            settings.extend([("tls.cert_file", certificate.as_str()), ("tls.key_file", key)]);
        }
        settings.extend(tokens.into_iter().flatten().map(|(key, value)| (*key, value.as_str())));
        settings.extend(self.settings.iter().copied());
        settings.extend(others.iter().copied());
        let lines: String = settings.iter().fold(String::new(), |mut lines, (key, value)| {
            writeln!(lines, "{key} = {value}").unwrap();
            lines
        });
        let mut layout = Layout::new(topology, &lines);
        (layout.chats, layout.connectors, layout.has_operator_ports) = (CHATS, 2, true);
        layout
    }

    /// Runs the row, in short as in `make test` or whole, with its defence on, or off by settings.
    pub(crate) async fn run(&self, topology: Topology, is_quick: bool, is_defended: bool) -> Outcome {
        let others = match self.undefended {
            Undefended::Settings(others) if !is_defended => others,
            _ => &[],
        };
        let scratch = Scratch::new();
        let program = self.program_in(&scratch);
        let certificates = self.conditions.has_tls.then(Certificates::new);
        let tls = certificates.as_ref().map(|certificates| tls_files(certificates, &scratch));
        let provider = match self.conditions.reads_tokens {
            true => Some(Provider::start(&scratch).await),
            false => None,
        };
        let tokens = provider.as_ref().map(|provider| forgery::settings(&scratch, &provider.url()));
        let layout = self.layout(topology, (tls.as_ref(), tokens.as_ref()), others);
        let deployment = Deployment::start(&program, &layout).await;
        let tls_client = certificates.as_ref().map(Certificates::client);
        let connectors = [deployment.connector(0), deployment.connector(1)];
        let innocents = Innocents::start(&connectors, self.via, tls_client.as_ref()).await;
        sleep(if is_quick { QUIET_QUICK } else { QUIET }).await;
        let before = Usage::of(&deployment);
        let metrics = measure::metrics(&deployment).await;
        let outputs = measure::output_lengths(&deployment);

        innocents.begin(Phase::Attack);
        let during = Arc::new(Mutex::new(before));
        let (report, deployment) = self.attack((deployment, tls), is_quick, &during, &scratch).await;
        innocents.begin(Phase::After);
        let grown = log_bytes(&measure::metrics(&deployment).await, topology) - log_bytes(&metrics, topology);
        // What is kept of a log in memory is no leak.
        let kept_mib = if topology == Topology::OneProcess { grown.max(0.0) * LOG_IN_MEMORY / MIB } else { 0.0 };
        let base = Usage { memory_mib: before.memory_mib + kept_mib, ..before };
        let (after, after_secs) = recovered(&deployment, base).await;
        let noticed = innocents.stop().await;
        let during = *during.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcome = Outcome {
            report,
            noticed,
            before,
            base,
            during,
            after,
            after_secs,
            counters: String::new(),
            faults: BTreeSet::new(),
        };
        self.count(&mut outcome, topology, &metrics, &measure::metrics(&deployment).await);
        if self.conditions.reads_tokens {
            // The begin of every token that JSON is in.
            outcome.noticed.tokens.push("eyJ".to_owned());
        }
        outcome.faults.extend(measure::log_faults(
            &deployment,
            &outputs,
            &outcome.noticed.tokens,
            self.conditions.log.is_none(),
        ));
        outcome.faults.extend(measure::ended(&deployment).into_iter().map(|name| format!("{name} ended")));
        self.judge(&mut outcome, is_quick);
        outcome
    }

    /// The program, under the row's conditions.
    fn program_in(&self, scratch: &Scratch) -> PathBuf {
        let (program, conditions) = (program(), self.conditions);
        let files = conditions.open_files.map(|files| format!("ulimit -n {files}\n")).unwrap_or_default();
        let log = conditions.log.map(|log| format!("export SHADDOCK_LOG={log}\n")).unwrap_or_default();
        if files.is_empty() && log.is_empty() {
            return program;
        }
        let script = scratch.file("shaddock", &format!("#!/bin/sh\n{files}{log}exec {} \"$@\"\n", program.display()));
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        script.into()
    }

    /// Runs the attacker, and looks at the servers meanwhile.
    async fn attack(
        &self,
        (deployment, tls): (Deployment, Option<TlsFiles>),
        is_quick: bool,
        during: &Arc<Mutex<Usage>>,
        scratch: &Scratch,
    ) -> (Report, Deployment) {
        let secs = if is_quick { self.quick_secs.unwrap_or(self.secs) } else { self.secs };
        let orders = Orders {
            row: self.id.to_owned(),
            gate: deployment.gate(),
            connectors: vec![deployment.connector(0), deployment.connector(1)],
            nats: deployment.nats.as_ref().map(|nats| nats.url().to_owned()),
            via: self.via,
            tls,
            provider: self.conditions.reads_tokens.then(|| scratch.path().to_str().unwrap().to_owned()),
            processes: deployment.processes().map(|(_, process)| process.id()).collect(),
            secs,
        };
        let deployment = Arc::new(deployment);
        let mut looks = JoinSet::new();
        let (seen, looked_at) = (during.clone(), deployment.clone());
        looks.spawn(async move {
            loop {
                note_most(&seen, Usage::of(&looked_at));
                sleep(LOOK_EVERY).await;
            }
        });
        let report = attacker(&orders, scratch.path()).await;
        looks.shutdown().await;
        (report, Arc::into_inner(deployment).unwrap())
    }

    fn count(
        &self,
        outcome: &mut Outcome,
        topology: Topology,
        before: &BTreeMap<String, f64>,
        after: &BTreeMap<String, f64>,
    ) {
        for name in self.counters {
            let rise = measure::sum(after, name) - measure::sum(before, name);
            let short = name.trim_start_matches("shaddock_").trim_end_matches("_total");
            write!(outcome.counters, "{}{short} +{rise}", if outcome.counters.is_empty() { "" } else { ", " }).unwrap();
            if rise <= 0.0 {
                outcome.faults.insert(format!("{name} did not rise"));
            }
        }
        let grown = (log_bytes(after, topology) - log_bytes(before, topology)) / MIB;
        if grown >= 0.5 {
            write!(outcome.report.note, " log +{grown:.1} MiB").unwrap();
        }
    }

    fn judge(&self, outcome: &mut Outcome, is_quick: bool) {
        let Outcome { report, noticed, base, during, after, faults, .. } = outcome;
        faults.append(&mut report.faults);
        faults.extend(std::mem::take(&mut noticed.faults));
        if report.reached * 2.0 < report.planned {
            faults.insert(format!("not measured: {:.0} of {:.0} {}", report.reached, report.planned, report.unit));
        }
        let fine = if is_quick { FINE_P99_QUICK } else { FINE_P99 };
        let (quiet, attacked) = (noticed.send_p99(Phase::Quiet), noticed.send_p99(Phase::Attack));
        if attacked.is_nan() || attacked > fine.max(3.0 * quiet) {
            faults.insert(format!("p99 {attacked:.0} ms, {quiet:.0} ms before"));
        }
        let history = noticed.history_p99(Phase::Attack);
        if history > FINE_HISTORY_P99 {
            faults.insert(format!("history p99 {history:.0} ms"));
        }
        if noticed.lost > 0 || noticed.disconnects > 0 {
            faults.insert(format!("{} lost, {} disconnects", noticed.lost, noticed.disconnects));
        }
        if during.memory_mib > base.memory_mib + DURING_MIB {
            faults.insert(format!("{:.0} MiB more memory", during.memory_mib - base.memory_mib));
        }
        if !is_back(*after, *base) {
            faults.insert("memory or descriptors do not come back".to_owned());
        }
    }
}

/// Writes the certificates of a row.
fn tls_files(certificates: &Certificates, scratch: &Scratch) -> TlsFiles {
    let first = certificates.issue("first");
    // Files of the row's own: it replaces them.
    let served = ["served.pem", "served.key"].map(|name| scratch.path_of(name));
    fs::copy(first.0, &served[0]).unwrap();
    fs::copy(first.1, &served[1]).unwrap();
    TlsFiles {
        authority: certificates.authority_file(),
        served: served.into(),
        valid: (0..PAIRS).map(|number| certificates.issue(&format!("pair-{number}"))).collect(),
        expired: certificates.issue_expired("expired"),
    }
}

fn log_bytes(metrics: &BTreeMap<String, f64>, topology: Topology) -> f64 {
    // Over NATS each chat server shows all of the log.
    let shown = if topology == Topology::OneProcess { 1.0 } else { CHATS as f64 };
    measure::sum(metrics, "shaddock_log_bytes") / shown
}

fn note_most(seen: &Mutex<Usage>, now: Usage) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    *seen = seen.max(now);
}

fn is_back(after: Usage, before: Usage) -> bool {
    after.memory_mib <= before.memory_mib + LEFT_MIB
        && after.descriptors.abs_diff(before.descriptors) <= LEFT_DESCRIPTORS
}

/// Waits until memory and descriptors are back, or the time for that is over.
async fn recovered(deployment: &Deployment, before: Usage) -> (Usage, f64) {
    let began = Instant::now();
    loop {
        let now = Usage::of(deployment);
        if is_back(now, before) || began.elapsed() > RECOVERS_WITHIN {
            return (now, began.elapsed().as_secs_f64());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Runs this program once more, as the attacker.
async fn attacker(orders: &Orders, directory: &Path) -> Report {
    let mut command = Command::new("nice");
    command.args(["-n", "10"]).arg(std::env::current_exe().unwrap());
    // In a target with a harness the attacker is one of its tests.
    command.args(["--exact", "attacker", "--nocapture"]);
    command.env(ORDERS, serde_json::to_string(orders).unwrap());
    let process = Process::start("attacker", command, directory);
    process.wait_within(Duration::from_secs(orders.secs) + ATTACKER_EXTRA).await;
    let output = process.output();
    let report = output.lines().find_map(|line| line.split_once(REPORT)).map(|(_, report)| report);
    serde_json::from_str(report.unwrap_or_else(|| panic!("the attacker failed: {output}"))).unwrap()
}

impl Outcome {
    /// The cells of the table behind the row's name.
    pub(crate) fn cells(&self, verdict: &str) -> String {
        let Self { report, noticed, before, during, after, .. } = self;
        let history = noticed.history_p99(Phase::Attack);
        let history = if history.is_nan() { String::new() } else { format!("; history {history:.0}") };
        format!(
            "{:.0} of {:.0} {} | {:.0} / {:.0} ms{history} | {} / {} | {:.0} / {:.0} / {:.0} MiB | {} / {} / {} | {:.1} s | {} | {} | {verdict}",
            report.reached,
            report.planned,
            report.unit,
            noticed.send_p99(Phase::Quiet),
            noticed.send_p99(Phase::Attack),
            noticed.lost,
            noticed.disconnects,
            before.memory_mib,
            during.memory_mib,
            after.memory_mib,
            before.descriptors,
            during.descriptors,
            after.descriptors,
            self.after_secs,
            self.counters,
            report.note.trim(),
        )
    }

    /// Returns true if the row holds.
    pub(crate) fn holds(&self) -> bool {
        self.faults.is_empty()
    }

    /// The faults, on one line.
    pub(crate) fn all_faults(&self) -> String {
        self.faults.iter().map(String::as_str).collect::<Vec<_>>().join("; ").replace(['|', '\n'], "/")
    }
}
