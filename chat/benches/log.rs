//! The cost of the log in JetStream: reading a room back along its links, activating small rooms, and
//! appending over several streams, from one client and from four. Starts its own nats-server, prints
//! tables, and fails if a figure is worse than [`MOST_READ_MS`] or [`LEAST_ACTIVATIONS`].
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures, and prints what it found")]

use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use bus::Bus;
use bytes::Bytes;
use chat::log::jetstream::JetStream;
use chat::log::{Log, ReadConsistency};
use futures_util::StreamExt;
use futures_util::stream::iter;
use model::ids::{Name, RoomId, ServerId};
use model::record::{Entry, LINKS, Position, Record, RecordId, VERSION};
use model::settings::{LogSettings, NatsSettings};
use owner::log_walk::{Step, Until, Walk, decode_all};
use runtime::metrics::Metrics;
use testkit::NatsServer;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

const ROOMS: usize = 10_000;
const RECORDS: usize = 64;
/// With names and links, a record of about 235 bytes.
const CONTENT: usize = 70;
/// Records that a returning client has missed.
const MISSED: usize = 50;
const READS: usize = 2_000;
const FILL_IN_FLIGHT: usize = 256;
const ACTIVATIONS_IN_FLIGHT: [usize; 4] = [1, 16, 64, 256];

/// Most milliseconds for the median read, with as many links as the owner makes.
const MOST_READ_MS: f64 = 2.0;
/// Least activations per second, with [`JUDGED`] in flight.
const LEAST_ACTIVATIONS: f64 = 3_000.0;
const JUDGED: usize = 64;

/// Streams over which appends are measured, clients that append, each in its own thread and with its own
/// connection, and records that each room gets.
const STREAMS: [usize; 3] = [1, 2, 4];
const CLIENTS: [usize; 2] = [1, 4];
const APPENDED: usize = 8;

/// Linux counts the time of processes in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// A filled log.
struct Filled {
    nats: NatsServer,
    log: Log,
    /// Each room's positions, oldest first.
    rooms: Vec<(RoomId, Vec<Position>)>,
}

