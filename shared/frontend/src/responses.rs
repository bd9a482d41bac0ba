//! Responses and pushes: every request gets a response, and a body that cannot be sent is logged.

use bytes::Bytes;
use model::client_frame::{self, ErrorBody};
use runtime::log_rate_limit::LogRateLimit;
use runtime::metrics::RouteLabel;
use serde::Serialize;
use tracing::error;
use wire::WireError;

use super::{KickReason, WriteQueue, routes};

/// A framed response. A body that cannot be sent becomes an error response: every request gets one.
pub fn response(id: u32, body: &impl Serialize) -> Bytes {
    response_or_error(id, client_frame::response(id, body))
}

/// A framed response, or an error response if it cannot be sent.
pub fn response_or_error(id: u32, framed: Result<Bytes, WireError>) -> Bytes {
    framed.unwrap_or_else(|error| {
        static ANSWERS: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = ANSWERS.pass() {
            error!(%error, suppressed, "a response cannot be sent");
        }
        client_frame::unsendable(id)
    })
}

/// A framed push, or none if it cannot be sent, which is logged.
pub fn push_or_none(framed: Result<Bytes, WireError>) -> Option<Bytes> {
    let log = |error: &WireError| {
        static PUSHES: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = PUSHES.pass() {
            error!(%error, suppressed, "a push cannot be sent");
        }
    };
    framed.inspect_err(log).ok()
}

/// Responds to a request for an unknown route. Notifies for one are ignored, as Pomelo does.
pub fn unknown_route(write_queue: &WriteQueue, id: Option<u32>, route: &str) {
    if routes::is_attack(route) {
        return write_queue.kick(KickReason::Attack);
    }
    if let Some(id) = id {
        write_queue.metrics().requests_answered.add(RouteLabel::of(route), 500);
        let reason = "unknown-route: this server has no such route";
        // A closed write queue needs no response.
        write_queue.push(response(id, &ErrorBody::new(500, false, reason))).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_that_is_too_large_becomes_an_error() {
        let framed = response(7, &vec!["x".repeat(1_000); 70]);
        assert!(framed.len() < 200);
        assert!(framed.ends_with(br#""too-large: the answer cannot be sent"}"#));
    }
}
