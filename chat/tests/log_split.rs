//! A split of a log in JetStream: records, positions and epoch of rooms that move, a program that
//! does not know of the split yet, refusals, and the purge.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::stream::{Config, Source};
use async_nats::jetstream::{self, Context};
use bus::Bus;
use bytes::Bytes;
use chat::log::jetstream::split::{self, Refusal};
use chat::log::jetstream::{JetStream, OpenError};
use chat::log::{DivisionCheck, Log, ReadConsistency, Split};
use model::ids::RoomId;
use model::log_parts::LogParts;
use model::record::Position;
use model::settings::{LogSettings, NatsSettings};
use owner::log_operation::AppendError;
use runtime::metrics::Metrics;
use testkit::{NatsServer, eventually};
use tokio::sync::Notify;
use tokio::time::Instant;

const TOTAL: usize = 64 << 20;

/// Time in which three servers have a leader.
const ELECTED_WITHIN: Duration = Duration::from_secs(20);

fn settings() -> LogSettings {
    LogSettings { max_total_bytes: TOTAL, ..LogSettings::default() }
}

async fn connect(nats: &NatsServer) -> Bus {
    Bus::nats(nats.url(), &NatsSettings::default(), "log", Metrics::new()).await.unwrap()
}

async fn open(nats: &NatsServer) -> Result<Log, OpenError> {
    JetStream::open(connect(nats).await, &settings()).await.map(Log::from)
}

/// Waits until the servers have a leader and a log.
async fn open_in_cluster(nodes: &[NatsServer], settings: &LogSettings) {
    let is_open = async || JetStream::open(connect(&nodes[0]).await, settings).await.is_ok();
    eventually(ELECTED_WITHIN, "the cluster to create the log", is_open).await;
}

async fn context(nats: &NatsServer) -> Context {
    jetstream::new(async_nats::connect(nats.url()).await.unwrap())
}

