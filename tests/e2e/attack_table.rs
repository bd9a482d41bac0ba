//! The table of attacks in `docs/reference/security.md`: each attack with one connector's password, and with its
//! password and key file, while signatures are off and required. Beside it two users of other
//! connectors exchange messages.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use async_nats::{Client, HeaderMap, Subscriber};
use futures_util::{FutureExt, StreamExt};
use model::ids::{Incarnation, RoomId, ServerId};
use model::membership::{Membership, Token};
use model::rpc::messages::{
    FromChat, FromConnector, HistoryQuery, HistoryRange, Item, LogPosition, RpcRequest, RpcResponse,
};
use model::rpc::{self, header};
use model::settings::Signatures;
use model::subjects;
use node::signing::{PublicKey, Signed};
use serde_json::json;
use testkit::eventually;

use crate::attacks::{AttackedCluster, Attacker, CHATS, STOLEN, VICTIM, id};
use crate::test_cluster::DEADLINE;

const ROOM: &str = "lobby";

fn room() -> RoomId {
    RoomId::new(ROOM).unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    AnswerIntoLog,
    RecordIntoLog,
    VictimWithoutFuture,
    VictimOfLaterRun,
    SayAsVictim,
    LeaveAsVictim,
    ReadForMember,
    ReadAsVictim,
    AskAsChatServer,
    AskAsGate,
    AskAsUnknown,
    ProbeAsConnector,
    AnswerAsChatServer,
}

impl Attack {
    const ALL: [Self; 13] = [
        Self::AnswerIntoLog,
        Self::RecordIntoLog,
        Self::VictimWithoutFuture,
        Self::VictimOfLaterRun,
        Self::SayAsVictim,
        Self::LeaveAsVictim,
        Self::ReadForMember,
        Self::ReadAsVictim,
        Self::AskAsChatServer,
        Self::AskAsGate,
        Self::AskAsUnknown,
        Self::ProbeAsConnector,
        Self::AnswerAsChatServer,
    ];

    /// The harm that only signatures prevent: chat servers believe that another connector speaks.
    fn harm_without_signatures(self) -> Option<&'static str> {
        match self {
            Self::VictimOfLaterRun => Some("ann's connector takes itself for the older of two, and closes all clients"),
            Self::SayAsVictim => Some("words that ann did not say; her next message is acknowledged and lost"),
            Self::LeaveAsVictim => Some("ann leaves; her next message is acknowledged and lost"),
            _ => None,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::AnswerIntoLog => "G1: questions of its own whose answers are to go into the room's log",
            Self::RecordIntoLog => "G4: a record in the room's log",
            Self::VictimWithoutFuture => "G2: another connector's heartbeat and proposal, incarnation 2^64-1",
            Self::VictimOfLaterRun => "G2: another connector's heartbeats, a later incarnation",
            Self::SayAsVictim => "G3: another connector's proposal: ann says something",
            Self::LeaveAsVictim => "G3: another connector's proposal: ann leaves",
            Self::ReadForMember => "G3: messages of the past, as ann may see them",
            Self::ReadAsVictim => "G3: the same as the other connector, answer to the attacker",
            Self::AskAsChatServer => "proposals as a chat server",
            Self::AskAsGate => "proposals as a gate",
            Self::AskAsUnknown => "proposals as a server that is not listed",
            Self::ProbeAsConnector => "another role's message: a probe of its own",
            Self::AnswerAsChatServer => "a chat server's messages to the other connector",
        }
    }
}

/// The last proposal of the victim. Each connector that follows the room reads as much from its
/// records.
struct CapturedProposal {
    incarnation: Incarnation,
    at: LogPosition,
    number: u64,
    session: u64,
    membership: Membership,
}

/// A message that the attacker publishes.
struct Forged {
    subject: String,
    reply: Option<String>,
    payload: Vec<u8>,
    /// The server that it names as its sender, and the one that is to believe it.
    sender: &'static str,
    to: String,
}

fn forge_request(sender: &'static str, reply: &str, incarnation: Incarnation, request: &RpcRequest) -> Vec<Forged> {
    let forge = |chat: &str| {
        let message = FromConnector {
            v: rpc::VERSION,
            connector: id(sender),
            incarnation,
            continues: Vec::new(),
            count: u64::MAX >> 1,
            known: None,
            request: request.clone(),
        };
        Forged {
            subject: subjects::chat(&id(chat)),
            reply: Some(reply.to_owned()),
            payload: rpc::encode(&message).unwrap().to_vec(),
            sender,
            to: chat.to_owned(),
        }
    };
    CHATS.into_iter().map(forge).collect()
}

