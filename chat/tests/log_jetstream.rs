//! Cases for the log in JetStream only: a server that dies, freezes, loses all data, or is
//! configured differently.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use bus::Bus;
use bytes::Bytes;
use chat::log::jetstream::{JetStream, OpenError};
use chat::log::{Log, ReadConsistency};
use futures_util::StreamExt;
use futures_util::future::join_all;
use model::ids::{Incarnation, Name, RoomId, ServerId};
use model::log_parts::LogPart;
use model::membership::Token;
use model::record::{DecidedProposal, Entry, LINKS, Outcome, Position, Record, RecordId, VERSION};
use model::settings::{LogSettings, NatsSettings};
use owner::log_operation::AppendError;
use runtime::metrics::Metrics;
use testkit::{NatsServer, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// The longest that any case may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A log at a server of its own, and a connection that manages its stream.
struct World {
    nats: NatsServer,
    bus: Bus,
    log: Log,
}

impl World {
    async fn new() -> Self {
        Self::with(&settings()).await
    }

    async fn with(settings: &LogSettings) -> Self {
        let nats = NatsServer::start_with_jetstream().await;
        let bus = connect(&nats).await;
        let log = JetStream::open(bus.clone(), settings).await.unwrap().into();
        Self { nats, bus, log }
    }

    fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.bus.nats_client().unwrap().clone())
    }

    async fn config(&self) -> stream::Config {
        self.jetstream().get_stream("ROOMS").await.unwrap().cached_info().config.clone()
    }

    /// An operator deletes the stream and creates it again, without an epoch.
    async fn recreate(&self) {
        let config = stream::Config { metadata: HashMap::new(), ..self.config().await };
        self.recreate_as(config).await;
    }

    async fn recreate_as(&self, config: stream::Config) {
        self.jetstream().delete_stream("ROOMS").await.unwrap();
        self.jetstream().create_stream(&config).await.unwrap();
    }

    /// Appends to a room whose last record is at `expected`.
    async fn append(&self, name: &str, expected: Position, text: &'static str) -> Result<Position, AppendError> {
        self.log.append(&room(name), expected, Bytes::from_static(text.as_bytes())).await
    }

    async fn last(&self, name: &str) -> Option<(Position, Bytes)> {
        self.log.last(&room(name), ReadConsistency::Latest).await.unwrap().last
    }
}

fn settings() -> LogSettings {
    LogSettings { max_total_bytes: 8 * 1024 * 1024, ..LogSettings::default() }
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

async fn connect(nats: &NatsServer) -> Bus {
    let settings = NatsSettings { reconnect_max_ms: 20, ..NatsSettings::default() };
    Bus::nats(nats.url(), &settings, "log", Metrics::new()).await.unwrap()
}

/// Starts a server with this configuration file.
async fn configured(text: &str) -> NatsServer {
    let name = format!("nats-{:016x}.conf", rand::random::<u64>());
    let file: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, text).unwrap();
    let nats = NatsServer::start_with(&["-js", "-c", file.to_str().unwrap()]).await;
    std::fs::remove_file(file).unwrap();
    nats
}

async fn refusal(nats: &NatsServer, settings: &LogSettings) -> OpenError {
    JetStream::open(connect(nats).await, settings).await.unwrap_err()
}

/// A record of one message, as it is in a room among 300 that speak equally much.
fn usual_record(expected: Position, number: u64) -> Record {
    let connector = ServerId::new("connector-server-1").unwrap();
    let incarnation = Incarnation::new(1_796_000_000_000, 7);
    let membership = Token::new(1).membership();
    Record {
        v: VERSION,
        prev: expected,
        prev_id: RecordId(u64::MAX / 3 + number),
        id: RecordId(u64::MAX / 3 + number + 1),
        links: (1..LINKS as u64).map(|back| Position(expected.0.saturating_sub(300 * back))).collect(),
        time: 1_796_000_000_000,
        owner: ServerId::new("chat-server-1").unwrap(),
        proposals: vec![DecidedProposal { connector, incarnation, number, outcomes: vec![Outcome::Done(0)] }],
        entries: vec![Entry::Message {
            from: Name::new("user-0001").unwrap(),
            content: "x".repeat(200),
            id: Some(membership.message("1")),
            meta: None,
        }],
        acts: Vec::new(),
        lasting: None,
        notify_connectors: Vec::new(),
        checkpoint: None,
        part: None,
    }
}

