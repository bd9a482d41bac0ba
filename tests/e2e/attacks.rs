//! Attacks with one connector's password and key file on a cluster that requires signatures, under
//! `config/nats/production.conf`: other users notice nothing, and the counter rises.

use std::collections::BTreeSet;

use async_nats::{Client, HeaderMap, Subscriber};
use client::Event;
use cluster::Cluster;
use futures_util::StreamExt;
use model::ids::{Incarnation, RoomId, ServerId};
use model::record::{Epoch, Position, RecordId};
use model::rpc::messages::{FromConnector, Item, KnownIncarnation, LogPosition, RpcRequest};
use model::rpc::{self, header};
use model::settings::Signatures;
use node::signing::{KeyFiles, PublicKey, Seed, Signed};
use testkit::eventually;

use crate::permissions::Protected;
use crate::test_cluster::{DEADLINE, Member};

pub(crate) const CHATS: [&str; 3] = ["chat-server-1", "chat-server-2", "chat-server-3"];

/// The server whose password and key the attacker has, and the one that it speaks as.
pub(crate) const STOLEN: &str = "connector-server-1";
pub(crate) const VICTIM: &str = "connector-server-2";

pub(crate) fn id(text: &str) -> ServerId {
    ServerId::new(text).unwrap()
}

/// A cluster under attack, with the users of two connectors in one room.
pub(crate) struct AttackedCluster {
    pub(crate) world: Protected,
    files: KeyFiles,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) ann: Member,
    pub(crate) bob: Member,
    sent: usize,
}

impl AttackedCluster {
    pub(crate) async fn new(signatures: Signatures) -> Self {
        let mut world = Protected::new().await;
        let directory = world.scratch.path().join("keys");
        let files = KeyFiles::within(&directory);
        let connectors = ["connector-server-1", "connector-server-2", "connector-server-3"];
        let all: Vec<ServerId> =
            [&CHATS[..], &connectors[..], &["gate-server-1"]].concat().into_iter().map(id).collect();
        files.write_missing(&all).unwrap();
        world.split.settings.rpc.signatures = signatures;
        world.split.settings.room.linger_secs = 0;
        // The table asks as fast as it is answered.
        world.split.settings.session.requests_per_sec = 1_000;
        world.split.settings.rpc.key_dir = directory.to_str().unwrap().to_owned();
        let mut clusters = Vec::new();
        for server in all {
            clusters.push(world.start(server.as_str()).await);
        }
        let mut ann = world.split.join(1, "ann", "lobby").await;
        let bob = world.split.join(2, "bob", "lobby").await;
        assert_eq!(ann.next_event().await, Event::Add("bob".into()));
        Self { world, files, clusters, ann, bob, sent: 0 }
    }

    /// Both members send messages and receive each once, and no other event comes between.
    pub(crate) async fn exchange_messages(&mut self) {
        for _ in 0..5 {
            self.sent += 1;
            let text = self.sent.to_string();
            let (speaker, listener) = if self.sent.is_multiple_of(2) {
                (&mut self.ann, &mut self.bob)
            } else {
                (&mut self.bob, &mut self.ann)
            };
            speaker.send(&text).await;
            for member in [speaker, listener] {
                let event = member.next_event().await;
                assert!(
                    matches!(&event, Event::Chat(chat) if chat.msg == text),
                    "{}: {event:?}, not {text}",
                    member.name
                );
            }
        }
    }

    fn unsigned(&self) -> u64 {
        self.clusters.iter().map(|cluster| cluster.metrics().rpc_unsigned.get()).sum()
    }

    pub(crate) async fn attacker(&self) -> Attacker {
        let seed = std::fs::read_to_string(self.files.seed(&id(STOLEN))).unwrap();
        let keys = std::fs::read_to_string(self.files.keys()).unwrap();
        let seed = Seed::parse(seed.trim()).unwrap();
        Attacker { client: self.world.client(STOLEN).await, seed, keys: serde_json::from_str(&keys).unwrap() }
    }

    pub(crate) async fn end(self) {
        for cluster in self.clusters.into_iter().rev() {
            cluster.stop().await;
        }
    }
}

/// The signature of a forged message.
#[derive(Debug, Clone, Copy)]
enum Signing {
    None,
    Nonsense,
    /// With the stolen key, and the ids of the victim.
    Stolen,
}

pub(crate) struct Attacker {
    pub(crate) client: Client,
    pub(crate) seed: Seed,
    pub(crate) keys: serde_json::Value,
}

impl Attacker {
    /// Publishes a message in the victim's name, with the answer to go to the victim or to a place
    /// of harm.
    async fn publish(&self, chat: &str, reply: &str, message: &FromConnector, signing: Signing) {
        let payload = rpc::encode(message).unwrap();
        let (subject, mut headers) = (format!("chat.{chat}"), HeaderMap::new());
        headers.insert("From", VICTIM);
        let signature = match signing {
            Signing::None => None,
            Signing::Nonsense => Some(format!("v1={}", "ab".repeat(32))),
            Signing::Stolen => {
                let key = PublicKey::parse(self.keys[chat].as_str().unwrap()).unwrap();
                let signed = Signed::new(&message.connector, (&subject, Some(reply)), &payload, None);
                Some(self.seed.pair(&message.connector, &id(chat), &key).sign(&signed))
            }
        };
        if let Some(signature) = signature {
            headers.insert(header::SIGNATURE, signature.as_str());
        }
        self.client.publish_with_reply_and_headers(subject, reply.to_owned(), headers, payload).await.unwrap();
    }