fn forge(attack: Attack, seen: &CapturedProposal, token: &Token) -> Vec<Forged> {
    let own = |number| subjects::connector_reply(&id(STOLEN), number);
    let of = |connector: &str| subjects::connector_reply(&id(connector), 1);
    let later = Incarnation(seen.incarnation.0 + 1_000);
    let proposal = |item| {
        let (at, number) = (seen.at, seen.number + 1);
        RpcRequest::Propose { room: room(), at, number, items: vec![item], urgent: false }
    };
    let body = json!({ "rid": ROOM, "content": "forged", "from": "ann", "target": "*" }).to_string().into();
    let say = proposal(Item::Send { session: seen.session, membership: seen.membership, body });
    let leave = proposal(Item::Leave { session: seen.session, incarnation: seen.incarnation });
    let history = |session| {
        let query = HistoryQuery { viewer: token.membership(), span: HistoryRange::Last, limit: 100 };
        RpcRequest::History { room: room(), number: 1, session: Some(session), query }
    };
    match attack {
        Attack::AnswerIntoLog => {
            let attach = RpcRequest::Attach { room: room(), at: LogPosition::default() };
            let log = subjects::log(&room());
            [attach, RpcRequest::Heartbeat].iter().flat_map(|asked| forge_request(STOLEN, &log, later, asked)).collect()
        }
        Attack::RecordIntoLog => vec![Forged {
            subject: subjects::log(&room()),
            reply: None,
            payload: b"garbage".to_vec(),
            sender: STOLEN,
            to: CHATS[0].to_owned(),
        }],
        Attack::VictimWithoutFuture => [RpcRequest::Heartbeat, say]
            .iter()
            .flat_map(|asked| forge_request(VICTIM, &of(VICTIM), Incarnation(u64::MAX), asked))
            .collect(),
        Attack::VictimOfLaterRun => {
            (0..3).flat_map(|_| forge_request(VICTIM, &of(VICTIM), later, &RpcRequest::Heartbeat)).collect()
        }
        Attack::SayAsVictim => forge_request(VICTIM, &of(VICTIM), seen.incarnation, &say),
        Attack::LeaveAsVictim => forge_request(VICTIM, &of(VICTIM), seen.incarnation, &leave),
        Attack::ReadForMember => forge_request(STOLEN, &own(1), later, &history(seen.session)),
        Attack::ReadAsVictim => forge_request(VICTIM, &own(2), seen.incarnation, &history(seen.session)),
        Attack::AskAsChatServer => forge_request("chat-server-1", &of("chat-server-1"), later, &say),
        Attack::AskAsGate => forge_request("gate-server-1", &of("gate-server-1"), later, &say),
        Attack::AskAsUnknown => forge_request("connector-server-9", &of("connector-server-9"), later, &say),
        Attack::ProbeAsConnector => forge_request(STOLEN, &own(3), later, &RpcRequest::Probe),
        Attack::AnswerAsChatServer => [RpcResponse::Leaving, RpcResponse::NotOwner { room: room() }]
            .into_iter()
            .flat_map(|response| CHATS.map(|chat| (chat, response.clone())))
            .map(|(chat, response)| {
                let (v, number) = (rpc::VERSION, 1 << 19);
                let said = FromChat { v, chat: id(chat), incarnation: later, number, stats: None, response };
                Forged {
                    subject: subjects::connector_push(&id(VICTIM)),
                    reply: None,
                    payload: rpc::encode(&said).unwrap().to_vec(),
                    sender: chat,
                    to: VICTIM.to_owned(),
                }
            })
            .collect(),
    }
}

struct AttackTest {
    attacked: AttackedCluster,
    attacker: Attacker,
    responses: Subscriber,
    _operator: Client,
    requests: Subscriber,
    seen: usize,
}

impl AttackTest {
    async fn new(signatures: Signatures) -> Self {
        let attacked = AttackedCluster::new(signatures).await;
        let attacker = attacked.attacker().await;
        let responses = attacker.client.subscribe(subjects::connector_all(&id(STOLEN))).await.unwrap();
        let operator = attacked.world.client("operator").await;
        let requests = operator.subscribe("chat.>").await.unwrap();
        operator.flush().await.unwrap();
        attacker.client.flush().await.unwrap();
        Self { attacked, attacker, responses, _operator: operator, requests, seen: 0 }
    }

