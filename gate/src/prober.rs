//! Which servers are there, and which connectors take users: connectors are asked over the bus,
//! again and again, and say how chat servers are.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use shared::bus::{BusError, Message, Outgoing};
use shared::clock;
use shared::config::Servers;
use shared::fault;
use shared::health::Check;
use shared::ids::ServerId;
use shared::log_rate_limit::LogRateLimit;
use shared::node::Node;
use shared::rpc::messages::{Ping, Pong};
use shared::rpc::{self, Label, RpcError, Trace};
use shared::signing::{Admission, Sender, Signer};
use shared::subjects;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::chat_reports;
use crate::server_status::{Answer, Known, Said, Standing, Stats};

/// What is known of connectors and chat servers. Clones know the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<RwLock<HashMap<ServerId, Known>>>);

impl Health {
    /// Whether a connector is to be skipped. One that was not asked yet is not: a gate that starts knows nothing bad.
    pub(crate) fn is_down(&self, connector: &ServerId) -> bool {
        self.all().get(connector).is_some_and(|known| known.standing() != Standing::Up)
    }

    /// The port that a connector said it listens on for clients.
    pub(crate) fn client_port(&self, connector: &ServerId) -> Option<u16> {
        self.all().get(connector).and_then(|known| known.said.client_port)
    }

    /// Everything that is known, for as long as nobody notes anything.
    pub(crate) fn all(&self) -> RwLockReadGuard<'_, HashMap<ServerId, Known>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an answer; returns how it is with the server now, if that is news.
    fn note(&self, server: &ServerId, answer: Answer) -> Option<Standing> {
        let mut all = self.write();
        let known = all.entry(server.clone()).or_default();
        let before = known.standing();
        known.note(answer, clock::now_ms());
        Some(known.standing()).filter(|now| *now != before)
    }

    /// Notes what connectors reported of chat servers; returns those of which that is news. Those
    /// that no connector reports are unknown.
    fn note_reports(&self, servers: &Servers) -> Vec<(ServerId, Standing)> {
        let verdicts = chat_reports::verdicts(servers, &self.all());
        let note = |(chat, verdict): (ServerId, Option<Answer>)| match verdict {
            Some(answer) => self.note(&chat, answer).map(|standing| (chat, standing)),
            None => {
                self.write().remove(&chat);
                None
            }
        };
        verdicts.into_iter().filter_map(note).collect()
    }

    /// Forgets servers that are not there any more.
    fn keep(&self, servers: &Servers) {
        self.write().retain(|id, _| servers.find(id).is_some());
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<ServerId, Known>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks every connector at the interval of heartbeats, until the gate stops.
pub(crate) async fn run(me: ServerId, node: Node, health: Health) {
    let period = node.settings.rpc.heartbeat();
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let view = node.server_list.now().view_hash();
    let signer = Signer::new(&me, &node);
    let mut asker = Asker { me: me.clone(), view, signer, node: node.clone() };
    let stopping = node.lifecycle.stopping();
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _ = tick.tick() => {}
        }
        node.health.beat();
        node.examine(&me);
        let servers = node.server_list.now();
        health.keep(&servers);
        asker.view = servers.view_hash();
        for (chat, standing) in health.note_reports(&servers) {
            report(&me, &chat, standing);
        }
        for id in servers.connector().iter().map(|server| server.id.clone()) {
            // Each waits for itself: one that hangs must not make the others look dead.
            let (asker, health) = (asker.clone(), health.clone());
            node.lifecycle.spawn(async move {
                let answer = asker.ask(&id, period).await;
                if matches!(answer, Answer::Takes(_) | Answer::Refuses(_)) {
                    // For good: that connectors go later is shown by `/status`.
                    asker.node.health.set(Check::Peers, None::<&str>);
                }
                if let Some(standing) = health.note(&id, answer) {
                    report(&asker.me, &id, standing);
                }
            });
        }
    }
}

fn report(gate: &ServerId, server: &ServerId, standing: Standing) {
    match standing {
        Standing::Up => info!(%gate, %server, "a server takes users or rooms"),
        Standing::Closed => info!(%gate, %server, "a server takes none: it is full or about to end"),
        Standing::Away => warn!(%gate, %server, "a server does not answer; users are sent to others"),
    }
}

#[derive(Debug, Clone)]
struct Asker {
    me: ServerId,
    /// Hash of the list of chat servers.
    view: String,
    signer: Signer,
    node: Node,
}

impl Asker {
    async fn ask(&self, server: &ServerId, deadline: Duration) -> Answer {
        fault::point(self.me.as_str(), server.as_str().as_bytes());
        let (trace, subject) = (Trace::new(), subjects::connector_ping(server));
        let Ok(payload) = rpc::encode(&Ping { v: rpc::VERSION, gate: self.me.clone() }) else { return Answer::Unknown };
        let label = Label { method: "ping", room: None, from: &self.me, view: &self.view, trace: &trace };
        let question = |reply| {
            let mut question = Outgoing { subject, reply: Some(reply), headers: label.headers(), payload };
            self.signer.sign(server, &mut question, None);
            question
        };
        let (asker, asked) = (self.clone(), server.clone());
        let accepts = move |answer: &Message| asker.is_pong_of(&asked, answer);
        match self.node.bus.request_for(question, accepts, deadline).await {
            Ok(answer) => read(&answer.payload).unwrap_or(Answer::None),
            // It is not there, and no patience changes that.
            Err(BusError::NoResponders) => Answer::Absent,
            // Our own connection is away: that says nothing about the server.
            Err(BusError::Disconnected | BusError::Closed) => Answer::Unknown,
            Err(_) => Answer::None,
        }
    }

    /// Returns true if this is an answer of the connector that was asked. One of something else is
    /// counted, and the connector's awaited.
    fn is_pong_of(&self, server: &ServerId, answer: &Message) -> bool {
        // First: what is none of ours is no message without a signature.
        let pong = rpc::decode::<Pong>(&answer.payload).inspect_err(|error| {
            self.node.metrics.bus_bad_messages.add();
            static IGNORED: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = IGNORED.pass() {
                warn!(gate = %self.me, %server, %error, suppressed, "a message was ignored");
            }
        });
        pong.is_ok_and(|pong| pong.connector == *server)
            && self.signer.admit(Sender::Connector, answer) != Admission::Dropped
    }
}

/// Reads a connector's answer.
fn read(payload: &[u8]) -> Result<Answer, RpcError> {
    let Pong { accepting, incarnation, stats, chats, client_port, .. } = rpc::decode(payload)?;
    let said = Said { incarnation, stats: stats.map(Stats::Connector), client_port, reports: chats };
    Ok(if accepting { Answer::Takes(said) } else { Answer::Refuses(said) })
}
