//! A run from the first login to the last count: what happens when, and what is measured meanwhile.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::loss::count_lost;
use super::plan::{Plan, PlanError, StepLoad, Workload};
use super::process_usage::{Processes, own_secs, rounded};
use super::protocol::{Identity, Protocol};
use super::report::{ExpectedTraffic, LoginPhase, Report, StepReport};
use super::run_state::RunState;
use super::schedule::Schedule;
use super::send_timer::SendTimer;
use super::sender::{SendMode, Step};
use super::session::{run_login_loop, run_member};
use super::user::UserOutcome;

/// Time between two status reports.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);
/// The longest wait for what is under way when a step ends.
const DRAIN: Duration = Duration::from_secs(5);
/// The same, once the run is stopped.
const STOPPED_DRAIN: Duration = Duration::from_secs(1);
/// If no message arrives for this long, none is in flight.
const QUIET: Duration = Duration::from_millis(300);

/// The reason why there is no report.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The plan is invalid.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No user could log in.
    #[error("no user could log in: {0}")]
    NoLogins(String),
    /// A process that is to be watched is not there, or this is not Linux.
    #[error("there is no process {0} whose time and memory could be measured")]
    Process(u32),
    /// The system gives no thread.
    #[error("no thread to keep time: {0}")]
    Thread(#[from] io::Error),
}

/// The phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Users log in.
    LoggingIn,
    /// Load as in the next phase, which is not measured.
    WarmingUp,
    /// The measured time.
    Measuring,
    /// Messages in flight arrive.
    Draining,
}

/// The status of a run, for a display.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunStatus {
    /// The present phase.
    pub phase: Phase,
    /// The completed share of the phase, from 0 to 1.
    pub done: f64,
    /// The present step, from 1; 0 before the first one.
    pub step: u32,
    /// Users in their rooms; in a login storm the logins of the step.
    pub logins: u64,
    /// Messages received in this step.
    pub received: u64,
    /// Messages of this step that were doubled, out of order, or in the wrong room.
    pub wrong: u64,
}

/// Runs the plan. Ends early with a partial report when `stop` is cancelled. `protocol` creates
/// each session's protocol. Calls `on_status` ten times a second.
///
/// # Errors
///
/// If the plan is invalid, a process that it names does not run, or no user could log in.
pub async fn run<D, F>(
    plan: &Plan,
    protocol: F,
    stop: &CancellationToken,
    on_status: &mut impl FnMut(&RunStatus),
) -> Result<Report, LoadError>
where
    D: Protocol,
    F: Fn(Identity) -> D + Clone + Send + Sync + 'static,
{
    let mut loads = plan.workload.loads().into_iter();
    run_stepwise(plan, protocol, stop, on_status, &mut |_| loads.next()).await
}

/// Runs the plan with loads that `next` chooses from the results so far, until it returns `None`.
/// Lost messages are known only at the end. The plan's workload matters only if it is
/// [`Workload::Storm`], which has no steps.
///
/// # Errors
///
/// As [`run`], and if a load is invalid.
pub async fn run_stepwise<D, F>(
    plan: &Plan,
    protocol: F,
    stop: &CancellationToken,
    on_status: &mut impl FnMut(&RunStatus),
    next: &mut impl FnMut(&[StepReport]) -> Option<StepLoad>,
) -> Result<Report, LoadError>
where
    D: Protocol,
    F: Fn(Identity) -> D + Clone + Send + Sync + 'static,
{
    plan.check()?;
    let run = Arc::new(RunState::new(plan, rand::random()));
    let processes = Processes::of(&plan.pids);
    if let Some(pid) = processes.ended().first() {
        return Err(LoadError::Process(*pid));
    }
    let mut runner = Runner { run, processes, stop, on_status, logins: 0 };
    let mut sessions = JoinSet::new();
    let storm = plan.workload == Workload::Storm;
    for user in 0..plan.users {
        let (run, protocol) = (runner.run.clone(), protocol.clone());
        if storm {
            sessions.spawn(run_login_loop(run, user, protocol));
        } else {
            sessions.spawn(run_member(run, user, protocol));
        }
    }
    let steps = if storm { runner.measure_logins().await } else { runner.measure(next).await };
    runner.run.end();
    let outcomes = join_users(sessions).await;
    runner.finish(steps?, &outcomes)
}

