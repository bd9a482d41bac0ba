//! Messages of the client library, into ours and back.

use std::str::FromStr;

use async_nats::message::OutboundMessage;
use async_nats::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::bus::{Headers, Message, Outgoing};

impl From<Outgoing> for OutboundMessage {
    fn from(message: Outgoing) -> Self {
        let Outgoing { subject, reply, headers, payload } = message;
        let headers = (!headers.is_empty()).then(|| to_map(&headers));
        Self { subject: subject.into(), reply: reply.map(Into::into), payload, headers }
    }
}

impl From<async_nats::Message> for Message {
    fn from(message: async_nats::Message) -> Self {
        let async_nats::Message { subject, reply, payload, headers, status, .. } = message;
        Self {
            subject: subject.as_str().to_owned(),
            reply: reply.map(|reply| reply.as_str().to_owned()),
            headers: headers.as_ref().map(from_map).unwrap_or_default(),
            payload,
            no_responders: status == Some(StatusCode::NO_RESPONDERS),
            status: status.map(|status| status.as_u16()),
        }
    }
}

// Through `FromStr`, which refuses; the other conversions of the library panic. `Headers` lets nothing in that is
// refused here.
fn to_map(headers: &Headers) -> HeaderMap {
    let pairs = headers.iter();
    pairs
        .filter_map(|(name, value)| Some((HeaderName::from_str(name).ok()?, HeaderValue::from_str(value).ok()?)))
        .collect()
}

fn from_map(map: &HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, values) in map.iter() {
        let name: &str = name.as_ref();
        if let Some(value) = values.first() {
            headers.insert(name.to_owned(), value.as_str());
        }
    }
    headers
}
