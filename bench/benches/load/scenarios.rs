//! The scenes: systems are started, given load, and what was measured is kept.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use load::{LoadError, Plan, Report, Shaddock, StepLoad, StepReport, Workload, run_stepwise};
use testkit::Scratch;
use tokio_util::sync::CancellationToken;

use crate::baseline;
use crate::deployment::Deployment;
use crate::dimensions::{BaselineKind, Shape, StepKind, System};
use crate::handshakes;
use crate::load_steps::{FAN_OUT, IDLE, ROOMS, ROOMS_COMPARED, SENDERS, STORM, next_of_rooms};
use crate::peer::SocketIo;
use crate::results::{Algorithm, Baseline, Certificate, Results, Row};
use crate::search::Search;
use crate::table::digits;
use crate::tokens;

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// A few senders, many listeners.
    FanOut,
    /// Many small rooms.
    Rooms,
    /// Users log in and leave as fast as they can.
    Storm,
    /// Users stay, and none sends.
    Idle,
    /// Connections with TLS and without.
    Handshakes,
    /// Logins with tokens of each algorithm and without.
    Tokens,
}

/// Before each step is measured.
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(3);

/// Time for memory to settle.
const SETTLED: Duration = Duration::from_secs(1);

/// Messages of a sender that may be unanswered in an open loop.
const IN_FLIGHT: u32 = 64;

/// Source addresses of users: a closed port cannot be used again for a minute.
const SOURCES: u8 = 32;

/// Pushes per write of the floors.
const AT_ONCE: [u32; 2] = [1, 16];

/// Questions and records under way of the floors.
const UNDER_WAY: [u32; 2] = [1, 64];

/// Chooses the next step and its load from the results so far.
type Next<'n> = dyn FnMut(&[StepReport]) -> Option<(StepKind, StepLoad)> + 'n;

/// The results so far.
#[derive(Default)]
pub(crate) struct BenchRun {
    pub(crate) results: Results,
    /// Promises of ours that were broken.
    pub(crate) broken: Vec<String>,
}

impl Scenario {
    pub(crate) const ALL: [Self; 6] =
        [Self::FanOut, Self::Rooms, Self::Storm, Self::Idle, Self::Handshakes, Self::Tokens];

    /// Measures it.
    pub(crate) async fn measure(self, bench: &mut BenchRun) -> Result<(), LoadError> {
        match self {
            Self::FanOut => bench.fan_out().await,
            Self::Rooms => bench.rooms().await,
            Self::Storm => bench.storm().await,
            Self::Idle => bench.idle().await,
            Self::Handshakes => {
                bench.handshakes().await;
                Ok(())
            }
            Self::Tokens => bench.tokens().await,
        }
    }
}

impl BenchRun {
    async fn fan_out(&mut self) -> Result<(), LoadError> {
        for fan_out in &FAN_OUT {
            self.sockets(fan_out.shape.users()).await;
            let mut peer = None;
            for system in System::ALL {
                let plan = Plan { senders: SENDERS, ..plan(fan_out.shape) };
                self.run(system, fan_out.shape, plan, &mut |done| fan_out.next(done, peer)).await?;
                if system == System::SocketIo {
                    peer = self.results.row(fan_out.shape, system, StepKind::Saturated).map(Row::messages_per_sec);
                }
            }
        }
        Ok(())
    }

    async fn rooms(&mut self) -> Result<(), LoadError> {
        self.sockets(FAN_OUT[0].shape.users()).await;
        self.nats().await;
        for system in System::ALL {
            let mut search = Search::starting_at(ROOMS_COMPARED);
            let mut next = |done: &[StepReport]| next_of_rooms(done, &mut search);
            self.run(system, ROOMS, plan(ROOMS), &mut next).await?;
        }
        Ok(())
    }

    async fn storm(&mut self) -> Result<(), LoadError> {
        for system in System::ALL {
            self.run(system, STORM, storm(), &mut |_| None).await?;
        }
        Ok(())
    }

    async fn idle(&mut self) -> Result<(), LoadError> {
        for system in System::ALL {
            let plan = Plan { warm_up: SETTLED, measured: SETTLED, ..plan(IDLE) };
            let mut next = |done: &[StepReport]| done.is_empty().then_some((StepKind::Idle, StepLoad::Idle));
            self.run(system, IDLE, plan, &mut next).await?;
        }
        Ok(())
    }

    async fn handshakes(&mut self) {
        for certificate in Certificate::ALL {
            let row = handshakes::measure(certificate).await;
            let (per_sec, micros) = (digits(row.per_sec), digits(row.server_micros));
            println!("handshakes, {certificate}: {per_sec}/s, {micros} us each");
            self.results.handshakes.push(row);
        }
    }

