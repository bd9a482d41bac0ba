//! A run from the first login to the last count: what happens when, and what is measured meanwhile.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::counts::Tally;
use super::loss::lost;
use super::plan::{Load, Pace, Plan, PlanError};
use super::process_usage::{Processes, own_secs, rounded};
use super::protocol::{Dialect, Named};
use super::report::{Expected, Logins, Report, StepReport};
use super::run_state::Stage;
use super::schedule::Schedule;
use super::send_timer::Pacer;
use super::sender::{Step, Tempo};
use super::session::{attend, come_and_go};
use super::user::Witness;

/// How often is told what goes on.
const GLANCES: Duration = Duration::from_millis(100);
/// The longest wait for what is under way when a step ends.
const DRAIN: Duration = Duration::from_secs(5);
/// The same, when somebody wants it to end.
const SHORT_DRAIN: Duration = Duration::from_secs(1);
/// When nothing came for so long, nothing is under way.
const QUIET: Duration = Duration::from_millis(300);

/// Why there is no report.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The plan makes no sense.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Nobody could log in.
    #[error("nobody could log in: {0}")]
    Nobody(String),
    /// A process that is to be watched is not there, or this is not Linux.
    #[error("there is no process {0} whose time and memory could be measured")]
    Process(u32),
    /// The system gives no thread.
    #[error("no thread to keep time: {0}")]
    Thread(#[from] io::Error),
}

/// What goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Users log in.
    Entering,
    /// Load as in the next part, which is not measured.
    WarmingUp,
    /// What is measured.
    Measuring,
    /// What is under way comes in.
    Draining,
}

/// What goes on, for those who watch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Glance {
    /// What goes on.
    pub part: Part,
    /// How much of the part is done, from 0 to 1.
    pub done: f64,
    /// Which rate it is, from 1; 0 before.
    pub step: u32,
    /// Users who are there, or logins in the step if nobody stays.
    pub logins: u64,
    /// Messages that were heard in this step, until now.
    pub heard: u64,
    /// What was doubled, in the wrong order, or in the wrong room in this step.
    pub wrong: u64,
}

/// Does what the plan says; ends early, with what was measured until then, when `stop` is cancelled. `dialect` makes each
/// session's way to speak. Ten times a second `show` is told what goes on.
///
/// # Errors
/// If the plan makes no sense, a process that it names is not there, or nobody could log in.
pub async fn run<D, F>(
    plan: &Plan,
    dialect: F,
    stop: &CancellationToken,
    show: &mut impl FnMut(&Glance),
) -> Result<Report, LoadError>
where
    D: Dialect,
    F: Fn(Named) -> D + Clone + Send + Sync + 'static,
{
    let mut loads = plan.pace.loads().into_iter();
    run_stepwise(plan, dialect, stop, show, &mut |_| loads.next()).await
}

/// As [`run`], but the same users are given one load after the other, and `next` says which, from what was measured until
/// then; it ends when that is `None`. What was lost is known only at the end. The plan's pace matters only where it is [`Pace::Storm`],
/// which has no steps.
///
/// # Errors
/// As [`run`], and if a load makes no sense.
pub async fn run_stepwise<D, F>(
    plan: &Plan,
    dialect: F,
    stop: &CancellationToken,
    show: &mut impl FnMut(&Glance),
    next: &mut impl FnMut(&[StepReport]) -> Option<Load>,
) -> Result<Report, LoadError>
where
    D: Dialect,
    F: Fn(Named) -> D + Clone + Send + Sync + 'static,
{
    plan.check()?;
    let stage = Arc::new(Stage::new(plan, rand::random()));
    let processes = Processes::of(&plan.pids);
    if let Some(pid) = processes.ended().first() {
        return Err(LoadError::Process(*pid));
    }
    let mut conductor = Conductor { stage, processes, stop, show, logins: 0 };
    let mut sessions = JoinSet::new();
    let storm = plan.pace == Pace::Storm;
    for user in 0..plan.users {
        let (stage, dialect) = (conductor.stage.clone(), dialect.clone());
        if storm {
            sessions.spawn(come_and_go(stage, user, dialect));
        } else {
            sessions.spawn(attend(stage, user, dialect));
        }
    }
    let steps = if storm { conductor.measure_logins().await } else { conductor.measure(next).await };
    conductor.stage.end();
    let witnesses = gather(sessions).await;
    conductor.conclude(steps?, &witnesses)
}

