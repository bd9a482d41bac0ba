//! Requests to JetStream over the bus, and its parsed responses. Does not interpret them for the
//! log.
//!
//! Callers use subjects without `nats.prefix`. JetStream needs them with it, so it is applied here
//! to every subject in a body or within another subject; the bus does so with all others.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, Info};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::{Bus, BusError, Headers, Message, OutgoingMessage};
use bytes::Bytes;
use model::log_parts::{LogPart, LogParts};
use model::record::Position;
use model::settings::LogSettings;
use model::subjects::{self, SubjectPrefix};
use owner::log_operation::Lifetime;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// The header by which an append names the position that it expects; the stream keeps it.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// The header with a message's own lifetime, and the value with which no age removes it.
const TTL: &str = "Nats-TTL";
const NEVER: &str = "never";

/// The status of a direct read that found nothing.
const NOT_THERE: u16 = 404;

/// Codes of those JetStream errors that are distinguished.
pub(super) mod code {
    pub(in super::super) const ACCOUNT_FULL: u64 = 10_002;
    pub(in super::super) const NO_PEERS: u64 = 10_005;
    pub(in super::super) const NO_LEADER: u64 = 10_008;
    pub(in super::super) const NOT_LEADER: u64 = 10_009;
    pub(in super::super) const NO_CONSUMER: u64 = 10_014;
    pub(in super::super) const RESOURCES: u64 = 10_023;
    pub(in super::super) const MAX_STREAMS: u64 = 10_027;
    pub(in super::super) const MEMORY: u64 = 10_028;
    pub(in super::super) const NO_ACCOUNT: u64 = 10_035;
    pub(in super::super) const NO_MESSAGE: u64 = 10_037;
    pub(in super::super) const NOT_FOR_ACCOUNT: u64 = 10_039;
    pub(in super::super) const STORAGE: u64 = 10_047;
    /// A server cannot make the files of a stream.
    pub(in super::super) const NO_STORE: u64 = 10_049;
    /// A message above the stream's `max_msg_size`.
    pub(in super::super) const TOO_LARGE: u64 = 10_054;
    pub(in super::super) const STREAM_EXISTS: u64 = 10_058;
    pub(in super::super) const NO_STREAM: u64 = 10_059;
    pub(in super::super) const OVERLAP: u64 = 10_065;
    pub(in super::super) const WRONG_LAST: u64 = 10_071;
    pub(in super::super) const NO_REPLICAS: u64 = 10_074;
    pub(in super::super) const NOT_ENABLED: u64 = 10_076;
    pub(in super::super) const STORE_FAILED: u64 = 10_077;
    pub(in super::super) const ACCOUNT_STREAM_BYTES: u64 = 10_122;
    /// Like [`WRONG_LAST`], without naming the last position.
    pub(in super::super) const WRONG_LAST_CONSTANT: u64 = 10_164;
}

/// A failed request to JetStream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum ApiError {
    /// No response. JetStream may have performed the request, except after
    /// [`BusError::NoResponders`].
    #[error("{0}")]
    Bus(#[from] BusError),
    /// JetStream refused.
    #[error("JetStream refused: {description} ({code})")]
    Refused {
        /// One of [`code`].
        code: u64,
        /// JetStream's description.
        description: String,
    },
    /// The response cannot be parsed.
    #[error("a response of JetStream cannot be parsed: {0}")]
    Garbled(String),
}

impl ApiError {
    /// Returns true if JetStream refused with this code.
    pub(super) fn is(&self, wanted: u64) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }
}

/// A message of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredMessage {
    pub(super) subject: String,
    pub(super) position: Position,
    /// The position of the subject's last message as the author expected it.
    pub(super) expected: Option<Position>,
    pub(super) bytes: Bytes,
}

/// A query for one message.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum MessageQuery<'a> {
    At {
        seq: Position,
    },
    LastOf {
        last_by_subj: &'a str,
    },
    /// The first message at this position or above. For the leader only.
    NextOf {
        next_by_subj: &'a str,
        seq: Position,
    },
    /// The last message up to this position. For the nearest replica only.
    LastUpTo {
        multi_last: [&'a str; 1],
        up_to_seq: Position,
    },
}

