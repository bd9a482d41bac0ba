//! Links to connectors: their incarnations, their silence, and the numbered messages to them.

use std::sync::Arc;

use model::ids::ServerId;
use model::rpc::messages::{ChatStats, FromChat, RpcResponse};
use model::rpc::{self, Trace};

use super::{ConnectorLink, Effect, OutgoingReply, Rooms, SILENCE_MS};
use crate::connector_liveness::ConnectorLiveness;
use crate::event::Event;
use crate::room::{Now, Requester};

impl Rooms {
    pub(super) fn update_liveness(&mut self) {
        let links = self.links.iter().map(|(connector, link)| (connector, &link.runs, link.silent_secs));
        let liveness = ConnectorLiveness::new(links, self.lease_secs);
        // One shared value for all owners: they compare pointers, and an unchanged value costs
        // nothing.
        if *self.liveness != liveness {
            self.liveness = Arc::new(liveness);
            self.liveness_changed = true;
        }
    }

    /// Counts a second of silence for every connector; connectors that stay silent for the lease
    /// lose their members.
    ///
    /// Must be called once a second while this server can receive: it is connected, and a message
    /// to itself came back. A second that took longer counts once.
    pub fn count_silence(&mut self, now: Now) -> Vec<Effect> {
        self.links.values_mut().for_each(|link| link.silent_secs = link.silent_secs.saturating_add(1));
        self.update_liveness();
        self.apply_liveness(now);
        self.take_effects()
    }

    /// Applies a change of liveness in every room.
    pub(super) fn apply_liveness(&mut self, now: Now) {
        if std::mem::take(&mut self.liveness_changed) {
            self.with_all(|owner, effects| owner.tick(now, effects));
        }
    }

    pub(super) fn detach_silent(&mut self, ticks: u64) {
        for (connector, link) in &mut self.links {
            if !link.is_silent && ticks.saturating_sub(link.last_message_at) >= SILENCE_MS {
                let event = Event::ConnectorSilent { connector: connector.clone(), secs: SILENCE_MS / 1_000 };
                self.effects.push(Effect::Report(event));
                link.is_silent = true;
                // The connector may still believe that it follows. With its next message it finds
                // this number missing and attaches again.
                link.number += 1;
                self.owners.values_mut().for_each(|owner| owner.detach(connector));
            }
        }
    }

    /// Responds to a probe with the server's state. A prober is no connector: its messages have no
    /// numbers.
    pub(super) fn answer_probe(&mut self, from: ServerId, reply: Option<String>, trace: Trace, now: Now) {
        let response = if self.is_handing_over { RpcResponse::Leaving } else { RpcResponse::Alive };
        let envelope = FromChat { stats: Some(self.stats(now)), ..self.envelope(0, response) };
        self.send_envelope((from, reply, Some(trace)), &envelope);
    }

    /// Responds to a heartbeat, with the statistics that the connector reports to gates.
    pub(super) fn answer_heartbeat(&mut self, requester: Requester, response: RpcResponse, now: Now) {
        let number = self.next_number(&requester.connector);
        let envelope = FromChat { stats: Some(self.stats(now)), ..self.envelope(number, response) };
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

    pub(super) fn answer(&mut self, requester: Requester, response: &RpcResponse) {
        if let RpcResponse::Stale(known) = response {
            return self.answer_stale((requester.connector, Some(requester.reply), requester.trace), *known);
        }
        self.send(requester.connector, Some(requester.reply), Some(requester.trace), response);
    }

    /// Numbers, encodes and sends a message to a connector.
    pub(super) fn send(
        &mut self,
        connector: ServerId,
        reply: Option<String>,
        trace: Option<Trace>,
        response: &RpcResponse,
    ) {
        let number = self.next_number(&connector);
        let envelope = self.envelope(number, response.clone());
        self.send_envelope((connector, reply, trace), &envelope);
    }

    /// Returns the number of the next message to a connector.
    fn next_number(&mut self, connector: &ServerId) -> u64 {
        let link = self
            .links
            .entry(connector.clone())
            // A connector that never sent to this run follows nothing here, but may have members.
            // Its numbers begin with this message.
            .or_insert_with(|| ConnectorLink { is_silent: true, ..ConnectorLink::default() });
        link.number += 1;
        link.number
    }

    pub(super) fn envelope(&self, number: u64, response: RpcResponse) -> FromChat {
        let (v, chat, incarnation) = (rpc::VERSION, self.me.clone(), self.incarnation);
        FromChat { v, chat, incarnation, number, stats: None, response }
    }

    pub(super) fn send_envelope(
        &mut self,
        (connector, reply, trace): (ServerId, Option<String>, Option<Trace>),
        envelope: &FromChat,
    ) {
        match rpc::encode(envelope) {
            Ok(body) => {
                let (method, room) = (envelope.response.method(), envelope.response.room().cloned());
                let record = envelope.response.record().cloned();
                self.effects.push(Effect::Send(OutgoingReply { connector, reply, method, room, trace, body, record }));
            }
            // The number is used: the connector notices the gap and catches up.
            Err(error) => self.report(Event::MessageUnencodable { connector, error: error.to_string() }),
        }
    }
}
