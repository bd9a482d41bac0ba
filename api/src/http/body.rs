//! The bodies of requests: their type, their length, the time that they may take, and the memory
//! of all together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::refused::Refused;

/// Largest body in bytes.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// Time for a body.
const BODY: Duration = Duration::from_secs(10);

/// Bytes of memory for each byte of a body.
// Its text, and the values that are parsed from it: sixteen bytes or more for `0,` in a list of
// numbers, much less for messages.
const MEMORY_PER_BYTE: usize = 8;

const TOO_LARGE: Refused = Refused::new(413, "too-large: the body is larger than 1 MiB");
const TOO_SLOW: Refused = Refused::new(408, "too-slow: the body did not come in 10 seconds");
const BROKEN: Refused = Refused::new(400, "bad-body: the body broke off");
const NOT_JSON: Refused = Refused::new(415, "bad-type: send the body as Content-Type: application/json");
const ENCODED: Refused = Refused::new(415, "bad-encoding: send the body without Content-Encoding");
const UNEXPECTED: Refused = Refused::new(400, "bad-body: the route takes its members in the query");
const FULL: Refused = Refused::new(429, "too-many-requests: the bodies of other requests fill the memory for them");

/// The memory for the bodies of all requests. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct BodyMemory(Arc<Semaphore>);

impl BodyMemory {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Reads a body that is a JSON object, or absent.
    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Option<OwnedSemaphorePermit>, Map<String, Value>), Refused> {
        if is_absent(headers) {
            return Ok((None, Map::new()));
        }
        check_type(headers)?;
        let most = match length(headers) {
            Some(length) if length > MAX_BODY => return Err(TOO_LARGE),
            Some(length) => length,
            None => MAX_BODY,
        };
        let memory = u32::try_from(most * MEMORY_PER_BYTE).map_err(|_| TOO_LARGE)?;
        let permit = self.0.clone().try_acquire_many_owned(memory).map_err(|_| FULL)?;
        let collected = timeout(BODY, Limited::new(body, most).collect()).await.map_err(|_| TOO_SLOW)?;
        let bytes = collected.map_err(|error| if error.is::<LengthLimitError>() { TOO_LARGE } else { BROKEN })?;
        let members = serde_json::from_slice(&bytes.to_bytes())
            .map_err(|error| Refused::bad("bad-body", format!("the body must be a JSON object: {error}")))?;
        Ok((Some(permit), members))
    }
}

/// Refuses a body where there may be none: its members would be ignored.
pub(super) fn check_absent(headers: &HeaderMap) -> Result<(), Refused> {
    if is_absent(headers) { Ok(()) } else { Err(UNEXPECTED) }
}

fn is_absent(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::TRANSFER_ENCODING) && length(headers).unwrap_or(0) == 0
}

fn length(headers: &HeaderMap) -> Option<usize> {
    // The connection has refused a length that is no number.
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_type(headers: &HeaderMap) -> Result<(), Refused> {
    let text = |name| headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or("?"));
    if text(header::CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(ENCODED);
    }
    let media = text(header::CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(NOT_JSON) }
}
