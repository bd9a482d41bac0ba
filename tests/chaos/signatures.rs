//! Signatures are switched on in a running cluster, a server is added, and keys are changed:
//! process by process, while users talk.

use crate::chaos_cluster::ChaosCluster;
use crate::checker;
use crate::report::Report;
use crate::users::{NotRecovered, Users};

/// Log lines of messages that are lost to missing or wrong keys.
const DROPPED: [&str; 3] = ["unsigned message dropped", "wrong signature dropped", "the file has no key of its"];

pub(crate) async fn run(seed: u64) {
    let mut cluster = ChaosCluster::start().await;
    let report = Report::new(seed);
    let users = Users::start(&cluster.entry_points(), seed, 0, &report.counts);
    let not_recovered = run_phase(&mut cluster, &users).await.err();
    let histories = users.histories();
    users.stop().await;
    let violations = checker::check(&histories);
    let descriptions: String = violations.iter().take(5).map(|violation| violation.describe(&histories)).collect();
    assert!(
        not_recovered.is_none() && violations.is_empty(),
        "{report}\n{not_recovered:?}\n{descriptions}\n{}",
        cluster.logs().display()
    );
    assert!(report.counts.acknowledged.get() > 1_000, "{report}");
    cluster.stop().await;
}

async fn run_phase(cluster: &mut ChaosCluster, users: &Users) -> Result<(), NotRecovered> {
    cluster.write_keys();
    for how in ["accept", "require"] {
        cluster.set_signatures(how);
        cluster.rolling_restart(async |_| users.measure_recovery().await.map(drop)).await?;
        let output = cluster.output();
        assert!(DROPPED.iter().all(|line| !output.contains(line)), "{how}: see {}", cluster.logs().display());
    }
    cluster.add_signing_chat().await;
    users.slowest_recovery(std::time::Duration::from_secs(3)).await?;
    cluster.change_key("chat-server-2").await;
    users.measure_recovery().await?;
    cluster.change_key("connector-server-1").await;
    users.quiesce().await
}
