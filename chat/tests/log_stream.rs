//! Streams, accounts and servers that do not fit the log: each is reported with its remedy, and
//! passing faults are waited out.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use std::time::Duration;

use async_nats::jetstream::stream::{
    Compression, Config, DiscardPolicy, PersistenceMode, RetentionPolicy, Source, StorageType, SubjectTransform,
};
use async_nats::jetstream::{self, Context};
use bus::Bus;
use bytes::Bytes;
use chat::log::jetstream::{JetStream, OpenError};
use chat::log::{Log, ReadConsistency};
use model::ids::RoomId;
use model::record::Position;
use model::settings::{LogSettings, NatsSettings};
use owner::log_operation::AppendError;
use runtime::metrics::Metrics;
use testkit::{NatsServer, eventually};
use tokio::time::Instant;

/// The longest that any case may take.
const DEADLINE: Duration = Duration::from_secs(20);

fn settings() -> LogSettings {
    LogSettings { max_total_bytes: 8 * 1024 * 1024, ..LogSettings::default() }
}

fn lobby() -> RoomId {
    RoomId::new("lobby").unwrap()
}

async fn connect(url: &str, prefix: &str) -> Bus {
    let settings = NatsSettings { prefix: prefix.to_owned(), reconnect_max_ms: 20, ..NatsSettings::default() };
    Bus::nats(url, &settings, "log", Metrics::new()).await.unwrap()
}

async fn open(url: &str, prefix: &str) -> Log {
    JetStream::open(connect(url, prefix).await, &settings()).await.unwrap().into()
}

async fn refusal(url: &str, prefix: &str) -> OpenError {
    let began = Instant::now();
    let refused = JetStream::open(connect(url, prefix).await, &settings()).await.unwrap_err();
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    refused
}

async fn context(url: &str) -> Context {
    jetstream::new(async_nats::connect(url).await.unwrap())
}

async fn config(context: &Context, name: &str) -> Config {
    context.get_stream(name).await.unwrap().cached_info().config.clone()
}

fn source(name: &str) -> Source {
    Source { name: name.to_owned(), ..Source::default() }
}

/// A change of the stream: the setting and the value that the error must name.
type Change = (&'static str, &'static str, fn(&mut Config));

/// Settings of a stream that break the log. The server accepts each of these.
const CHANGES: [Change; 18] = [
    ("subjects", "log.>", |config| config.subjects = vec!["log.>".to_owned()]),
    ("storage", "memory", |config| config.storage = StorageType::Memory),
    ("retention", "workqueue", |config| config.retention = RetentionPolicy::WorkQueue),
    ("retention", "interest", |config| config.retention = RetentionPolicy::Interest),
    ("discard", "old", |config| config.discard = DiscardPolicy::Old),
    ("discard_new_per_subject", "true", |config| config.discard_new_per_subject = true),
    ("max_msgs_per_subject", "7", |config| config.max_messages_per_subject = 7),
    ("max_age", "1h", |config| config.max_age = Duration::from_secs(3_600)),
    ("max_bytes", "4096", |config| config.max_bytes = 4_096),
    ("max_msgs", "7", |config| config.max_messages = 7),
    ("max_msg_size", "100", |config| config.max_message_size = 100),
    ("allow_direct", "false", |config| config.allow_direct = false),
    ("allow_msg_ttl", "false", |config| config.allow_message_ttl = false),
    ("no_ack", "true", |config| config.no_ack = true),
    ("sources", "OTHER", |config| config.sources = Some(vec![source("OTHER")])),
    ("subject_transform", "log.x.{{wildcard(2)}}", |config| {
        let transform = |source: &str, destination: &str| SubjectTransform {
            source: source.to_owned(),
            destination: destination.to_owned(),
        };
        config.subject_transform = Some(transform("log.*.*", "log.x.{{wildcard(2)}}"));
    }),
    ("persist_mode", "async", |config| config.persist_mode = Some(PersistenceMode::Async)),
    ("subject_delete_marker_ttl", "1h", |config| {
        config.allow_message_ttl = true;
        config.subject_delete_marker_ttl = Some(Duration::from_secs(3_600));
    }),
];

