//! Responses and pushes, rendered and framed: never empty, never larger than clients accept.

use bytes::Bytes;
use runtime::log_rate_limit::LogRateLimit;
use runtime::metrics::RouteLabel;
use serde::Serialize;
use tracing::error;
use wire::{Dictionary, MAX_JSON_TO_CLIENT, Message, RouteRef, WireError};

use super::{KickReason, WriteQueue, routes};

/// The body of an error response.
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    /// HTTP's codes, or 500 where Pomelo's demo has that.
    pub code: u16,
    /// Part of refused `enter` responses in Pomelo's demo; left out elsewhere.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub error: bool,
    /// A stable word, a colon, a sentence for developers.
    pub reason: &'a str,
}

/// A framed response. A body that cannot be sent becomes an error response: every request gets one.
pub fn response(id: u32, body: &impl Serialize) -> Bytes {
    let framed = render(body).and_then(|body| Message::Response { id, body }.encode_package());
    framed.unwrap_or_else(|error| {
        static ANSWERS: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = ANSWERS.pass() {
            error!(%error, suppressed, "a response cannot be sent");
        }
        let body = Bytes::from_static(br#"{"code":500,"reason":"too-large: the answer cannot be sent"}"#);
        // A fixed small body always fits.
        Message::Response { id, body }.encode_package().unwrap_or_default()
    })
}

/// A framed push; its route abbreviated if there is a dictionary. None if the body cannot be sent,
/// which is logged.
pub fn push(route: &str, body: &impl Serialize, dictionary: Option<&Dictionary>) -> Option<Bytes> {
    // The limits of names and content ensure that every push can be sent.
    let route = match dictionary {
        Some(dictionary) => dictionary.abbreviate(route),
        None => RouteRef::Text(route.to_owned()),
    };
    let framed = render(body).and_then(|body| Message::Push { route, body }.encode_package());
    let log = |error: &WireError| {
        static PUSHES: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = PUSHES.pass() {
            error!(%error, suppressed, "a push cannot be sent");
        }
    };
    framed.inspect_err(log).ok()
}

fn render(body: &impl Serialize) -> Result<Bytes, WireError> {
    let body = wire::to_json(body)?;
    if body.len() > MAX_JSON_TO_CLIENT {
        return Err(WireError::PackageTooLong { len: body.len(), max: MAX_JSON_TO_CLIENT });
    }
    Ok(body.into())
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
        write_queue.push(response(id, &ErrorBody { code: 500, error: false, reason })).ok();
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

    #[test]
    fn error_is_left_out_where_the_demo_has_none() {
        let framed = response(1, &ErrorBody { code: 500, error: false, reason: "x" });
        assert!(framed.ends_with(br#"{"code":500,"reason":"x"}"#));
    }
}
