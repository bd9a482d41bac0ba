//! A log of two streams: one that does not respond, or is lost, concerns its rooms only.

use async_nats::jetstream::{self, Context, stream::Config};
use client::Event;
use testkit::eventually;

use crate::operations::{get, port, readiness, wait_until_ready};
use crate::test_cluster::{DEADLINE, Member, Setup, TestCluster};

/// A room of `ROOMS`, and one of `ROOMS-1`.
const KEPT: &str = "room2";
const AWAY: &str = "lobby";

/// A cluster with two streams, and two members of a room of each, who have talked.
async fn two_streams() -> (TestCluster, Context, [Pair; 2]) {
    let test = Setup::over_nats().with(|settings| settings.log.streams = 2).start().await;
    let nats = async_nats::connect(test.nats.as_ref().unwrap().url()).await.unwrap();
    let mut pairs = [pair(&test, KEPT).await, pair(&test, AWAY).await];
    for pair in &mut pairs {
        exchange(pair, "begin").await;
    }
    (test, jetstream::new(nats), pairs)
}

/// Two members of a room.
type Pair = (Member, Member);

async fn pair(test: &TestCluster, room: &str) -> Pair {
    (test.join_at(0, &format!("ann-{room}"), room).await, test.join_at(1, &format!("bob-{room}"), room).await)
}

/// The first member sends a message, and the second receives just that.
async fn exchange((ann, bob): &mut Pair, text: &str) {
    ann.send(text).await;
    let before = bob.events_before(text).await;
    assert!(before.is_empty(), "{before:?}");
}

/// Returns the fault of the log at each chat server, and the stream gauges of one.
async fn faults(test: &TestCluster) -> (Vec<String>, String) {
    let servers = test.cluster.servers();
    let (mut faults, mut metrics) = (Vec::new(), String::new());
    for server in servers.chat() {
        let (_, report) = readiness(port(&servers, server.id.as_str())).await;
        faults.push(report["checks"]["log"].as_str().unwrap().to_owned());
        metrics = get(server.port.unwrap(), "/metrics").await.1;
    }
    (faults, metrics)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_does_not_respond_is_named_and_concerns_its_rooms_only() {
    let (test, context, [mut kept, away]) = two_streams().await;
    let good = context.get_stream("ROOMS-1").await.unwrap().cached_info().config.clone();
    let without = Config { subjects: vec!["away".to_owned()], ..good.clone() };
    context.update_stream(&without).await.unwrap();
    assert!(away.0.chat.send("refused").await.is_err());
    let is_named = async || {
        let (faults, metrics) = faults(&test).await;
        let failing = |stream: &str, servers| {
            metrics.contains(&format!("shaddock_log_failing{{stream=\"{stream}\"}} {servers}\n"))
        };
        let is_shown = failing("ROOMS", 0) && (1..=3).any(|servers| failing("ROOMS-1", servers));
        is_shown && faults.iter().any(|fault| fault.starts_with("ROOMS-1: ") && !fault.contains("ROOMS: "))
    };
    eventually(DEADLINE, "the stream to be named", is_named).await;
    for number in 0..20 {
        exchange(&mut kept, &format!("message {number}")).await;
    }
    context.update_stream(&good).await.unwrap();
    eventually(DEADLINE, "the room to serve", async || away.0.chat.send("again").await.is_ok()).await;
    for server in test.cluster.servers().chat() {
        wait_until_ready(server.port.unwrap()).await;
    }
    test.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_in_rooms_of_another_stream_than_the_lost_one_notice_nothing() {
    let (test, context, [mut kept, mut lost]) = two_streams().await;
    context.delete_stream("ROOMS-1").await.unwrap();
    for number in 0..20 {
        exchange(&mut kept, &format!("message {number}")).await;
    }
    // The memberships went with the log: the members are closed, and come back.
    for member in [&mut lost.0, &mut lost.1] {
        while !matches!(member.next_event().await, Event::Closed) {}
    }
    let mut anew = pair(&test, AWAY).await;
    exchange(&mut anew, "after").await;
    // Longer than until all chat servers have found that the epoch changed.
    let epochs = async || {
        let one = context.get_stream("ROOMS-1").await;
        one.is_ok_and(|stream| stream.cached_info().state.last_sequence > 0)
    };
    eventually(DEADLINE, "the stream to be created again", epochs).await;
    for number in 20..40 {
        exchange(&mut kept, &format!("message {number}")).await;
    }
    let (faults, _) = faults(&test).await;
    assert_eq!(faults, ["ok", "ok", "ok"]);
    test.cluster.stop().await;
}
