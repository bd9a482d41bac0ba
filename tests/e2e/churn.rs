//! Members that come and go all the time.

use std::time::Duration;

use client::ChatClient;
use futures_util::future;
use tokio::time::{Instant, timeout};

use crate::on_both_buses;
use crate::test_cluster::Setup;

on_both_buses! { members_that_come_and_go_share_records }

/// Time for which they come and go.
const RESTLESS: Duration = Duration::from_secs(5);

/// Records of joins and leaves that come at once.
const AT_ONCE: usize = 5;

/// Enters and leaves all the time; returns the number of responses.
async fn come_and_go(chat: &ChatClient, name: &str) -> u64 {
    let end = Instant::now() + RESTLESS;
    let mut responses = 0;
    while Instant::now() < end {
        chat.enter(name, "lobby").await.unwrap();
        chat.leave().await.unwrap();
        responses += 2;
    }
    responses
}

async fn members_that_come_and_go_share_records(setup: Setup) {
    let test = setup.with(|settings| settings.room.presence_records_per_min = AT_ONCE).start().await;
    let mut ann = test.join_at(0, "ann", "lobby").await;
    let bob = test.join_at(1, "bob", "lobby").await;
    let mut clients = Vec::new();
    for number in 0..6 {
        let (chat, events) = test.connect(number % 3).await;
        clients.push((format!("restless {number}"), chat, events));
    }
    let committed = test.cluster.metrics().records_committed.clone();
    let (before, began) = (committed.get(), Instant::now());
    let responses = future::join_all(clients.iter().map(|(name, chat, _)| come_and_go(chat, name)));
    let responses: u64 = timeout(RESTLESS * 3, responses).await.unwrap().into_iter().sum();
    let records = committed.get() - before;
    // Two are 800 ms apart at least, while leaves are a third of the last ones. Of so few they are
    // not always, so some do not wait: without the limit there are hundreds.
    let waits = began.elapsed().as_millis() as u64 / 800 + 1;
    let most = 2 * (AT_ONCE as u64 + 1) + waits * 3 / 2;
    assert!(records <= most && responses > records, "{records} records of {responses} requests, not {most}");
    assert!(test.cluster.metrics().presence_delays.get() > 0);
    bob.send("hi").await;
    assert_eq!(ann.next_message().await.1, "hi");
    let (cid, _events) = test.connect(2).await;
    assert_eq!(cid.enter("cid", "lobby").await.unwrap().users, ["ann", "bob", "cid"]);
    test.cluster.stop().await;
}
