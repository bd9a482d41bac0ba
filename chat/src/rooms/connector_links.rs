//! Links to connectors: their runs, their silence, and the numbered messages to them.

use std::sync::Arc;

use model::ids::ServerId;
use model::rpc::messages::{ChatStats, FromChat, RpcResponse};
use model::rpc::{self, Trace};
use runtime::log_rate_limit::LogRateLimit;
use tracing::warn;

use super::{ConnectorLink, Effect, OutgoingReply, Rooms, SILENCE_MS};
use crate::connector_liveness::ConnectorLiveness;
use crate::owner::{Now, Requester};

impl Rooms {
    pub(super) fn update_liveness(&mut self) {
        let links = self.links.iter().map(|(connector, link)| (connector, &link.runs, link.silent_secs));
        let liveness = ConnectorLiveness::new(links, self.lease_secs);
        if *self.liveness != liveness {
            self.liveness = Arc::new(liveness);
            self.liveness_changed = true;
        }
    }

    /// To be called once a second while this server could hear: it is connected, and a message to itself came back. A second
    /// that took longer counts once. Connectors that are silent for too long lose their members.
    pub fn count_silence(&mut self, now: Now) -> Vec<Effect> {
        self.links.values_mut().for_each(|link| link.silent_secs = link.silent_secs.saturating_add(1));
        self.update_liveness();
        self.apply_liveness(now);
        self.take_effects()
    }

    /// Every room acts on what is new about connectors.
    pub(super) fn apply_liveness(&mut self, now: Now) {
        if std::mem::take(&mut self.liveness_changed) {
            self.with_all(|owner, effects| owner.tick(now, effects));
        }
    }

    pub(super) fn detach_silent(&mut self, ticks: u64) {
        for (connector, link) in &mut self.links {
            if !link.is_silent && ticks.saturating_sub(link.last_message_at) >= SILENCE_MS {
                warn!(%connector, "nothing heard from a connector for {} s", SILENCE_MS / 1_000);
                link.is_silent = true;
                link.number += 1;
                self.owners.values_mut().for_each(|owner| owner.detach(connector));
            }
        }
    }

    /// Who probes is no connector: nothing is numbered for it. It is told how this server is.
    pub(super) fn answer_probe(&mut self, from: ServerId, reply: Option<String>, trace: Trace, now: Now) {
        let answer = if self.is_handing_over { RpcResponse::Leaving } else { RpcResponse::Alive };
        let envelope = FromChat { stats: Some(self.stats(now)), ..self.envelope(0, answer) };
        self.send_envelope((from, reply, Some(trace)), &envelope);
    }

    /// Answers a connector, with the figures that it reports to gates.
    pub(super) fn answer_heartbeat(&mut self, requester: Requester, answer: RpcResponse, now: Now) {
        let number = self.next_number(&requester.connector);
        let envelope = FromChat { stats: Some(self.stats(now)), ..self.envelope(number, answer) };
        self.send_envelope((requester.connector, Some(requester.reply), Some(requester.trace)), &envelope);
    }

    fn stats(&self, now: Now) -> ChatStats {
        ChatStats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: now.ticks,
            rooms: self.count() as u64,
            records: self.records_appended,
        }
    }

    pub(super) fn answer(&mut self, requester: Requester, answer: &RpcResponse) {
        if let RpcResponse::Stale(known) = answer {
            return self.answer_stale((requester.connector, Some(requester.reply), requester.trace), *known);
        }
        self.send(requester.connector, Some(requester.reply), Some(requester.trace), answer);
    }

    /// Numbers and encodes a message to a connector.
    pub(super) fn send(
        &mut self,
        connector: ServerId,
        reply: Option<String>,
        trace: Option<Trace>,
        answer: &RpcResponse,
    ) {
        let number = self.next_number(&connector);
        let envelope = self.envelope(number, answer.clone());
        self.send_envelope((connector, reply, trace), &envelope);
    }

    /// Numbers a message to a connector. One that never spoke to this run follows nothing of it, but
    /// may have members here: its numbers begin with this message.
    fn next_number(&mut self, connector: &ServerId) -> u64 {
        let link = self
            .links
            .entry(connector.clone())
            .or_insert_with(|| ConnectorLink { is_silent: true, ..ConnectorLink::default() });
        link.number += 1;
        link.number
    }

    pub(super) fn envelope(&self, number: u64, answer: RpcResponse) -> FromChat {
        let (v, chat, incarnation) = (rpc::VERSION, self.me.clone(), self.incarnation);
        FromChat { v, chat, incarnation, number, stats: None, answer }
    }

    pub(super) fn send_envelope(
        &mut self,
        (connector, reply, trace): (ServerId, Option<String>, Option<Trace>),
        envelope: &FromChat,
    ) {
        match rpc::encode(envelope) {
            Ok(body) => {
                let (method, room) = (envelope.answer.method(), envelope.answer.room().cloned());
                let record = envelope.answer.record().cloned();
                self.effects.push(Effect::Send(OutgoingReply { connector, reply, method, room, trace, body, record }));
            }
            // The number is used: the connector notices, and reads what it missed.
            Err(error) => {
                static UNWRITABLE: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = UNWRITABLE.pass() {
                    warn!(%error, %connector, suppressed, "a message to a connector cannot be written");
                }
            }
        }
    }
}
