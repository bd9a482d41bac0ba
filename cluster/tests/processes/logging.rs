//! What the program logs when much goes wrong at once: one line per kind, and no names of rooms.

use client::{ChatClient, ClientError, Options};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::support::Layout;

/// Rooms in which people go on talking although the log is full.
const ROOMS: usize = 40;

/// Times that each of them is refused, a second each.
const REFUSALS: usize = 5;

const SETTINGS: &str = "
[rpc]
request_ms = 1000
repeat_ms = 500
[session]
requests_per_sec = 10000
request_burst = 10000
[log]
max_room_bytes = 4194304
max_total_bytes = 4194304
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
    let mut deployment = Layout::OneProcess.start(SETTINGS).await;
    let address = deployment.connector(0).to_string();
    let rooms: Vec<String> = (0..ROOMS).map(|number| format!("secret-{number}")).collect();
    let clients = join_all(rooms.iter().map(|room| entered(&address, room))).await;
    let filler = entered(&address, "filler").await;
    let began = Instant::now();
    for text in ["x".repeat(16_000), "x".to_owned()] {
        let error = loop {
            if let Err(error) = filler.say(&text).await {
                break error;
            }
        };
        assert!(is_full(&error), "{error:?}");
    }
    join_all(clients.iter().map(async |client| {
        let mut refusals = 0;
        // What is left may have room for some more.
        while refusals < REFUSALS {
            if let Err(error) = client.say(&"y".repeat(500)).await {
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
