//! Links to connectors: their runs, their silence, and the numbered messages to them.

use std::sync::Arc;

use shared::ids::ServerId;
use shared::log_rate_limit::LogRateLimit;
use shared::rpc::messages::{ChatStats, FromChat, RpcResponse};
use shared::rpc::{self, Trace};
use tracing::warn;

use super::{Effect, Link, Rooms, SILENCE_MS, Send};
use crate::gone::Gone;
use crate::owner::{Asker, Now};

impl Rooms {
    pub(super) fn judge_connectors(&mut self) {
        let links = self.links.iter().map(|(connector, link)| (connector, &link.runs, link.silence));
        let gone = Gone::new(links, self.lease_secs);
        if *self.gone != gone {
            self.gone = Arc::new(gone);
            self.has_news = true;
        }
    }

    /// To be called once a second while this server could hear: it is connected, and a message to itself came back. A second
    /// that took longer counts once. Connectors that are silent for too long lose their members.
    pub fn listened(&mut self, now: Now) -> Vec<Effect> {
        self.links.values_mut().for_each(|link| link.silence = link.silence.saturating_add(1));
        self.judge_connectors();
        self.expel(now);
        self.take_effects()
    }

    /// Every room acts on what is new about connectors.
    pub(super) fn expel(&mut self, now: Now) {
        if std::mem::take(&mut self.has_news) {
            self.with_all(|owner, acts| owner.tick(now, acts));
        }
    }

    pub(super) fn forget_silent(&mut self, ticks: u64) {
        for (connector, link) in &mut self.links {
            if !link.silent && ticks.saturating_sub(link.heard_at) >= SILENCE_MS {
                warn!(%connector, "nothing heard from a connector for {} s", SILENCE_MS / 1_000);
                link.silent = true;
                link.number += 1;
                self.owners.values_mut().for_each(|owner| owner.detach(connector));
            }
        }
    }

    /// Who probes is no connector: nothing is numbered for it. It is told how this server is.
    pub(super) fn answer_probe(&mut self, from: ServerId, reply: Option<String>, trace: Trace, now: Now) {
        let answer = if self.is_leaving { RpcResponse::Leaving } else { RpcResponse::Alive };
        let said = FromChat { stats: Some(self.stats(now)), ..self.said(0, answer) };
        self.send_said((from, reply, trace), &said);
    }

    /// Answers a connector, with the figures that it reports to gates.
    pub(super) fn answer_heartbeat(&mut self, asker: Asker, answer: RpcResponse, now: Now) {
        let number = self.next_number(&asker.connector);
        let said = FromChat { stats: Some(self.stats(now)), ..self.said(number, answer) };
        self.send_said((asker.connector, Some(asker.reply), asker.trace), &said);
    }

    fn stats(&self, now: Now) -> ChatStats {
        ChatStats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: now.ticks,
            rooms: self.count() as u64,
            records: self.records,
        }
    }

    pub(super) fn answer(&mut self, asker: Asker, answer: &RpcResponse) {
        if let RpcResponse::Stale(known) = answer {
            return self.answer_stale((asker.connector, Some(asker.reply), asker.trace), *known);
        }
        self.send(asker.connector, Some(asker.reply), asker.trace, answer);
    }

    /// Numbers and encodes a message to a connector.
    pub(super) fn send(&mut self, connector: ServerId, reply: Option<String>, trace: Trace, answer: &RpcResponse) {
        let number = self.next_number(&connector);
        let said = self.said(number, answer.clone());
        self.send_said((connector, reply, trace), &said);
    }

    /// Numbers a message to a connector. One that never spoke to this run follows nothing of it, but
    /// may have members here: its numbers begin with this message.
    fn next_number(&mut self, connector: &ServerId) -> u64 {
        let link = self.links.entry(connector.clone()).or_insert_with(|| Link { silent: true, ..Link::default() });
        link.number += 1;
        link.number
    }

    pub(super) fn said(&self, number: u64, answer: RpcResponse) -> FromChat {
        let (v, chat, incarnation) = (rpc::VERSION, self.me.clone(), self.incarnation);
        FromChat { v, chat, incarnation, number, stats: None, answer }
    }

    pub(super) fn send_said(&mut self, (connector, reply, trace): (ServerId, Option<String>, Trace), said: &FromChat) {
        match rpc::encode(said) {
            Ok(body) => {
                let (method, room) = (said.answer.method(), said.answer.room().cloned());
                let record = said.answer.record().cloned();
                self.effects.push(Effect::Send(Send { connector, reply, method, room, trace, body, record }));
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
