//! The bots of `examples/` in a room of a running cluster: both reply, and come back after their connector was lost.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use client::{ChatClient, Event, Events, Message, Options};
use cluster::{Cluster, LogKind, Plan};
use runtime::config::{Server, Settings};
use testkit::{eventually, small_cluster};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

/// A bot's process.
struct Bot {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Bot {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{error}: install node >= 20"));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for a line with this text.
    async fn prints(&mut self, text: &str) {
        loop {
            let line = timeout(DEADLINE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("the bot does not print {text:?}")).unwrap();
            if line.unwrap_or_else(|| panic!("the bot ended before it printed {text:?}")).contains(text) {
                return;
            }
        }
    }
}

fn bot_in_rust(gate: &str, room: &str) -> Bot {
    Bot::start(Command::new(env!("CARGO_BIN_EXE_bot")).args(["--gate", gate, "--room", room]))
}

fn bot_in_js(gate: &str, room: &str) -> Bot {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bot-js/bot.mjs");
    // Before node 22 there is no WebSocket without the flag.
    let flags = ["--no-warnings", "--experimental-websocket"];
    Bot::start(Command::new("node").args(flags).arg(program).args([gate, room]))
}

/// A gate, a connector and a chat server on these ports; 0 takes a free one.
async fn start(gate: u16, connector: u16) -> Cluster {
    let mut settings = Settings::default();
    settings.lifecycle.drain_secs = 0;
    let config = small_cluster(gate, connector, settings);
    Cluster::start(Plan { config, nats: None, log: LogKind::Memory, only: None }).await.unwrap()
}

fn ports(cluster: &Cluster) -> (u16, u16) {
    let port = |servers: &[Server]| servers[0].client_port.unwrap();
    (port(cluster.servers().gate()), port(cluster.servers().connector()))
}

/// Waits for a message of the bot.
async fn receives(events: &mut Events, text: &str, target: &str) {
    let wait = async {
        while let Some(event) = events.next().await {
            if matches!(&event, Event::Chat(m) if m.from == "bot" && m.msg == text && m.target == target) {
                return;
            }
        }
        panic!("the connection was lost");
    };
    timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("the bot does not reply {text:?}"));
}

async fn queries_the_bot(gate: &str) {
    let (ann, mut events) = ChatClient::via_gate(gate, "ann", Options::default()).await.unwrap();
    ann.enter("ann", "lobby").await.unwrap();
    ann.send_message(&Message::to_all("!ping")).await.unwrap();
    receives(&mut events, "pong", "*").await;
    ann.send_message(&Message::to("bot", "!members")).await.unwrap();
    receives(&mut events, "2 members are here", "ann").await;
    ann.leave().await.unwrap();
}

async fn replies_and_comes_back(bot: impl Fn(&str, &str) -> Bot) {
    let cluster = start(0, 0).await;
    let (gate_port, connector_port) = ports(&cluster);
    let gate = format!("127.0.0.1:{gate_port}");
    let mut bot = bot(&gate, "lobby");
    bot.prints("in lobby").await;
    queries_the_bot(&gate).await;
    cluster.stop().await;
    bot.prints("the next try is in").await;
    let cluster = start(gate_port, connector_port).await;
    eventually(DEADLINE, "the bot comes back", async || {
        let (eve, _events) = ChatClient::via_gate(&gate, "eve", Options::default()).await.unwrap();
        let entered = eve.enter("eve", "lobby").await.unwrap();
        eve.leave().await.unwrap();
        entered.users.iter().any(|user| user == "bot")
    })
    .await;
    queries_the_bot(&gate).await;
    bot.child.kill().await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn the_bot_in_rust_replies_and_comes_back() {
    replies_and_comes_back(bot_in_rust).await;
}

#[tokio::test]
async fn the_bot_in_js_replies_and_comes_back() {
    replies_and_comes_back(bot_in_js).await;
}