/// With the headers and the bookkeeping of JetStream.
#[tokio::test]
async fn a_message_of_200_bytes_takes_at_most_420_of_the_log() {
    const RECORDS: u64 = 100;
    let world = World::new().await;
    // Positions of a log that has been in use for a while.
    let first = stream::Config { first_sequence: Some(1_000_000), ..world.config().await };
    world.jetstream().delete_stream("ROOMS").await.unwrap();
    world.jetstream().create_stream(first).await.unwrap();
    eventually(DEADLINE, "the new stream", async || {
        world.log.status(LogPart::default()).await.is_ok_and(|status| status.bytes == 0)
    })
    .await;
    let mut expected = Position::NONE;
    for number in 1_000..1_000 + RECORDS {
        let bytes = usual_record(expected.max(Position(999_700)), number).encode().unwrap();
        expected = world.log.append(&room("room-0042"), expected, bytes.into()).await.unwrap();
    }
    let stored = world.log.status(LogPart::default()).await.unwrap().bytes / RECORDS;
    assert!(stored <= 420, "{stored}");
}

#[tokio::test]
async fn old_records_are_evicted_and_their_positions_are_not_reused() {
    let world = World::new().await;
    let old = world.append("lobby", Position::NONE, "old").await.unwrap();
    let short = stream::Config { max_age: Duration::from_millis(200), ..world.config().await };
    world.jetstream().update_stream(&short).await.unwrap();
    eventually(DEADLINE, "the record to be too old", async || world.last("lobby").await.is_none()).await;
    assert_eq!(world.log.read(&room("lobby"), &[old]).await.unwrap(), [None]);
    assert_eq!(world.append("lobby", old, "new").await, Err(AppendError::Refused));
    assert!(world.append("lobby", Position::NONE, "new").await.unwrap() > old);
}

#[tokio::test]
async fn a_killed_server_keeps_all_and_the_log_goes_on() {
    let mut world = World::new().await;
    let epoch = world.log.status(LogPart::default()).await.unwrap().epoch;
    let one = world.append("lobby", Position::NONE, "one").await.unwrap();
    world.nats.kill();
    assert!(matches!(world.append("lobby", one, "two").await, Err(AppendError::Unclear(_))));
    assert!(world.log.last(&room("lobby"), ReadConsistency::Any).await.is_err());
    assert!(world.log.read(&room("lobby"), &[one]).await.is_err(), "a read that fails does not say that it is gone");
    world.nats.restart().await;
    eventually(DEADLINE, "the log to be back", async || world.log.status(LogPart::default()).await.is_ok()).await;
    assert_eq!(world.log.last(&room("lobby"), ReadConsistency::Any).await.unwrap().epoch, epoch);
    assert_eq!(world.last("lobby").await, Some((one, Bytes::from_static(b"one"))));
    assert!(world.append("lobby", one, "two").await.unwrap() > one);
}

