//! Servers that are added and removed while users talk: rooms move with their log and members,
//! unnoticed by clients.

use std::time::Duration;

use client::{ClientError, Event, History, Message};
use model::ids::ServerId;
use model::placement::{self, CHAT, CONNECTOR, GATE};
use runtime::config::{Server, Servers};
use testkit::eventually;

use crate::on_both_buses;
use crate::split_cluster::SplitCluster;
use crate::test_cluster::{DEADLINE, Member, Setup, TestCluster};

on_both_buses! {
    rooms_move_when_a_chat_server_is_added_and_removed,
    a_connector_that_is_added_takes_clients,
}

/// Rooms with two members each.
const ROOMS: usize = 12;

fn room(number: usize) -> String {
    format!("room-{number}")
}

/// The same servers with these chat servers.
fn with_chats(servers: &Servers, chats: &[usize]) -> Servers {
    let chat = |number: &usize| Server::new(ServerId::new(&format!("chat-server-{number}")).unwrap(), "127.0.0.1");
    Servers::new([
        (GATE.to_owned(), servers.gate().to_vec()),
        (CONNECTOR.to_owned(), servers.connector().to_vec()),
        (CHAT.to_owned(), chats.iter().map(chat).collect()),
    ])
}

/// Rooms that have another home in one list than in the other.
fn moved(one: &Servers, other: &Servers) -> usize {
    let home = |servers: &Servers, room: &str| placement::place(room, servers.chat()).unwrap().id.clone();
    (0..ROOMS).map(room).filter(|room| home(one, room) != home(other, room)).count()
}

/// Two in each room, at different connectors.
async fn members(test: &TestCluster) -> Vec<[Member; 2]> {
    let mut members = Vec::new();
    for number in 0..ROOMS {
        let ann = test.join_at(number % 3, "ann", &room(number)).await;
        let mut bob = test.join_at((number + 1) % 3, "bob", &room(number)).await;
        ann.send("hello").await;
        bob.events_before("hello").await;
        members.push([ann, bob]);
    }
    members
}

/// In each room one member sends a message until it is committed, once; the other receives that and
/// nothing else.
async fn exchange_in_all(members: &mut [[Member; 2]], text: &str) {
    for [ann, bob] in members {
        let message = Message::to_all(text).with_id(text);
        let is_committed = async || match ann.chat.send_message(&message).await {
            Ok(_) => true,
            Err(ClientError::Refused { code: 503, .. }) => false,
            Err(error) => panic!("{error}"),
        };
        eventually(DEADLINE, "the message to be committed", is_committed).await;
        let received = bob.events_before(text).await;
        assert_eq!(received, [], "{} in {text}", bob.name);
    }
}

async fn rooms_move_when_a_chat_server_is_added_and_removed(setup: Setup) {
    let mut test = setup.start().await;
    let mut members = members(&test).await;
    let three = Servers::clone(&test.cluster.servers());
    let mut expected = 0;
    let mut before = three.clone();
    for (step, chats) in [&[1, 2, 3, 4][..], &[2, 3, 4], &[2, 4, 3], &[1, 2, 3]].into_iter().enumerate() {
        let after = with_chats(&three, chats);
        test.cluster.apply_servers(after.clone()).await.unwrap();
        exchange_in_all(&mut members, &format!("step {step}")).await;
        // Each room is at two connectors.
        expected += 2 * moved(&before, &after) as u64;
        before = after;
    }
    assert_eq!(test.cluster.metrics().rooms_moved.get(), expected, "no other room moved");
    let page = members[0][1].chat.history(History::Last, 100).await.unwrap();
    let texts: Vec<_> = page.messages.iter().map(|said| said.msg.as_str()).collect();
    assert_eq!(texts, ["hello", "step 0", "step 1", "step 2", "step 3"], "the log moved along");
    test.cluster.stop().await;
}

async fn a_connector_that_is_added_takes_clients(setup: Setup) {
    let mut test = setup.start().await;
    let mut bob = test.join_at(0, "bob", "lobby").await;
    let mut servers = Servers::clone(&test.cluster.servers());
    let fourth = Server::new(ServerId::new("connector-server-4").unwrap(), "127.0.0.1");
    let mut connectors = servers.connector().to_vec();
    connectors.push(Server { client_port: Some(0), frontend: true, ..fourth });
    servers = Servers::new([
        (GATE.to_owned(), servers.gate().to_vec()),
        (CONNECTOR.to_owned(), connectors),
        (CHAT.to_owned(), servers.chat().to_vec()),
    ]);
    test.cluster.apply_servers(servers).await.unwrap();
    let ann = test.join_at(3, "ann", "lobby").await;
    assert_eq!(bob.next_event().await, Event::Add("ann".into()));
    ann.send("from the fourth").await;
    assert_eq!(bob.next_message().await.1, "from the fourth");
    test.cluster.stop().await;
}

/// Processes see a change at different moments. Until all do, connectors may ask servers that do
/// not own the room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_see_a_change_at_different_moments_come_together() {
    let mut split = SplitCluster::new(cluster::LogKind::JetStream).await;
    let mut clusters = Vec::new();
    for id in ["chat-server-1", "chat-server-2", "chat-server-3", "connector-server-1", "connector-server-2"] {
        clusters.push(split.start(id).await);
    }
    let three = split.servers.clone();
    let four = with_chats(&three, &[1, 2, 3, 4]);
    let mut members = Vec::new();
    for number in 0..ROOMS {
        let ann = split.join(0, "ann", &room(number)).await;
        let mut bob = split.join(1, "bob", &room(number)).await;
        ann.send("hello").await;
        bob.events_before("hello").await;
        members.push([ann, bob]);
    }
    split.servers = four.clone();
    clusters.push(split.start("chat-server-4").await);
    // One connector first, then the chat servers, the other connector last; and back in the
    // opposite order.
    for (view, order) in [(&four, [3, 0, 1, 2, 4]), (&three, [4, 2, 1, 0, 3])] {
        let text = format!("while there are {}", view.chat().len());
        let change = async {
            for cluster in order {
                clusters[cluster].apply_servers(view.clone()).await.unwrap();
                // Each looks at the file at its own moment.
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        };
        tokio::join!(change, exchange_in_all(&mut members, &text));
        exchange_in_all(&mut members, &format!("after {text}")).await;
    }
    for cluster in clusters {
        cluster.stop().await;
    }
}