    /// Ann, who is at the victim, sends a message. Returns its proposal, the last one of the
    /// victim.
    async fn capture_proposal(&mut self) -> CapturedProposal {
        self.seen += 1;
        let text = format!("seen-{}", self.seen);
        self.attacked.ann.send(&text).await;
        assert_eq!(self.attacked.ann.next_message().await.1, text);
        assert_eq!(self.attacked.bob.next_message().await.1, text);
        let seen = loop {
            let message = tokio::time::timeout(DEADLINE, self.requests.next()).await.unwrap().unwrap();
            let Ok(asked) = rpc::decode::<FromConnector>(&message.payload) else { continue };
            let RpcRequest::Propose { at, number, items, .. } = asked.request else { continue };
            if let ([Item::Send { session, membership, body }], VICTIM) = (&items[..], asked.connector.as_str())
                && String::from_utf8_lossy(body).contains(&text)
            {
                let incarnation = asked.incarnation;
                break CapturedProposal { incarnation, at, number, session: *session, membership: *membership };
            }
        };
        while let Some(Some(_)) = self.requests.next().now_or_never() {}
        seen
    }

    /// Runs an attack, of which the two users may notice nothing. Returns the counters that rose.
    async fn run(&mut self, attack: Attack, with_key: bool) -> String {
        let seen = self.capture_proposal().await;
        let before = self.counters();
        let token = Token::parse(&self.attacked.ann.entered.token).unwrap();
        for forged in forge(attack, &seen, &token) {
            self.publish(&forged, with_key).await;
        }
        self.attacker.client.flush().await.unwrap();
        // Twice: a later run is announced by the next heartbeats.
        self.attacked.exchange_messages().await;
        self.attacked.exchange_messages().await;
        eventually(DEADLINE, "something to be counted", async || self.counters() != before).await;
        assert!(!self.drain_answers(), "{attack:?}");
        let after = self.counters();
        let counted = after.into_iter().filter(|(name, count)| before[*name] < *count);
        let counted: Vec<&str> = counted.map(|(name, _)| name).collect();
        format!("nothing / {}", counted.join(", "))
    }

    async fn publish(&self, forged: &Forged, with_key: bool) {
        let mut headers = HeaderMap::new();
        headers.insert("From", forged.sender);
        if with_key {
            let sender: ServerId = id(forged.sender);
            let key = PublicKey::parse(self.attacker.keys[&forged.to].as_str().unwrap()).unwrap();
            let signed = Signed::new(&sender, (&forged.subject, forged.reply.as_deref()), &forged.payload, None);
            // The stolen seed, and the ids that the message claims.
            headers.insert(header::SIGNATURE, self.attacker.seed.pair(&sender, &id(&forged.to), &key).sign(&signed));
        }
        let (subject, payload) = (forged.subject.clone(), forged.payload.clone().into());
        let client = &self.attacker.client;
        match forged.reply.clone() {
            Some(reply) => client.publish_with_reply_and_headers(subject, reply, headers, payload).await,
            None => client.publish_with_headers(subject, headers, payload).await,
        }
        .unwrap();
    }

    fn drain_answers(&mut self) -> bool {
        let mut saw = false;
        while let Some(Some(message)) = self.responses.next().now_or_never() {
            saw |= message.payload.windows(4).any(|window| window == b"seen");
        }
        saw
    }

    fn counters(&self) -> BTreeMap<&'static str, u64> {
        let sum = |count: fn(&runtime::metrics::Metrics) -> u64| {
            self.attacked.clusters.iter().map(|cluster| count(cluster.metrics())).sum::<u64>()
        };
        [
            ("sender", sum(|metrics| metrics.bus_refused.sender.get())),
            ("reply", sum(|metrics| metrics.bus_refused.reply.get())),
            ("viewer", sum(|metrics| metrics.bus_refused.viewer.get())),
            ("implausible", sum(|metrics| metrics.bus_implausible.get())),
            ("unsigned", sum(|metrics| metrics.rpc_unsigned.get())),
            ("NATS", self.attacked.world.split.nats.violations().len() as u64),
        ]
        .into()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_of_attacks_is_true() {
    let mut table = String::new();
    let mut off = AttackTest::new(Signatures::Off).await;
    let mut required = AttackTest::new(Signatures::Require).await;
    for attack in Attack::ALL {
        let mut cells = Vec::new();
        for (scene, is_off) in [(&mut off, true), (&mut required, false)] {
            for with_key in [false, true] {
                cells.push(match attack.harm_without_signatures().filter(|_| is_off) {
                    Some(harm) => format!("{harm} / -"),
                    None => scene.run(attack, with_key).await,
                });
            }
        }
        writeln!(table, "| {} | {} |", attack.text(), cells.join(" | ")).unwrap();
    }
    off.attacked.end().await;
    required.attacked.end().await;
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/security.md")).unwrap();
    assert!(page.contains(&table), "docs/reference/security.md, \"Attacks\", has another table than this:\n{table}");
}