async fn config(context: &Context, name: &str) -> Config {
    context.get_stream(name).await.unwrap().cached_info().config.clone()
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

/// A room that stays in `ROOMS`, and one that moves to `ROOMS-1`.
fn two_rooms() -> [RoomId; 2] {
    ["room2", "lobby"].map(room)
}

async fn append(log: &Log, room: &RoomId, expected: Position, text: &'static str) -> Result<Position, AppendError> {
    log.append(room, expected, Bytes::from_static(text.as_bytes())).await
}

async fn last(log: &Log, room: &RoomId) -> Option<(Position, Bytes)> {
    log.last(room, ReadConsistency::Latest).await.unwrap().last
}

async fn divided(log: &Log) -> Log {
    match log.check_division().await {
        DivisionCheck::Divided(log) => log,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn rooms_that_move_keep_records_positions_and_epoch_and_the_fence() {
    let nats = NatsServer::start_with_jetstream().await;
    let (before, bus) = (open(&nats).await.unwrap(), connect(&nats).await);
    let [stays, moves] = two_rooms();
    let status = before.status(before.parts().of(&moves)).await.unwrap();
    assert_eq!(status.split, Split::None);
    let mut ends = [Position::NONE; 2];
    for text in ["one", "two", "three"] {
        for (room, end) in [&stays, &moves].into_iter().zip(&mut ends) {
            *end = append(&before, room, *end, text).await.unwrap();
        }
    }
    assert!(matches!(before.check_division().await, DivisionCheck::Same));
    let mut steps = Vec::new();
    assert_eq!(split::split(&bus, &settings(), |step| steps.push(step.to_owned())).await, Ok(2));
    assert_eq!(split::split(&bus, &settings(), |step| panic!("{step}")).await, Ok(2), "complete");
    let firsts: Vec<_> = steps.iter().map(|step| step.split(' ').next().unwrap()).collect();
    assert_eq!(firsts, ["created", "announced", "waited", "took", "found", "compared", "made"]);

    // This program does not know yet.
    let begun = Split::Begun(LogParts::new(2).unwrap());
    let outdated = before.last(&moves, ReadConsistency::Latest).await;
    assert!(outdated.unwrap_err().0.contains("moves from the stream ROOMS"));
    assert_eq!(before.status(before.parts().of(&moves)).await.unwrap().split, begun);
    assert_eq!(last(&before, &stays).await.unwrap().0, ends[0]);
    let began = Instant::now();
    assert!(matches!(append(&before, &moves, ends[1], "four").await, Err(AppendError::Unclear(_))));
    assert!(began.elapsed() < settings().timeout() / 2, "known at once, not after the time-out");

    let after = divided(&before).await;
    assert_eq!((after.parts().count(), after.part_name(after.parts().of(&moves))), (2, "ROOMS-1".to_owned()));
    assert!(matches!(after.check_division().await, DivisionCheck::Same));
    let (position, bytes) = last(&after, &moves).await.unwrap();
    assert!(position > ends[1] && bytes == "four", "{position:?}: it was committed, in the other stream");
    for (room, end) in [(&stays, ends[0]), (&moves, position)] {
        assert_eq!(after.status(after.parts().of(room)).await.unwrap().epoch, status.epoch);
        assert_eq!(append(&after, room, Position(1), "x").await, Err(AppendError::Refused));
        assert!(append(&after, room, end, "next").await.unwrap() > end);
    }
    assert_eq!(after.read(&moves, &[ends[1]]).await.unwrap(), [Some(Bytes::from_static(b"three"))]);
    assert_eq!(open(&nats).await.unwrap().parts().count(), 2, "the streams have their settings");
}

/// Reads from the nearest replica are those of the stream itself, not of one that was its mirror.
#[tokio::test]
async fn a_stream_that_was_a_mirror_answers_no_reads_of_its_origin() {
    let nats = NatsServer::start_with_jetstream().await;
    let (log, bus) = (open(&nats).await.unwrap(), connect(&nats).await);
    let [stays, moves] = two_rooms();
    append(&log, &moves, Position::NONE, "before").await.unwrap();
    split::split(&bus, &settings(), |_| {}).await.unwrap();
    let log = divided(&log).await;
    // Both streams give the same positions from now on.
    let mut positions = Vec::new();
    for _ in 0..50 {
        let end = last(&log, &moves).await.unwrap().0;
        append(&log, &moves, end, "moved").await.unwrap();
        let end = positions.last().copied().unwrap_or(Position::NONE);
        positions.push(append(&log, &stays, end, "stayed").await.unwrap());
    }
    let read = log.read(&stays, &positions).await.unwrap();
    assert!(read.iter().all(|record| record.as_deref() == Some(b"stayed")), "{read:?}");
    assert!(!config(&context(&nats).await, "ROOMS-1").await.mirror_direct);
}

#[tokio::test]
async fn a_purge_removes_the_records_of_other_rooms_and_a_split_can_follow() {
    let nats = NatsServer::start_with_jetstream().await;
    let (log, bus, context) = (open(&nats).await.unwrap(), connect(&nats).await, context(&nats).await);
    let none = async || split::purge(&bus, &settings(), true, |step| panic!("{step}")).await;
    assert_eq!(none().await, Ok(false), "there was no split");
    let mut ends = Vec::new();
    for number in 0..100 {
        let room = room(&format!("room-{number}"));
        let position = append(&log, &room, Position::NONE, "one").await.unwrap();
        ends.push((room, position));
    }
    split::split(&bus, &settings(), |_| {}).await.unwrap();
    let counts = async || {
        let count = async |name| context.get_stream(name).await.unwrap().cached_info().state.messages;
        (count("ROOMS").await, count("ROOMS-1").await)
    };
    let (all, copied) = counts().await;
    assert!(all >= 100 && copied >= 100);
    assert_eq!(config(&context, "ROOMS-1").await.max_bytes, TOTAL as i64, "room for the records of both");
    let early = split::purge(&bus, &settings(), false, |_| {}).await;
    assert_eq!(early, Err(Refusal::TooEarly { hours: 0 }));
    let mut done = Vec::new();
    assert_eq!(split::purge(&bus, &settings(), true, |step| done.push(step.to_owned())).await, Ok(true));
    assert_eq!((done.len(), none().await), (2, Ok(false)));
    let log = open(&nats).await.unwrap();
    let of_first = ends.iter().filter(|(room, _)| log.part_name(log.parts().of(room)) == "ROOMS").count() as u64;
    let (first, second) = counts().await;
    // Messages of no room, whose slot stayed: for the copy, to see that it goes on, and for the end.
    assert_eq!((first, second), (of_first + 3, 100 - of_first));
    for name in ["ROOMS", "ROOMS-1"] {
        let config = config(&context, name).await;
        assert_eq!(config.max_bytes, TOTAL as i64 / 2, "{name}");
        assert!(config.metadata.keys().all(|key| !key.starts_with("shaddock-split")), "{:?}", config.metadata);
    }
    assert_eq!(split::split(&bus, &settings(), |_| {}).await, Ok(4));
    let log = divided(&log).await;
    for (room, end) in ends {
        assert_eq!(last(&log, &room).await.unwrap().0, end);
    }
}

#[tokio::test]
async fn a_purge_keeps_the_last_records_of_a_stream_that_was_lost() {
    let nats = NatsServer::start_with_jetstream().await;
    let (log, bus, context) = (open(&nats).await.unwrap(), connect(&nats).await, context(&nats).await);
    let [_, moves] = two_rooms();
    append(&log, &moves, Position::NONE, "one").await.unwrap();
    split::split(&bus, &settings(), |_| {}).await.unwrap();
    context.delete_stream("ROOMS-1").await.unwrap();
    assert_eq!(open(&nats).await.unwrap().parts().count(), 2, "created again");
    let lost = Refusal::Lost { origin: "ROOMS".to_owned(), copy: "ROOMS-1".to_owned() };
    assert_eq!(split::purge(&bus, &settings(), false, |_| {}).await, Err(lost));
    assert_eq!(split::purge(&bus, &settings(), true, |_| {}).await, Ok(true));
}

#[tokio::test]
async fn a_split_that_cannot_go_on_is_refused_with_its_remedy() {
    let nats = NatsServer::start_with_jetstream().await;
    let (bus, context) = (connect(&nats).await, context(&nats).await);
    let refusal = async || split::split(&bus, &settings(), |_| {}).await.unwrap_err();
    assert_eq!(refusal().await, Refusal::Missing { stream: "ROOMS".to_owned() });
    open(&nats).await.unwrap();
    let other = Config { name: "ROOMS-1".to_owned(), subjects: vec!["other".to_owned()], ..Config::default() };
    context.create_stream(&other).await.unwrap();
    assert_eq!(refusal().await, Refusal::Strange { stream: "ROOMS-1".to_owned() });
    assert_eq!(split::undo(&bus, &settings(), |_| {}).await, Err(Refusal::Strange { stream: "ROOMS-1".to_owned() }));
    context.delete_stream("ROOMS-1").await.unwrap();
    // The origin was deleted and created again since the copy was made.
    let origin = config(&context, "ROOMS").await;
    let source = Source { name: "ROOMS".to_owned(), ..Source::default() };
    let mut copy = Config { name: "ROOMS-1".to_owned(), subjects: vec![], mirror: Some(source), ..origin };
    copy.metadata.insert("shaddock-epoch".to_owned(), "1".to_owned());
    context.create_stream(&copy).await.unwrap();
    assert!(matches!(refusal().await, Refusal::OtherEpoch { .. }));
    assert_eq!(split::undo(&bus, &settings(), |_| {}).await, Ok(true));
    assert_eq!(split::split(&bus, &settings(), |_| {}).await, Ok(2));
    assert_eq!(split::undo(&bus, &settings(), |_| {}).await, Err(Refusal::TooLate));
}

#[tokio::test]
async fn a_log_of_most_streams_has_no_split_to_take_back_or_to_purge() {
    let nats = NatsServer::start_with_jetstream().await;
    let (bus, settings) = (connect(&nats).await, LogSettings { streams: 64, ..settings() });
    JetStream::open(bus.clone(), &settings).await.unwrap();
    assert_eq!(split::undo(&bus, &settings, |_| {}).await, Ok(false));
    assert_eq!(split::purge(&bus, &settings, true, |_| {}).await, Ok(false));
    assert_eq!(split::split(&bus, &settings, |_| {}).await, Err(Refusal::Most));
}

#[tokio::test]
async fn a_copy_needs_space_and_a_place_among_the_streams() {
    let space = "jetstream { max_file_store: 100MB }";
    let nats = NatsServer::start_configured(space).await;
    open(&nats).await.unwrap();
    let bus = connect(&nats).await;
    let refusal = split::split(&bus, &settings(), |_| {}).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NoSpace { .. }), "{refusal}");
    let places = "accounts { A { jetstream { max_streams: 1 }, users: [{ user: a, password: a }] } }\nno_auth_user: a";
    let nats = NatsServer::start_configured(places).await;
    let log = open(&nats).await.unwrap();
    let bus = connect(&nats).await;
    let refusal = split::split(&bus, &settings(), |_| {}).await.unwrap_err();
    assert!(matches!(refusal, Refusal::TooManyStreams { wanted: 2, .. }), "{refusal}");
    let [_, moves] = two_rooms();
    assert!(append(&log, &moves, Position::NONE, "served").await.is_ok());
    // Nothing was changed.
    assert_eq!(split::undo(&bus, &settings(), |_| {}).await, Ok(false));
}

#[tokio::test]
async fn a_log_that_is_full_is_not_split() {
    let nats = NatsServer::start_with_jetstream().await;
    let (bus, settings) = (connect(&nats).await, LogSettings { max_total_bytes: 1_000, ..settings() });
    let log = Log::from(JetStream::open(bus.clone(), &settings).await.unwrap());
    let part = log.parts().iter().next().unwrap();
    // Smaller than the message that the split appends.
    let full = loop {
        if let Err(error) = log.append_probe(part, 1).await {
            break error;
        }
    };
    assert_eq!(full, AppendError::Full);
    let refusal = split::split(&bus, &settings, |_| {}).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Full { .. }), "{refusal}");
}

