//! Another program writes into a room's log at a real NATS server; the operator follows
//! `docs/how-to/recovery.md`.

use async_nats::jetstream::{self, stream::Stream};
use client::{Event, History, Message};
use cluster::{Cluster, LogKind};
use model::ids::RoomId;
use model::record::{Entry, Position, Record, RecordId, VERSION};
use model::subjects;
use serde_json::{Value, json};
use testkit::eventually;

use crate::operations::{port, readiness, wait_until_ready};
use crate::readiness::assert_named;
use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::{DEADLINE, Member};

const PAGE: &str = include_str!("../../docs/how-to/recovery.md");

/// Fifty years in milliseconds.
const FAR_MS: u64 = 50 * 365 * 24 * 3_600_000;

/// A room with two members, its servers, and another program on the broker.
struct PoisonedRoom {
    split: SplitCluster,
    home: Option<Cluster>,
    connectors: Vec<Cluster>,
    nats: async_nats::Client,
    ann: Member,
    bob: Member,
}

impl PoisonedRoom {
    async fn new() -> Self {
        let mut split = SplitCluster::new(LogKind::JetStream).await;
        let home = split.start(&home(&split.servers, "lobby")).await;
        let connectors = vec![split.start("connector-server-1").await, split.start("connector-server-2").await];
        let nats = async_nats::connect(split.nats.url()).await.unwrap();
        let (ann, bob) = (split.join(0, "ann", "lobby").await, split.join(1, "bob", "lobby").await);
        let mut world = Self { split, home: Some(home), connectors, nats, ann, bob };
        world.exchange("begin").await;
        world
    }

    fn home_id(&self) -> String {
        home(&self.split.servers, "lobby")
    }

    /// Ann sends a message, and Bob receives just that.
    async fn exchange(&mut self, text: &str) {
        self.ann.send(text).await;
        let before = self.bob.events_before(text).await;
        assert!(before.is_empty(), "{before:?}");
    }

    async fn stream(&self) -> Stream {
        jetstream::new(self.nats.clone()).get_stream("ROOMS").await.unwrap()
    }

    async fn last(&self, room: &str) -> (u64, Record) {
        let last = self
            .stream()
            .await
            .get_last_raw_message_by_subject(&subjects::log(&RoomId::new(room).unwrap()))
            .await
            .unwrap();
        (last.sequence, Record::decode(&last.payload).unwrap())
    }

    /// A record that would be the room's next one.
    async fn next(&self) -> Record {
        let (position, last) = self.last("lobby").await;
        let (prev, prev_id) = (Position(position), last.id);
        Record {
            prev,
            prev_id,
            id: RecordId(77),
            proposals: Vec::new(),
            acts: Vec::new(),
            lasting: None,
            entries: vec![Entry::Open],
            checkpoint: None,
            ..last
        }
    }

    /// Writes into the room's log; returns the position.
    async fn publish(&self, bytes: impl Into<bytes::Bytes>) -> u64 {
        let acked = jetstream::new(self.nats.clone()).publish("log.51.lobby", bytes.into()).await.unwrap();
        acked.await.unwrap().sequence
    }

    /// Every command of the page that begins with this subject, run with this position in the place
    /// of the page's.
    async fn run(&self, subject: &str, position: Option<u64>) -> Vec<Value> {
        let mut responses = Vec::new();
        for (to, body) in commands().into_iter().filter(|(to, _)| to == subject) {
            let mut body = body;
            if let (Some(position), Some(seq)) = (position, body.get_mut("seq")) {
                *seq = json!(position);
            }
            let response = self.nats.request(to, body.to_string().into()).await.unwrap();
            responses.push(serde_json::from_slice(&response.payload).unwrap());
        }
        assert!(!responses.is_empty(), "the page has no command for {subject}");
        responses
    }

    async fn stop(self) {
        for cluster in self.connectors.into_iter().chain(self.home) {
            cluster.stop().await;
        }
    }
}

/// Subject and body of each `nats request` of the page.
fn commands() -> Vec<(String, Value)> {
    let lines = PAGE.lines().filter_map(|line| line.strip_prefix("nats request "));
    let command = |line: &str| {
        let split: Vec<&str> = line.split('\'').collect();
        let ["", subject, " ", body, ""] = split[..] else { panic!("no subject and body: {line}") };
        (subject.to_owned(), serde_json::from_str(body).unwrap())
    };
    lines.map(command).collect()
}

const LOOK: &str = "$JS.API.STREAM.MSG.GET.ROOMS";
const REMOVE: &str = "$JS.API.STREAM.MSG.DELETE.ROOMS";
const ERASE: &str = "$JS.API.STREAM.PURGE.ROOMS";

