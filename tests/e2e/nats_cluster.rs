//! Three NATS servers with three replicas of the log, while users talk: the leader dies and comes
//! back, and each is restarted in turn.

use std::time::Duration;

use async_nats::jetstream::{self, Context, stream};
use cluster::{Cluster, LogKind};
use testkit::{NatsServer, eventually};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::room_talk::RoomTalk;
use crate::split_cluster::SplitCluster;
use crate::test_cluster::DEADLINE;

/// Held by the test that runs. Six servers that write to one disk would make each other slow.
pub(crate) static THREE_SERVERS: Mutex<()> = Mutex::const_new(());

/// Milliseconds between heartbeats. No Shaddock server dies in these tests, and a slow machine is not
/// to look like a death.
pub(crate) const PATIENT_HEARTBEAT_MS: u32 = 500;

/// Rooms, each with one sender and one listener.
const ROOMS: usize = 4;

/// The longest that a room may be without service when another server leads. Until then JetStream
/// sets the time: a replica stands for election when it received nothing from the leader for four
/// to nine seconds.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// The slowest send while servers are restarted in order. A lame duck hands over what it leads, so
/// that there is no election to wait for; what is left is a reconnect, and a repeat of what was on
/// its way.
const SLOWEST: Duration = Duration::from_secs(5);

/// Messages of each room before the death, while the server is down, and after its return.
const MESSAGES: usize = 100;

/// Waits until another node leads the log.
async fn wait_for_election(context: &Context, dead: usize) {
    let dead = format!("node-{dead}");
    eventually(DEADLINE, "an election", async || {
        let Ok(stream) = context.get_stream("ROOMS").await else { return false };
        let group = stream.cached_info().cluster.as_ref();
        group.and_then(|group| group.leader.as_ref()).is_some_and(|leader| *leader != dead)
    })
    .await;
}

async fn log(urls: &str) -> Context {
    let urls: Vec<async_nats::ServerAddr> = urls.split(',').map(|url| url.parse().unwrap()).collect();
    let mut context = jetstream::new(async_nats::connect(urls).await.unwrap());
    // While there is no leader requests get no response. Short timeouts notice the new leader soon.
    context.set_timeout(Duration::from_millis(300));
    context
}

/// Waits until a stream of three replicas can be made, which needs a leader that knows all three.
async fn wait_for_replication(context: &Context) {
    let probe = stream::Config { name: "PROBE".to_owned(), num_replicas: 3, ..Default::default() };
    eventually(DEADLINE, "three servers to keep a stream", async || {
        context.get_or_create_stream(probe.clone()).await.is_ok()
    })
    .await;
    context.delete_stream("PROBE").await.unwrap();
}

