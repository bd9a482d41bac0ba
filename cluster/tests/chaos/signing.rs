//! Signatures are switched on in a running cluster, a server is added, and keys are changed: process by process, while
//! users talk.

use crate::checker;
use crate::crowd::{Crowd, Stuck};
use crate::report::Report;
use crate::stage::Stage;

/// Log lines of messages that are lost to missing or wrong keys.
const DROPPED: [&str; 3] = ["unsigned message dropped", "wrong signature dropped", "the file has no key of its"];

pub(crate) async fn run(seed: u64) {
    let mut stage = Stage::start().await;
    let report = Report::new(seed);
    let crowd = Crowd::gather(&stage.doors(), seed, 0, &report.counts);
    let stuck = play(&mut stage, &crowd).await.err();
    let diaries = crowd.diaries();
    crowd.end().await;
    let violations = checker::check(&diaries);
    let stories: String = violations.iter().take(5).map(|violation| violation.story(&diaries)).collect();
    assert!(stuck.is_none() && violations.is_empty(), "{report}\n{stuck:?}\n{stories}\n{}", stage.logs().display());
    assert!(report.counts.acknowledged.get() > 1_000, "{report}");
    stage.stop().await;
}

async fn play(stage: &mut Stage, crowd: &Crowd) -> Result<(), Stuck> {
    stage.write_keys().await;
    for how in ["accept", "require"] {
        stage.set_signatures(how);
        stage.roll_all(async |_| crowd.recovery().await.map(drop)).await?;
        let output = stage.output();
        assert!(DROPPED.iter().all(|line| !output.contains(line)), "{how}: see {}", stage.logs().display());
    }
    stage.add_signing_chat().await;
    crowd.slowest_within(std::time::Duration::from_secs(3)).await?;
    stage.change_key("chat-server-2").await;
    crowd.recovery().await?;
    stage.change_key("connector-server-1").await;
    crowd.calm().await
}
