//! The terminal chat against a server that misbehaves or is slow to push.

use std::process::{Output, Stdio};

use bytes::Bytes;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use wire::{Package, PackageKind};

use crate::fake::{FakeServer, Peer, chat, soon, text};

/// A gate and a connector.
struct House {
    gate: FakeServer,
    connector: FakeServer,
}

impl House {
    async fn open() -> Self {
        Self { gate: FakeServer::start().await, connector: FakeServer::start().await }
    }

    fn terminal(&self) -> (Child, ChildStdin) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shaddock-chat"))
            .args(["--gate", &self.gate.address(), "--user", "ann", "--room", "lobby"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let keyboard = child.stdin.take().unwrap();
        (child, keyboard)
    }

    /// Leads a terminal into the room.
    async fn admit(&self) -> Peer {
        let mut gate = self.gate.welcome().await;
        let (id, ..) = gate.request().await;
        gate.respond(id, &json!({"code": 200, "host": "127.0.0.1", "port": self.connector.port()}).to_string()).await;
        let mut connector = self.connector.welcome().await;
        let (id, ..) = connector.request().await;
        connector.respond(id, &json!({"code": 200, "users": ["ann", "bob"], "total": 2}).to_string()).await;
        connector
    }
}

async fn ended(child: Child) -> (bool, String, String) {
    let Output { status, stdout, stderr } = soon("the program's end", child.wait_with_output()).await.unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn a_lost_connection_ends_the_program_while_stdin_is_open() {
    let house = House::open().await;
    let (mut child, keyboard) = house.terminal();
    let mut peer = house.admit().await;
    let mut screen = BufReader::new(child.stdout.take().unwrap()).lines();
    peer.push("onAdd", "{\"user\":\"cat\"}").await;
    // Then it waits for the keyboard.
    while !soon("cat", screen.next_line()).await.unwrap().unwrap().contains("cat joined") {}
    drop(peer);
    let (well, _, complaints) = ended(child).await;
    drop(keyboard);
    assert!(!well && complaints.contains("connection was lost"), "{complaints}");
}

#[tokio::test]
async fn of_a_large_room_some_names_are_shown() {
    let house = House::open().await;
    let (child, mut keyboard) = house.terminal();
    let mut peer = house.admit().await;
    peer.push("onMembers", &json!({"rid": "lobby", "total": 501, "names": false}).to_string()).await;
    keyboard.write_all(b"/who\n").await.unwrap();
    drop(keyboard);
    let (id, route, body) = peer.request().await;
    assert_eq!((route, &body["limit"]), (text(client::routes::MEMBERS), &json!(20)));
    let response = json!({"code": 200, "rid": "lobby", "users": ["ann", "bob"], "total": 501, "seq": 1, "time": 1, "cursor": "bob"});
    peer.respond(id, &response.to_string()).await;
    let (leave, ..) = peer.request().await;
    peer.respond(leave, "{\"code\":200}").await;
    let (well, printed, complaints) = ended(child).await;
    assert!(well, "{complaints}");
    assert!(printed.contains("* 501 members\n") && printed.contains("* members: ann, bob and 499 more\n"), "{printed}");
}

#[tokio::test]
async fn a_piped_line_is_printed_once_although_its_push_is_late() {
    let house = House::open().await;
    let (child, mut keyboard) = house.terminal();
    keyboard.write_all(b"hello\n").await.unwrap();
    drop(keyboard);
    let mut peer = house.admit().await;
    let (id, ..) = peer.request().await;
    peer.respond(id, "{\"code\":200,\"seq\":1,\"time\":60000}").await;
    let (leave, ..) = peer.request().await;
    peer.push("onChat", &chat(1, "ann", "hello")).await;
    peer.respond(leave, "{\"code\":200}").await;
    peer.gone().await;
    let (well, printed, complaints) = ended(child).await;
    assert!(well, "{complaints}");
    assert_eq!(printed.matches("ann: hello").count(), 1, "{printed}");
}

#[tokio::test]
async fn escape_sequences_do_not_reach_the_terminal() {
    let house = House::open().await;
    let (child, keyboard) = house.terminal();
    let mut peer = house.admit().await;
    peer.push("onChat", &chat(1, "bob\u{7}", "\u{1b}[2Jgone\u{9b}31m\nann: forged")).await;
    drop(keyboard);
    let (leave, ..) = peer.request().await;
    peer.respond(leave, "{\"code\":200}").await;
    let (well, printed, complaints) = ended(child).await;
    assert!(well, "{complaints}");
    assert!(printed.contains("[2Jgone"), "{printed}");
    assert!(printed.chars().all(|c| !c.is_control() || c == '\n'), "{printed:?}");
    assert!(!printed.contains("\nann: forged"), "{printed}");
}

/// U+202E shows what is behind it from right to left, up to the end of the line.
#[tokio::test]
async fn format_characters_are_shown_escaped() {
    let hidden = ["\u{202e}", "\u{2066}", "\u{200b}", "\u{200d}", "\u{2028}", "\u{feff}", "\u{ad}", "\u{e0041}"];
    let shown: String = hidden.iter().map(|c| c.escape_unicode().to_string()).collect();
    let house = House::open().await;
    let (child, keyboard) = house.terminal();
    let mut peer = house.admit().await;
    peer.push("onChat", &chat(1, "bob\u{202e}", &format!("שלום {} e\u{301} 😀", hidden.concat()))).await;
    peer.push("onAdd", "{\"user\":\"cat\u{2067}\"}").await;
    peer.push("onLeave", "{\"user\":\"cat\u{200e}\"}").await;
    drop(keyboard);
    let (leave, ..) = peer.request().await;
    peer.respond(leave, "{\"code\":200}").await;
    let (well, printed, complaints) = ended(child).await;
    assert!(well, "{complaints}");
    assert!(printed.contains(&format!("bob\\u{{202e}}: שלום {shown} e\u{301} 😀\n")), "{printed}");
    assert!(printed.contains("* cat\\u{2067} joined\n* cat\\u{200e} left\n"), "{printed}");
}

#[tokio::test]
async fn format_characters_of_refusals_are_shown_escaped() {
    let house = House::open().await;
    let (child, mut keyboard) = house.terminal();
    keyboard.write_all(b"hello\n").await.unwrap();
    let mut peer = house.admit().await;
    let (id, ..) = peer.request().await;
    peer.respond(id, "{\"code\":500,\"reason\":\"no \u{202e}reason\"}").await;
    peer.send(Package::new(PackageKind::Kick, Bytes::from_static("{\"reason\":\"\u{202e}away\"}".as_bytes()))).await;
    let (well, printed, complaints) = ended(child).await;
    drop(keyboard);
    assert!(!well && complaints.contains("kicked: \\u{202e}away"), "{complaints}");
    assert!(printed.contains("no \\u{202e}reason"), "{printed}");
}

#[tokio::test]
async fn bytes_that_are_no_text_do_not_end_the_program() {
    let house = House::open().await;
    let (child, mut keyboard) = house.terminal();
    keyboard.write_all(b"caf\xe9\r\n").await.unwrap();
    drop(keyboard);
    let mut peer = house.admit().await;
    let (id, _, body) = peer.request().await;
    assert_eq!(body["content"], "caf\u{FFFD}");
    peer.respond(id, "{\"code\":200,\"seq\":1,\"time\":60000}").await;
    let (leave, ..) = peer.request().await;
    peer.respond(leave, "{\"code\":200}").await;
    let (well, _, complaints) = ended(child).await;
    assert!(well, "{complaints}");
}

#[tokio::test]
async fn the_line_at_which_the_connection_ended_is_named() {
    let house = House::open().await;
    let (child, mut keyboard) = house.terminal();
    keyboard.write_all(b"one\ntwo\nthree\n").await.unwrap();
    drop(keyboard);
    let mut peer = house.admit().await;
    let (id, ..) = peer.request().await;
    peer.respond(id, "{\"code\":200,\"seq\":1,\"time\":60000}").await;
    peer.request().await;
    drop(peer);
    let (well, _, complaints) = ended(child).await;
    assert!(!well && complaints.contains("line 2"), "{complaints}");
}

#[tokio::test]
async fn rules_and_an_expulsion_are_shown_with_their_reasons() {
    let house = House::open().await;
    let (child, keyboard) = house.terminal();
    let mut peer = house.admit().await;
    for (kind, until) in [("mute", 0), ("mute", 61_000), ("mute", 1)] {
        let rule = json!({"rid": "lobby", "kind": kind, "until": until, "time": 1_500});
        peer.push("onRule", &rule.to_string()).await;
    }
    peer.push("onRights", &json!({"rid": "lobby", "rights": ["enter", "read"]}).to_string()).await;
    peer.push("onExpel", &json!({"rid": "lobby", "reason": "be kind\u{202e}"}).to_string()).await;
    peer.send(Package::new(PackageKind::Kick, Bytes::from_static(b"{\"reason\":\"expelled\"}"))).await;
    let (well, printed, complaints) = ended(child).await;
    drop(keyboard);
    assert!(!well && complaints.contains("kicked: expelled"), "{complaints}");
    let lines = [
        "* you are muted\n* you are muted for 60 s\n* you are no longer muted\n",
        "* your rights changed: you may not send here\n",
        "* you are removed from the room: be kind\\u{202e}\n",
    ];
    assert!(printed.contains(&lines.concat()), "{printed}");
}