/// The number of the node that leads the log, once all its replicas are there and current.
async fn wait_for_leader(context: &Context) -> usize {
    let mut found = None;
    eventually(DEADLINE * 2, "the log to have all its replicas", async || {
        let Ok(mut stream) = context.get_stream("ROOMS").await else { return false };
        let Ok(info) = stream.info().await else { return false };
        let Some(group) = &info.cluster else { return false };
        let number = group.leader.as_deref().and_then(|name| name.strip_prefix("node-")?.parse().ok());
        found = number.filter(|_| group.replicas.len() == 2 && group.replicas.iter().all(|r| r.current && !r.offline));
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Activations, and appends whose outcome was unclear.
fn counts(clusters: &[Cluster]) -> (u64, u64) {
    let metrics = clusters.iter().map(|cluster| cluster.metrics());
    metrics.fold((0, 0), |sum, metrics| (sum.0 + metrics.activations.get(), sum.1 + metrics.appends_failed.get()))
}

#[expect(clippy::print_stdout, reason = "figures, shown with --nocapture")]
fn print_line(figures: &str) {
    println!("{figures}");
}

async fn start(split: &mut SplitCluster, urls: &str) -> Vec<Cluster> {
    let mut clusters = Vec::new();
    for id in ["chat-server-1", "chat-server-2", "chat-server-3", "connector-server-1", "connector-server-2"] {
        clusters.push(split.start_at(id, urls.to_owned()).await);
    }
    clusters
}

/// A cluster of Shaddock on three NATS servers, of which the first is the parts'.
pub(crate) async fn three_servers(
    mut nodes: Vec<NatsServer>,
) -> (SplitCluster, Vec<NatsServer>, Context, Vec<Cluster>) {
    let urls = nodes.iter().map(NatsServer::url).collect::<Vec<_>>().join(",");
    let context = log(&urls).await;
    wait_for_replication(&context).await;
    let mut split = SplitCluster::on(nodes.remove(0), LogKind::JetStream);
    split.settings.log.replicas = 3;
    split.settings.rpc.heartbeat_ms = PATIENT_HEARTBEAT_MS;
    (split.settings.session.requests_per_sec, split.settings.session.request_burst) = (10_000, 10_000);
    let clusters = start(&mut split, &urls).await;
    (split, nodes, context, clusters)
}

/// Lame ducks send their clients away at once and one by one, as fast as NATS does.
const LAME_DUCK: &str = "lame_duck_grace_period: \"1ms\"\nlame_duck_duration: \"30s\"";

/// Each NATS server is restarted in turn, as for an update of NATS: its clients are sent elsewhere,
/// it ends, comes back, and has the whole log before the next one goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_is_restarted_in_turn_under_load() {
    let _alone = THREE_SERVERS.lock().await;
    let nodes = NatsServer::start_cluster_configured(3, LAME_DUCK).await;
    let (mut split, mut nodes, context, clusters) = three_servers(nodes).await;
    let talk = RoomTalk::start(&split, ROOMS, Duration::ZERO).await;
    talk.wait_for_more(DEADLINE, MESSAGES).await;
    let (before, began) = (counts(&clusters), Instant::now());
    for node in std::iter::once(&mut split.nats).chain(&mut nodes) {
        node.lame_duck();
        node.wait().await;
        talk.wait_for_more(BACK_WITHIN, 2).await;
        node.restart().await;
        wait_for_leader(&context).await;
    }
    talk.wait_for_more(DEADLINE, MESSAGES).await;
    let (after, took) = (counts(&clusters), began.elapsed());
    let moved: u64 = clusters.iter().map(|cluster| cluster.metrics().bus_reconnects.get()).sum();
    let (messages, slowest) = talk.end().await;
    print_line(&format!(
        "three servers restarted in {took:?}: {messages} messages, none lost, doubled or out of order; slowest send {slowest:?}; \
         {moved} connections moved, {} appends unclear, {} activations",
        after.1 - before.1,
        after.0 - before.0
    ));
    assert!(moved >= clusters.len() as u64, "each connection was closed once at least: {moved}");
    assert!(slowest < SLOWEST, "{slowest:?}");
    for cluster in clusters.into_iter().rev() {
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_of_the_log_dies_under_load() {
    let _alone = THREE_SERVERS.lock().await;
    let (mut split, mut nodes, context, clusters) = three_servers(NatsServer::start_cluster(3).await).await;
    let talk = RoomTalk::start(&split, ROOMS, Duration::ZERO).await;
    talk.wait_for_more(DEADLINE, MESSAGES).await;
    let number = wait_for_leader(&context).await;
    let dying = if number == 0 { &mut split.nats } else { &mut nodes[number - 1] };
    let (before, died) = (counts(&clusters), Instant::now());
    dying.kill();
    wait_for_election(&context, number).await;
    let elected = died.elapsed();
    // What waited for the dead one, and one after it.
    talk.wait_for_more(BACK_WITHIN, 2).await;
    let (back, after) = (died.elapsed(), counts(&clusters));
    let (activations, unclear) = (after.0 - before.0, after.1 - before.1);
    assert!(activations >= ROOMS as u64, "rooms went on without looking at the log: {activations}");
    talk.wait_for_more(DEADLINE, MESSAGES).await;
    dying.restart().await;
    let returned = Instant::now();
    wait_for_leader(&context).await;
    let current = returned.elapsed();
    talk.wait_for_more(DEADLINE, MESSAGES).await;
    let (messages, longest) = talk.end().await;
    print_line(&format!(
        "{messages} messages; another server led {elected:?} after the death, all rooms were back at {back:?}; {unclear} appends \
         unclear, {activations} activations; longest wait for an acknowledgement {longest:?}; the server that returned was \
         current after {current:?}"
    ));
    for cluster in clusters.into_iter().rev() {
        cluster.stop().await;
    }
}