#[tokio::test]
async fn a_frozen_server_makes_appends_unclear_and_a_late_one_is_found() {
    let world = World::with(&LogSettings { timeout_ms: 300, ..settings() }).await;
    let one = world.append("lobby", Position::NONE, "one").await.unwrap();
    world.nats.pause().await;
    let asked = Instant::now();
    assert!(matches!(world.append("lobby", one, "late").await, Err(AppendError::Unclear(_))));
    let lobby = room("lobby");
    let reads = join_all((0..50).map(|_| world.log.last(&lobby, ReadConsistency::Any))).await;
    assert!(reads.iter().all(Result::is_err));
    assert!(asked.elapsed() < Duration::from_secs(5), "everybody waits at the same time: {:?}", asked.elapsed());
    world.nats.resume();
    let late = async || world.log.last(&lobby, ReadConsistency::Latest).await.ok()?.last;
    eventually(DEADLINE, "the late record", async || late().await.is_some_and(|(_, bytes)| bytes == "late")).await;
    assert_eq!(world.append("lobby", one, "again").await, Err(AppendError::Refused));
}

#[tokio::test]
async fn a_stream_that_is_gone_is_created_again_in_another_epoch() {
    let world = World::new().await;
    let epoch = world.log.status(LogPart::default()).await.unwrap().epoch;
    let one = world.append("lobby", Position::NONE, "one").await.unwrap();
    world.jetstream().delete_stream("ROOMS").await.unwrap();
    assert!(matches!(world.append("lobby", one, "two").await, Err(AppendError::Unclear(_))));
    let tail = world.log.last(&room("lobby"), ReadConsistency::Any).await.unwrap();
    assert_eq!(tail.last, None);
    assert!(tail.epoch > epoch);
    assert_eq!(world.append("lobby", Position::NONE, "new").await, Ok(Position(1)));
}

/// A status check alone notices a stream that was deleted and created again.
#[tokio::test]
async fn a_look_that_is_asked_for_is_one_of_now() {
    let world = World::new().await;
    let epoch = world.log.epoch(&room("lobby")).await.unwrap();
    world.recreate().await;
    assert_eq!(world.log.last(&room("lobby"), ReadConsistency::Any).await.unwrap().epoch, epoch, "it is not noticed");
    let lobby = room("lobby");
    let looks = join_all((0..50).map(|_| world.log.epoch(&lobby))).await;
    let now = looks[0].clone().unwrap();
    assert!(now > epoch && looks.iter().all(|look| *look == Ok(now)), "{looks:?}");
    world.nats.pause().await;
    assert!(world.log.epoch(&room("lobby")).await.is_err(), "what was found before is not of now");
    world.nats.resume();
}

#[tokio::test]
async fn a_position_of_another_stream_is_not_believed() {
    let world = World::new().await;
    let epoch = world.log.status(LogPart::default()).await.unwrap().epoch;
    let one = world.append("lobby", Position::NONE, "one").await.unwrap();
    world.recreate().await;
    assert!(matches!(world.append("attic", Position::NONE, "low").await, Err(AppendError::Unclear(_))));
    let tail = world.log.last(&room("attic"), ReadConsistency::Any).await.unwrap();
    assert!(tail.epoch > epoch);
    assert_eq!(tail.last, Some((one, Bytes::from_static(b"low"))), "it was appended after all");
    assert!(world.append("attic", one, "next").await.unwrap() > one);
}

/// The epoch is in the configuration, so the stream looks as after the restore of an empty backup.
#[tokio::test]
async fn a_stream_that_is_created_again_as_it_was_has_lost_its_end() {
    let world = World::new().await;
    let epoch = world.log.status(LogPart::default()).await.unwrap().epoch;
    world.append("lobby", Position::NONE, "one").await.unwrap();
    world.recreate_as(world.config().await).await;
    assert!(matches!(world.append("attic", Position::NONE, "low").await, Err(AppendError::Unclear(_))));
    let tail = world.log.last(&room("lobby"), ReadConsistency::Any).await.unwrap();
    assert_eq!((tail.epoch, tail.last), (epoch, None));
    assert_eq!(world.append("lobby", Position::NONE, "new").await, Ok(Position(2)), "its positions are believed");
}

