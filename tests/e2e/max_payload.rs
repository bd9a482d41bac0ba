//! A broker that takes little: what cannot be split is refused at start, everything else stays
//! below half of that.

use async_nats::Subscriber;
use client::{Event, History};
use cluster::LogKind;
use futures_util::StreamExt;
use futures_util::future::join_all;
use testkit::NatsServer;

use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::Member;

const PAYLOAD: usize = 64 * 1024;
const MEMBERS: usize = 400;
const ROOM: &str = "lobby";

async fn split_cluster() -> SplitCluster {
    let mut split = SplitCluster::on(NatsServer::start_configured("max_payload: 64KB").await, LogKind::JetStream);
    split.settings.session.max_package = 24 * 1024;
    split.settings.session.requests_per_sec = 1_000;
    // Hundreds enter at once.
    split.settings.rpc.request_ms = 10_000;
    split
}

#[tokio::test]
async fn settings_that_need_more_than_the_broker_takes_are_refused_at_start() {
    let mut split = split_cluster().await;
    split.settings.session.max_package = 64 * 1024;
    let said = split.start_error("chat-server-1").await;
    assert!(said.contains("session.max_package = 65536") && said.contains("max_payload is 65536"), "{said}");
    // The remedy in the message helps.
    let lower = said.split("lower the setting to ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    split.settings.session.max_package = lower.parse().unwrap();
    split.start("chat-server-1").await.stop().await;
    split.settings.log.max_records = 512;
    split.settings.room.max_members = 5_000;
    split.settings.log.max_room_bytes = 64 << 20;
    let said = split.start_error("chat-server-1").await;
    assert!(said.contains("log.max_records = 512 may not keep a whole one: raise it to"), "{said}");
}

/// The largest message of all that is on the bus, and its subject; listens as a tracer does.
async fn largest(mut all: Subscriber, scene: impl Future<Output = ()>) -> (usize, String) {
    let mut largest = (0, String::new());
    tokio::pin!(scene);
    loop {
        tokio::select! {
            // Zeros alone are what a server tries at its start.
            Some(message) = all.next() => if message.payload.iter().any(|byte| *byte != 0) {
                largest = largest.max((message.length, message.subject.to_string()));
            },
            () = &mut scene => return largest,
        }
    }
}

async fn join_many(split: &SplitCluster, connector: usize) -> Vec<Member> {
    let long = "😀".repeat(40);
    let names: Vec<String> = (0..MEMBERS / 2).map(|number| format!("{connector}-{number}-{long}")).collect();
    join_all(names.iter().map(|name| split.join(connector, name, ROOM))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_on_the_bus_is_more_than_half_of_what_the_broker_takes() {
    let split = split_cluster().await;
    let tracer = async_nats::connect(split.nats.url()).await.unwrap();
    let all = tracer.subscribe(">").await.unwrap();
    tracer.flush().await.unwrap();
    let (size, subject) = largest(all, a_room_is_filled_and_its_owner_dies(split)).await;
    assert!(size > PAYLOAD / 4 && size <= PAYLOAD / 2, "{size} bytes on {subject}");
}

async fn a_room_is_filled_and_its_owner_dies(mut split: SplitCluster) {
    let home = home(&split.servers, ROOM);
    let other = ["chat-server-1", "chat-server-2"].into_iter().find(|id| *id != home).unwrap();
    let (first, other) = (split.start_killable(&home).await, split.start(other).await);
    let mut servers = vec![split.start("connector-server-1").await, split.start("connector-server-2").await];
    let mut members = join_many(&split, 0).await;
    members.extend(join_many(&split, 1).await);
    // The last newcomer gets the whole state, and so does the server that takes over.
    servers.push(split.start("connector-server-3").await);
    let mut last = split.join(2, "last", ROOM).await;
    assert_eq!(last.entered.total, 401);
    first.shutdown_background();
    for round in 0..20 {
        let texts = members.iter().skip(round * 10).take(10).map(|member| member.chat.send("x"));
        join_all(texts).await.into_iter().for_each(|sent| assert!(sent.is_ok(), "{sent:?}"));
        members[round].chat.send(&"y".repeat(15_000)).await.unwrap();
    }
    let mut long = 0;
    while long < 20 {
        match last.next_event().await {
            Event::Chat(chat) => long += usize::from(chat.msg.len() == 15_000),
            Event::Closed => panic!("closed"),
            _ => {}
        }
    }
    last.chat.history(History::Last, 50).await.unwrap();
    assert!(other.metrics().activations.get() > 0, "the other took over");
    drop(members);
    servers.push(other);
    for server in servers {
        server.stop().await;
    }
}
