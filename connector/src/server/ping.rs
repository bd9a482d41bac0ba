//! Pings of gates.

use bus::Message;
use model::rpc;
use model::rpc::messages::{ConnectorStats, Ping, Pong};
use runtime::log_rate_limit::LogRateLimit;
use tracing::warn;

use super::Connector;
use crate::report;

impl Connector {
    /// Answers a gate's ping: whether this connector accepts clients, and how its chat servers are.
    pub(super) fn answer_ping(&mut self, message: &Message) {
        let now = self.now();
        let gate = match rpc::decode(&message.payload) {
            Ok(Ping { gate, .. }) => gate,
            Err(error) => return self.log_ignored(message, &error),
        };
        let Some(reply) = message.reply.clone() else { return };
        if let Err(refusal) = self.state.check_ping(&gate, &reply, now) {
            return report::report(refusal, &self.id, &self.node.metrics);
        }
        let takes_clients = !self.stopping && self.drain.is_none() && !self.has_rival;
        let accepting = takes_clients && self.clients.len() < self.node.settings.frontend.max_connections;
        let stats = ConnectorStats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: now.ticks,
            connections: self.clients.len() as u64,
            rooms: self.state.rooms() as u64,
            requests: self.requests,
        };
        let (connector, incarnation, chats) = (self.id.clone(), Some(self.state.incarnation()), self.state.reports());
        let (v, stats, client_port) = (rpc::VERSION, Some(stats), Some(self.client_port));
        let pong = Pong { v, connector, accepting, incarnation, stats, chats, client_port };
        match rpc::encode(&pong) {
            Ok(body) => self.publish(&gate, (reply, None), ("pong", None), body),
            Err(error) => {
                static UNANSWERED: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = UNANSWERED.pass() {
                    warn!(server = %self.id, %error, suppressed, "ping of a gate could not be answered");
                }
            }
        }
    }
}
