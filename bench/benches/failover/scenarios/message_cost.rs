//! The processor time of a message as rooms, members and connectors grow; checks no promise.

use std::time::Duration;

use client::{ChatClient, Options};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, sleep, sleep_until};

use super::ScenarioSettings;
use crate::deployment::{Deployment, Layout};

/// Each ratio is the median of so many rounds, in each of which all loads of a line run, on servers
/// that were just started.
const ROUNDS: usize = 3;

/// Messages a second, of all rooms together.
const RATE: u32 = 200;
const WARM_UP: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(6);

/// Sessions that enter at the same time.
const ENTER_AT_ONCE: usize = 32;

/// Bytes of a message.
const CONTENT: usize = 100;

/// The clients of a case: one sender in each room, all members listen. A room's members are spread
/// over all connectors.
#[derive(Clone, Copy)]
struct LoadCase {
    rooms: usize,
    members: usize,
    connectors: usize,
}

/// In each line one thing grows.
const LOADS: [[LoadCase; 3]; 3] = [
    [
        LoadCase { rooms: 10, members: 1, connectors: 1 },
        LoadCase { rooms: 100, members: 1, connectors: 1 },
        LoadCase { rooms: 1_000, members: 1, connectors: 1 },
    ],
    [
        LoadCase { rooms: 10, members: 1, connectors: 1 },
        LoadCase { rooms: 10, members: 10, connectors: 1 },
        LoadCase { rooms: 10, members: 100, connectors: 1 },
    ],
    [
        LoadCase { rooms: 50, members: 12, connectors: 1 },
        LoadCase { rooms: 50, members: 12, connectors: 2 },
        LoadCase { rooms: 50, members: 12, connectors: 4 },
    ],
];

/// Microseconds per message of connectors, chat server and nats-server.
type Cost = [f64; 3];

pub(super) async fn run(options: &ScenarioSettings) {
    let rounds = options.rounds.unwrap_or(ROUNDS);
    println!("  CPU per message, what idles taken off; one chat server, {RATE} messages/s of {CONTENT} bytes");
    println!(
        "  multiples of a line's first, each within its round, as machines change their pace; medians of {rounds} rounds"
    );
    println!("  rooms members connectors   connectors   chat   nats    sum (from to)       us");
    for line in LOADS {
        let mut costs = Vec::new();
        for _ in 0..rounds {
            let mut round = Vec::new();
            for load in line {
                round.push(load.measure(options).await);
            }
            costs.push(round);
        }
        for (index, load) in line.iter().enumerate() {
            load.show(&costs, index);
        }
        println!();
    }
}

fn sum(cost: Cost) -> f64 {
    cost.iter().sum()
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

impl LoadCase {
    /// Prints the costs of one case over all rounds.
    fn show(self, costs: &[Vec<Cost>], index: usize) {
        let ratios = |of: &dyn Fn(Cost) -> f64| sorted(costs.iter().map(|round| of(round[index]) / sum(round[0])));
        let median = |values: Vec<f64>| values[values.len() / 2];
        let [connectors, chat, nats] = [0, 1, 2].map(|process| median(ratios(&|cost| cost[process])));
        let sums = ratios(&sum);
        let (from, to) = (sums[0], sums[sums.len() - 1]);
        print!("  {:>5} {:>7} {:>10} ", self.rooms, self.members, self.connectors);
        print!("{connectors:>12.2} {chat:>6.2} {nats:>6.2} {:>6.2} ({from:.2} {to:.2})", median(sums));
        println!(" {:>8.0}", median(sorted(costs.iter().map(|round| sum(round[index])))));
    }

    async fn measure(self, options: &ScenarioSettings) -> Cost {
        let settings = "session.max_outbound_bytes = 16_777_216".to_owned();
        let layout = Layout { chats: 1, connectors: self.connectors, gate: false, settings, traced: options.traced };
        let deployment = Deployment::start(&layout).await;
        let members = self.enter(&deployment).await;
        let senders = &members[..self.rooms];
        self.send_messages(senders, WARM_UP).await;
        let ([before, idle], lasted) = used(&deployment, sleep(IDLE)).await;
        let idle = [0, 1, 2].map(|process| (idle[process] - before[process]).div_duration_f64(lasted));
        let mut count = 0;
        let ([before, after], lasted) =
            used(&deployment, async { count = self.send_messages(senders, MEASURED).await }).await;
        let per_message = |process: usize| {
            let busy = (after[process] - before[process]).as_secs_f64() - idle[process] * lasted.as_secs_f64();
            busy * 1e6 / count as f64
        };
        [0, 1, 2].map(per_message)
    }

    /// Enters the senders first, one room after the other.
    async fn enter(self, deployment: &Deployment) -> Vec<ChatClient> {
        let places = (0..self.rooms * self.members).map(|number| (number % self.rooms, number / self.rooms));
        let entering = places.map(async |(room, member)| {
            let address = deployment.configuration.connector_address((room + member) % self.connectors);
            // Pushes are read and forgotten.
            let (chat, _) = ChatClient::connect(&address, Options::default()).await.unwrap();
            chat.enter(&format!("member-{member}"), &format!("room-{room}")).await.unwrap();
            chat
        });
        stream::iter(entering).buffered(ENTER_AT_ONCE).collect().await
    }

    /// Sends in all rooms; returns the number of acknowledged messages.
    async fn send_messages(self, senders: &[ChatClient], lasting: Duration) -> usize {
        let every = Duration::from_secs(1) * self.rooms as u32 / RATE;
        let began = Instant::now();
        let sending = senders.iter().enumerate().map(async |(index, sender)| {
            let mut due = began + every * index as u32 / self.rooms as u32;
            let mut sent = 0;
            while due < began + lasting {
                sleep_until(due).await;
                sender.send(&"x".repeat(CONTENT)).await.unwrap();
                sent += 1;
                due += every;
            }
            sent
        });
        join_all(sending).await.into_iter().sum()
    }
}

/// Returns the processor times before and after a future, and its duration.
async fn used(deployment: &Deployment, something: impl Future<Output = ()>) -> ([[Duration; 3]; 2], Duration) {
    let (before, began) = (deployment.processor_times(), Instant::now());
    something.await;
    ([before, deployment.processor_times()], began.elapsed())
}
