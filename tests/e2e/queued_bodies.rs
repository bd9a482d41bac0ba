//! The bytes of requests that wait in a connector because no chat server answers.

use client::ClientError;
use cluster::LogKind;
use runtime::metrics::OverloadRefusals;
use testkit::eventually;

use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::DEADLINE;

fn is_refused(result: &Result<client::Sent, ClientError>, code: u64) -> bool {
    matches!(result, Err(ClientError::Refused { code: found, .. }) if *found == code)
}

/// Requests above the limit are refused at once, and those that waited free their bytes when they
/// are given up or decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_have_a_limit_in_bytes() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    split.settings.frontend.max_queued_bytes = 100_000;
    split.settings.session.byte_burst = 10_000_000;
    split.settings.session.request_burst = 10_000;
    let chat_id = home(&split.servers, "lobby");
    let chat = split.start_killable(&chat_id).await;
    let connector = split.start("connector-server-1").await;
    let ann = split.join(0, "ann", "lobby").await;
    ann.send("before").await;
    chat.shutdown_background();
    let text = "x".repeat(15_000);
    // Alone in the proposal in flight, which is not given up: its outcome is unknown. The connector
    // answers the page behind it by itself.
    let in_flight = ann.chat.send("in flight");
    ann.chat.members(None, 1).await.unwrap();
    // Six wait: 90,000 bytes and their envelopes.
    let sends: Vec<_> = (0..10).map(|_| ann.chat.send(&text)).collect();
    let mut outcomes = Vec::new();
    for send in sends {
        outcomes.push(send.await);
    }
    assert_eq!(outcomes.iter().filter(|outcome| is_refused(outcome, 503)).count(), 6, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| is_refused(outcome, 429)).count(), 4, "{outcomes:?}");
    assert!(is_refused(&in_flight.await, 503));
    let refused: &OverloadRefusals = &connector.metrics().requests_refused_overload;
    assert_eq!((refused.queued_bytes.get(), refused.get()), (4, 4));
    // Given up: others may wait instead, and all are free once the room is served again.
    assert!(is_refused(&ann.chat.send(&text).await, 503));
    let chat = split.start(&chat_id).await;
    eventually(DEADLINE, "the room is served", async || ann.chat.send("again").await.is_ok()).await;
    for _ in 0..12 {
        ann.send(&text).await;
    }
    assert_eq!(refused.get(), 4);
    for cluster in [connector, chat] {
        cluster.stop().await;
    }
}
