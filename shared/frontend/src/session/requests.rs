//! Requests of a client, between the limits and the role.

use bytes::Bytes;
use runtime::fault;
use runtime::metrics::{Counter, RouteLabel};

use super::Connection;
use crate::queued_bodies::QueueRefusal;
use crate::websocket::READ_BUFFER;
use crate::{App, ErrorBody, Session, response};

impl<A: App> Connection<A> {
    pub(super) fn on_message(&mut self, id: Option<u32>, route: &str, body: Bytes) {
        let metrics = &self.options.metrics;
        metrics.requests.add();
        fault::point("session", &body);
        let bytes = body.len();
        let refused = &metrics.requests_refused_overload;
        let held = match &self.queued_bodies {
            Some(bodies) => bodies.hold(body, self.frame_bytes.max(READ_BUFFER)),
            None => Ok(body),
        };
        let body = match held {
            Ok(body) => body,
            Err(refusal) => {
                let counter = match refusal {
                    QueueRefusal::Server => &refused.queued_bytes,
                    QueueRefusal::Address => &refused.address_queued_bytes,
                };
                return self.refuse((id, route), refusal.reason(), counter);
            }
        };
        // Behind the bytes that wait: what is refused there has not paid, and what is refused here
        // does not wait.
        if let Err(refusal) = self.rate_limit.take_message(route, bytes, self.last_received_at) {
            return self.refuse((id, route), refusal.reason(), refusal.counter(refused));
        }
        if let Some(session) = &mut self.session {
            session.on_message(id, route, body);
            self.poll_role();
        }
    }

    /// Answers a request 429; a notify is dropped.
    fn refuse(&self, (id, route): (Option<u32>, &str), reason: &str, counter: &Counter) {
        counter.add();
        if let Some(id) = id {
            self.options.metrics.requests_answered.add(RouteLabel::of(route), 429);
            self.send(response(id, &ErrorBody::new(429, false, reason)));
        }
    }
}