/// What is left of all users, in their order.
async fn gather(mut sessions: JoinSet<(u32, Witness)>) -> Vec<Witness> {
    let mut witnesses = Vec::new();
    while let Some(witness) = sessions.join_next().await {
        // A session does not panic, and nobody cancels it.
        witnesses.extend(witness.ok());
    }
    witnesses.sort_by_key(|(user, _)| *user);
    witnesses.into_iter().map(|(_, witness)| witness).collect()
}

struct Conductor<'a, S> {
    stage: Arc<Stage>,
    processes: Processes,
    stop: &'a CancellationToken,
    show: &'a mut S,
    /// Users who are there.
    logins: u64,
}

impl<S: FnMut(&Glance)> Conductor<'_, S> {
    /// Waits until all are there, and measures load by load.
    async fn measure(
        &mut self,
        next: &mut impl FnMut(&[StepReport]) -> Option<Load>,
    ) -> Result<Vec<StepReport>, LoadError> {
        let logins = self.enter().await?;
        self.logins = logins.tally.logins;
        let mut reports = Vec::new();
        while let Some(load) = next(&reports) {
            load.check()?;
            let mut report = logins.report(&self.stage.plan);
            self.step(reports.len() as u32 + 1, load, &mut report).await?;
            reports.push(report);
            if self.stop.is_cancelled() {
                break;
            }
        }
        Ok(reports)
    }

    async fn enter(&mut self) -> Result<Logins, LoadError> {
        let (stage, users) = (self.stage.clone(), u64::from(self.stage.plan.users));
        let ended = || stage.count(|tally| tally.logins + tally.denied.values().sum::<u64>());
        let done = |now: u64| Glance { done: now as f64 / users as f64, ..glance(&stage, 0, Part::Entering) };
        let mut ticks = interval(Duration::from_millis(20));
        while ended() < users && !self.stop.is_cancelled() {
            ticks.tick().await;
            (self.show)(&done(ended()));
        }
        let secs = stage.now() as f64 / 1e9;
        let tally = stage.renew(&(0..0));
        if tally.logins == 0 {
            let reasons: Vec<_> = tally.denied.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
            return Err(LoadError::Nobody(reasons.join(", ")));
        }
        Ok(Logins { tally, secs })
    }

    /// Measures one load.
    async fn step(&mut self, number: u32, load: Load, report: &mut StepReport) -> Result<(), LoadError> {
        let begins = self.stage.now();
        let from = begins + self.stage.plan.warm_up.as_nanos() as u64;
        let until = from + self.stage.plan.measured.as_nanos() as u64;
        self.stage.renew(&(from..until));
        let rate = load.rate();
        let schedule = rate.map(|rate| Schedule { begins, rate, senders: self.stage.plan.all_senders() });
        let tempo = self.tempo(load, schedule);
        self.stage.set_step(Step { number, tempo });
        let pacer = schedule.map(|schedule| Pacer::start(self.stage.clone(), schedule)).transpose()?;
        self.wait(number, Part::WarmingUp, begins..from).await;
        let (times, own) = (self.processes.times(), own_secs());
        self.wait(number, Part::Measuring, from..until).await;
        let measured = from..until.min(self.stage.now());
        let (after, own_after) = (self.processes.times(), own_secs());
        drop(pacer);
        self.stage.set_step(Step { number, tempo: Tempo::Quiet });
        self.drain(number).await;
        let tally = self.stage.renew(&(0..0));
        report.count(&tally, secs(&measured));
        report.rate = rate;
        let offered = schedule.map_or(0, |schedule| {
            schedule.turns_before(measured.end).saturating_sub(schedule.turns_before(measured.start))
        });
        report.unsent = offered.saturating_sub(tally.sent);
        report.load_cpu_secs = rounded(own_after - own);
        let counts = [tally.deliveries, tally.acknowledged, 0];
        report.cpu = self.processes.figures([&times, &after], counts, self.logins);
        let expected = if matches!(load, Load::Silence) { Expected::Silence } else { Expected::Messages };
        report.judge(expected, &self.processes.ended());
        Ok(())
    }

    fn tempo(&self, load: Load, schedule: Option<Schedule>) -> Tempo {
        match (schedule, load) {
            (Some(schedule), _) => Tempo::Open { schedule, in_flight: self.stage.plan.in_flight },
            (None, Load::Closed(in_flight)) => Tempo::Closed { in_flight },
            (None, _) => Tempo::Quiet,
        }
    }

    /// Measures logins.
    async fn measure_logins(&mut self) -> Result<Vec<StepReport>, LoadError> {
        let from = self.stage.plan.warm_up.as_nanos() as u64;
        let until = from + self.stage.plan.measured.as_nanos() as u64;
        self.wait(1, Part::WarmingUp, 0..from).await;
        self.stage.renew(&(from..until));
        let (times, own) = (self.processes.times(), own_secs());
        self.wait(1, Part::Measuring, from..until).await;
        let secs = secs(&(from..until.min(self.stage.now())));
        let (after, own_after) = (self.processes.times(), own_secs());
        let tally = self.stage.renew(&(0..0));
        let mut report = Logins { tally: Tally::default(), secs }.report(&self.stage.plan);
        report.count(&tally, secs);
        report.count_logins(&tally, secs);
        report.load_cpu_secs = rounded(own_after - own);
        report.cpu = self.processes.figures([&times, &after], [0, 0, tally.logins], 0);
        report.judge(Expected::Logins, &self.processes.ended());
        Ok(vec![report])
    }

    /// Waits until then, or until somebody wants it to end.
    async fn wait(&mut self, step: u32, part: Part, time: Range<u64>) {
        let whole = (time.end - time.start).max(1) as f64;
        let end = self.stage.instant(time.end);
        while Instant::now() < end {
            let done = self.stage.now().saturating_sub(time.start) as f64 / whole;
            (self.show)(&Glance { done: done.min(1.0), ..glance(&self.stage, step, part) });
            if self.stage.count(|tally| tally.refused.len() as u64) > 0 {
                // Some may rest, and nobody else wakes them.
                self.stage.wake_all();
            }
            let nap = sleep_until(end.min(Instant::now() + GLANCES));
            if self.stop.run_until_cancelled(nap).await.is_none() {
                return;
            }
        }
    }

    /// Waits until all is answered, and nothing came for a while.
    async fn drain(&mut self, step: u32) {
        let stage = self.stage.clone();
        let longest = if self.stop.is_cancelled() { SHORT_DRAIN } else { DRAIN };
        let (began, mut heard, mut quiet_since) = (Instant::now(), 0, Instant::now());
        let mut ticks = interval(GLANCES);
        while began.elapsed() < longest {
            ticks.tick().await;
            let done = began.elapsed().as_secs_f64() / longest.as_secs_f64();
            (self.show)(&Glance { done: done.min(1.0), ..glance(&stage, step, Part::Draining) });
            let now = stage.count(|tally| tally.heard);
            if std::mem::replace(&mut heard, now) != now {
                quiet_since = Instant::now();
            }
            if quiet_since.elapsed() >= QUIET && stage.count(|tally| tally.open) == 0 {
                return;
            }
        }
    }

    /// Adds what only the end tells.
    fn conclude(&self, mut steps: Vec<StepReport>, witnesses: &[Witness]) -> Result<Report, LoadError> {
        let rest = self.stage.renew(&(0..0));
        let all = lost(witnesses, self.stage.plan.rooms, steps.len());
        for (step, lost) in steps.iter_mut().zip(all) {
            step.lost = lost;
        }
        if let Some(last) = steps.last_mut() {
            last.add_rest(&rest);
        }
        Ok(Report { steps })
    }
}

fn glance(stage: &Stage, step: u32, part: Part) -> Glance {
    let wrong = stage.count(|tally| tally.doubled + tally.reordered + tally.misplaced);
    let (logins, heard) = (stage.count(|tally| tally.logins), stage.count(|tally| tally.heard));
    Glance { part, done: 0.0, step, logins, heard, wrong }
}

fn secs(time: &Range<u64>) -> f64 {
    time.end.saturating_sub(time.start) as f64 / 1e9
}