fn main() -> ExitCode {
    if one_thread().block_on(measure()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns true if all figures reach their limits.
async fn measure() -> bool {
    println!("{ROOMS} rooms x {RECORDS} records, JetStream on disk, one replica\n");
    println!("last {MISSED} records of a room     p50 ms   p99 ms   CPU us: this process / nats-server");
    let usual = Filled::with(LINKS, RECORDS, 1).await;
    let mut good = usual.read_back(LINKS).await <= MOST_READ_MS;
    Filled::with(2 * LINKS, RECORDS, 1).await.read_back(2 * LINKS).await;
    println!("\nactivation (last, append)     per second   CPU us: this process / nats-server");
    for consistency in [ReadConsistency::Any, ReadConsistency::Latest] {
        for in_flight in ACTIVATIONS_IN_FLIGHT {
            let rate = usual.activate(consistency, in_flight).await;
            good &= in_flight != JUDGED || rate >= LEAST_ACTIVATIONS;
        }
    }
    drop(usual);
    println!("\nappends, {FILL_IN_FLIGHT} in flight each   per second   CPU us: this process / nats-server");
    for clients in CLIENTS {
        for streams in STREAMS {
            Filled::with(LINKS, 1, streams).await.append(streams, clients);
        }
    }
    if !good {
        println!(
            "\ntoo slow: wanted are {MOST_READ_MS} ms at {LINKS} links, {LEAST_ACTIVATIONS}/s at {JUDGED} in flight"
        );
    }
    good
}

impl Filled {
    async fn with(links: usize, records: usize, streams: usize) -> Self {
        let nats = NatsServer::start_with_jetstream().await;
        let log = open_log(nats.url(), streams).await;
        let mut rooms: Vec<_> = (0..ROOMS).map(|i| (RoomId::new(&format!("room-{i}")).unwrap(), Vec::new())).collect();
        fill(&log, &mut rooms, records, links).await;
        Self { nats, log, rooms }
    }

    /// Lets clients share the rooms and append to one after the other; prints how many in a second.
    fn append(&mut self, streams: usize, clients: usize) {
        let (ready, before, url) = (Barrier::new(clients + 1), self.cpu(), self.nats.url().to_owned());
        let began = thread::scope(|scope| {
            for rooms in self.rooms.chunks_mut(ROOMS.div_ceil(clients)) {
                let (ready, url) = (&ready, &url);
                scope.spawn(move || one_thread().block_on(append_to(rooms, url, streams, ready)));
            }
            ready.wait();
            Instant::now()
        });
        let count = APPENDED * ROOMS;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        println!("{streams:>4} streams, {clients} clients {rate:>10.0}   {}", self.cpu_each(before, count));
    }

    /// Reads the newest records of one room after the other; returns and prints the median in
    /// milliseconds.
    async fn read_back(&self, links: usize) -> f64 {
        let before = self.cpu();
        let mut times = Vec::with_capacity(READS);
        for (room, positions) in self.rooms.iter().cycle().take(READS) {
            let asked = Instant::now();
            assert_eq!(newest(&self.log, room, positions).await, MISSED);
            times.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let (p50, p99) = (times[READS / 2], times[READS * 99 / 100]);
        println!("{links:>4} links                 {p50:>10.2} {p99:>8.2} {:>10}", self.cpu_each(before, READS));
        p50
    }

    /// Activates one room after the other, so many at once; returns and prints how many in a
    /// second.
    async fn activate(&self, consistency: ReadConsistency, in_flight: usize) -> f64 {
        let count = if in_flight == 1 { READS } else { 2 * ROOMS };
        let (before, began) = (self.cpu(), Instant::now());
        let activations = self.rooms.iter().cycle().take(count).map(|(room, _)| open(&self.log, room, consistency));
        iter(activations).buffer_unordered(in_flight).collect::<()>().await;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        let cpu = self.cpu_each(before, count);
        println!("{:<8} {in_flight:>4} in flight        {rate:>10.0}   {cpu}", format!("{consistency:?}"));
        rate
    }

    /// Processor time of this process and of the server.
    fn cpu(&self) -> [Duration; 2] {
        [processor_time("self"), processor_time(&self.nats.id().to_string())]
    }

    fn cpu_each(&self, before: [Duration; 2], count: usize) -> String {
        let [this, nats] = self.cpu();
        let each = |after: Duration, before: Duration| (after - before).as_secs_f64() * 1e6 / count as f64;
        format!("{:.0} / {:.0}", each(this, before[0]), each(nats, before[1]))
    }
}

/// Returns a runtime that measures the log's cost without that of many threads.
fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn open_log(url: &str, streams: usize) -> Log {
    let bus = Bus::nats(url, &NatsSettings::default(), "bench", Metrics::new()).await.unwrap();
    JetStream::open(bus, &LogSettings { streams, ..LogSettings::default() }).await.unwrap().into()
}

/// Appends to one room after the other, as soon as all clients are connected.
async fn append_to(rooms: &mut [(RoomId, Vec<Position>)], url: &str, streams: usize, ready: &Barrier) {
    let log = open_log(url, streams).await;
    ready.wait();
    fill(&log, rooms, APPENDED, LINKS).await;
}

/// Appends so many records to each room, to one room after the other.
async fn fill(log: &Log, rooms: &mut [(RoomId, Vec<Position>)], records: usize, links: usize) {
    for _ in 0..records {
        let appends = rooms.iter_mut().map(|(room, positions)| say(log, room, positions, links));
        iter(appends).buffer_unordered(FILL_IN_FLIGHT).collect::<()>().await;
    }
}

/// Appends a message, linked as the owner links it.
async fn say(log: &Log, room: &RoomId, positions: &mut Vec<Position>, links: usize) {
    let entry =
        Entry::Message { from: Name::new("somebody").unwrap(), content: "x".repeat(CONTENT), id: None, meta: None };
    let record = record(positions.iter().rev().take(links).copied(), entry);
    let expected = positions.last().copied().unwrap_or_default();
    positions.push(log.append(room, expected, record).await.unwrap());
}

/// Reads the last record, and appends the first one of an activation.
async fn open(log: &Log, room: &RoomId, consistency: ReadConsistency) {
    let (position, bytes) = log.last(room, consistency).await.unwrap().last.unwrap();
    let last = Record::decode(&bytes).unwrap();
    let predecessors = std::iter::once(position).chain(last.predecessors()).take(LINKS);
    log.append(room, position, record(predecessors, Entry::Open)).await.unwrap();
}

fn record(mut predecessors: impl Iterator<Item = Position>, entry: Entry) -> Bytes {
    let record = Record {
        v: VERSION,
        prev: predecessors.next().unwrap_or_default(),
        prev_id: RecordId::NONE,
        id: RecordId::NONE,
        links: predecessors.collect(),
        time: runtime::clock::now_ms(),
        owner: ServerId::new("chat-server-1").unwrap(),
        proposals: Vec::new(),
        acts: Vec::new(),
        lasting: None,
        entries: vec![entry],
        notify_connectors: Vec::new(),
        checkpoint: None,
        part: None,
    };
    record.encode().unwrap().into()
}

/// Reads a room's newest records along their links; returns their number.
async fn newest(log: &Log, room: &RoomId, positions: &[Position]) -> usize {
    let known = positions[positions.len() - MISSED - 1];
    let (last, bytes) = log.last(room, ReadConsistency::Latest).await.unwrap().last.unwrap();
    let mut walk = Walk::new(Until::After(known), last, Arc::new(Record::decode(&bytes).unwrap()));
    loop {
        match walk.next() {
            Step::Read(wanted) => {
                let read = log.read(room, &wanted).await.unwrap();
                walk.feed(decode_all(wanted.into_iter().zip(read).collect()).0);
            }
            Step::Done(records) => return records.len(),
            Step::Unreachable => return 0,
        }
    }
}

/// Returns the processor time of a process, in user and kernel mode.
fn processor_time(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name, in parentheses, may hold anything; the two times are the 12th and 13th field behind
    // it.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u32 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap()).sum();
    TICK * ticks
}
