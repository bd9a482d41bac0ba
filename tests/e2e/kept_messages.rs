//! JetStream streams on the subjects between servers, made to watch them: JetStream answers each
//! message with a reply subject.

use async_nats::jetstream::{self, stream};
use serde_json::Value;
use testkit::{eventually, http_get};

use crate::test_cluster::{DEADLINE, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_keep_bus_messages_change_nothing() {
    let setup = Setup::over_nats().with(|settings| settings.rpc.heartbeat_ms = 50);
    let test = setup.start().await;
    let client = async_nats::connect(test.nats.as_ref().unwrap().url()).await.unwrap();
    let jetstream = jetstream::new(client);
    for (name, subject) in [("QUESTIONS", "chat.>"), ("ANSWERS", "connector.>")] {
        let (name, subjects) = (name.to_owned(), vec![subject.to_owned()]);
        let config = stream::Config { name, subjects, storage: stream::StorageType::Memory, ..Default::default() };
        jetstream.create_stream(config).await.unwrap();
    }
    // Each answer to a ping comes second now.
    let ignored = test.cluster.metrics().bus_bad_messages.clone();
    eventually(DEADLINE, "a hundred answers of JetStream", async || ignored.get() > 100).await;
    let mut uids = 0;
    eventually(DEADLINE, "two hundred users to be sent to connectors", async || {
        uids += 1;
        let response = http_get(test.gate(), &format!("/entry?uid={uids}"), &["Host: localhost"]).await.unwrap();
        let body: Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(body["code"], 200, "user {uids}: {body}");
        uids == 200
    })
    .await;
    let mut ann = test.join("ann", "lobby").await;
    let bob = test.join("bob", "lobby").await;
    for number in 0..20 {
        bob.send(&number.to_string()).await;
        assert_eq!(ann.next_message().await.1, number.to_string());
    }
    test.cluster.stop().await;
}
