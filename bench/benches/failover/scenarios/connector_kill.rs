//! Kills a connector with all its sessions: their members leave when its lease ends, others receive
//! one `onLeave` for each, and the connector starts again.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use client::{ChatClient, Event, Events, Options};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};

use super::ScenarioSettings;
use testkit::connector_id;

use crate::deployment::{Deployment, Layout};
use crate::durations::{COLUMNS, Durations};
use crate::promise_report::PromiseReport;

/// Sessions that enter at the same time.
const ENTER_AT_ONCE: usize = 64;

/// Time after the lease for detection, append and push: the lease is counted in whole seconds.
const NOTICE_WITHIN: Duration = Duration::from_secs(3);

/// Files that a process has open beside its sessions, and some more.
const OTHER_FILES: usize = 500;

const WATCHER: &str = "watcher";
const CHECKER: &str = "checker";

/// The connectors of the members, of the watchers, and of the checker.
const CONNECTORS: [usize; 3] = [0, 1, 2];

/// Rounds that are alike.
struct RoundSeries {
    rounds: usize,
    rooms: usize,
    per_room: usize,
    /// The setting; `None` leaves the default.
    lease: Option<u64>,
}

/// The default of `room.lease_secs`.
const LEASE: u64 = 10;

const SERIES: [RoundSeries; 3] = [
    RoundSeries { rounds: 27, rooms: 20, per_room: 50, lease: Some(3) },
    RoundSeries { rounds: 3, rooms: 20, per_room: 50, lease: None },
    RoundSeries { rounds: 3, rooms: 25, per_room: 400, lease: None },
];

pub(super) async fn run(options: &ScenarioSettings, promises: &mut PromiseReport) {
    println!("  {:<44} {COLUMNS}", "from the kill to each onLeave");
    for series in &SERIES {
        let (needed, limit) = (series.sessions() + OTHER_FILES, open_files());
        if limit < needed {
            promises.check(false, &format!("{} sessions need `ulimit -n {needed}`, it is {limit}", series.sessions()));
            continue;
        }
        series.run(options, promises).await;
    }
}

/// Returns the limit of open files of this process and its children.
fn open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    // Or `unlimited`.
    soft.unwrap().parse().unwrap_or(usize::MAX)
}

impl RoundSeries {
    fn sessions(&self) -> usize {
        self.rooms * self.per_room
    }

    async fn run(&self, options: &ScenarioSettings, promises: &mut PromiseReport) {
        let lease = self.lease.map(|seconds| format!("room.lease_secs = {seconds}\n")).unwrap_or_default();
        let settings = format!("{lease}frontend.max_connections_per_address = 20_000");
        let mut deployment = Deployment::start(&Layout { settings, ..Layout::three(options.traced) }).await;
        let mut watchers = Watchers::enter(&deployment, self.rooms).await;
        let rounds = self.rounds.min(options.rounds.unwrap_or(usize::MAX));
        let (mut leave_times, mut wrong) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let found = self.round(&mut deployment, &mut watchers).await;
            leave_times.extend(found.leave_times);
            wrong.extend(found.wrong.into_iter().map(|what| format!("round {round}: {what}")));
        }
        let sessions = self.sessions();
        let lease = self.lease.unwrap_or(LEASE);
        let leave_times: Durations = leave_times.into_iter().collect();
        let name = format!("{rounds} x {sessions} sessions in {} rooms, lease {lease} s", self.rooms);
        println!("  {name:<44} {leave_times}");
        let what = format!(
            "{name}: each onLeave once, lists right, within {} s: from {:.1?} to {:.1?}, {} times not {}",
            lease + NOTICE_WITHIN.as_secs(),
            leave_times.min(),
            leave_times.max(),
            wrong.len(),
            wrong.first().map(String::as_str).unwrap_or_default(),
        );
        promises.check(wrong.is_empty() && leave_times.count() == rounds * sessions, &what);
        deployment.end(promises);
    }

    /// All members enter, their connector is killed, they leave; the connector starts again.
    async fn round(&self, deployment: &mut Deployment, watchers: &mut Watchers) -> RoundFindings {
        let members = self.enter_all(&deployment.configuration.connector_address(CONNECTORS[0])).await;
        deployment.process(&connector_id(CONNECTORS[0])).kill();
        let killed = Instant::now();
        drop(members);
        let by = killed + Duration::from_secs(self.lease.unwrap_or(LEASE)) + NOTICE_WITHIN;
        let mut found = watchers.watch(self.per_room, killed, by).await;
        found.wrong.extend(self.check_members(&deployment.configuration.connector_address(CONNECTORS[2])).await);
        deployment.run(&connector_id(CONNECTORS[0])).await;
        watchers.report(self.per_room, &mut found).await;
        found
    }

    async fn enter_all(&self, address: &str) -> Vec<ChatClient> {
        let members = (0..self.sessions()).map(|number| (number % self.rooms, number / self.rooms));
        let entering = members.map(async |(room, member)| {
            let (chat, _) = ChatClient::connect(address, Options::default()).await.unwrap();
            chat.enter(&member_name(member), &room_name(room)).await.unwrap();
            chat
        });
        stream::iter(entering).buffer_unordered(ENTER_AT_ONCE).collect().await
    }

    /// Enters every room again; returns wrong member lists.
    async fn check_members(&self, address: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for room in (0..self.rooms).map(room_name) {
            let (chat, _) = ChatClient::connect(address, Options::default()).await.unwrap();
            let entered = chat.enter(CHECKER, &room).await.unwrap();
            if entered.users != [CHECKER, WATCHER] || entered.total != 2 {
                wrong.push(format!("{room} has {} users, {:?} among them", entered.total, entered.users.first()));
            }
            chat.leave().await.unwrap();
        }
        wrong
    }
}

