//! The durable log under outages of the broker, or of a connection to it.

use client::{ClientError, Event, History, Message};
use cluster::{Cluster, LogKind};
use testkit::{Arrival, TcpProxy, Witness, eventually};

use crate::split_cluster::{SplitCluster, home};
use crate::test_cluster::{DEADLINE, Member};

/// Rooms, and listeners in each: enough that a connector has a thousand members to repair for.
const ROOMS: usize = 10;
const LISTENERS: usize = 100;

/// Messages of each room's speaker: half of them before the cut, and half of them during it.
const MESSAGES: u64 = 20;

/// A connector loses its connection to the broker while a thousand members listen: each receives
/// every acknowledged message once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_listeners_miss_nothing_when_their_connector_is_cut_off() {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    let proxy = TcpProxy::start(split.nats.address()).await;
    let mut clusters = Vec::new();
    for chat in ["chat-server-1", "chat-server-2", "chat-server-3"] {
        clusters.push(split.start(chat).await);
    }
    let behind = split.start_behind("connector-server-1", &proxy).await;
    clusters.push(split.start("connector-server-2").await);
    let mut listeners = Vec::new();
    for number in 0..ROOMS * LISTENERS {
        let room = format!("room-{}", number % ROOMS);
        listeners.push(split.join(0, &format!("listener-{number}"), &room).await);
    }
    let mut speakers = Vec::new();
    for number in 0..ROOMS {
        speakers.push(split.join(1, &format!("speaker-{number}"), &format!("room-{number}")).await);
    }
    send_all(&speakers, 0..MESSAGES / 2).await;
    proxy.cut();
    send_all(&speakers, MESSAGES / 2..MESSAGES).await;
    proxy.heal();
    for (number, listener) in listeners.iter_mut().enumerate() {
        let mut witness = Witness::default();
        for _ in 0..MESSAGES {
            let text = listener.next_message().await.1;
            let (room, message) = text.split_once(' ').unwrap();
            let arrival = witness.receive(room.parse().unwrap(), message.parse().unwrap());
            assert_eq!(arrival, Arrival::Next, "{text} at {}", listener.name);
        }
        assert_eq!(witness.lost(&(number % ROOMS), 0..MESSAGES), [0; 0], "{}", listener.name);
    }
    // A message that is delivered twice would come before the one that is sent now.
    send_all(&speakers, MESSAGES..=MESSAGES).await;
    for (number, listener) in listeners.iter_mut().enumerate() {
        assert_eq!(listener.next_message().await.1, format!("{} {MESSAGES}", number % ROOMS));
    }
    assert!(behind.metrics().bus_reconnects.get() > 0, "the connection was broken");
    clusters.push(behind);
    for cluster in clusters {
        cluster.stop().await;
    }
}

async fn send_all(speakers: &[Member], texts: impl IntoIterator<Item = u64>) {
    for text in texts {
        let sends: Vec<_> =
            speakers.iter().enumerate().map(|(room, s)| s.chat.send(&format!("{room} {text}"))).collect();
        for send in sends {
            send.await.unwrap();
        }
    }
}

/// Two connectors, and the chat server of the lobby.
async fn lobby() -> (SplitCluster, [Cluster; 3]) {
    let mut split = SplitCluster::new(LogKind::JetStream).await;
    let chat = split.start(&home(&split.servers, "lobby")).await;
    let first = split.start("connector-server-1").await;
    let second = split.start("connector-server-2").await;
    (split, [first, second, chat])
}

/// While the broker is down a message is answered 503 within its deadline, no client is
/// disconnected or declared gone, and a repeat with the same id is committed once, however often it
/// was tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_is_away_and_a_message_is_repeated_until_it_is_committed_once() {
    let (mut split, clusters) = lobby().await;
    let ann = split.join(0, "ann", "lobby").await;
    let mut bob = split.join(1, "bob", "lobby").await;
    ann.send("before").await;
    assert_eq!(bob.next_message().await.1, "before");
    split.nats.kill();
    let message = Message::to_all("meanwhile").with_id("m1");
    for _ in 0..2 {
        let Err(ClientError::Refused { code: 503, reason, .. }) = ann.chat.send_message(&message).await else {
            panic!("not 503")
        };
        assert!(!reason.is_empty());
    }
    split.nats.restart().await;
    eventually(DEADLINE, "the message to be committed", async || ann.chat.send_message(&message).await.is_ok()).await;
    let first_answer = ann.chat.send_message(&message).await.unwrap();
    ann.send("after").await;
    let received = bob.events_before("after").await;
    let [Event::Chat(received)] = &received[..] else { panic!("{received:?}") };
    assert_eq!((received.msg.as_str(), received.seq), ("meanwhile", first_answer.seq));
    for cluster in clusters {
        cluster.stop().await;
    }
}

/// The operator erases a room: its history is gone, its members stay, and each gets `onGap`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_erased_while_it_has_members() {
    let (split, clusters) = lobby().await;
    let ann = split.join(0, "ann", "lobby").await;
    let mut bob = split.join(1, "bob", "lobby").await;
    ann.send("to be forgotten").await;
    assert_eq!(bob.next_message().await.1, "to be forgotten");
    let nats = async_nats::connect(split.nats.url()).await.unwrap();
    let stream = async_nats::jetstream::new(nats).get_stream("ROOMS").await.unwrap();
    stream.purge().filter("log.51.lobby").await.unwrap();
    eventually(DEADLINE, "the room to serve again", async || ann.chat.send("after").await.is_ok()).await;
    let received = bob.events_before("after").await;
    let [Event::Gap(gap)] = &received[..] else { panic!("{received:?}") };
    assert_eq!((gap.rid.as_str(), gap.epoch), ("lobby", bob.entered.epoch));
    let page = bob.chat.history(History::Last, 10).await.unwrap();
    assert!(page.messages.iter().all(|said| said.msg == "after"), "{page:?}");
    assert_eq!(split.join(1, "cid", "lobby").await.users(), ["ann", "bob", "cid"].into());
    assert_eq!(bob.next_event().await, Event::Add("cid".into()), "no leave was pushed");
    for cluster in clusters {
        cluster.stop().await;
    }
}