    /// All that would do harm if it were believed.
    async fn attack(&self, signing: Signing, epoch: u64) -> u64 {
        let room = RoomId::new("lobby").unwrap();
        let at = LogPosition { epoch: Epoch(epoch), position: Position(1), id: RecordId(1) };
        let leaves = (1..=4).map(|session| Item::Leave { session, incarnation: Incarnation(0) }).collect();
        let requests = [
            // The victim's runs from now on are too low.
            (RpcRequest::Heartbeat, Incarnation(u64::MAX >> 16)),
            (
                RpcRequest::Propose { room: room.clone(), at, number: 1 << 40, items: leaves, urgent: false },
                Incarnation(u64::MAX >> 16),
            ),
            (RpcRequest::Detach { room }, Incarnation(0)),
            (RpcRequest::Probe, Incarnation(0)),
        ];
        let mut count = 0;
        for chat in CHATS {
            for (request, incarnation) in &requests {
                let known = Some(KnownIncarnation { incarnation: Incarnation(u64::MAX >> 16), live: false });
                let message = FromConnector {
                    v: rpc::VERSION,
                    connector: id(VICTIM),
                    incarnation: *incarnation,
                    continues: Vec::new(),
                    count: u64::MAX,
                    known,
                    request: request.clone(),
                };
                self.publish(chat, "log.51.lobby", &message, signing).await;
                count += 1;
            }
        }
        self.client.flush().await.unwrap();
        count
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_another_server_did_not_sign_are_dropped() {
    let mut attacked = AttackedCluster::new(Signatures::Require).await;
    let attacker = attacked.attacker().await;
    attacked.exchange_messages().await;
    let epoch = attacked.ann.entered.epoch;
    for signing in [Signing::None, Signing::Nonsense, Signing::Stolen] {
        let before = attacked.unsigned();
        let tried = attacker.attack(signing, epoch).await;
        let what = format!("{tried} messages are dropped and counted: {signing:?}");
        eventually(DEADLINE, &what, async || attacked.unsigned() == before + tried).await;
        attacked.exchange_messages().await;
    }
    attacked.end().await;
}

/// The attacker reads the bus, as the operator can, and publishes copies of the victim's messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_old_messages_change_nothing() {
    let mut attacked = AttackedCluster::new(Signatures::Require).await;
    let operator = attacked.world.client("operator").await;
    let mut requests = operator.subscribe("chat.>").await.unwrap();
    operator.flush().await.unwrap();
    let attacker = attacked.attacker().await;
    attacked.exchange_messages().await;
    // Bob's connector follows no longer, and follows again.
    attacked.bob.chat.leave().await.unwrap();
    assert_eq!(attacked.ann.next_event().await, Event::Leave("bob".to_owned()));
    let mut copies = Vec::new();
    collect(&mut requests, &mut copies, |copies| copies.last().is_some_and(|copy| method(copy) == "detach")).await;
    attacked.bob = attacked.world.split.join(2, "bob", "lobby").await;
    assert_eq!(attacked.ann.next_event().await, Event::Add("bob".into()));
    attacked.exchange_messages().await;

    let until = copies.len() + 100;
    collect(&mut requests, &mut copies, |copies| copies.len() >= until).await;
    let methods: BTreeSet<String> = copies.iter().map(method).collect();
    for method in ["attach", "detach", "heartbeat", "send", "enter", "leave"] {
        assert!(methods.contains(method), "{methods:?}");
    }
    let before = attacked.unsigned();
    for _ in 0..3 {
        for copy in &copies {
            let (subject, headers, payload) =
                (copy.subject.clone(), copy.headers.clone().unwrap(), copy.payload.clone());
            match copy.reply.clone() {
                Some(reply) => attacker.client.publish_with_reply_and_headers(subject, reply, headers, payload).await,
                None => attacker.client.publish_with_headers(subject, headers, payload).await,
            }
            .unwrap();
        }
        attacker.client.flush().await.unwrap();
        attacked.exchange_messages().await;
    }
    assert_eq!(attacked.unsigned(), before, "copies are signed");
    attacked.end().await;
}

/// Takes messages until there are enough.
async fn collect(
    from: &mut Subscriber,
    all: &mut Vec<async_nats::Message>,
    are_enough: impl Fn(&[async_nats::Message]) -> bool,
) {
    let taking = async {
        while !are_enough(all) {
            all.push(from.next().await.unwrap());
        }
    };
    tokio::time::timeout(DEADLINE, taking).await.unwrap();
}

fn method(message: &async_nats::Message) -> String {
    message.headers.as_ref().and_then(|headers| headers.get("Method")).map(ToString::to_string).unwrap_or_default()
}
