//! A round: phases one after the other on one cluster. At the end of a phase all users are quiet,
//! and everything is checked; the next begins in new rooms with empty histories, so a long round
//! needs no more memory than a short one.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::chaos_cluster::ChaosCluster;
use crate::checker;
use crate::plan::{self, Step};
use crate::report::{Moment, Report};
use crate::users::{NotRecovered, Users};

/// Violations that are printed with the events around them.
const DESCRIBED: usize = 5;

/// Within this time every server has looked at `servers.json`.
const SEEN_BY_ALL: Duration = Duration::from_millis(1_500);

/// Within this time after a dead server is back, its rooms go home.
const GOES_HOME: Duration = Duration::from_secs(3);

/// Runs one short phase, or as many long ones as begin within so many minutes. Panics at the first
/// phase that breaks a promise.
pub(crate) async fn run(seed: u64, minutes: Option<u64>) {
    print_line(&format!("SHADDOCK_CHAOS_SEED={seed}"));
    let mut cluster = ChaosCluster::start_signed().await;
    let mut report = Report::new(seed);
    let until = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    loop {
        let steps = plan::phase(seed, report.phases, until.is_none());
        check_phase(&mut cluster, &steps, &mut report).await;
        if until.is_none_or(|until| Instant::now() >= until) {
            break;
        }
    }
    print_line(&report.to_string());
    cluster.stop().await;
}

async fn check_phase(cluster: &mut ChaosCluster, steps: &[Step], report: &mut Report) {
    let users = Users::start(&cluster.entry_points(), report.seed, report.phases, &report.counts);
    let not_recovered = run_phase(cluster, &users, steps, report).await.err();
    let histories = users.histories();
    users.stop().await;
    report.phases += 1;
    let violations = checker::check(&histories);
    violations.iter().for_each(|violation| report.add_violation(violation.kind));
    if not_recovered.is_none() && violations.is_empty() {
        return;
    }
    let descriptions: String =
        violations.iter().take(DESCRIBED).map(|violation| violation.describe(&histories)).collect();
    let not_recovered = not_recovered.map(|NotRecovered(why)| why).unwrap_or_default();
    let logs = cluster.logs().display();
    panic!("{report}\n{} violations\n{descriptions}{not_recovered}\n{steps:#?}\nlogs are in {logs}", violations.len());
}

async fn run_phase(
    cluster: &mut ChaosCluster,
    users: &Users,
    steps: &[Step],
    report: &mut Report,
) -> Result<(), NotRecovered> {
    users.measure_recovery().await?;
    for step in steps {
        // Users talk during this time.
        sleep(Duration::from_millis(step.talk_ms)).await;
        if step.cuts_clients {
            users.cut();
        }
        let began = Instant::now();
        cluster.inject(step).await;
        let recovery = if step.kind.is_seen_later() {
            users.slowest_recovery(SEEN_BY_ALL).await?
        } else {
            users.measure_recovery().await?
        };
        report.add_recovery(step.kind, Moment::Broken, recovery);
        if step.kind.leaves_server_down() {
            // Its rooms were served without it, or we would not be here.
            users.wait_until_forgotten().await?;
            sleep_until(began + Duration::from_millis(step.duration_ms)).await;
            cluster.restart_dead(step).await;
            report.add_recovery(step.kind, Moment::Back, users.slowest_recovery(GOES_HOME).await?);
        }
    }
    users.quiesce().await
}

#[expect(clippy::print_stdout, reason = "the round's result")]
fn print_line(text: &str) {
    println!("{text}");
}
