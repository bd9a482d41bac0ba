//! The terminal chat end to end: two users through a cluster.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cluster::{Cluster, LogKind, Plan};
use model::settings::AuthMode;
use runtime::config::Settings;
use testkit::small_cluster;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

struct Terminal {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Lines<BufReader<ChildStdout>>,
}

impl Terminal {
    fn start(gate: &str, user: &str, room: &str) -> Self {
        Self::start_with(gate, user, room, &[])
    }

    fn start_with(gate: &str, user: &str, room: &str, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shaddock-chat"))
            .args(["--gate", gate, "--user", user, "--room", room])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let keyboard = child.stdin.take();
        let screen = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, keyboard, screen }
    }

    async fn types(&mut self, line: &str) {
        self.keyboard.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Reads lines until one has the text; returns those before it.
    async fn shows(&mut self, text: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let line = timeout(DEADLINE, self.screen.next_line()).await;
            match line.unwrap_or_else(|_| panic!("{text:?} was not shown, only {before:?}")).unwrap() {
                Some(line) if line.contains(text) => return before,
                Some(line) => before.push(line),
                None => panic!("the chat ended before it showed {text:?}: {before:?}"),
            }
        }
    }

    /// Ends the input; returns true if the program ends with status 0, and its stderr.
    async fn ends(mut self) -> (bool, String) {
        drop(self.keyboard.take());
        let status = timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap();
        let mut complaints = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut complaints).await.unwrap();
        (status.success(), complaints)
    }
}

async fn cluster() -> (Cluster, String) {
    cluster_with(Settings::default()).await
}

async fn cluster_with(settings: Settings) -> (Cluster, String) {
    let config = small_cluster(0, 0, settings);
    let cluster = Cluster::start(Plan { config, nats: None, log: LogKind::Memory, only: None }).await.unwrap();
    let gate = format!("127.0.0.1:{}", cluster.servers().gate()[0].client_port.unwrap());
    (cluster, gate)
}

#[tokio::test]
async fn two_terminals_talk() {
    let (cluster, gate) = cluster().await;
    let mut ann = Terminal::start(&gate, "ann", "lobby");
    ann.shows("you are in lobby with ann").await;
    let mut bob = Terminal::start(&gate, "bob", "lobby");
    bob.shows("you are in lobby with ann, bob").await;
    ann.shows("bob joined").await;
    ann.types("hello 😀").await;
    ann.shows("ann: hello 😀").await;
    bob.shows("ann: hello 😀").await;
    bob.types("/w ann between us").await;
    bob.shows("you to ann: between us").await;
    ann.shows("bob to you: between us").await;
    bob.types("/w nobody psst").await;
    bob.shows("! refused (500): no-such-member").await;
    bob.types("/who").await;
    bob.shows("members: ann, bob").await;
    bob.types("/room attic").await;
    bob.shows("you are in attic with bob").await;
    ann.shows("bob left").await;
    bob.types("/leave").await;
    bob.types("alone").await;
    bob.shows("! refused (500): not-in-room").await;
    let refused = "2 of 6 lines were refused: 2, 6\n".to_owned();
    assert_eq!(bob.ends().await, (false, refused), "input from a pipe has to be said whole");
    ann.types("/quit").await;
    assert_eq!(ann.ends().await, (true, String::new()));
    cluster.stop().await;
}

#[tokio::test]
async fn errors_are_shown_as_text() {
    let (cluster, gate) = cluster().await;
    let mut ann = Terminal::start(&gate, "ann", "lobby");
    ann.shows("you are in lobby").await;
    let (well, complaints) = Terminal::start(&gate, "ann", "lobby").ends().await;
    assert!(!well && complaints.contains("name-taken"), "{complaints}");
    cluster.stop().await;
    let (well, complaints) = ann.ends().await;
    assert!(!well && complaints.contains("connection was lost"), "{complaints}");
    let (well, complaints) = Terminal::start(&gate, "ann", "lobby").ends().await;
    assert!(!well && complaints.contains("no chat at"), "{complaints}");
}

