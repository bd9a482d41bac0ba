//! `shaddock log split` and `shaddock log purge`, run as an operator runs them.

use std::process::{Output, Stdio};
use std::time::Duration;

use bus::Bus;
use chat::log::jetstream::JetStream;
use model::settings::{LogSettings, NatsSettings};
use runtime::metrics::Metrics;
use testkit::{NatsServer, eventually};

use super::{SERVERS, directory, run, shaddock, stderr, stdout};

/// A NATS server with a log of one stream.
async fn nats_with_log() -> (NatsServer, Bus) {
    let nats = NatsServer::start_with_jetstream().await;
    let bus = Bus::nats(nats.url(), &NatsSettings::default(), "log", Metrics::new()).await.unwrap();
    JetStream::open(bus.clone(), &LogSettings::default()).await.unwrap();
    (nats, bus)
}

/// Runs a command without holding up the servers of this test.
async fn command(directory: &std::path::Path, args: &[&str]) -> Output {
    let (directory, args) = (directory.to_owned(), args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
    let run = move || run(&directory, &args.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_split_and_purged_and_each_step_is_printed() {
    let (nats, _bus) = nats_with_log().await;
    let directory = directory("split", SERVERS, "");
    let of = async |args: &[&str]| command(&directory, &[args, &["--nats", nats.url()]].concat()).await;
    assert!(stdout(&of(&["log", "split", "--undo"]).await).contains("no split"));
    assert!(stdout(&of(&["log", "purge"]).await).contains("nothing"));
    let split = of(&["log", "split"]).await;
    let lines: Vec<_> = stdout(&split).lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["created", "announced", "waited", "took", "found", "compared", "made", "the"]);
    assert!(
        stdout(&split)
            .ends_with("the log has 2 streams; run `shaddock log purge` tomorrow, and before the next split\n")
    );
    assert_eq!(stdout(&of(&["log", "split"]).await).lines().count(), 1, "complete");
    assert!(stderr(&of(&["log", "split", "--undo"]).await).contains("run `shaddock log split`"));
    assert!(stderr(&of(&["log", "purge"]).await).contains("--force"));
    assert_eq!(stdout(&of(&["log", "purge", "--force"]).await).lines().count(), 3);
    let place = of(&["place", "lobby", "--ask"]).await;
    assert!(stdout(&place).contains("ROOMS-1"), "{place:?}");
    assert!(!stdout(&of(&["place", "lobby"]).await).contains("ROOMS-1"), "that of log.streams");
}

/// The command is killed while rooms wait. They get their streams back, or the next one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_that_was_killed_is_continued() {
    let (nats, bus) = nats_with_log().await;
    let directory = directory("split-killed", SERVERS, "");
    let args = ["log", "split", "--nats", nats.url()];
    let mut killed = shaddock(&args).arg("--config").arg(&directory).stdout(Stdio::null()).spawn().unwrap();
    let context = async_nats::jetstream::new(bus.nats_client().unwrap().clone());
    let is_announced = async || {
        let stream = context.get_stream("ROOMS").await.unwrap();
        stream.cached_info().config.metadata.contains_key("shaddock-split")
    };
    eventually(Duration::from_secs(20), "the announcement", is_announced).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let rest = command(&directory, &args).await;
    let lines: Vec<_> = stdout(&rest).lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["waited", "took", "found", "compared", "made", "the"]);
}

#[test]
fn a_log_in_memory_cannot_be_split() {
    let directory = directory("split-memory", SERVERS, "");
    assert!(stderr(&run(&directory, &["log", "split"])).contains("--nats"));
}
