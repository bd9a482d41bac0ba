//! A tracer subscribes to all of the bus: then the broker never reports "no responders", and
//! nothing may depend on it.

use std::collections::BTreeSet;

use bus::Bus;
use model::rpc::header;
use model::settings::NatsSettings;
use runtime::metrics::Metrics;

use crate::test_cluster::{DEADLINE, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracer_changes_nothing() {
    let test = Setup::over_nats().start().await;
    let url = test.nats.as_ref().unwrap().url().to_owned();
    let tracer = Bus::nats(&url, &NatsSettings::default(), "tracer", Metrics::new()).await.unwrap();
    let mut seen = tracer.subscribe(">", 65_536).await.unwrap();
    let mut ann = test.join("ann", "聊天室").await;
    let bob = test.join("bob", "聊天室").await;
    bob.send("hello").await;
    assert_eq!(ann.next_message().await.1, "hello");
    let mut wanted: BTreeSet<&str> =
        ["attach", "attached", "enter", "send", "record", "heartbeat", "alive", "ping", "pong"].into();
    while !wanted.is_empty() {
        let message = tokio::time::timeout(DEADLINE, seen.next()).await;
        let message = message.unwrap_or_else(|_| panic!("{wanted:?} were not seen")).unwrap();
        let method = message.headers.get(header::METHOD).map(str::to_owned);
        if method.is_none() && ["_INBOX.", "$JS.", "log."].iter().any(|kind| message.subject.starts_with(kind)) {
            // The bus checks its own subscription, or reads a room's records from JetStream.
            continue;
        }
        for name in [header::METHOD, header::FROM, header::VIEW, header::TRACEPARENT] {
            assert!(message.headers.get(name).is_some(), "{name} is missing on {}", message.subject);
        }
        wanted.remove(method.unwrap().as_str());
    }
    test.cluster.stop().await;
}