#[tokio::test]
async fn each_difference_of_a_stream_that_matters_is_named() {
    let nats = NatsServer::start_with_jetstream().await;
    let context = context(nats.url()).await;
    drop(open(nats.url(), "").await);
    let good = config(&context, "ROOMS").await;
    let other = Config { name: "OTHER".to_owned(), subjects: vec!["other".to_owned()], ..Config::default() };
    context.create_stream(&other).await.unwrap();
    for (name, found, change) in CHANGES {
        context.delete_stream("ROOMS").await.unwrap();
        let mut changed = good.clone();
        change(&mut changed);
        context.create_stream(&changed).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let refusal = refusal(nats.url(), "").await;
        let OpenError::Differs { differences, .. } = &refusal else { panic!("{name}: {refusal}") };
        let [difference] = &differences[..] else { panic!("{name}: {refusal}") };
        assert_eq!((difference.name, difference.found.as_str()), (name, found), "{refusal}");
        let remedies = ["`nats stream edit ROOMS --", "`nats stream rm ROOMS`"];
        assert!(remedies.iter().any(|remedy| refusal.to_string().contains(remedy)), "{refusal}");
    }
}

/// Streams that no change of a good one gives: they have no subjects, or accept nothing more.
#[tokio::test]
async fn a_mirror_a_counter_and_a_sealed_stream_are_named() {
    let nats = NatsServer::start_with_jetstream().await;
    let context = context(nats.url()).await;
    drop(open(nats.url(), "").await);
    let good = config(&context, "ROOMS").await;
    let named = async |wanted: &str| {
        let refusal = refusal(nats.url(), "").await;
        let OpenError::Differs { differences, .. } = &refusal else { panic!("{wanted}: {refusal}") };
        assert!(differences.iter().any(|difference| difference.name == wanted), "{refusal}");
        context.delete_stream("ROOMS").await.unwrap();
    };
    context.update_stream(&Config { sealed: true, ..good.clone() }).await.unwrap();
    named("sealed").await;
    let other = Config { name: "OTHER".to_owned(), subjects: vec!["other".to_owned()], ..Config::default() };
    context.create_stream(&other).await.unwrap();
    let mirror = Config { subjects: vec![], mirror: Some(source("OTHER")), ..good.clone() };
    context.create_stream(&mirror).await.unwrap();
    named("mirror").await;
    let counter = Config { allow_message_counter: true, allow_message_ttl: false, discard: DiscardPolicy::Old, ..good };
    context.create_stream(&counter).await.unwrap();
    named("allow_msg_counter").await;
}

#[tokio::test]
async fn a_difference_that_does_not_matter_is_let_be() {
    let nats = NatsServer::start_with_jetstream().await;
    let context = context(nats.url()).await;
    drop(open(nats.url(), "").await);
    let good = config(&context, "ROOMS").await;
    let changed = Config {
        description: Some("rooms of the chat".to_owned()),
        compression: Some(Compression::S2),
        deny_delete: true,
        allow_rollup: true,
        ..good
    };
    context.delete_stream("ROOMS").await.unwrap();
    context.create_stream(&changed).await.unwrap();
    let log = open(nats.url(), "").await;
    log.append(&lobby(), Position::NONE, Bytes::from_static(b"one")).await.unwrap();
}

#[tokio::test]
async fn an_account_without_another_stream_is_refused() {
    let lines = r#"accounts { CHAT { jetstream: { max_streams: 1 }, users: [{ user: u, password: p }] } }"#;
    let nats = NatsServer::start_configured(lines).await;
    let url = format!("nats://u:p@{}", nats.address());
    let log = open(&url, "").await;
    log.append(&lobby(), Position::NONE, Bytes::from_static(b"one")).await.unwrap();
    let refusal = refusal(&url, "staging").await;
    assert!(matches!(&refusal, OpenError::TooManyStreams { stream, .. } if stream == "STAGING_ROOMS"), "{refusal}");
    assert!(refusal.to_string().contains("max_streams"), "{refusal}");
}