impl<'s> MessageQuery<'s> {
    /// Returns the subject of the query; empty for none.
    fn subject(self) -> &'s str {
        match self {
            Self::At { .. } => "",
            Self::LastOf { last_by_subj } => last_by_subj,
            Self::NextOf { next_by_subj, .. } => next_by_subj,
            Self::LastUpTo { multi_last: [subject], .. } => subject,
        }
    }

    /// Returns the same query for another subject, if it has one.
    fn with_subject(self, subject: &str) -> MessageQuery<'_> {
        match self {
            Self::At { seq } => MessageQuery::At { seq },
            Self::LastOf { .. } => MessageQuery::LastOf { last_by_subj: subject },
            Self::NextOf { seq, .. } => MessageQuery::NextOf { next_by_subj: subject, seq },
            Self::LastUpTo { up_to_seq, .. } => MessageQuery::LastUpTo { multi_last: [subject], up_to_seq },
        }
    }
}

/// A query for the subjects of messages.
#[derive(Debug, Serialize)]
struct SubjectQuery<'a> {
    subjects_filter: &'a str,
    offset: usize,
}

/// Subjects of messages. JetStream names up to 100,000 at once.
#[derive(Debug)]
pub(super) struct SubjectPage {
    pub(super) subjects: Vec<String>,
    /// The offset of the next page; none behind the last one.
    pub(super) next: Option<usize>,
}

/// A stream of JetStream, reached over a bus. Every request ends within the time-out.
#[derive(Debug)]
pub(super) struct Api {
    bus: Bus,
    prefix: SubjectPrefix,
    stream: String,
    within: Duration,
}

impl Api {
    /// Reaches the stream of a part of the log.
    pub(super) fn new(bus: &Bus, settings: &LogSettings, (parts, part): (LogParts, LogPart)) -> Self {
        let stream = bus.prefix().stream(&subjects::log_stream(parts, part));
        Self::of_stream(bus, settings, stream)
    }

    /// Reaches the stream of this name, its prefix included.
    pub(super) fn of_stream(bus: &Bus, settings: &LogSettings, stream: String) -> Self {
        Self { bus: bus.clone(), prefix: bus.prefix(), stream, within: settings.timeout() }
    }

    /// Returns the name of the stream.
    pub(super) fn stream(&self) -> &str {
        &self.stream
    }

    /// Returns the prefix of subjects, as JetStream knows them.
    pub(super) fn prefix(&self) -> &SubjectPrefix {
        &self.prefix
    }

    pub(super) fn within(&self) -> Duration {
        self.within
    }

    /// Reads the stream's settings and state.
    pub(super) async fn info(&self) -> Result<Info, ApiError> {
        let response = self.request(format!("$JS.API.STREAM.INFO.{}", self.stream), Bytes::new()).await?;
        parse(&response.payload)
    }

    /// Reads the subjects of the stream's messages that match a pattern, from the one at `offset` on.
    pub(super) async fn subjects(&self, pattern: &str, offset: usize) -> Result<SubjectPage, ApiError> {
        let request = json(&SubjectQuery { subjects_filter: &self.prefix.apply(pattern), offset })?;
        let response = self.request(format!("$JS.API.STREAM.INFO.{}", self.stream), request).await?;
        let SubjectResponse { total, state } = parse(&response.payload)?;
        let found = state.subjects.unwrap_or_default();
        let count = found.len();
        let subjects = found.into_keys().filter_map(|subject| self.prefix.remove(&subject).map(str::to_owned));
        Ok(SubjectPage {
            subjects: subjects.collect(),
            next: Some(offset + count).filter(|next| count > 0 && *next < total),
        })
    }

    /// Creates the stream. Succeeds if one with the same settings exists.
    pub(super) async fn create(&self, config: &Config) -> Result<Info, ApiError> {
        let response = self.request(format!("$JS.API.STREAM.CREATE.{}", self.stream), json(config)?).await?;
        parse(&response.payload)
    }

    /// Makes the stream's leader give the lead to this server. JetStream takes another one if that
    /// cannot lead.
    pub(super) async fn step_down(&self, preferred: &str) -> Result<(), ApiError> {
        let body = serde_json::json!({ "placement": { "preferred": preferred } });
        let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{}", self.stream);
        let response = self.request(subject, json(&body)?).await?;
        parse::<serde_json::Value>(&response.payload).map(drop)
    }

