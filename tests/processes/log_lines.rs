//! The program's log: one line per kind of failure without names of rooms, however often it
//! happens; for machines, one JSON object per line.

use client::{ChatClient, ClientError, Options};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use crate::layout::{Layout, installation};

/// Rooms in which clients go on changing their names although the log is full.
const ROOMS: usize = 320;

/// Times that each of them is refused, a second each.
const REFUSALS: usize = 5;

const SETTINGS: &str = "
[rpc]
request_ms = 1000
repeat_ms = 500
[session]
requests_per_sec = 10000
bytes_per_sec = 1000000000
byte_burst = 1000000000
request_burst = 10000
[log]
max_room_bytes = 33554432
max_total_bytes = 33554432
pressure_bytes_per_min = 1000000000
room_share = 1.0
";

#[expect(clippy::disallowed_methods, reason = "the task ends with its connection")]
async fn entered(address: &str, room: &str) -> ChatClient {
    let (chat, mut events) = ChatClient::connect(address, Options::default()).await.unwrap();
    chat.enter("ann", room).await.unwrap();
    tokio::spawn(async move { while events.next().await.is_some() {} });
    chat
}

fn is_full(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { code: 507, .. })
}

#[tokio::test]
async fn a_full_log_is_one_line_for_all_rooms() {
    let deployment = Layout::OneProcess.start(SETTINGS).await;
    let address = deployment.connector(0).to_string();
    let rooms: Vec<String> = (0..ROOMS).map(|number| format!("secret-{number}")).collect();
    let clients = join_all(rooms.iter().map(|room| entered(&address, room))).await;
    let filler = entered(&address, "filler").await;
    let began = Instant::now();
    let text = "x".repeat(16_000);
    let error = loop {
        let sent = join_all((0..32).map(|_| filler.send(&text))).await;
        if let Some(error) = sent.into_iter().find_map(Result::err) {
            break error;
        }
    };
    assert!(is_full(&error), "{error:?}");
    // Joins and leaves take the rest.
    join_all(clients.iter().zip(&rooms).map(async |(client, room)| {
        let (mut refusals, mut number) = (0, 0);
        while refusals < REFUSALS {
            number += 1;
            if let Err(error) = client.enter(&format!("{}{number}", "😀".repeat(60)), room).await {
                assert!(is_full(&error), "{error:?}");
                refusals += 1;
            }
        }
    }))
    .await;
    let output = deployment.process("all").output();
    let lines = output.lines().filter(|line| line.contains("a room cannot be appended to")).count();
    let most = 1 + began.elapsed().as_secs() / 10;
    assert!((1..=most).contains(&(lines as u64)), "{lines} lines\n{output}");
    assert!(!output.contains("secret-"), "{output}");
}

/// The lines of a process that logs JSON, each an object with the fields that all have.
fn objects(output: &str) -> Vec<Value> {
    let object = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "target", "message"] {
            assert!(object[field].is_string(), "{field} of {line}");
        }
        object
    };
    output.lines().map(object).collect()
}

fn find<'a>(objects: &'a [Value], message: &str) -> &'a Value {
    objects.iter().find(|object| object["message"] == message).unwrap_or_else(|| panic!("{message:?} in {objects:#?}"))
}

/// From the first line to the last, also what goes to stdout, and with all that can be logged.
#[tokio::test]
async fn json_is_one_object_per_line() {
    let deployment = Layout::OneProcess.start("[log]\nformat = \"json\"").await;
    entered(&deployment.connector(0).to_string(), "lobby").await;
    let process = deployment.process("all");
    process.signal("TERM");
    assert_eq!(process.wait().await, Some(0));
    let objects = objects(&process.output());
    assert_eq!(find(&objects, "chat server ready")["server"], "chat-server-1");
    assert_eq!(find(&objects, "connector ready")["level"], "INFO");
    assert_eq!(find(&objects, "Shaddock runs")["chats"], 3);
    find(&objects, "stopped");
}

/// A start that fails logs its reason in the same form; the text format has the same reason.
#[tokio::test]
async fn a_failed_start_is_an_object_too() {
    let installation = installation("");
    let _taken = std::net::TcpListener::bind(installation.gate()).unwrap();
    let format = ("SHADDOCK_LOG__FORMAT", "json");
    let trace = ("SHADDOCK_LOG", "trace");
    let none = [] as [&str; 0];
    let process = installation.start("json", none, &[format, trace]);
    assert_eq!(process.wait().await, Some(1));
    let objects = objects(&process.output());
    let last = objects.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(last["message"].as_str().unwrap().contains("the port is taken"), "{last}");
    let process = installation.start("text", none, &[("SHADDOCK_LOG__FORMAT", "text")]);
    assert_eq!(process.wait().await, Some(1));
    assert!(process.output().contains("the port is taken"), "{}", process.output());
    let process = installation.start("wrong", none, &[("SHADDOCK_LOG__FORMAT", "xml")]);
    assert_eq!(process.wait().await, Some(1));
    assert!(process.output().contains("SHADDOCK_LOG__FORMAT"), "{}", process.output());
}
