//! RPC between servers: the bodies of requests and responses, and the headers that tracing tools
//! show.

mod envelope;
pub mod messages;
pub mod report;
mod shared_response;
mod trace;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::headers::Headers;
use crate::ids::{Incarnation, RoomId, ServerId};
use crate::membership::first_bytes;
use crate::subjects;
use crate::version;
pub use envelope::{record_offset, sender};
pub use shared_response::{EncodedResponse, Envelope};
pub use trace::Trace;

/// Version of bus messages; a reader refuses others.
pub const VERSION: u8 = 3;

/// Names of the headers of bus messages. Servers use the body and the signature; the other headers
/// are for people who trace.
pub mod header {
    /// Kind of the request or response, for example `send`.
    pub const METHOD: &str = "Method";
    /// The room, percent-encoded.
    pub const ROOM: &str = "Room";
    /// Server id of the sender.
    pub const FROM: &str = "From";
    /// Hash of the sender's list of chat servers.
    pub const VIEW: &str = "View";
    /// W3C trace context of the client request that caused the message.
    pub const TRACEPARENT: &str = "traceparent";
    /// Proof of the sender that the body names; checked by the crate `node`.
    pub const SIGNATURE: &str = "Signature";
}

/// The values of the headers of a bus message.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    /// Kind of the request or response.
    pub method: &'a str,
    /// The room it is about.
    pub room: Option<&'a RoomId>,
    /// The sender.
    pub from: &'a ServerId,
    /// Hash of the sender's list of chat servers.
    pub view: &'a str,
    /// The client request behind it.
    pub trace: &'a Trace,
}

impl Label<'_> {
    /// The headers.
    pub fn headers(&self) -> Headers {
        let headers = Headers::new().with(header::METHOD, self.method);
        let headers = match self.room {
            Some(room) => headers.with(header::ROOM, subjects::room_header(room)),
            None => headers,
        };
        headers
            .with(header::FROM, self.from.as_str())
            .with(header::VIEW, self.view)
            .with(header::TRACEPARENT, self.trace.as_str())
    }
}

/// A body that is not a message this version can read. The sender is to blame.
#[derive(Debug, Error)]
pub enum RpcError {
    /// Not MessagePack of this shape.
    #[error("bus message cannot be read: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// JSON, which no server sends.
    #[error(
        "JSON, as JetStream answers when a stream keeps these subjects: delete the stream; docs/how-to/tracing.md has ways to \
         watch that change nothing"
    )]
    Json,
    /// Another version.
    #[error("bus message of version {0}, this program speaks version {VERSION}: run one version in the whole cluster")]
    Version(u8),
    /// Cannot be written; a defect of ours.
    #[error("bus message cannot be written: {0}")]
    Unwritable(#[from] rmp_serde::encode::Error),
}

/// Returns the number that stands before the tokens by which a run of a server tells the responses to
/// its requests apart. Those of other runs are far away from it.
pub fn first_token(server: &ServerId, run: Incarnation) -> u64 {
    u64::from_be_bytes(first_bytes(&[b"token", &run.0.to_be_bytes(), server.as_str().as_bytes()]))
}

/// Encodes a message's body: a MessagePack map with named fields.
pub fn encode(message: &impl Serialize) -> Result<Bytes, RpcError> {
    // With names, later versions can add fields.
    Ok(version::encode(message)?.into())
}

/// Returns true for JSON, which no server sends: a MessagePack map begins otherwise.
pub fn is_json(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'{')
}

/// Reads what [`encode`] wrote.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RpcError> {
    // JetStream responds with JSON where a stream keeps these subjects; an error of its own names
    // the remedy.
    if is_json(bytes) {
        return Err(RpcError::Json);
    }
    match version::of(bytes)? {
        VERSION => Ok(rmp_serde::from_slice(bytes)?),
        other => Err(RpcError::Version(other)),
    }
}