/// The page has each request that these tests run, and the `nats stream` command that does the
/// same.
#[test]
fn the_page_has_each_command_in_both_forms() {
    let subjects: Vec<String> = commands().into_iter().map(|(subject, _)| subject).collect();
    for subject in [LOOK, REMOVE, ERASE] {
        assert!(subjects.iter().any(|known| known == subject), "{subject} is not in {subjects:?}");
    }
    assert!(subjects.iter().all(|subject| [LOOK, REMOVE, ERASE].contains(&subject.as_str())), "{subjects:?}");
    for command in [
        &*chat::log::jetstream::removal("ROOMS", Position(7)),
        "nats stream purge ROOMS --subject log.51.lobby --force",
    ] {
        assert!(PAGE.lines().any(|line| line == command), "{command}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_no_record_costs_itself() {
    let mut world = PoisonedRoom::new().await;
    let _attic = world.split.join(0, "cid", "attic").await;
    let (_, other) = world.last("attic").await;
    let (_, copy) = world.last("lobby").await;
    let own = |record: Record| record.encode().unwrap();
    let kinds = [
        b"garbage".to_vec(),
        Vec::new(),
        own(Record { v: VERSION + 1, ..world.next().await }),
        own(Record { prev: Position(world.last("lobby").await.0 + 4), ..world.next().await }),
        own(Record { prev: Position(u64::MAX), ..world.next().await }),
        own(other),
        own(copy),
    ];
    let count = kinds.len() as u64;
    let mut bad = Vec::new();
    for (number, bytes) in kinds.into_iter().enumerate() {
        bad.push(world.publish(bytes).await);
        world.exchange(&format!("after {number}")).await;
    }
    let home = world.home.as_ref().unwrap();
    assert_eq!(home.metrics().records_bad.get(), count);
    let port = port(&home.servers(), &world.home_id());
    wait_until_ready(port).await;
    // Another run of the chat server starts from a log that ends with poison.
    bad.push(world.publish("garbage").await);
    world.home.take().unwrap().stop().await;
    let id = world.home_id();
    world.home = Some(world.split.start(&id).await);
    let message = Message::to_all("after a restart").with_id("m1");
    eventually(DEADLINE, "the room to serve", async || world.ann.chat.send_message(&message).await.is_ok()).await;
    assert!(world.bob.events_before("after a restart").await.is_empty());
    let page = world.bob.chat.history(History::Last, 50).await.unwrap();
    assert!(page.cursor.is_none() && page.messages.len() == 2 + count as usize, "{page:?}");
    // The operator looks at them, and removes them.
    for position in bad {
        let looked = world.run(LOOK, Some(position)).await;
        assert_eq!(looked[0]["message"]["seq"], position, "{looked:?}");
        let removed = world.run(REMOVE, Some(position)).await;
        assert!(removed[0]["success"] == true, "{removed:?}");
    }
    world.exchange("after all").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_from_the_future_is_applied_and_moves_no_time() {
    let mut world = PoisonedRoom::new().await;
    let message = Message::to_all("once").with_id("m1");
    let sent = world.ann.chat.send_message(&message).await.unwrap();
    assert!(world.bob.events_before("once").await.is_empty());
    let next = world.next().await;
    let from = model::ids::Name::new("ann").unwrap();
    let entries = vec![Entry::Message { from, content: "from the future".to_owned(), id: None, meta: None }];
    let future = Record { time: next.time + FAR_MS, entries, ..next };
    let position = world.publish(future.encode().unwrap()).await;
    assert_eq!(world.ann.chat.send_message(&message).await.unwrap().seq, sent.seq, "its id is not forgotten");
    let after = world.ann.send("after").await;
    let received = world.bob.events_before("after").await;
    let [Event::Chat(received)] = &received[..] else { panic!("{received:?}") };
    assert_eq!((received.msg.as_str(), received.seq), ("from the future", Position(position).seq(0)));
    let (_, last) = world.last("lobby").await;
    assert!(after.time < sent.time + 60_000 && last.time < sent.time + 60_000, "{after:?} {}", last.time);
    assert_eq!(world.home.as_ref().unwrap().metrics().records_from_future.get(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_poison_is_removed_as_the_page_says() {
    let mut world = PoisonedRoom::new().await;
    for number in 0..300 {
        world.nats.publish("log.51.lobby", format!("garbage {number}").into()).await.unwrap();
    }
    world.nats.flush().await.unwrap();
    let asked = world.ann.chat.send("before").await;
    assert!(asked.is_err(), "{asked:?}");
    let home = world.home.as_ref().unwrap();
    let port = port(&home.servers(), &world.home_id());
    let is_unready = async || {
        drop(world.ann.chat.send("meanwhile").await);
        let (status, report) = readiness(port).await;
        status == 503 && report["checks"]["log"].as_str().is_some_and(|log| log.contains("docs/how-to/recovery.md"))
    };
    eventually(DEADLINE, "the server to report it", is_unready).await;
    assert_named(home, &world.home_id(), "log").await;
    for _ in 0..100 {
        // The page looks at a position first, and then at the last.
        let looked = world.run(LOOK, None).await;
        let last = looked.iter().filter_map(|response| response["message"]["seq"].as_u64()).max().unwrap();
        world.run(REMOVE, Some(last)).await;
    }
    eventually(DEADLINE, "the room to serve", async || world.ann.chat.send("after").await.is_ok()).await;
    let received = world.bob.events_before("after").await;
    assert!(received.iter().all(|event| matches!(event, Event::Chat(_))), "{received:?}");
    wait_until_ready(port).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_erased_as_the_page_says() {
    let mut world = PoisonedRoom::new().await;
    world.publish("garbage").await;
    let erased = world.run(ERASE, None).await;
    assert!(erased[0]["success"] == true, "{erased:?}");
    eventually(DEADLINE, "the room to serve", async || world.ann.chat.send("after").await.is_ok()).await;
    let received = world.bob.events_before("after").await;
    assert!(matches!(received[..], [Event::Gap(_)]), "{received:?}");
    world.stop().await;
}
