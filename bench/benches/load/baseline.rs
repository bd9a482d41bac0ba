//! The least that the machine needs: the same bytes on plain sockets, and bare NATS. Shaddock takes
//! no part.

use std::cell::Cell;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use futures_util::stream::{StreamExt, repeat};
use testkit::eventually;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::configuration::Configuration;
use crate::deployment::start_nats;
use crate::dimensions::{BaselineKind, Component};
use crate::process::processor_time;
use crate::results::Baseline;

/// Bytes that a connector writes for a message of 200: head of the websocket frame 4, of the
/// package 4, of the message 3, and a body of JSON with route, text, sender, room, place and time
/// 312.
const PUSH: usize = 4 + 4 + 3 + 312;

/// Bytes of a request, a record and a message.
const PAYLOAD: Bytes = Bytes::from_static(&[b'.'; 256]);

/// The deadline of the first response.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_millis(1_000);

const SUBJECT: &str = "floor";

/// So many plain sockets, so many pushes per write: the cheaper one of two tries, since others use
/// the machine, too.
pub(crate) async fn write(sockets: u32, at_once: u32) -> Baseline {
    let tries = [try_write(sockets, at_once).await, try_write(sockets, at_once).await];
    tries.into_iter().min_by(|a, b| a.sum().total_cmp(&b.sum())).unwrap()
}

async fn try_write(sockets: u32, at_once: u32) -> Baseline {
    let (mut writer, mut printed) = start_writer(sockets, at_once);
    let port: u16 = numbers(&mut printed).await[0] as u16;
    let mut readers = JoinSet::new();
    for _ in 0..sockets {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        readers.spawn(read(stream));
    }
    let [pushes, used, lasted] = numbers(&mut printed).await[..] else { panic!("the writer says three numbers") };
    writer.wait().await.unwrap();
    while readers.join_next().await.is_some() {}
    let micros = vec![(Component::Client, used * 1e6 / pushes)];
    Baseline { kind: BaselineKind::Write { sockets, at_once }, micros, per_sec: pushes / lasted }
}

/// This program once more, so that its processor time is its own.
fn start_writer(sockets: u32, at_once: u32) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--write").args([sockets.to_string(), at_once.to_string()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let printed = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, printed)
}

async fn numbers(printed: &mut Lines<BufReader<ChildStdout>>) -> Vec<f64> {
    let line = printed.next_line().await.unwrap().unwrap_or_default();
    line.split(' ').map(|number| number.parse().unwrap()).collect()
}

async fn read(mut stream: TcpStream) {
    let mut buffer = [0; 8 * 1024];
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

/// Runs the writing process: writes this many pushes at once to each socket in turn, as fast as
/// they are taken. Prints its port, and at the end the number of pushes, their processor time and
/// their duration.
pub(crate) fn run_writer(sockets: u32, at_once: u32) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    let mut all: Vec<_> = (0..sockets).map(|_| listener.accept().unwrap().0).collect();
    all.iter().for_each(|socket| socket.set_nodelay(true).unwrap());
    let bytes = vec![b'.'; PUSH * at_once as usize];
    let mut write_for = |time: Duration| {
        let (began, mut rounds) = (Instant::now(), 0_u64);
        while began.elapsed() < time {
            all.iter_mut().for_each(|socket| socket.write_all(&bytes).unwrap());
            rounds += 1;
        }
        (rounds * u64::from(sockets) * u64::from(at_once), began.elapsed())
    };
    write_for(WARM_UP);
    let before = processor_time(std::process::id());
    let (pushes, lasted) = write_for(MEASURED);
    let used = processor_time(std::process::id()) - before;
    println!("{pushes} {} {}", used.as_secs_f64(), lasted.as_secs_f64());
}

/// Measures requests with their replies, and publishes to a stream, one in flight and many. This
/// process is both the requester and the responder.
pub(crate) async fn nats(in_flight: [u32; 2]) -> Vec<Baseline> {
    let configuration = Configuration::new(0, 0, "");
    let server = start_nats(configuration.path()).await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut responses = JoinSet::new();
    responses.spawn(respond(async_nats::connect(server.url()).await.unwrap()));
    eventually(ANSWERED_WITHIN, "the responder is ready", async || client.request(SUBJECT, PAYLOAD).await.is_ok())
        .await;
    let stream = jetstream::new(client.clone());
    let config = stream::Config { name: "FLOOR".into(), subjects: vec!["records.*".into()], ..Default::default() };
    stream.create_stream(config).await.unwrap();
    let mut baselines = Vec::new();
    for in_flight in in_flight {
        let ask = async || drop(client.request(SUBJECT, PAYLOAD).await.unwrap());
        baselines.push(measure(BaselineKind::Request { in_flight }, in_flight, server.id(), ask).await);
    }
    for in_flight in in_flight {
        let append = async || drop(stream.publish("records.1", PAYLOAD).await.unwrap().await.unwrap());
        baselines.push(measure(BaselineKind::Append { in_flight }, in_flight, server.id(), append).await);
    }
    baselines
}

/// Replies to requests until the subscription ends.
async fn respond(client: Client) {
    let mut requests = client.subscribe(SUBJECT).await.unwrap();
    while let Some(request) = requests.next().await {
        client.publish(request.reply.unwrap(), request.payload).await.unwrap();
    }
}

async fn measure(kind: BaselineKind, in_flight: u32, server: u32, one: impl AsyncFn()) -> Baseline {
    many(in_flight, WARM_UP, &one).await;
    let times = || [server, std::process::id()].map(processor_time);
    let (before, began) = (times(), Instant::now());
    let count = many(in_flight, MEASURED, &one).await as f64;
    let lasted = began.elapsed().as_secs_f64();
    let after = times();
    let micros = |place: usize| (after[place] - before[place]).as_secs_f64() * 1e6 / count;
    Baseline {
        kind,
        micros: vec![(Component::Nats, micros(0)), (Component::Client, micros(1))],
        per_sec: count / lasted,
    }
}

/// Calls `one` for this time, with this many calls in flight; returns the number of calls.
async fn many(in_flight: u32, time: Duration, one: &impl AsyncFn()) -> u64 {
    let (until, count) = (Instant::now() + time, Cell::new(0));
    let all = repeat(()).take_while(|()| std::future::ready(Instant::now() < until));
    let each = |()| async {
        one().await;
        count.set(count.get() + 1);
    };
    all.for_each_concurrent(in_flight as usize, each).await;
    count.get()
}
