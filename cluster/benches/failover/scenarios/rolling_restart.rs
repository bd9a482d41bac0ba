//! Every process in turn is ended in order and started again, under load, as for a new version.

mod gate_queries;
mod member;
mod members;
mod restart;
mod restart_table;

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::gate_queries::Newcomers;
use self::members::People;
use self::restart::{Kind, Step};
use self::restart_table::Table;
use super::Setting;
use crate::deployment::{Deployment, Layout};
use crate::promise_report::Verdict;

/// The default of `lifecycle.drain_secs`.
const DRAIN_SECS: u32 = 5;

/// Before the first restart: what the rooms are like when nothing happens.
const BEFORE: Duration = Duration::from_secs(5);

/// After the last restart: what was due before is heard while all still listen.
const AFTER: Duration = Duration::from_secs(1);

/// Each kind's servers: who is asked by others comes first.
const SERVERS: [Kind; 7] = [
    Kind::Chat(1),
    Kind::Chat(2),
    Kind::Chat(3),
    Kind::Connector(0),
    Kind::Connector(1),
    Kind::Connector(2),
    Kind::Gate,
];

pub(super) async fn run(setting: &Setting, verdict: &mut Verdict) {
    let settings = format!("lifecycle.drain_secs = {DRAIN_SECS}");
    let mut deployment = Deployment::start(&Layout { gate: true, settings, ..Layout::three(setting.traced) }).await;
    let mut people = People::gather(&deployment).await;
    let newcomers = Newcomers::of(&deployment);
    let goes_on = Cell::new(true);
    let began = Instant::now();
    let restarts = async {
        sleep(BEFORE).await;
        let mut steps = vec![Step::of_nothing(began)];
        for _ in 0..setting.rounds.unwrap_or(1) {
            for kind in SERVERS {
                steps.push(Step::take(&mut deployment, kind).await);
            }
        }
        sleep(AFTER).await;
        goes_on.set(false);
        steps
    };
    let (failures, asked, steps) = tokio::join!(people.talk(&goes_on), newcomers.ask(&goes_on), restarts);
    people.listen().await;
    let table = Table::new(&people, &steps, &deployment);
    table.show();
    asked.show(&steps);
    people.heard().judge_events(verdict);
    let (count, first) = (failures.len(), failures.first().map(String::as_str).unwrap_or_default());
    verdict.promise(failures.is_empty(), &format!("everybody comes back within 10 s: {count} do not {first}"));
    table.judge(verdict);
    asked.judge(verdict);
    deployment.end(verdict);
}
