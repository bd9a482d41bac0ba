//! Carries out the effects of a connector's state.

use std::sync::atomic::Ordering;

use bus::OutgoingMessage;
use bytes::Bytes;
use follower::connector_state::{ClientResponse, Effect};
use follower::push_batch::{FlushedBatch, PushBatch};
use follower::render;
use follower::room::{Push, RoomResponse};
use frontend::{FRAME, KickReason};
use model::ids::{RoomId, ServerId};
use model::rpc::Label;
use model::subjects;
use tokio::time::Instant;
use tracing::debug;

use super::Connector;
use crate::report;

impl Connector {
    pub(super) fn perform(&mut self, effects: Vec<Effect>) {
        let mut batch = PushBatch::new(FRAME);
        for effect in effects {
            match effect {
                Effect::Push { room, to, push } => {
                    // Rendered and framed once for all sessions: each gets a clone of the same
                    // bytes.
                    let framed = render::render_push(&room, &push, self.dictionary.as_deref());
                    let Some(framed) = frontend::push_or_none(framed) else { continue };
                    if !batch.accepts_push(&to, &framed) {
                        self.flush(batch.take());
                    }
                    batch.push(to, framed, seq_for_all(&push));
                }
                Effect::Respond { session, id, response } => {
                    let (code, framed) = render::render_response(id, &response);
                    let framed = frontend::response_or_error(id, framed);
                    if matches!(response, ClientResponse::Room(_, RoomResponse::Sent { seq, .. }) if batch.accepts_response(seq))
                    {
                        batch.add_response(session, framed);
                    } else {
                        // Other responses state how the room is at this moment, so they must not be
                        // sent after later pushes.
                        self.flush(batch.take());
                        self.enqueue(session, &framed, 1);
                    }
                    if let Some(client) = self.clients.get_mut(&session) {
                        client.timers.stop(id, (code, &response), &self.node.metrics);
                    }
                }
                Effect::SendToChat { chat, token, method, room, body } => {
                    let reply = token.map(|token| subjects::connector_reply(&self.id, token));
                    self.publish(&chat, (subjects::chat(&chat), reply), (&method, room.as_ref()), body);
                }
                Effect::Entered(session) => {
                    if let Some(client) = self.clients.get(&session) {
                        client.entered.store(true, Ordering::Relaxed);
                    }
                }
                Effect::Displaced(session) => self.kick_behind(&mut batch, session, KickReason::NameTaken),
                Effect::MovedAway(session) => self.kick_behind(&mut batch, session, KickReason::Resumed),
                Effect::TokenExpires { session, secs } => {
                    self.flush(batch.take());
                    if let Some(framed) = frontend::push_or_none(render::render_expiry(secs)) {
                        self.enqueue(session, &framed, 1);
                    }
                }
                Effect::TokenExpired(session) => self.kick_behind(&mut batch, session, KickReason::Expired),
                Effect::Replaced(session) => self.kick_behind(&mut batch, session, KickReason::Replaced),
                Effect::Expelled(session) => self.kick_behind(&mut batch, session, KickReason::Expelled),
                Effect::Banned(session) => self.kick_behind(&mut batch, session, KickReason::Banned),
                Effect::Revoked(session) => self.kick_behind(&mut batch, session, KickReason::Revoked),
                Effect::SetGlobalRules(rules) => self.node.auth.set_global_rules(rules),
                Effect::RequestRecheck => self.node.server_list.request_recheck(),
                Effect::Report(event) => report::report(event, &self.id, &self.node.metrics),
                Effect::Lost(session) => {
                    self.flush(batch.take());
                    // A plain close instead of a kick: clients that reconnect by themselves then do
                    // so.
                    if let Some(client) = self.clients.get(&session) {
                        self.node.metrics.stays_lost.add();
                        client.write_queue.close();
                    }
                }
            }
        }
        self.flush(batch.take());
    }

    /// Kicks a session behind the pushes that it is to get first.
    fn kick_behind(&self, batch: &mut PushBatch, session: u64, reason: KickReason) {
        self.flush(batch.take());
        self.kick(session, reason);
    }

    pub(super) fn kick(&self, session: u64, reason: KickReason) {
        if let Some(client) = self.clients.get(&session) {
            client.write_queue.kick(reason);
        }
    }

    pub(super) fn publish(
        &self,
        to: &ServerId,
        (subject, reply): (String, Option<String>),
        (method, room): (&str, Option<&RoomId>),
        payload: Bytes,
    ) {
        let trace = bus::new_trace();
        let label = Label { method, room, from: &self.id, view: &self.view, trace: &trace };
        debug!(%trace, method, "message published");
        let mut message = OutgoingMessage { subject, reply, headers: label.headers(), payload };
        self.signer.sign(to, &mut message, None);
        if let Err(error) = self.node.bus.publish(message) {
            // The bus counts it. Requests are repeated until they are answered, so a loss here
            // heals.
            debug!(server = %self.id, %error, "message not published");
        }
    }

    fn flush(&self, FlushedBatch { to, pushes, count, responses }: FlushedBatch) {
        if count > 0 {
            let began = Instant::now();
            to.iter().for_each(|session| self.enqueue(*session, &pushes, count));
            self.node.metrics.stage_seconds.fan_out.add(began.elapsed());
            self.node.hold.record_pushes(to.len() * count, began);
        }
        responses.iter().for_each(|(session, response)| self.enqueue(*session, response, 1));
    }

    fn enqueue(&self, session: u64, packages: &Bytes, count: usize) {
        if let Some(client) = self.clients.get(&session)
            && client.write_queue.push_all(packages.clone(), count).is_err()
        {
            // The write queue closed itself and counted it; the end of the session arrives as a
            // command.
            debug!(server = %self.id, session, "slow consumer closed");
        }
    }
}

/// Returns the `seq` of a message to the whole room.
fn seq_for_all(push: &Push) -> Option<u64> {
    match push {
        Push::Chat { target: None, seq, .. } => Some(*seq),
        _ => None,
    }
}