    /// Appends to a subject and returns the new position; where an expectation is given, only if
    /// that is the subject's last position, and for the lifetime.
    pub(super) async fn append(
        &self,
        subject: String,
        append: Option<(Position, Lifetime)>,
        payload: Bytes,
    ) -> Result<Position, ApiError> {
        let mut headers = Headers::new();
        if let Some((expected, lifetime)) = append {
            headers = headers.with(EXPECTED, expected.0.to_string());
            if lifetime == Lifetime::Lasting {
                headers = headers.with(TTL, NEVER);
            }
        }
        let request = |reply| OutgoingMessage { subject, reply: Some(reply), headers, payload };
        // The inbox of a request is not secret: a response counts only if it names a stream of this log.
        let stream = self.stream.clone();
        let log = self.prefix.stream(&subjects::log_stream(LogParts::ONE, LogPart::default()));
        let accepts = move |response: &Message| is_of_log(&response.payload, &stream, &log);
        let response = self.bus.request_for(request, accepts, self.within).await?;
        parse_ack(&response.payload, &self.stream)
    }

    /// Reads from the nearest replica, which may lag behind.
    pub(super) async fn read_nearest(&self, query: MessageQuery<'_>) -> Result<Option<StoredMessage>, ApiError> {
        let direct = format!("$JS.API.DIRECT.GET.{}", self.stream);
        let subject = self.prefixed(query);
        let response = match query.with_subject(&subject) {
            MessageQuery::LastOf { last_by_subj } => {
                self.request(format!("{direct}.{last_by_subj}"), Bytes::new()).await?
            }
            // In the subject only where the query is for one subject's last message: permissions can then be
            // for subjects.
            query => self.request(direct, json(&query)?).await?,
        };
        Ok(parse_direct_response(&response, &self.stream)?.map(|stored| self.without_prefix(stored)))
    }

    /// Reads from the stream's leader, which has all acknowledged messages.
    pub(super) async fn read_leader(&self, query: MessageQuery<'_>) -> Result<Option<StoredMessage>, ApiError> {
        let subject = self.prefixed(query);
        let request = json(&query.with_subject(&subject))?;
        let response = self.request(format!("$JS.API.STREAM.MSG.GET.{}", self.stream), request).await?;
        Ok(parse_leader_response(&response.payload)?.map(|stored| self.without_prefix(stored)))
    }

    /// Returns the subject of the query, as JetStream knows it.
    fn prefixed<'s>(&self, query: MessageQuery<'s>) -> Cow<'s, str> {
        self.prefix.apply(query.subject())
    }

    fn without_prefix(&self, stored: StoredMessage) -> StoredMessage {
        match self.prefix.remove(&stored.subject).map(str::to_owned) {
            Some(subject) => StoredMessage { subject, ..stored },
            // A subject outside of the prefix: the message belongs to no room.
            None => stored,
        }
    }

    /// Sends a request about the stream, such as `STREAM.UPDATE`, and returns the response.
    pub(super) async fn manage(&self, request: &str, body: &Value, within: Duration) -> Result<Value, ApiError> {
        let (subject, payload) = (format!("$JS.API.{request}"), json(body)?);
        let request = OutgoingMessage { subject, payload, ..OutgoingMessage::default() };
        parse(&self.bus.request(request, within).await?.payload)
    }

    async fn request(&self, subject: String, payload: Bytes) -> Result<Message, ApiError> {
        let request = OutgoingMessage { subject, payload, ..OutgoingMessage::default() };
        Ok(self.bus.request(request, self.within).await?)
    }
}

/// The error of a response.
#[derive(Debug, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl From<ErrorBody> for ApiError {
    fn from(refusal: ErrorBody) -> Self {
        Self::Refused { code: refusal.err_code, description: refusal.description }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ApiResponse<T> {
    Refused { error: ErrorBody },
    Granted(T),
}

#[derive(Debug, Deserialize)]
struct Ack<'a> {
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(default)]
    seq: u64,
    error: Option<ErrorBody>,
}

#[derive(Debug, Deserialize)]
struct SubjectResponse {
    /// Number of subjects that match, on all pages.
    #[serde(default)]
    total: usize,
    state: SubjectState,
}

#[derive(Debug, Deserialize)]
struct SubjectState {
    /// The subjects, with the numbers of their messages; missing when there are none.
    #[serde(default)]
    subjects: Option<HashMap<String, IgnoredAny>>,
}

#[derive(Debug, Deserialize)]
struct MessageResponse {
    message: MessageFields,
}