/// Another program's message may name the headers by which the broker describes it, and the status
/// of a response.
#[tokio::test]
async fn headers_of_a_stored_message_are_not_believed() {
    let world = World::new().await;
    let one = world.append("lobby", Position::NONE, "one").await.unwrap();
    let nats = world.bus.nats_client().unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.append("Nats-Sequence", "99");
    headers.append("Nats-Subject", "log.45.attic");
    headers.append("Nats-Stream", "OTHER");
    nats.publish_with_headers("log.51.lobby", headers, "poison".into()).await.unwrap();
    nats.flush().await.unwrap();
    let poison = Position(one.0 + 1);
    eventually(DEADLINE, "the message", async || world.last("lobby").await.is_some_and(|(at, _)| at == poison)).await;
    assert_is_last(&world, poison).await;
    for (number, status) in (2..).zip(["404 Message Not Found", "408 Bad Request", "503", "500 x"]) {
        let header = format!("NATS/1.0 {status}\r\n\r\n");
        let publish = format!("HPUB log.51.lobby {} {}\r\n{header}poison\r\n", header.len(), header.len() + 6);
        raw(&world.nats, &format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\n{publish}PING\r\n")).await;
        let poison = Position(one.0 + number);
        let is_there = async || world.last("lobby").await.is_some_and(|(at, _)| at == poison);
        eventually(DEADLINE, "the message", is_there).await;
        assert_is_last(&world, poison).await;
        let before = world.log.before(&room("lobby"), poison).await.unwrap().last.unwrap().0;
        assert_eq!(before, Position(poison.0 - 1), "{status}");
    }
}

async fn assert_is_last(world: &World, poison: Position) {
    let lobby = room("lobby");
    let any = world.log.last(&lobby, ReadConsistency::Any).await.unwrap();
    // An empty read leads to an append, which is refused, and then to a certain read.
    assert!(any.last.is_none_or(|(position, bytes)| position == poison && bytes == "poison"));
    assert_eq!(world.last("lobby").await, Some((poison, Bytes::from_static(b"poison"))));
    assert_eq!(world.log.read(&lobby, &[poison]).await.unwrap(), [Some(Bytes::from_static(b"poison"))]);
    assert_eq!(world.log.read(&room("attic"), &[poison]).await.unwrap(), [None]);
}

/// Sends text to the server like a client without a library, and waits until it was taken.
async fn raw(nats: &NatsServer, text: &str) {
    let mut stream = tokio::net::TcpStream::connect(nats.address()).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"PONG\r\n") {
        assert!(stream.read_buf(&mut response).await.unwrap() > 0, "{}", String::from_utf8_lossy(&response));
    }
}

#[tokio::test]
async fn many_may_open_the_log_at_once() {
    let nats = NatsServer::start_with_jetstream().await;
    let open = async |_| {
        let log = Log::from(JetStream::open(connect(&nats).await, &settings()).await.unwrap());
        log.status(LogPart::default()).await.unwrap().epoch
    };
    let epochs = join_all((0..5).map(open)).await;
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
}