    async fn tokens(&mut self) -> Result<(), LoadError> {
        for algorithm in Algorithm::ALL {
            let scratch = Scratch::new();
            let deployment = Deployment::start_with(System::OneProcess, &tokens::settings(algorithm, &scratch)).await;
            let pids = deployment.components().into_iter().map(|(_, pid)| pid).collect();
            let gate = deployment.entry_address().parse().unwrap();
            let plan = Plan { gate, pids, jwt: tokens::token(algorithm).map(Arc::from), ..storm() };
            let report = drive(System::OneProcess, &plan, &mut |_| None).await?;
            let Some(row) = tokens::row(algorithm, &report) else { continue };
            println!("logins, {algorithm}: {:.0}/s, {} us each", row.per_sec, digits(row.server_micros));
            let denied: u64 = report.steps.iter().flat_map(|step| step.denied.values()).sum();
            if denied > 0 {
                self.broken.push(format!("{denied} logins with {algorithm} were denied"));
            }
            self.results.logins.push(row);
        }
        Ok(())
    }

    /// The floors of so many sockets, unless they are known.
    async fn sockets(&mut self, sockets: u32) {
        for at_once in AT_ONCE {
            let kind = BaselineKind::Write { sockets, at_once };
            if self.results.baseline(kind).is_none() {
                self.add_baseline(baseline::write(sockets, at_once).await);
            }
        }
    }

    async fn nats(&mut self) {
        for baseline in baseline::nats(UNDER_WAY).await {
            self.add_baseline(baseline);
        }
    }

    fn add_baseline(&mut self, baseline: Baseline) {
        println!("floor: {}: {} us, {:.0}/s", baseline.kind, digits(baseline.sum()), baseline.per_sec);
        self.results.baselines.push(baseline);
    }

    /// Starts a system, and gives it one load after the other.
    async fn run(&mut self, system: System, shape: Shape, plan: Plan, next: &mut Next<'_>) -> Result<(), LoadError> {
        let mut deployment = Deployment::start(system).await;
        let components = deployment.components();
        let pids = components.iter().map(|(_, pid)| *pid).collect();
        let plan = Plan { gate: deployment.entry_address().parse().unwrap(), pids, ..plan };
        let components: Vec<_> = components.into_iter().map(|(component, _)| component).collect();
        let row = |step, report| Row { shape, system, step, components: components.clone(), report };
        let mut steps = Vec::new();
        let mut next = |done: &[StepReport]| {
            if let Some((step, report)) = steps.last().copied().zip(done.last()) {
                println!("{}", row(step, report.clone()));
            }
            let (step, load) = next(done)?;
            steps.push(step);
            Some(load)
        };
        let report = drive(system, &plan, &mut next).await?;
        if plan.workload == Workload::Storm {
            steps.push(StepKind::Storm);
        }
        let is_ours = System::OURS.contains(&system);
        for (step, report) in steps.into_iter().zip(report.steps) {
            let row = row(step, report);
            if step == StepKind::Storm {
                println!("{row}");
            }
            if !row.report.is_clean() {
                self.wrong(&row, is_ours);
            }
            self.results.rows.push(row);
        }
        if !self.broken.is_empty() {
            println!("what the servers wrote is in {}", deployment.keep().display());
        }
        Ok(())
    }

    /// A promise is broken, or the peer's service is poor.
    fn wrong(&mut self, row: &Row, is_ours: bool) {
        let StepReport { lost, doubled, reordered, misplaced, .. } = row.report;
        let what = format!("{row}: {lost} lost, {doubled} doubled, {reordered} reordered, {misplaced} misplaced");
        println!("{}{what}", if is_ours { "BROKEN " } else { "" });
        if is_ours {
            self.broken.push(what);
        }
    }
}

/// Returns the default plan, in which all users send.
fn plan(shape: Shape) -> Plan {
    Plan {
        users: shape.users(),
        rooms: shape.rooms,
        workload: Workload::Idle,
        in_flight: IN_FLIGHT,
        connect_rate: 5_000.0,
        sources: SOURCES,
        warm_up: WARM_UP,
        measured: MEASURED,
        ..Plan::default()
    }
}

/// Users who log in and leave as fast as they can.
fn storm() -> Plan {
    Plan { workload: Workload::Storm, connecting: STORM.users() as usize, connect_rate: 1e6, ..plan(STORM) }
}

/// Gives a system load, in its own dialect.
async fn drive(
    system: System,
    plan: &Plan,
    next: &mut impl FnMut(&[StepReport]) -> Option<StepLoad>,
) -> Result<Report, LoadError> {
    let (stop, mut show) = (CancellationToken::new(), |_: &_| ());
    match system {
        System::SocketIo => run_stepwise(plan, SocketIo::new, &stop, &mut show, next).await,
        System::OneProcess | System::NatsMemory | System::NatsJetStream => {
            run_stepwise(plan, Shaddock::new, &stop, &mut show, next).await
        }
    }
}