#[tokio::test]
async fn replicas_of_a_copy_need_space() {
    // For three replicas of the log, and one of its copy.
    let account =
        "accounts { A { jetstream { max_file: 300MB }, users: [{ user: a, password: a }] } }\nno_auth_user: a";
    let nodes = NatsServer::start_cluster_configured(3, account).await;
    let settings = LogSettings { replicas: 3, ..settings() };
    open_in_cluster(&nodes, &settings).await;
    let bus = connect(&nodes[0]).await;
    let refusal = split::split(&bus, &settings, |_| {}).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NoSpace { .. }), "{refusal}");
    assert_eq!(split::undo(&bus, &settings, |_| {}).await, Ok(true));
}

#[tokio::test]
async fn a_user_who_may_not_compare_streams_takes_no_rooms() {
    let nats = NatsServer::start_configured(
        "authorization { users: [{ user: a, password: a, permissions: { publish: { deny: \"$JS.API.CONSUMER.>\" } } }] }\n\
         no_auth_user: a",
    )
    .await;
    open(&nats).await.unwrap();
    let bus = connect(&nats).await;
    let refusal = split::split(&bus, &settings(), |step| assert!(!step.starts_with("took"))).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Request { .. }), "{refusal}");
    assert_eq!(split::undo(&bus, &settings(), |_| {}).await, Ok(true));
}

