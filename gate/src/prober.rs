//! The failure detector of a gate: it probes connectors over the bus once per heartbeat interval,
//! and their responses report the chat servers.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bus::{BusError, Message, OutgoingMessage};
use model::ids::ServerId;
use model::rpc::messages::{Ping, Pong};
use model::rpc::{self, Label, RpcError};
use model::servers::Servers;
use model::subjects;
use node::Node;
use node::signing::{Admission, Sender, Signer};
use runtime::clock;
use runtime::fault;
use runtime::health::Check;
use runtime::interval::interval;
use runtime::log_rate_limit::LogRateLimit;
use tracing::{info, warn};

use crate::chat_reports;
use crate::server_status::{Availability, ProbeResult, SelfReport, ServerStatus, Stats};

/// The status of connectors and chat servers. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerStatuses(Arc<RwLock<HashMap<ServerId, ServerStatus>>>);

impl ServerStatuses {
    /// Returns true if a connector is to be skipped.
    pub(crate) fn is_unavailable(&self, connector: &ServerId) -> bool {
        // A connector that was not probed yet counts as available: a gate that just started knows
        // of no failure.
        self.all().get(connector).is_some_and(|status| status.availability() != Availability::Up)
    }

    /// The port for clients that a connector reported.
    pub(crate) fn client_port(&self, connector: &ServerId) -> Option<u16> {
        self.all().get(connector).and_then(|status| status.self_report.client_port)
    }

    /// The status of all servers; updates wait while the result is held.
    pub(crate) fn all(&self) -> RwLockReadGuard<'_, HashMap<ServerId, ServerStatus>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a result; returns the new availability if it changed.
    fn record(&self, server: &ServerId, response: ProbeResult) -> Option<Availability> {
        let mut all = self.write();
        let status = all.entry(server.clone()).or_default();
        let before = status.availability();
        status.record(response, clock::now_ms());
        Some(status.availability()).filter(|now| *now != before)
    }

    /// Notes what connectors reported of chat servers; returns those of which that is news. Those
    /// that no connector reports are unknown.
    fn record_chat_reports(&self, servers: &Servers) -> Vec<(ServerId, Availability)> {
        let merged = chat_reports::merge_reports(servers, &self.all());
        let note = |(chat, verdict): (ServerId, Option<ProbeResult>)| match verdict {
            Some(response) => self.record(&chat, response).map(|availability| (chat, availability)),
            None => {
                self.write().remove(&chat);
                None
            }
        };
        merged.into_iter().filter_map(note).collect()
    }

    /// Forgets servers that are not there any more.
    fn retain_listed(&self, servers: &Servers) {
        self.write().retain(|id, _| servers.find(id).is_some());
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<ServerId, ServerStatus>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Probes every connector at the heartbeat interval, until the gate stops.
pub(crate) async fn run(me: ServerId, node: Node, statuses: ServerStatuses) {
    let period = node.settings.rpc.heartbeat();
    let mut tick = interval(period);
    let view = node.server_list.now().view_hash();
    let signer = Signer::new(&me, &node);
    let auth = node.gate_auth();
    let mut prober = Prober { me: me.clone(), view, signer, node: node.clone() };
    let stopping = node.lifecycle.stopping();
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _ = tick.tick() => {}
        }
        node.health.record_alive();
        node.update_health(&me);
        node.health.set(Check::Auth, auth.fault());
        let servers = node.server_list.now();
        statuses.retain_listed(&servers);
        prober.view = servers.view_hash();
        for (chat, availability) in statuses.record_chat_reports(&servers) {
            log_change(&me, &chat, availability);
        }
        for id in servers.connector().iter().map(|server| server.id.clone()) {
            // One task each: a connector that hangs must not make the others look down.
            let (prober, statuses) = (prober.clone(), statuses.clone());
            node.lifecycle.spawn(async move {
                let response = prober.probe(&id, period).await;
                if matches!(response, ProbeResult::Accepting(_) | ProbeResult::Refusing(_)) {
                    // For good: that connectors go later is shown by `/status`.
                    prober.node.health.set(Check::Peers, None::<&str>);
                }
                if let Some(availability) = statuses.record(&id, response) {
                    log_change(&prober.me, &id, availability);
                }
            });
        }
    }
}

fn log_change(gate: &ServerId, server: &ServerId, availability: Availability) {
    match availability {
        Availability::Up => info!(%gate, %server, "server up"),
        Availability::Closed => {
            info!(%gate, %server, "server closed: it is full or about to end, so it gets no new users or rooms")
        }
        Availability::Down => warn!(%gate, %server, "server down: users are sent to others"),
    }
}

#[derive(Debug, Clone)]
struct Prober {
    me: ServerId,
    /// Hash of the list of chat servers.
    view: String,
    signer: Signer,
    node: Node,
}

impl Prober {
    async fn probe(&self, server: &ServerId, deadline: Duration) -> ProbeResult {
        fault::point(self.me.as_str(), server.as_str().as_bytes());
        let (trace, subject) = (bus::new_trace(), subjects::connector_ping(server));
        let Ok(payload) = rpc::encode(&Ping { v: rpc::VERSION, gate: self.me.clone() }) else {
            return ProbeResult::NotProbed;
        };
        let label = Label { method: "ping", room: None, from: &self.me, view: &self.view, trace: &trace };
        let request = |reply| {
            let mut request = OutgoingMessage { subject, reply: Some(reply), headers: label.headers(), payload };
            self.signer.sign(server, &mut request, None);
            request
        };
        let (prober, probed) = (self.clone(), server.clone());
        let accepts = move |response: &Message| prober.is_pong_of(&probed, response);
        match self.node.bus.request_for(request, accepts, deadline).await {
            Ok(response) => parse_pong(&response.payload).unwrap_or(ProbeResult::TimedOut),
            // It is not there, and no patience changes that.
            Err(BusError::NoResponders) => ProbeResult::NoResponder,
            // Our own connection is down: that proves nothing about the server.
            Err(BusError::Disconnected | BusError::Closed) => ProbeResult::NotProbed,
            Err(_) => ProbeResult::TimedOut,
        }
    }

    /// Returns true if this is a response of the probed connector. Another message is counted, and
    /// the response still awaited.
    fn is_pong_of(&self, server: &ServerId, response: &Message) -> bool {
        // First: a message that no server sent is no message without a signature.
        let pong = rpc::decode::<Pong>(&response.payload).inspect_err(|error| {
            self.node.metrics.bus_bad_messages.add();
            static IGNORED: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = IGNORED.pass() {
                warn!(gate = %self.me, %server, %error, suppressed, "malformed message ignored");
            }
        });
        pong.is_ok_and(|pong| pong.connector == *server)
            && self.signer.admit(Sender::Connector, response) != Admission::Dropped
    }
}

/// Parses a connector's response.
fn parse_pong(payload: &[u8]) -> Result<ProbeResult, RpcError> {
    let Pong { accepting, incarnation, stats, chats, client_port, .. } = rpc::decode(payload)?;
    let self_report = SelfReport { incarnation, stats: stats.map(Stats::Connector), client_port, reports: chats };
    Ok(if accepting { ProbeResult::Accepting(self_report) } else { ProbeResult::Refusing(self_report) })
}
