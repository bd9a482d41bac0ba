//! A log of several streams: their names and settings, the number of them, faults of one, and
//! leaders in a cluster.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, Source};
use async_nats::jetstream::{self, Context};
use bus::Bus;
use bytes::Bytes;
use chat::log::jetstream::balance::{change_leader, stream_servers};
use chat::log::jetstream::leaders::{LeaderMove, moves};
use chat::log::jetstream::{JetStream, OpenError};
use chat::log::{Log, LogStatus, ReadConsistency};
use model::ids::RoomId;
use model::record::{Epoch, Position};
use model::settings::{LogSettings, NatsSettings};
use owner::log_operation::AppendError;
use runtime::metrics::Metrics;
use testkit::{NatsServer, eventually};

/// The longest that any case may take.
const DEADLINE: Duration = Duration::from_secs(20);

const TOTAL: usize = 64 << 20;

fn settings(streams: usize) -> LogSettings {
    LogSettings { streams, max_total_bytes: TOTAL, ..LogSettings::default() }
}

async fn connect(nats: &NatsServer) -> Bus {
    Bus::nats(nats.url(), &NatsSettings::default(), "log", Metrics::new()).await.unwrap()
}

async fn open(nats: &NatsServer, streams: usize) -> Result<Log, OpenError> {
    JetStream::open(connect(nats).await, &settings(streams)).await.map(Log::from)
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

/// A room of the lower half of the slots, and one of the upper half.
fn two_rooms() -> [RoomId; 2] {
    ["room2", "lobby"].map(room)
}

async fn append(log: &Log, room: &RoomId, expected: Position) -> Result<Position, AppendError> {
    log.append(room, expected, Bytes::from_static(b"record")).await
}

async fn status(log: &Log, room: &RoomId) -> LogStatus {
    log.status(log.parts().of(room)).await.unwrap()
}

async fn epoch(log: &Log, room: &RoomId) -> Epoch {
    status(log, room).await.epoch
}

#[tokio::test]
async fn streams_share_the_slots_and_the_space() {
    let nats = NatsServer::start_with_jetstream().await;
    let log = open(&nats, 4).await.unwrap();
    let context = context(&nats).await;
    for (index, name) in ["ROOMS", "ROOMS-01", "ROOMS-1", "ROOMS-11"].into_iter().enumerate() {
        let config = config(&context, name).await;
        let slots: Vec<String> = (16 * index..16 * (index + 1)).map(|slot| format!("log.{slot}.>")).collect();
        assert_eq!((config.subjects, config.max_bytes), (slots, 16 << 20), "{name}");
        assert!(config.allow_message_ttl && config.metadata["shaddock-epoch"].parse::<u64>().is_ok(), "{name}");
    }
    for room in two_rooms() {
        let part = log.part_name(log.parts().of(&room));
        append(&log, &room, Position::NONE).await.unwrap();
        let last = context.get_stream(part).await.unwrap().cached_info().state.last_sequence;
        assert_eq!(last, 1, "{room}");
        assert_eq!(status(&log, &room).await.max_bytes, 16 << 20);
    }
}

/// A broker that has one stream, and a program that wants more, or less.
#[tokio::test]
async fn a_log_keeps_the_number_of_streams_that_it_was_created_with() {
    let nats = NatsServer::start_with_jetstream().await;
    open(&nats, 2).await.unwrap();
    assert_eq!(open(&nats, 2).await.unwrap().parts().count(), 2);
    let refusal = open(&nats, 4).await.unwrap_err();
    assert_eq!(refusal, OpenError::FewerStreams { stream: "ROOMS".to_owned(), found: 2, wanted: 4 });
    assert!(refusal.to_string().contains("set log.streams = 2"), "{refusal}");
    assert_eq!(open(&nats, 1).await.unwrap().parts().count(), 2, "more streams are those of a log that was divided");
}

/// Several programs create the log at the same moment, with settings that differ.
#[tokio::test]
async fn servers_that_start_together_agree_on_the_streams() {
    let nats = NatsServer::start_with_jetstream().await;
    let opened = futures_util::future::join_all([4, 4, 1, 4].map(|streams| open(&nats, streams))).await;
    let mut counts = opened.iter().flatten().map(|log| log.parts().count());
    let first = counts.next().unwrap();
    assert!(counts.all(|count| count == first), "{opened:?}");
    let mut epochs = Vec::new();
    for log in opened.iter().flatten() {
        epochs.push([epoch(log, &room("room2")).await, epoch(log, &room("lobby")).await]);
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
}

#[tokio::test]
async fn a_stream_of_an_earlier_version_is_refused() {
    let nats = NatsServer::start_with_jetstream().await;
    let context = context(&nats).await;
    let old = Config { name: "ROOMS".to_owned(), subjects: vec!["log.*".to_owned()], ..Config::default() };
    context.create_stream(&old).await.unwrap();
    let refusal = open(&nats, 1).await.unwrap_err();
    assert_eq!(refusal, OpenError::WithoutSlots { stream: "ROOMS".to_owned() });
    assert!(refusal.to_string().contains("`nats stream rm ROOMS`"), "{refusal}");
    assert_eq!(config(&context, "ROOMS").await.subjects, ["log.*"], "left alone");
}

#[tokio::test]
async fn a_stream_that_is_gone_concerns_its_rooms_alone() {
    let nats = NatsServer::start_with_jetstream().await;
    let log = open(&nats, 2).await.unwrap();
    let [kept, lost] = two_rooms();
    let before = [epoch(&log, &kept).await, epoch(&log, &lost).await];
    let [one, gone] =
        [append(&log, &kept, Position::NONE).await.unwrap(), append(&log, &lost, Position::NONE).await.unwrap()];
    context(&nats).await.delete_stream("ROOMS-1").await.unwrap();
    assert!(matches!(append(&log, &lost, gone).await, Err(AppendError::Unclear(_))));
    let two = append(&log, &kept, one).await.unwrap();
    assert_eq!(log.last(&lost, ReadConsistency::Any).await.unwrap().last, None);
    assert_eq!(log.last(&kept, ReadConsistency::Any).await.unwrap().last.unwrap().0, two);
    assert_eq!(epoch(&log, &kept).await, before[0]);
    assert!(epoch(&log, &lost).await > before[1]);
    assert_eq!(append(&log, &lost, Position::NONE).await, Ok(Position(1)));
}

/// Streams whose subjects were taken away: appends to their rooms find no responder.
#[tokio::test]
async fn a_part_without_a_stream_that_responds_fails_alone() {
    let nats = NatsServer::start_with_jetstream().await;
    let log = open(&nats, 2).await.unwrap();
    let [kept, away] = two_rooms();
    let context = context(&nats).await;
    let good = config(&context, "ROOMS-1").await;
    context.update_stream(&Config { subjects: vec!["away".to_owned()], ..good.clone() }).await.unwrap();
    let (of_kept, of_away) = (log.parts().of(&kept), log.parts().of(&away));
    assert!(matches!(append(&log, &away, Position::NONE).await, Err(AppendError::Unclear(_))));
    assert!(matches!(log.append_probe(of_away, 100).await, Err(AppendError::Unclear(_))));
    assert!(append(&log, &kept, Position::NONE).await.is_ok() && log.append_probe(of_kept, 100).await.is_ok());
    context.update_stream(&good).await.unwrap();
    assert!(log.append_probe(of_away, 100).await.is_ok() && append(&log, &away, Position::NONE).await.is_ok());
}

/// A mirror of the whole log takes the upper half of the slots: records, positions and epoch are
/// those of the stream that it was copied from.
#[tokio::test]
async fn a_mirror_that_takes_the_place_of_a_stream_keeps_positions_and_epoch() {
    let nats = NatsServer::start_with_jetstream().await;
    let log = open(&nats, 1).await.unwrap();
    let [left, right] = two_rooms();
    let before = epoch(&log, &right).await;
    let one = append(&log, &left, Position::NONE).await.unwrap();
    let two = append(&log, &right, Position::NONE).await.unwrap();
    let context = context(&nats).await;
    let origin = config(&context, "ROOMS").await;
    let slots = |range: std::ops::Range<u8>| range.map(|slot| format!("log.{slot}.>")).collect::<Vec<_>>();
    let source = Source { name: "ROOMS".to_owned(), ..Source::default() };
    let copy = Config { name: "ROOMS-1".to_owned(), subjects: vec![], mirror: Some(source), ..origin.clone() };
    context.create_stream(&copy).await.unwrap();
    let has_all = async || context.get_stream("ROOMS-1").await.unwrap().cached_info().state.last_sequence == two.0;
    eventually(DEADLINE, "the mirror to have all records", has_all).await;
    let half = |name: &str, range| Config {
        name: name.to_owned(),
        subjects: slots(range),
        max_bytes: origin.max_bytes / 2,
        ..origin.clone()
    };
    context.update_stream(&half("ROOMS", 0..32)).await.unwrap();
    context.update_stream(&half("ROOMS-1", 32..64)).await.unwrap();
    let divided = open(&nats, 1).await.unwrap();
    assert_eq!(divided.parts().count(), 2);
    for (room, position) in [(&left, one), (&right, two)] {
        assert_eq!(epoch(&divided, room).await, before);
        assert_eq!(divided.last(room, ReadConsistency::Latest).await.unwrap().last.unwrap().0, position);
        assert_eq!(append(&divided, room, Position::NONE).await, Err(AppendError::Refused));
        assert!(append(&divided, room, position).await.unwrap() > two);
    }
}

/// All streams of a log have one leader, as after the restart of the other servers. Rooms serve
/// before and afterwards.
#[tokio::test]
async fn leaders_are_spread_over_the_servers_of_a_cluster() {
    let nodes = NatsServer::start_cluster(3).await;
    let settings = LogSettings { replicas: 3, ..settings(4) };
    let log = async || JetStream::open(connect(&nodes[0]).await, &settings).await.ok().map(Log::from);
    let mut opened = None;
    // The servers may still elect the leader of JetStream.
    eventually(DEADLINE, "the cluster to create the log", async || {
        opened = log().await;
        opened.is_some()
    })
    .await;
    let (log, bus) = (opened.unwrap(), connect(&nodes[0]).await);
    let leaders = async || stream_servers(&bus, &settings).await;
    eventually(DEADLINE, "all replicas to be there", async || {
        leaders().await.is_ok_and(|streams| streams.len() == 4 && streams.iter().all(|s| s.followers.len() == 2))
    })
    .await;
    for servers in leaders().await.unwrap().into_iter().filter(|servers| servers.leader != "node-1") {
        let change = LeaderMove { stream: servers.stream, from: servers.leader, to: "node-1".to_owned() };
        change_leader(&bus, &settings, &change).await.unwrap();
    }
    let [room, _] = two_rooms();
    eventually(DEADLINE, "the room to serve", async || append(&log, &room, Position::NONE).await.is_ok()).await;
    eventually(DEADLINE, "all replicas to be current", async || {
        leaders().await.is_ok_and(|streams| streams.iter().all(|servers| servers.followers.len() == 2))
    })
    .await;
    for change in moves(&leaders().await.unwrap()) {
        change_leader(&bus, &settings, &change).await.unwrap();
    }
    let mut counts = BTreeMap::<String, usize>::new();
    for servers in leaders().await.unwrap() {
        *counts.entry(servers.leader).or_default() += 1;
    }
    assert_eq!((counts.len(), counts.values().max()), (3, Some(&2)), "{counts:?}");
    let last = log.last(&room, ReadConsistency::Latest).await.unwrap().last.unwrap().0;
    assert!(append(&log, &room, last).await.is_ok());
}
