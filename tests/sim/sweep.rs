//! Runs many seeds of scenarios on several threads, and collects the runs that break a rule.

mod options;
mod report;

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::iter;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use runtime::clock;

use crate::checks::Tally;
use crate::scenario::Scenario;
use crate::trace::RunTrace;
use crate::world::World;
use report::{Report, Violation};

pub(crate) use report::print_line;

/// Finished runs that wait for the thread that counts them.
const QUEUE: usize = 1_024;

/// Each seed of a range in each scenario of a list.
pub(crate) struct Sweep {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) seeds: Range<u64>,
    /// Milliseconds of [`clock::now_ms`] after which no run starts.
    pub(crate) until: Option<u64>,
    /// No run starts after a violation was found.
    pub(crate) ends_at_first: bool,
    pub(crate) trace: RunTrace,
}

impl Sweep {
    /// Runs all of it on so many threads.
    pub(crate) fn run(&self, threads: usize) -> Report {
        record_panics();
        let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let (finished, results) = mpsc::sync_channel(QUEUE);
        thread::scope(|scope| {
            for _ in 0..threads {
                // Looked at before a run is taken: each run before the violation ends, so the first
                // one is always the same.
                let take = || (!is_over.load(Ordering::Relaxed)).then(|| self.take(&next)).flatten();
                let runs = iter::from_fn(take).map(|(scenario, seed)| self.run_once(scenario, seed));
                let runs = runs.inspect(|run| {
                    is_over.fetch_or(self.ends_at_first && run.1.is_err(), Ordering::Relaxed);
                });
                let finished = finished.clone();
                scope.spawn(move || runs.for_each(|run| finished.send(run).unwrap()));
            }
            drop(finished);
            let mut report = Report::new(&self.scenarios, self.total());
            results.iter().for_each(|(scenario, result)| report.add(scenario, result));
            report.finish();
            report
        })
    }

    /// Prints the seeds, and runs all of it on all cores; with a trace on one, so that the lines of
    /// two runs do not mix.
    pub(crate) fn run_on_all_cores(&self) -> Report {
        print_line(&self.to_string());
        let is_traced = self.trace == RunTrace::On;
        self.run(if is_traced { 1 } else { thread::available_parallelism().unwrap().get() })
    }

    /// Takes the next run. Every scenario gets a seed before any gets the next one, so that a sweep
    /// that its time ends has run each scenario equally often.
    fn take(&self, next: &AtomicU64) -> Option<(Scenario, u64)> {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let count = self.scenarios.len() as u64;
        let seed = self.seeds.start.checked_add(number / count)?;
        let is_over = self.until.is_some_and(|until| number >= count && clock::now_ms() >= until);
        (seed < self.seeds.end && !is_over).then(|| (self.scenarios[(number % count) as usize], seed))
    }

    fn run_once(&self, scenario: Scenario, seed: u64) -> (Scenario, Result<Tally, Violation>) {
        self.trace.line(0, "run", format_args!("{scenario:?} seed {seed}"));
        PANIC_PLACE.set(Some(String::new()));
        let result = catch_unwind(AssertUnwindSafe(|| World::run(scenario, seed, self.trace).tally));
        let place = PANIC_PLACE.take().unwrap_or_default();
        let violation = |panic: Box<dyn Any + Send>| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text");
            Violation::new(scenario, seed, text, place)
        };
        (scenario, result.map_err(violation))
    }

    /// Number of runs; none if the time ends them.
    fn total(&self) -> Option<u64> {
        let seeds = self.seeds.end - self.seeds.start;
        self.until.is_none().then(|| seeds.saturating_mul(self.scenarios.len() as u64))
    }
}

/// Names the seeds, so that each run can be repeated.
impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = match self.until {
            Some(_) => format!("seeds from {} on", self.seeds.start),
            None => format!("seeds {} to {}", self.seeds.start, self.seeds.end - 1),
        };
        write!(f, "{seeds} of {:?}", self.scenarios)
    }
}

thread_local! {
    /// `Some` while a run is under way on this thread: file and line of its panic.
    static PANIC_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the place of a panic in a run, and prints no text for it; other panics are printed as
/// before.
fn record_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_in_run = PANIC_PLACE.with_borrow_mut(|kept| {
                let place = panic.location().map(|at| format!("{}:{}", at.file(), at.line()));
                kept.as_mut().map(|kept| *kept = place.unwrap_or_default()).is_some()
            });
            if !is_in_run {
                print(panic);
            }
        }));
    });
}