#[derive(Debug, Deserialize)]
struct MessageFields {
    subject: String,
    seq: Position,
    /// Base64; missing when empty.
    #[serde(default)]
    data: String,
    /// Base64 of the headers in wire format; missing when there are none.
    #[serde(default)]
    hdrs: String,
}

fn json(value: &impl Serialize) -> Result<Bytes, ApiError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| ApiError::Garbled(error.to_string()))
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ApiError> {
    match serde_json::from_slice(payload) {
        Ok(ApiResponse::Granted(response)) => Ok(response),
        Ok(ApiResponse::Refused { error }) => Err(error.into()),
        Err(error) => Err(ApiError::Garbled(error.to_string())),
    }
}

fn parse_ack(payload: &[u8], stream: &str) -> Result<Position, ApiError> {
    let ack: Ack<'_> = serde_json::from_slice(payload).map_err(|error| ApiError::Garbled(error.to_string()))?;
    match ack.error {
        Some(refusal) => Err(refusal.into()),
        // A stream of another name that took the message is no acknowledgement: the room's owner would
        // never read it again.
        // JetStream positions begin at 1, so 0 is a missing field.
        None if ack.stream == stream && ack.seq > 0 => Ok(Position(ack.seq)),
        None => Err(ApiError::Garbled(format!("acknowledged by stream {:?} at {}", ack.stream, ack.seq))),
    }
}

/// Returns true for a response of this stream, or of another one of the log whose first stream is
/// `log`.
fn is_of_log(payload: &[u8], stream: &str, log: &str) -> bool {
    // Another account may have a stream with the same subjects, or a program may respond to them.
    let ack = serde_json::from_slice::<Ack<'_>>(payload);
    // A room may be in another stream by now: that is known at once then, not after the time-out.
    let is_other = |stream: &str| stream.strip_prefix(log).is_some_and(|rest| rest.starts_with('-'));
    ack.is_ok_and(|ack| ack.stream == stream || is_other(&ack.stream) || (ack.stream.is_empty() && ack.error.is_some()))
}

/// Parses the response to a direct read: the message itself, with its metadata in headers.
fn parse_direct_response(response: &Message, stream: &str) -> Result<Option<StoredMessage>, ApiError> {
    match response.status {
        None => {}
        Some(NOT_THERE) => return Ok(None),
        Some(status) => return Err(ApiError::Garbled(format!("status {status}"))),
    }
    let header = |name| response.headers.get(name).ok_or_else(|| ApiError::Garbled(format!("no header {name}")));
    // A mirror answers for its origin, also when it has become a stream with other records.
    let answered = header("Nats-Stream")?;
    if answered != stream {
        return Err(ApiError::Garbled(format!("read from the stream {answered}")));
    }
    let position = header("Nats-Sequence")?.parse().map(Position);
    Ok(Some(StoredMessage {
        subject: header("Nats-Subject")?.to_owned(),
        position: position.map_err(|_| ApiError::Garbled("Nats-Sequence is no number".to_owned()))?,
        expected: response.headers.get(EXPECTED).and_then(position_of),
        // Copied, because a slice would keep the whole receive buffer alive.
        bytes: Bytes::copy_from_slice(&response.payload),
    }))
}

fn parse_leader_response(payload: &[u8]) -> Result<Option<StoredMessage>, ApiError> {
    let MessageFields { subject, seq, data, hdrs } = match parse(payload) {
        Ok(MessageResponse { message }) => message,
        Err(error) if error.is(code::NO_MESSAGE) => return Ok(None),
        Err(error) => return Err(error),
    };
    let decoded = |text| STANDARD.decode(text).map_err(|error| ApiError::Garbled(error.to_string()));
    let (bytes, headers) = (decoded(data)?, decoded(hdrs)?);
    Ok(Some(StoredMessage { subject, position: seq, expected: expected(&headers), bytes: bytes.into() }))
}

/// Returns the position that an append expected, from the headers that the stream keeps.
fn expected(headers: &[u8]) -> Option<Position> {
    let headers = std::str::from_utf8(headers).ok()?;
    headers.lines().find_map(|line| position_of(line.strip_prefix(EXPECTED)?.strip_prefix(':')?))
}

fn position_of(text: &str) -> Option<Position> {
    text.trim().parse().ok().map(Position)
}

#[cfg(test)]
mod tests;
