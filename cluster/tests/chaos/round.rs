//! A round: acts one after the other on one stage. An act ends in a calm in which everything is checked; the next begins
//! in new rooms with empty diaries, so a long round needs no more memory than a short one.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::chaos_cluster::Stage;
use crate::checker;
use crate::plan::{self, Step};
use crate::report::{Moment, Report};
use crate::users::{Crowd, Stuck};

/// Violations that are told with what happened around them.
const STORIES: usize = 5;

/// Within this time every server has looked at `servers.json`.
const SEEN_BY_ALL: Duration = Duration::from_millis(1_500);

/// Within this time after a dead server is back, its rooms go home.
const GOES_HOME: Duration = Duration::from_secs(3);

/// One short act, or as many long ones as begin within so many minutes. Panics at the first act that breaks a promise.
pub(crate) async fn run(seed: u64, minutes: Option<u64>) {
    say(&format!("SHADDOCK_CHAOS_SEED={seed}"));
    let mut stage = Stage::start_signed().await;
    let mut report = Report::new(seed);
    let until = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    loop {
        let steps = plan::act(seed, report.acts, until.is_none());
        act(&mut stage, &steps, &mut report).await;
        if until.is_none_or(|until| Instant::now() >= until) {
            break;
        }
    }
    say(&report.to_string());
    stage.stop().await;
}

async fn act(stage: &mut Stage, steps: &[Step], report: &mut Report) {
    let crowd = Crowd::gather(&stage.doors(), report.seed, report.acts, &report.counts);
    let stuck = play(stage, &crowd, steps, report).await.err();
    let diaries = crowd.diaries();
    crowd.end().await;
    report.acts += 1;
    let violations = checker::check(&diaries);
    violations.iter().for_each(|violation| report.violated(violation.kind));
    if stuck.is_none() && violations.is_empty() {
        return;
    }
    let stories: String = violations.iter().take(STORIES).map(|violation| violation.story(&diaries)).collect();
    let stuck = stuck.map(|Stuck(why)| why).unwrap_or_default();
    let logs = stage.logs().display();
    panic!("{report}\n{} violations\n{stories}{stuck}\n{steps:#?}\nlogs are in {logs}", violations.len());
}

async fn play(stage: &mut Stage, crowd: &Crowd, steps: &[Step], report: &mut Report) -> Result<(), Stuck> {
    crowd.recovery().await?;
    for step in steps {
        // People talk meanwhile.
        sleep(Duration::from_millis(step.talk_ms)).await;
        if step.cuts_clients {
            crowd.cut();
        }
        let began = Instant::now();
        stage.breaks(step).await;
        let recovery =
            if step.kind.is_seen_later() { crowd.slowest_within(SEEN_BY_ALL).await? } else { crowd.recovery().await? };
        report.recovered(step.kind, Moment::Broken, recovery);
        if step.kind.stays() {
            // Its rooms were served without it, or we would not be here.
            crowd.forgets().await?;
            sleep_until(began + Duration::from_millis(step.lasts_ms)).await;
            stage.revive(step).await;
            report.recovered(step.kind, Moment::Back, crowd.slowest_within(GOES_HOME).await?);
        }
    }
    crowd.calm().await
}

#[expect(clippy::print_stdout, reason = "the round's result")]
fn say(text: &str) {
    println!("{text}");
}
