//! Many senders with many messages at once: one order for all, and records that carry more than one
//! message.

use futures_util::future::join_all;

use crate::order::{check_order, messages};
use crate::test_cluster::{Member, Setup};

/// Senders.
const SENDERS: usize = 20;

/// Messages that each of them has on the way at once.
const BURST: u64 = 200;

/// A burst is more than the limits allow by default, and a busy machine must not make any client
/// count as slow.
fn setup() -> Setup {
    Setup::over_nats().with(|settings| {
        settings.session.requests_per_sec = 1_000;
        settings.session.request_burst = 1_000;
        settings.session.max_in_flight = 1_000;
        settings.session.max_outbound_bytes = 64 * 1024 * 1024;
        settings.rpc.request_ms = 15_000;
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_of_many_reach_all_in_one_order() {
    let test = setup().start().await;
    let mut members = Vec::new();
    for number in 0..SENDERS {
        members.push(test.join_at(number % 3, &format!("p{number}"), "lobby").await);
    }
    let metrics = test.cluster.metrics().clone();
    let before = (metrics.records_committed.get(), metrics.entries_committed.get(), metrics.activations.get());
    let responses = members
        .iter()
        .flat_map(|member: &Member| (0..BURST).map(|round| member.chat.send(&format!("{} {round}", member.name))));
    let acknowledged: Vec<u64> = join_all(responses).await.into_iter().map(|sent| sent.unwrap().seq).collect();
    let after = (metrics.records_committed.get(), metrics.entries_committed.get(), metrics.activations.get());
    members[0].send("end").await;
    let mut received = Vec::new();
    for member in &mut members {
        received.push(messages(member).await);
    }
    let count = acknowledged.len() as u64;
    check_order(&received, acknowledged, &members, BURST);
    let (records, entries, activations) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    assert_eq!((entries, activations), (count, 0), "nothing else happened");
    assert!(entries > 2 * records, "{entries} messages in {records} records");
    test.cluster.stop().await;
}