#[tokio::test]
async fn a_stream_with_other_settings_is_refused_and_left_alone() {
    let world = World::new().await;
    let before = world.config().await;
    let other = LogSettings { max_records: 600, max_age_hours: 48, ..settings() };
    let refusal = refusal(&world.nats, &other).await;
    let OpenError::Differs { differences, .. } = &refusal else { panic!("{refusal}") };
    let found: Vec<_> = differences.iter().map(|d| (d.name, d.found.as_str(), d.wanted.as_str())).collect();
    assert_eq!(found, [("max_msgs_per_subject", "10000", "600"), ("max_age", "168h", "48h")]);
    let text = refusal.to_string();
    for part in ["ROOMS", "--max-msgs-per-subject=600", "log.max_records", "--max-age=48h", "log.max_age_hours"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(world.config().await, before);
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let nats = NatsServer::start().await;
    let refusal = refusal(&nats, &settings()).await;
    assert_eq!(refusal, OpenError::NotEnabled);
    assert!(refusal.to_string().contains("start nats-server with -js"), "{refusal}");
}

#[tokio::test]
async fn a_log_larger_than_the_store_is_refused() {
    let nats = configured("jetstream { max_file_store: 4MB }").await;
    let refusal = refusal(&nats, &settings()).await;
    assert!(matches!(refusal, OpenError::NoSpace { bytes: 8_388_608, .. }), "{refusal}");
}

/// Codes of JetStream's errors.
const NO_STREAM: u64 = 10_059;
const NO_STORE: u64 = 10_049;
const NOT_ENABLED: u64 = 10_076;

/// Answers in JetStream's place that there is no stream, and to each request for one with the next
/// error, or the last one again. Returns the refusal, and the number of these requests.
async fn refused_with(errors: &[u64]) -> (OpenError, usize) {
    let nats = NatsServer::start().await;
    let bus = connect(&nats).await;
    let client = bus.nats_client().unwrap();
    let requests = async |method: &str| client.subscribe(format!("$JS.API.STREAM.{method}.ROOMS")).await.unwrap();
    let (mut infos, mut creations) = (requests("INFO").await, requests("CREATE").await);
    client.flush().await.unwrap();
    let created = Cell::new(0);
    let answering = async {
        loop {
            let (request, error) = tokio::select! {
                request = infos.next() => (request.unwrap(), NO_STREAM),
                request = creations.next() => {
                    let number = created.replace(created.get() + 1);
                    (request.unwrap(), *errors.get(number).or(errors.last()).unwrap())
                }
            };
            let body = format!(r#"{{"error":{{"code":500,"err_code":{error},"description":"no"}}}}"#);
            client.publish(request.reply.unwrap(), body.into()).await.unwrap();
        }
    };
    let wanted = settings();
    let refused = tokio::select! {
        refused = refusal(&nats, &wanted) => refused,
        never = answering => never,
    };
    (refused, created.get())
}

#[tokio::test]
async fn files_that_a_server_cannot_make_are_tried_again() {
    assert_eq!(refused_with(&[NO_STORE, NO_STORE, NOT_ENABLED]).await, (OpenError::NotEnabled, 3));
}

#[tokio::test]
async fn a_server_that_never_makes_the_files_is_named() {
    let (refused, _) = refused_with(&[NO_STORE]).await;
    assert!(matches!(&refused, OpenError::NoStore { stream, .. } if stream == "ROOMS"), "{refused}");
}

#[tokio::test]
async fn more_replicas_than_servers_are_refused() {
    let nats = NatsServer::start_with_jetstream().await;
    let refusal = refusal(&nats, &LogSettings { replicas: 3, ..settings() }).await;
    assert!(matches!(refusal, OpenError::NoReplicas { replicas: 3, .. }), "{refusal}");
}

#[tokio::test]
async fn a_user_who_may_not_use_jetstream_is_refused() {
    let nats =
        configured(r#"authorization { users: [{ user: u, password: p, permissions: { publish: "_INBOX.>" } }] }"#)
            .await;
    let url = format!("nats://u:p@{}", nats.address());
    let bus = Bus::nats(&url, &NatsSettings::default(), "log", Metrics::new()).await.unwrap();
    let refusal = JetStream::open(bus, &LogSettings { timeout_ms: 300, ..settings() }).await.unwrap_err();
    assert!(matches!(refusal, OpenError::Silent { within_ms: 300, .. }), "{refusal}");
}

#[tokio::test]
async fn another_stream_with_our_subjects_is_refused() {
    let nats = NatsServer::start_with_jetstream().await;
    let bus = connect(&nats).await;
    let other =
        stream::Config { name: "OTHER".to_owned(), subjects: vec!["log.*.lobby".to_owned()], ..Default::default() };
    jetstream::new(bus.nats_client().unwrap().clone()).create_stream(&other).await.unwrap();
    let refusal = refusal(&nats, &settings()).await;
    assert!(matches!(refusal, OpenError::Overlap { .. }), "{refusal}");
}
