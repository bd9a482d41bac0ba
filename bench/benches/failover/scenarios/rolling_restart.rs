//! Stops every process in turn and starts it again, under load, as for a new version.

mod gate_queries;
mod member;
mod members;
mod restart;
mod restart_table;

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::gate_queries::GateQueries;
use self::members::Members;
use self::restart::{Restart, RestartTarget};
use self::restart_table::RestartTable;
use super::ScenarioSettings;
use crate::deployment::{Deployment, Layout};
use crate::promise_report::PromiseReport;

/// The default of `lifecycle.drain_secs`.
const DRAIN_SECS: u32 = 5;

/// Time before the first restart: the baseline.
const BEFORE: Duration = Duration::from_secs(5);

/// Time after the last restart, in which earlier messages arrive.
const AFTER: Duration = Duration::from_secs(1);

/// All servers; a server restarts before those that send requests to it.
const SERVERS: [RestartTarget; 7] = [
    RestartTarget::Chat(1),
    RestartTarget::Chat(2),
    RestartTarget::Chat(3),
    RestartTarget::Connector(0),
    RestartTarget::Connector(1),
    RestartTarget::Connector(2),
    RestartTarget::Gate,
];

pub(super) async fn run(options: &ScenarioSettings, promises: &mut PromiseReport) {
    let settings = format!("lifecycle.drain_secs = {DRAIN_SECS}");
    let mut deployment = Deployment::start(&Layout { gate: true, settings, ..Layout::three(options.traced) }).await;
    let mut members = Members::enter_all(&deployment).await;
    let queries = GateQueries::of(&deployment);
    let running = Cell::new(true);
    let began = Instant::now();
    let restarts = async {
        sleep(BEFORE).await;
        let mut restarts = vec![Restart::none(began)];
        for _ in 0..options.rounds.unwrap_or(1) {
            for kind in SERVERS {
                restarts.push(Restart::take(&mut deployment, kind).await);
            }
        }
        sleep(AFTER).await;
        running.set(false);
        restarts
    };
    let (failures, queried, restarts) =
        tokio::join!(members.send_messages(&running), queries.query(&running), restarts);
    members.listen().await;
    let table = RestartTable::new(&members, &restarts, &deployment);
    table.show();
    queried.show(&restarts);
    members.check_deliveries().report_events(promises);
    let (count, first) = (failures.len(), failures.first().map(String::as_str).unwrap_or_default());
    promises.check(failures.is_empty(), &format!("all members resume within 10 s: {count} do not {first}"));
    table.report(promises);
    queried.report(promises);
    deployment.end(promises);
}