/// A server that starts while rooms are on the way waits for them.
#[tokio::test]
async fn a_log_that_is_being_split_is_opened_when_all_streams_are_there() {
    let nats = NatsServer::start_with_jetstream().await;
    open(&nats).await.unwrap();
    let bus = connect(&nats).await;
    let taken = Notify::new();
    let report = |step: &str| {
        if step.starts_with("took") {
            taken.notify_one();
        }
    };
    let settings = settings();
    let split = split::split(&bus, &settings, report);
    let opened = async {
        taken.notified().await;
        open(&nats).await.unwrap().parts().count()
    };
    let (split, opened) = tokio::join!(split, opened);
    assert_eq!((split, opened), (Ok(2), 2));
}

/// Splits the log, and kills the server when it has taken rooms from their stream. Starts it again
/// before the first report that begins with this.
async fn split_while_the_server_restarts(nats: &mut NatsServer, until: &str) -> Result<usize, Refusal> {
    let (bus, settings) = (connect(nats).await, settings());
    let (taken, reported) = (Notify::new(), Notify::new());
    let report = |step: &str| {
        if step.starts_with("took") {
            taken.notify_one();
        }
        if step.starts_with(until) {
            reported.notify_one();
        }
    };
    let restarted = async {
        taken.notified().await;
        nats.kill();
        reported.notified().await;
        nats.restart().await;
    };
    let split = async {
        let ended = split::split(&bus, &settings, report).await;
        reported.notify_one();
        ended
    };
    tokio::join!(split, restarted).0
}

