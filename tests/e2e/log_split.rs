//! Rooms talk while the streams of their log are split, on one NATS server and on three with
//! replicas. The command dies after each step and is run again; a split is taken back.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::Bus;
use chat::log::jetstream::balance::division;
use chat::log::jetstream::split::{self, Refusal};
use cluster::{Cluster, LogKind};
use model::ids::RoomId;
use model::log_parts::LogParts;
use model::settings::{LogSettings, NatsSettings};
use runtime::metrics::Metrics;
use testkit::{NatsServer, eventually};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::nats_cluster::{PATIENT_HEARTBEAT_MS, THREE_SERVERS, three_servers};
use crate::operations::{get, wait_until_ready};
use crate::room_talk::{RoomTalk, room};
use crate::split_cluster::SplitCluster;
use crate::test_cluster::DEADLINE;

/// Rooms, each with a speaker and a listener; `SHADDOCK_SPLIT_ROOMS` sets another number.
const ROOMS: usize = 24;

/// Most runs of the command until the split is complete: one for each kind of step, and some for errors.
const RUNS: usize = 20;

/// Time between two messages of all rooms together, so that many rooms are no other load.
const PACE: Duration = Duration::from_millis(2);

/// The longest that a room may be silent because it moves.
const SILENCE: Duration = Duration::from_secs(3);

#[expect(clippy::disallowed_methods, reason = "an option of a test, not a setting")]
fn rooms() -> usize {
    std::env::var("SHADDOCK_SPLIT_ROOMS").map_or(ROOMS, |count| count.parse().unwrap())
}

/// Time between a speaker's messages.
fn pace() -> Duration {
    PACE * u32::try_from(rooms()).unwrap()
}

/// Waits until the rooms have talked on.
async fn go_on(talk: &RoomTalk) {
    talk.wait_for_more(DEADLINE, 5).await;
}

/// The command, with a connection of its own as a process has it.
struct Command {
    url: String,
    settings: LogSettings,
}

impl Command {
    fn new(url: &str, split: &SplitCluster) -> Self {
        Self { url: url.to_owned(), settings: split.settings.log.clone() }
    }

    async fn bus(&self) -> Bus {
        Bus::nats(&self.url, &NatsSettings::default(), "operator", Metrics::new()).await.unwrap()
    }

    async fn parts(&self) -> usize {
        division(&self.bus().await, &self.settings).await.unwrap().count()
    }

    /// Runs until a step that `dies` names has been done, or to the end.
    async fn run(&self, mut dies: impl FnMut(&str) -> bool) -> Option<Result<usize, Refusal>> {
        let (bus, death) = (self.bus().await, Notify::new());
        let report = |step: &str| {
            let dies = dies(step);
            print_line(&format!("{step}{}", if dies { ", and dies" } else { "" }));
            if dies {
                death.notify_one();
            }
        };
        // It dies with the report, before it sees a response to what it asked next: `biased`, because the next
        // step would be performed, and no later run would report it.
        tokio::select! {
            biased;
            () = death.notified() => None,
            ended = split::split(&bus, &self.settings, report) => Some(ended),
        }
    }

    /// Runs to the end; again and again, as its errors tell operators.
    async fn complete(&self) -> usize {
        self.complete_after(|_| false).await
    }

    /// Runs again and again, and dies once after each kind of step.
    async fn complete_dying(&self) -> usize {
        let mut died = BTreeSet::new();
        let streams = self.complete_after(|step| died.insert(step.split(' ').next().unwrap().to_owned())).await;
        assert!(died.len() >= 7, "{died:?}");
        streams
    }

    /// Runs again after each death, and after a request that failed while no room waited: a leader changes, or
    /// the machine is busy.
    async fn complete_after(&self, mut dies: impl FnMut(&str) -> bool) -> usize {
        for _ in 0..RUNS {
            match self.run(&mut dies).await {
                None => {}
                Some(Ok(streams)) => return streams,
                Some(Err(refusal @ Refusal::Request { .. })) => print_line(&format!("ended: {refusal}")),
                Some(Err(refusal)) => panic!("{refusal}"),
            }
        }
        panic!("the split is not complete after {RUNS} runs")
    }

    /// Runs until rooms wait, dies, and is taken back.
    async fn take_back(&self) {
        assert!(self.run(|step| step.starts_with("took")).await.is_none());
        assert!(split::undo(&self.bus().await, &self.settings, print_line).await.unwrap());
        assert!(!split::undo(&self.bus().await, &self.settings, print_line).await.unwrap());
    }

