//! Panics on purpose: one in a server's own task ends its process, so that its supervisor starts it
//! again; one in a session's task costs that client its connection. A release has no such fault
//! points, so there the same tests show that nothing happens.

use client::{ChatClient, ClientError, Event, Events, Options};
use model::ids::ServerId;
use model::placement;
use runtime::config::Server;
use serde_json::json;
use testkit::{Deployment, Process, SERVERS, eventually};

use crate::layout::{Layout, get};
use crate::servers_file::edit;

/// The program has fault points.
const FAULTS: bool = cfg!(debug_assertions);

/// Members stay for a moment only, so that those that are not closed are noticed.
const SETTINGS: &str = "[session]\nresume_secs = 0";

async fn connect(deployment: &Deployment, connector: usize) -> (ChatClient, Events) {
    ChatClient::connect(&deployment.connector(connector).to_string(), Options::default()).await.unwrap()
}

/// A member of a room.
async fn member(deployment: &Deployment, connector: usize, name: &str, room: &str) -> (ChatClient, Events) {
    let (chat, events) = connect(deployment, connector).await;
    chat.enter(name, room).await.unwrap();
    (chat, events)
}

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(Process::DEADLINE, events.next()).await.unwrap().unwrap_or(Event::Closed)
}

/// Returns a room whose name asks for a panic, and whose home is that server.
fn panicking_room(server: &str) -> String {
    let chat = |id: &&str| Server::new(ServerId::new(id).unwrap(), "127.0.0.1");
    let chats: Vec<Server> = SERVERS[..3].iter().map(chat).collect();
    let is_home = |room: &String| placement::place(room, &chats).unwrap().id.as_str() == server;
    (0..).map(|number| format!("panic-in-{server}-{number}")).find(is_home).unwrap()
}

/// Asserts that a server's process ended because of a panic and logged it, and that all other
/// processes serve.
async fn assert_ended(deployment: &Deployment, server: &str) {
    let process = deployment.process(server);
    assert_eq!(process.wait().await, Some(1));
    let output = process.output();
    for text in [&format!("a test asked for a panic-in-{server}"), "a task that servers need has failed"] {
        assert!(output.contains(text), "{text:?} in {output}");
    }
    for other in SERVERS.iter().filter(|other| **other != server) {
        let output = deployment.process(other).output();
        assert!(!output.contains("panicked"), "{output}");
    }
}

#[tokio::test]
async fn a_panic_in_a_chat_servers_task_ends_its_process() {
    let deployment = Layout::SevenProcesses.start(SETTINGS).await;
    let room = panicking_room("chat-server-2");
    let (ann, _events) = connect(&deployment, 0).await;
    if !FAULTS {
        ann.enter("ann", &room).await.unwrap();
        return;
    }
    // Others take over, and the request is repeated there.
    eventually(Process::DEADLINE, "another chat server has the room", async || ann.enter("ann", &room).await.is_ok())
        .await;
    assert_ended(&deployment, "chat-server-2").await;
}

#[tokio::test]
async fn a_panic_in_a_connectors_task_ends_its_process() {
    let mut deployment = Layout::SevenProcesses.start(SETTINGS).await;
    let (bob, mut events) = member(&deployment, 0, "bob", "lobby").await;
    let (ann, _events) = connect(&deployment, 0).await;
    let entered = ann.enter("ann", "panic-in-connector-server-1").await;
    if !FAULTS {
        entered.unwrap();
        return;
    }
    assert!(matches!(entered, Err(ClientError::Closed { .. })), "{entered:?}");
    assert!(matches!(next(&mut events).await, Event::Closed));
    assert!(bob.send("hello").await.is_err());
    assert_ended(&deployment, "connector-server-1").await;
    member(&deployment, 1, "ann", "lobby").await;
    deployment.run("connector-server-1").await;
    member(&deployment, 0, "cleo", "lobby").await;
}

#[tokio::test]
async fn a_panic_in_a_gates_task_ends_its_process() {
    let deployment = Layout::SevenProcesses.start(SETTINGS).await;
    edit(&deployment.installation, |servers| {
        let id = "panic-in-gate-server-1";
        let connector = json!({ "id": id, "host": "127.0.0.1", "clientPort": 1, "frontend": true });
        servers["connector"].as_array_mut().unwrap().push(connector);
    });
    if !FAULTS {
        assert!(deployment.process("gate-server-1").wait_for_output("the list of servers changed").await);
        assert!(get(deployment.gate(), "/healthz").await.is_some());
        return;
    }
    assert_ended(&deployment, "gate-server-1").await;
}

/// Its member is gone, all others stay.
#[tokio::test]
async fn a_panic_in_a_sessions_task_closes_that_session_only() {
    let deployment = Layout::SevenProcesses.start("").await;
    let (ann, mut anns) = member(&deployment, 0, "ann", "lobby").await;
    let (bob, mut bobs) = member(&deployment, 0, "bob", "lobby").await;
    assert!(matches!(next(&mut anns).await, Event::Add(joined) if joined.user == "bob"));
    let said = ann.send("panic-in-session").await;
    if !FAULTS {
        said.unwrap();
        return;
    }
    assert!(matches!(said, Err(ClientError::Closed { .. })), "{said:?}");
    assert!(matches!(next(&mut anns).await, Event::Closed));
    assert!(matches!(next(&mut bobs).await, Event::Leave(user) if user == "ann"));
    bob.send("hello").await.unwrap();
    assert!(matches!(next(&mut bobs).await, Event::Chat(chat) if chat.msg == "hello"));
    member(&deployment, 0, "ann", "lobby").await;
    deployment.process("connector-server-1").signal("TERM");
    assert_eq!(deployment.process("connector-server-1").wait().await, Some(0));
}

/// The other servers of the process end in order, so their clients are closed plainly.
#[tokio::test]
async fn a_panic_ends_a_process_of_many_servers_in_order() {
    let deployment = Layout::OneProcess.start(SETTINGS).await;
    let (bob, mut events) = member(&deployment, 1, "bob", "lobby").await;
    let (ann, _events) = connect(&deployment, 0).await;
    let entered = ann.enter("ann", "panic-in-connector-server-1").await;
    if !FAULTS {
        entered.unwrap();
        return;
    }
    assert!(entered.is_err(), "{entered:?}");
    assert!(matches!(next(&mut events).await, Event::Closed));
    drop(bob);
    let process = deployment.process("all");
    assert_eq!(process.wait().await, Some(1));
    let output = process.output();
    for text in ["connector stopped server=connector-server-2", "chat server stopped server=chat-server-1"] {
        assert!(output.contains(text), "{text:?} in {output}");
    }
    assert!(!output.contains("connector stopped server=connector-server-1"), "{output}");
}