#[tokio::test]
async fn a_split_goes_on_when_a_server_restarts_while_rooms_wait() {
    let mut nats = NatsServer::start_with_jetstream().await;
    let log = open(&nats).await.unwrap();
    let [_, moves] = two_rooms();
    let end = append(&log, &moves, Position::NONE, "one").await.unwrap();
    assert_eq!(split_while_the_server_restarts(&mut nats, "tries again").await, Ok(2));
    let log = open(&nats).await.unwrap();
    assert_eq!(last(&log, &moves).await.unwrap().0, end);
    assert!(append(&log, &moves, end, "two").await.unwrap() > end);
}

#[tokio::test]
async fn rooms_get_their_stream_again_when_the_server_is_away_for_too_long() {
    let mut nats = NatsServer::start_with_jetstream().await;
    let log = open(&nats).await.unwrap();
    let [_, moves] = two_rooms();
    let end = append(&log, &moves, Position::NONE, "one").await.unwrap();
    let refusal = split_while_the_server_restarts(&mut nats, "gives the rooms back").await.unwrap_err();
    assert!(matches!(&refusal, Refusal::GivenBack(cause) if matches!(**cause, Refusal::Request { .. })), "{refusal}");
    let log = open(&nats).await.unwrap();
    assert!(append(&log, &moves, end, "two").await.unwrap() > end);
    let bus = connect(&nats).await;
    assert_eq!(split::split(&bus, &settings(), |_| {}).await, Ok(2), "it goes on");
}

/// A mirror may stop when it gets replicas. In a log in which nothing happens it looks complete then.
#[tokio::test]
async fn a_copy_that_stands_still_in_a_quiet_log_is_found_before_rooms_wait() {
    let nodes = NatsServer::start_cluster(3).await;
    let settings = LogSettings { replicas: 3, ..settings() };
    open_in_cluster(&nodes, &settings).await;
    let log = Log::from(JetStream::open(connect(&nodes[0]).await, &settings).await.unwrap());
    let (bus, mut steps, is_quiet) = (connect(&nodes[0]).await, Vec::new(), AtomicBool::new(false));
    let report = |step: &str| {
        steps.push(step.to_owned());
        is_quiet.fetch_or(step.starts_with("gave the copies all replicas"), Ordering::Relaxed);
    };
    let [_, moves] = two_rooms();
    let talk = async {
        let mut end = Position::NONE;
        while !is_quiet.load(Ordering::Relaxed) {
            end = append(&log, &moves, end, "text").await.unwrap();
        }
    };
    let split = async {
        let ended = split::split(&bus, &settings, report).await;
        is_quiet.store(true, Ordering::Relaxed);
        ended
    };
    assert_eq!(tokio::join!(split, talk).0, Ok(2));
    let taken = steps.iter().position(|step| step.starts_with("took")).unwrap();
    assert!(steps[taken..].iter().all(|step| !step.starts_with("began anew")), "{steps:#?}");
}