    async fn purge(&self) {
        let bus = self.bus().await;
        let early = split::purge(&bus, &self.settings, false, print_line).await;
        assert_eq!(early, Err(Refusal::TooEarly { hours: 0 }));
        assert!(split::purge(&bus, &self.settings, true, print_line).await.unwrap());
        assert!(!split::purge(&bus, &self.settings, true, print_line).await.unwrap());
    }
}

#[expect(clippy::print_stdout, reason = "figures, shown with --nocapture")]
fn print_line(line: &str) {
    println!("{line}");
}

/// Returns the number of rooms that are in another stream after a split.
fn moved(from: usize, to: usize) -> usize {
    let [from, to] = [from, to].map(|count| LogParts::new(count).unwrap());
    (0..rooms()).filter(|number| from.moves(&RoomId::new(&room(*number)).unwrap(), to)).count()
}

/// Activations, and takeovers: on a slow machine a chat server may look dead for a moment.
fn activations(clusters: &[Cluster]) -> (usize, usize) {
    let metrics = clusters.iter().map(|cluster| cluster.metrics());
    let sums =
        metrics.fold((0, 0), |sum, metrics| (sum.0 + metrics.activations.get(), sum.1 + metrics.takeovers.get()));
    (usize::try_from(sums.0).unwrap(), usize::try_from(sums.1).unwrap())
}

/// Waits until all chat servers show so many streams, and are ready.
async fn wait_for_streams(clusters: &[Cluster], streams: usize) {
    let servers = clusters.iter().flat_map(|cluster| cluster.servers().chat().to_vec());
    for port in servers.filter_map(|server| server.port.filter(|port| *port > 0)) {
        let shows = async || get(port, "/metrics").await.1.matches("shaddock_log_failing{").count() == streams;
        eventually(DEADLINE, "a chat server to show all streams", shows).await;
        wait_until_ready(port).await;
    }
}

async fn check_all(split: &SplitCluster, command: &Command, clusters: Vec<Cluster>) {
    let talk = RoomTalk::start(split, rooms(), pace()).await;
    go_on(&talk).await;
    let (began, before) = (Instant::now(), activations(&clusters));
    assert_eq!(command.complete_dying().await, 2);
    go_on(&talk).await;
    let after = activations(&clusters);
    let (activated, taken_over) = (after.0 - before.0, after.1 - before.1);
    assert!(activated >= moved(1, 2), "rooms that moved start over");
    // A room that was taken over starts over there, and again at its home.
    let most = 2 * moved(1, 2) + rooms() / 2 + 3 * taken_over;
    assert!(activated < most, "and no others: {activated} activations, {taken_over} takeovers");
    assert_eq!(command.complete().await, 2, "a split that is complete is not begun again");
    command.purge().await;
    go_on(&talk).await;
    command.take_back().await;
    go_on(&talk).await;
    assert_eq!(command.parts().await, 2);
    assert_eq!(command.complete().await, 4);
    go_on(&talk).await;
    wait_for_streams(&clusters, 4).await;
    command.purge().await;
    go_on(&talk).await;
    let (messages, longest) = talk.end().await;
    print_line(&format!(
        "{messages} messages in {} rooms, none lost, doubled or out of order, no gap; longest wait {longest:?}; {:?} in all",
        rooms(),
        began.elapsed()
    ));
    assert!(longest <= SILENCE, "{longest:?}");
    for cluster in clusters.into_iter().rev() {
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_talk_while_the_log_of_one_server_is_split() {
    let _alone = THREE_SERVERS.lock().await;
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    (split.settings.session.requests_per_sec, split.settings.session.request_burst) = (10_000, 10_000);
    split.settings.rpc.heartbeat_ms = PATIENT_HEARTBEAT_MS;
    let mut clusters = Vec::new();
    for id in ["chat-server-1", "chat-server-2", "chat-server-3", "connector-server-1", "connector-server-2"] {
        clusters.push(split.start(id).await);
    }
    let command = Command::new(split.nats.url(), &split);
    check_all(&split, &command, clusters).await;
    // A server that starts finds the log as its settings want it.
    split.start("chat-server-1").await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_talk_while_the_log_of_three_servers_is_split() {
    let _alone = THREE_SERVERS.lock().await;
    let (split, nodes, _context, clusters) = three_servers(NatsServer::start_cluster(3).await).await;
    let command = Command::new(nodes[0].url(), &split);
    check_all(&split, &command, clusters).await;
}