/// The findings of a round.
#[derive(Default)]
struct RoundFindings {
    /// From the kill to each `onLeave`.
    leave_times: Vec<Duration>,
    wrong: Vec<String>,
}

/// A watcher in each room, at a connector that lives.
struct Watchers(Vec<Watcher>);

struct Watcher {
    room: String,
    /// Held: the connection goes with it.
    _chat: ChatClient,
    events: Events,
    /// The events of this round.
    events_received: Vec<Event>,
}

impl Watchers {
    async fn enter(deployment: &Deployment, rooms: usize) -> Self {
        let address = deployment.configuration.connector_address(CONNECTORS[1]);
        let mut watchers = Vec::new();
        for room in (0..rooms).map(room_name) {
            let (chat, events) = ChatClient::connect(&address, Options::default()).await.unwrap();
            chat.enter(WATCHER, &room).await.unwrap();
            watchers.push(Watcher { room, _chat: chat, events, events_received: Vec::new() });
        }
        Self(watchers)
    }

    /// Waits for this many `onLeave` in each room.
    async fn watch(&mut self, count: usize, killed: Instant, by: Instant) -> RoundFindings {
        let leave_times = join_all(self.0.iter_mut().map(|watcher| watcher.watch(count, killed, by))).await;
        RoundFindings { leave_times: leave_times.into_iter().flatten().collect(), wrong: Vec::new() }
    }

    /// Checks that each member of the round had one `onAdd` and one `onLeave`, and that no others
    /// but the checker had any.
    async fn report(&mut self, members: usize, found: &mut RoundFindings) {
        let by = Instant::now() + NOTICE_WITHIN;
        for watcher in &mut self.0 {
            found.wrong.extend(watcher.report(members, by).await);
        }
    }
}

impl Watcher {
    async fn watch(&mut self, count: usize, killed: Instant, by: Instant) -> Vec<Duration> {
        let mut leave_times = Vec::new();
        while leave_times.len() < count
            && let Ok(Some(event)) = timeout_at(by, self.events.next()).await
        {
            if matches!(event, Event::Leave(_)) {
                leave_times.push(killed.elapsed());
            }
            self.events_received.push(event);
        }
        leave_times
    }

    async fn report(&mut self, members: usize, by: Instant) -> Option<String> {
        let names = (0..members).map(member_name).chain([CHECKER.to_owned()]);
        let expected: BTreeMap<_, _> =
            names.flat_map(|name| [(format!("onAdd {name}"), 1), (format!("onLeave {name}"), 1)]).collect();
        while self.events_received.len() < expected.len()
            && let Ok(Some(event)) = timeout_at(by, self.events.next()).await
        {
            self.events_received.push(event);
        }
        self.events_received.extend(std::iter::from_fn(|| self.events.try_next()));
        let mut received = BTreeMap::new();
        for event in self.events_received.drain(..) {
            *received.entry(kind(&event)).or_insert(0) += 1;
        }
        let other = |(what, count): &(&String, &i32)| received.get(*what).copied().unwrap_or(0) != **count;
        let missing = expected.iter().find(other).map(|(what, _)| what);
        let strange = received.keys().find(|what| !expected.contains_key(*what));
        let wrong = missing.or(strange)?;
        Some(format!("{}: {wrong} was received {} times", self.room, received.get(wrong).copied().unwrap_or(0)))
    }
}

fn kind(event: &Event) -> String {
    match event {
        Event::Add(joined) => format!("onAdd {}", joined.user),
        Event::Leave(name) => format!("onLeave {name}"),
        other => format!("{other:?}"),
    }
}

fn room_name(room: usize) -> String {
    format!("room-{room}")
}

fn member_name(member: usize) -> String {
    format!("member-{member}")
}
