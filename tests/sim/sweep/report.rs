//! The result of a sweep: runs and violations of each scenario, as lines to print.

use std::fmt;

use runtime::clock;

use crate::checks::Tally;
use crate::scenario::Scenario;

/// Milliseconds between two lines of progress.
const PROGRESS_MS: u64 = 5_000;

/// Characters of a violation's text that are shown: a failed assertion may print a whole room.
const TEXT_CHARS: usize = 300;

/// A run that broke a rule.
pub(crate) struct Violation {
    scenario: Scenario,
    seed: u64,
    /// Text of the panic, in one line.
    text: String,
    /// File and line of the panic.
    place: String,
}

impl Violation {
    pub(crate) fn new(scenario: Scenario, seed: u64, text: &str, place: String) -> Self {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { scenario, seed, text: line.chars().take(TEXT_CHARS).collect(), place }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, text, place } = self;
        write!(f, "violation: {scenario:?} seed {seed}: {text}, {place}")
    }
}

/// Everything that came out of a sweep so far.
pub(crate) struct Report {
    scenarios: Vec<Count>,
    /// Number of runs that are planned, if that is known.
    total: Option<u64>,
    violations: Vec<Violation>,
    /// Sums over the runs without a violation.
    pub(crate) tally: Tally,
    started: u64,
    shown: u64,
}

struct Count {
    scenario: Scenario,
    runs: u64,
    violations: u64,
}

impl Report {
    pub(crate) fn new(scenarios: &[Scenario], total: Option<u64>) -> Self {
        let now = clock::now_ms();
        let scenarios =
            scenarios.iter().map(|scenario| Count { scenario: *scenario, runs: 0, violations: 0 }).collect();
        Self { scenarios, total, violations: Vec::new(), tally: Tally::default(), started: now, shown: now }
    }

    /// Counts a run; now and then prints the progress.
    pub(crate) fn add(&mut self, scenario: Scenario, result: Result<Tally, Violation>) {
        let counts = self.scenarios.iter_mut().filter(|count| count.scenario == scenario);
        counts.for_each(|count| {
            count.runs += 1;
            count.violations += u64::from(result.is_err());
        });
        match result {
            Ok(tally) => self.tally += tally,
            Err(violation) => self.violations.push(violation),
        }
        let now = clock::now_ms();
        if now >= self.shown + PROGRESS_MS {
            self.shown = now;
            print_line(&self.progress(now));
        }
    }

    fn progress(&self, now: u64) -> String {
        let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
        let (runs, violations) = (self.runs(), self.violations.len());
        let rate = runs * 1_000 / (now - self.started).max(1);
        let last = self.violations.last().map(|v| format!(", the last one in {:?} seed {}", v.scenario, v.seed));
        format!("progress: {runs}{of} runs, {violations} violations{}, {rate} runs/s", last.unwrap_or_default())
    }

    /// Brings the violations into one order: threads find them in any.
    pub(crate) fn finish(&mut self) {
        self.violations.sort_by_key(|violation| (violation.scenario as usize, violation.seed));
    }

    fn runs(&self) -> u64 {
        self.scenarios.iter().map(|count| count.runs).sum()
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

/// A table of the scenarios, the violations, and the sums in the last line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<18} {:>10} {:>10}", "scenario", "runs", "violations")?;
        for Count { scenario, runs, violations } in &self.scenarios {
            writeln!(f, "{:<18} {runs:>10} {violations:>10}", format!("{scenario:?}"))?;
        }
        self.violations.iter().try_for_each(|violation| writeln!(f, "{violation}"))?;
        write!(f, "{} runs, {} violations", self.runs(), self.violations.len())
    }
}

#[expect(clippy::print_stdout, reason = "the result")]
pub(crate) fn print_line(text: &str) {
    println!("{text}");
}
