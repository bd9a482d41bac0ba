//! Links to connectors: their silence, and responses to heartbeats and probes.

use std::sync::Arc;

use model::failure_detector::Thresholds;
use model::rpc::EncodedResponse;
use model::rpc::messages::{ChatStats, LogShortages, RpcResponse};

use super::outgoing::Receiver;
use super::{Effect, Rooms, SILENCE_MS};
use crate::connector_liveness::ConnectorLiveness;
use crate::event::Event;
use crate::room::{Now, Requester};

impl Rooms {
    pub(super) fn update_liveness(&mut self) {
        let thresholds = Thresholds::silence(self.lease_secs);
        let links = self.links.iter().map(|(connector, link)| (connector, &link.runs, link.detector.state(thresholds)));
        let liveness = ConnectorLiveness::new(links);
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
        self.links.values_mut().for_each(|link| link.detector.record_miss());
        self.update_liveness();
        self.apply_liveness(now);
        self.take_effects()
    }

    /// Applies a change of liveness in every room.
    pub(super) fn apply_liveness(&mut self, now: Now) {
        if std::mem::take(&mut self.liveness_changed) {
            self.with_all(|owner, cx| owner.tick(now, cx));
        }
    }

    pub(super) fn detach_silent(&mut self, ticks: u64) {
        for (connector, link) in &mut self.links {
            if !link.is_silent && link.messages.silence(ticks) >= SILENCE_MS {
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
    pub(super) fn answer_probe(&mut self, from: Receiver, now: Now) {
        let response = if self.is_handing_over { RpcResponse::Leaving } else { RpcResponse::Alive };
        let stats = self.stats(now);
        self.outgoing().send_numbered(0, from, &EncodedResponse::new(&response), Some(&stats));
    }

    /// Responds to a heartbeat, with the statistics that the connector reports to gates.
    pub(super) fn answer_heartbeat(&mut self, requester: Requester, response: &RpcResponse, now: Now) {
        let stats = self.stats(now);
        let mut out = self.outgoing();
        let number = out.next_number(&requester.server);
        out.send_numbered(number, requester.into(), &EncodedResponse::new(response), Some(&stats));
    }

    pub(super) fn stats(&self, now: Now) -> ChatStats {
        let mut log_shortages = LogShortages::NONE;
        for (part, space) in self.log_spaces.iter() {
            space.shortage().into_iter().for_each(|shortage| log_shortages.add(self.log_parts.slots(part), shortage));
        }
        ChatStats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: now.ticks,
            rooms: self.count() as u64,
            records: self.records_appended,
            log_shortages,
        }
    }
}