#[tokio::test]
async fn a_refused_token_is_no_missing_chat() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let [key, token] = ["terminal.key", "terminal.jwt"].map(|name| directory.join(name).to_str().unwrap().to_owned());
    std::fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::write(&token, "no.token").unwrap();
    let mut settings = Settings::default();
    settings.auth.mode = AuthMode::Required;
    settings.auth.hmac_file = key;
    let (cluster, gate) = cluster_with(settings).await;
    let terminal = Terminal::start_with(&gate, "ann", "lobby", &["--jwt-file", &token]);
    let (well, complaints) = terminal.ends().await;
    assert!(
        !well && complaints.contains("cannot log in at") && complaints.contains("(401): token-bad"),
        "{complaints}"
    );
    cluster.stop().await;
}

/// Servers close connections that send a package of 64 KiB, or of 4 KiB before a room is entered.
#[tokio::test]
async fn lines_that_are_too_long_are_refused_and_the_next_ones_are_sent() {
    let (cluster, gate) = cluster().await;
    let mut bob = Terminal::start(&gate, "bob", "lobby");
    bob.shows("you are in lobby").await;
    let mut ann = Terminal::start(&gate, "ann", "lobby");
    ann.shows("you are in lobby").await;
    let long = "x".repeat(100_000);
    for line in
        [long.clone(), format!("/w bob {long}"), format!("/room {long}"), "x".repeat(20_000), "😀".repeat(8_000)]
    {
        ann.types(&line).await;
        ann.shows("too-long").await;
    }
    ann.types("still here").await;
    bob.shows("ann: still here").await;
    ann.ends().await;
    bob.ends().await;
    for (user, room) in [("cat", long.as_str()), (long.as_str(), "lobby")] {
        let (well, complaints) = Terminal::start(&gate, user, room).ends().await;
        assert!(!well && complaints.contains("too-long"), "{complaints}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn each_piped_line_that_was_refused_is_named() {
    let mut settings = Settings::default();
    (settings.session.requests_per_sec, settings.session.request_burst) = (1_000_000, 1_000_000);
    settings.room.forbidden_words = vec!["durian".to_owned()];
    let (cluster, gate) = cluster_with(settings).await;
    let mut bob = Terminal::start(&gate, "bob", "lobby");
    bob.shows("you are in lobby").await;
    let mut ann = Terminal::start(&gate, "ann", "lobby");
    let refused = [7, 150, 300];
    for number in 1..=300 {
        let word = if refused.contains(&number) { "durian" } else { "apple" };
        ann.types(&format!("{word} {number}")).await;
    }
    for number in refused {
        ann.shows(&format!("; line {number}: durian {number}")).await;
    }
    let named = "3 of 300 lines were refused: 7, 150, 300\n".to_owned();
    assert_eq!(ann.ends().await, (false, named));
    let before = bob.shows("apple 299").await;
    assert_eq!(before.iter().filter(|line| line.contains("ann: apple ")).count(), 296);
    cluster.stop().await;
}

/// Forms of the greeting's URL, and of the browser's address bar.
#[tokio::test]
async fn the_gate_may_be_written_as_a_url() {
    let (cluster, gate) = cluster().await;
    let urls = ["ws://GATE", "ws://GATE/", "http://GATE/?room=lobby#x", "tcp://GATE"];
    for url in urls.map(|url| url.replace("GATE", &gate)) {
        let mut ann = Terminal::start(&url, "ann", "lobby");
        ann.shows("you are in lobby").await;
        ann.types("/leave").await;
        assert_eq!(ann.ends().await, (true, String::new()), "{url}");
    }
    // The servers have no TLS.
    let (well, complaints) = Terminal::start(&format!("wss://{gate}"), "ann", "lobby").ends().await;
    assert!(!well && complaints.contains("cannot connect to wss://"), "{complaints}");
    cluster.stop().await;
}
