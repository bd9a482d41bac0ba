//! Messages of the client library, into ours and back. The prefix of subjects is added and removed
//! here.

use std::borrow::Cow;
use std::str::FromStr;

use async_nats::message::OutboundMessage;
use async_nats::{HeaderMap, HeaderName, HeaderValue, StatusCode, Subject, Subscriber};
use futures_util::StreamExt;
use model::subjects::SubjectPrefix;

use crate::{Headers, Message, OutgoingMessage};

/// The header that names the subject of a message without subscribers in the broker's response, and
/// that of a record in JetStream's.
const SUBJECT: &str = "Nats-Subject";

/// The message as the broker gets it.
pub(super) fn outbound(message: OutgoingMessage, prefix: &SubjectPrefix) -> OutboundMessage {
    let OutgoingMessage { subject, reply, headers, payload } = message;
    let headers = (!headers.is_empty()).then(|| to_map(&headers));
    let whole = |subject: String| -> Subject {
        if let Cow::Owned(whole) = prefix.apply(&subject) {
            return whole.into();
        }
        subject.into()
    };
    OutboundMessage { subject: whole(subject), reply: reply.map(whole), payload, headers }
}

/// Messages of one subscription of the client library.
#[derive(Debug)]
pub(crate) struct Messages {
    subscriber: Subscriber,
    prefix: SubjectPrefix,
}

impl Messages {
    pub(super) fn new(subscriber: Subscriber, prefix: SubjectPrefix) -> Self {
        Self { subscriber, prefix }
    }

    /// The next message; `None` when the subscription has ended.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let message = self.subscriber.next().await?;
        Some(inbound(message, &self.prefix))
    }
}

fn inbound(message: async_nats::Message, prefix: &SubjectPrefix) -> Message {
    let async_nats::Message { subject, reply, payload, headers, status, .. } = message;
    let no_responders = status == Some(StatusCode::NO_RESPONDERS);
    let mut headers = headers.as_ref().map(from_map).unwrap_or_default();
    if no_responders {
        // It repeats a subject of ours. In JetStream's responses it is the record's, which the log
        // can read.
        let ours = headers.get(SUBJECT).and_then(|subject| prefix.remove(subject)).map(str::to_owned);
        ours.into_iter().for_each(|ours| headers.insert(SUBJECT, ours));
    }
    Message {
        // What comes has the prefix, because each subscription has it.
        subject: prefix.remove(&subject).unwrap_or(&subject).to_owned(),
        // A message to a subject of another cluster must not be possible: such a reply is none.
        reply: reply.and_then(|reply| prefix.remove(&reply).map(str::to_owned)),
        headers,
        payload,
        no_responders,
        status: status.map(|status| status.as_u16()),
    }
}

// Through `FromStr`, which refuses; the other conversions of the library panic. `Headers` lets
// nothing in that is refused here.
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
        // The broker adds its own behind those of a stored message, whose author may have named the
        // same.
        if let Some(value) = values.last() {
            headers.insert(name.to_owned(), value.as_str());
        }
    }
    headers
}