/// Joins all users' tasks and returns their outcomes in the users' order.
async fn join_users(mut sessions: JoinSet<(u32, UserOutcome)>) -> Vec<UserOutcome> {
    let mut outcomes = Vec::new();
    while let Some(outcome) = sessions.join_next().await {
        // A session neither panics nor is cancelled.
        outcomes.extend(outcome.ok());
    }
    // The count of lost messages finds a room's senders by their places, in the order of the users.
    outcomes.sort_by_key(|(user, _)| *user);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

struct Runner<'a, S> {
    run: Arc<RunState>,
    processes: Processes,
    stop: &'a CancellationToken,
    on_status: &'a mut S,
    /// Users who are there.
    logins: u64,
}

impl<S: FnMut(&RunStatus)> Runner<'_, S> {
    /// Waits until all are there, and measures load by load.
    async fn measure(
        &mut self,
        next: &mut impl FnMut(&[StepReport]) -> Option<StepLoad>,
    ) -> Result<Vec<StepReport>, LoadError> {
        let logins = self.enter().await?;
        self.logins = logins.counts.logins;
        let mut reports = Vec::new();
        while let Some(load) = next(&reports) {
            load.check()?;
            let mut report = logins.report(&self.run.plan);
            if !reports.is_empty() {
                // They are in the first step's report.
                report.closed.clear();
            }
            self.step(reports.len() as u32 + 1, load, &mut report).await?;
            reports.push(report);
            if self.stop.is_cancelled() {
                break;
            }
        }
        Ok(reports)
    }

    async fn enter(&mut self) -> Result<LoginPhase, LoadError> {
        let (run, users) = (self.run.clone(), u64::from(self.run.plan.users));
        let finished = || run.sum(|counts| counts.logins + counts.denied.values().sum::<u64>());
        let done = |now: u64| RunStatus { done: now as f64 / users as f64, ..status(&run, 0, Phase::LoggingIn) };
        let mut ticks = interval(Duration::from_millis(20));
        while finished() < users && !self.stop.is_cancelled() {
            ticks.tick().await;
            (self.on_status)(&done(finished()));
        }
        let secs = run.now() as f64 / 1e9;
        let counts = run.take_counts(&(0..0));
        if counts.logins == 0 {
            let reasons: Vec<_> = counts.denied.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
            return Err(LoadError::NoLogins(reasons.join(", ")));
        }
        Ok(LoginPhase { counts, secs })
    }

    /// Measures one load.
    async fn step(&mut self, number: u32, load: StepLoad, report: &mut StepReport) -> Result<(), LoadError> {
        let begins = self.run.now();
        let from = begins + self.run.plan.warm_up.as_nanos() as u64;
        let until = from + self.run.plan.measured.as_nanos() as u64;
        // Sessions may have ended since the counts were taken last.
        report.add_closed(&self.run.take_counts(&(from..until)));
        let rate = load.rate();
        let schedule = rate.map(|rate| Schedule { begins, rate, senders: self.run.plan.all_senders() });
        let mode = self.mode(load, schedule);
        self.run.set_step(Step { number, mode });
        let timer = schedule.map(|schedule| SendTimer::start(self.run.clone(), schedule)).transpose()?;
        self.wait(number, Phase::WarmingUp, begins..from).await;
        // Processor time is read around the measured time only, so that neither warm-up nor
        // draining counts.
        let (times, own) = (self.processes.times(), own_secs());
        self.wait(number, Phase::Measuring, from..until).await;
        let measured = from..until.min(self.run.now());
        let (after, own_after) = (self.processes.times(), own_secs());
        drop(timer);
        self.run.set_step(Step { number, mode: SendMode::Paused });
        // Messages of this step that arrive later would count to the next one.
        self.drain(number).await;
        let counts = self.run.take_counts(&(0..0));
        report.count(&counts, secs(&measured));
        report.rate = rate;
        let offered = schedule.map_or(0, |schedule| {
            schedule.turns_before(measured.end).saturating_sub(schedule.turns_before(measured.start))
        });
        // An open loop that cannot send in time must say so: without this count a stalled server
        // would look fast, since its slow messages would never be sent (coordinated omission).
        report.unsent = offered.saturating_sub(counts.sent);
        report.load_cpu_secs = rounded(own_after - own);
        let counts = [counts.deliveries, counts.acknowledged, 0];
        report.cpu = self.processes.usage([&times, &after], counts, self.logins);
        let expected = if matches!(load, StepLoad::Idle) { ExpectedTraffic::Idle } else { ExpectedTraffic::Messages };
        report.note_unmeasured(expected, &self.processes.ended());
        Ok(())
    }

    fn mode(&self, load: StepLoad, schedule: Option<Schedule>) -> SendMode {
        match (schedule, load) {
            (Some(schedule), _) => SendMode::Open { schedule, in_flight: self.run.plan.in_flight },
            (None, StepLoad::Closed(in_flight)) => SendMode::Closed { in_flight },
            (None, _) => SendMode::Paused,
        }
    }

    /// Measures logins.
    async fn measure_logins(&mut self) -> Result<Vec<StepReport>, LoadError> {
        let from = self.run.plan.warm_up.as_nanos() as u64;
        let until = from + self.run.plan.measured.as_nanos() as u64;
        self.wait(1, Phase::WarmingUp, 0..from).await;
        self.run.take_counts(&(from..until));
        let (times, own) = (self.processes.times(), own_secs());
        self.wait(1, Phase::Measuring, from..until).await;
        let secs = secs(&(from..until.min(self.run.now())));
        let (after, own_after) = (self.processes.times(), own_secs());
        let counts = self.run.take_counts(&(0..0));
        let mut report = LoginPhase { counts: Counts::default(), secs }.report(&self.run.plan);
        report.count(&counts, secs);
        report.count_logins(&counts, secs);
        report.load_cpu_secs = rounded(own_after - own);
        report.cpu = self.processes.usage([&times, &after], [0, 0, counts.logins], 0);
        report.note_unmeasured(ExpectedTraffic::Logins, &self.processes.ended());
        Ok(vec![report])
    }

    /// Waits until this time, or until the run is stopped.
    async fn wait(&mut self, step: u32, phase: Phase, time: Range<u64>) {
        let whole = (time.end - time.start).max(1) as f64;
        let end = self.run.instant(time.end);
        while Instant::now() < end {
            let done = self.run.now().saturating_sub(time.start) as f64 / whole;
            (self.on_status)(&RunStatus { done: done.min(1.0), ..status(&self.run, step, phase) });
            if self.run.sum(|counts| counts.refused.len() as u64) > 0 {
                // Refused senders pause; without a message due, no timer wakes them.
                self.run.wake_all();
            }
            let pause = sleep_until(end.min(Instant::now() + STATUS_INTERVAL));
            if self.stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// Waits until every message has a response and no more messages arrive.
    async fn drain(&mut self, step: u32) {
        let run = self.run.clone();
        let longest = if self.stop.is_cancelled() { STOPPED_DRAIN } else { DRAIN };
        let (began, mut received, mut quiet_since) = (Instant::now(), 0, Instant::now());
        let mut ticks = interval(STATUS_INTERVAL);
        while began.elapsed() < longest {
            ticks.tick().await;
            let done = began.elapsed().as_secs_f64() / longest.as_secs_f64();
            (self.on_status)(&RunStatus { done: done.min(1.0), ..status(&run, step, Phase::Draining) });
            let now = run.sum(|counts| counts.received);
            if std::mem::replace(&mut received, now) != now {
                quiet_since = Instant::now();
            }
            if quiet_since.elapsed() >= QUIET && run.sum(|counts| counts.pending) == 0 {
                return;
            }
        }
    }

    /// Adds the counts that are final only at the end.
    fn finish(&self, mut steps: Vec<StepReport>, outcomes: &[UserOutcome]) -> Result<Report, LoadError> {
        let rest = self.run.take_counts(&(0..0));
        let all = count_lost(outcomes, self.run.plan.rooms, steps.len());
        for (step, lost) in steps.iter_mut().zip(all) {
            step.lost = lost;
        }
        if let Some(last) = steps.last_mut() {
            // What arrives after the last step has no step of its own.
            last.add_late_counts(&rest);
        }
        Ok(Report { steps })
    }
}

fn status(run: &RunState, step: u32, phase: Phase) -> RunStatus {
    let wrong = run.sum(|counts| counts.doubled + counts.reordered + counts.misplaced);
    let (logins, received) = (run.sum(|counts| counts.logins), run.sum(|counts| counts.received));
    RunStatus { phase, done: 0.0, step, logins, received, wrong }
}

fn secs(time: &Range<u64>) -> f64 {
    time.end.saturating_sub(time.start) as f64 / 1e9
}