#[tokio::test]
async fn an_account_with_less_room_than_the_log_may_take_is_refused() {
    let lines = r#"accounts { CHAT { jetstream: { max_file: 4MB }, users: [{ user: u, password: p }] } }"#;
    let nats = NatsServer::start_configured(lines).await;
    let refusal = refusal(&format!("nats://u:p@{}", nats.address()), "").await;
    assert!(matches!(refusal, OpenError::NoSpace { bytes: 8_388_608, .. }), "{refusal}");
}

/// An account whose space ends while the log is in use: clear refusals, and service again with more
/// space.
#[tokio::test]
async fn an_account_that_is_full_refuses_until_it_has_room() {
    let with = |room: &str| {
        format!("accounts {{ CHAT {{ jetstream: {{ max_file: {room} }}, users: [{{ user: u, password: p }}] }} }}")
    };
    let nats = NatsServer::start_configured(&with("16MB")).await;
    let log = open(&format!("nats://u:p@{}", nats.address()), "").await;
    let (room, large) = (lobby(), Bytes::from(vec![b'x'; 100_000]));
    let mut last = Position::NONE;
    for _ in 0..10 {
        last = log.append(&room, last, large.clone()).await.unwrap();
    }
    nats.reconfigure(&with("500KB")).await;
    assert_eq!(log.append(&room, last, large.clone()).await, Err(AppendError::Full));
    assert_eq!(log.last(&room, ReadConsistency::Latest).await.unwrap().last.map(|(position, _)| position), Some(last));
    nats.reconfigure(&with("16MB")).await;
    eventually(DEADLINE, "the log to take records", async || log.append(&room, last, large.clone()).await.is_ok())
        .await;
}

#[tokio::test]
async fn two_logs_with_and_without_a_prefix_are_two() {
    let nats = NatsServer::start_with_jetstream().await;
    let (log, staging) = (open(nats.url(), "").await, open(nats.url(), "staging").await);
    let one = log.append(&lobby(), Position::NONE, Bytes::from_static(b"one")).await.unwrap();
    let other = staging.append(&lobby(), Position::NONE, Bytes::from_static(b"other")).await.unwrap();
    for (log, position, bytes) in [(&log, one, "one"), (&staging, other, "other")] {
        for consistency in [ReadConsistency::Any, ReadConsistency::Latest] {
            assert_eq!(log.last(&lobby(), consistency).await.unwrap().last, Some((position, bytes.into())));
        }
        assert_eq!(log.read(&lobby(), &[position]).await.unwrap(), [Some(bytes.into())]);
    }
    let context = context(nats.url()).await;
    let of = async |name| config(&context, name).await.subjects;
    assert_eq!(
        (of("ROOMS").await, of("STAGING_ROOMS").await),
        (vec!["log.*.>".into()], vec!["staging.log.*.>".into()])
    );
    context.delete_stream("STAGING_ROOMS").await.unwrap();
    assert!(matches!(staging.append(&lobby(), other, Bytes::new()).await, Err(AppendError::Unclear(_))));
    assert_eq!(staging.last(&lobby(), ReadConsistency::Any).await.unwrap().last, None, "it was created again");
    assert!(log.append(&lobby(), one, Bytes::new()).await.is_ok());
}

/// The streams of both would have the same name.
#[tokio::test]
async fn prefixes_that_differ_in_case_alone_are_refused() {
    let nats = NatsServer::start_with_jetstream().await;
    drop(open(nats.url(), "staging").await);
    let refusal = refusal(nats.url(), "Staging").await;
    let OpenError::Differs { stream, differences } = &refusal else { panic!("{refusal}") };
    assert_eq!((stream.as_str(), differences[0].found.as_str()), ("STAGING_ROOMS", "staging.log.*.>"));
    assert!(refusal.to_string().contains("or change nats.prefix"), "{refusal}");
}

/// One server of three: nothing can be decided, and the error says so, however JetStream reports
/// it.
#[tokio::test]
async fn a_cluster_without_a_majority_is_refused() {
    let mut nodes = NatsServer::start_cluster(3).await;
    nodes.truncate(1);
    let refusal = refusal(nodes[0].url(), "").await;
    assert!(matches!(refusal, OpenError::NoLeader { .. } | OpenError::Silent { .. }), "{refusal}");
    assert!(refusal.to_string().contains("majority"), "{refusal}");
}
