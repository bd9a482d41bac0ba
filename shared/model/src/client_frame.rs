//! Responses and pushes for clients, rendered and framed: never larger than clients accept.

use bytes::Bytes;
use serde::Serialize;
use wire::{Dictionary, MAX_JSON_TO_CLIENT, Message, RouteRef, WireError};

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
    /// The end of the rule that refuses, in Unix milliseconds; 0 for one without an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Milliseconds after which a repeat is not refused for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<u64>,
}

impl<'a> ErrorBody<'a> {
    /// Returns the body of an error without times.
    pub fn new(code: u16, error: bool, reason: &'a str) -> Self {
        Self { code, error, reason, until: None, retry: None }
    }
}

/// A framed response.
///
/// # Errors
/// If the body cannot be sent; then [`unsendable`] is the response.
pub fn response(id: u32, body: &impl Serialize) -> Result<Bytes, WireError> {
    Message::Response { id, body: render(body)? }.encode_package()
}

/// The response in place of one that cannot be sent: every request gets a response.
pub fn unsendable(id: u32) -> Bytes {
    let body = Bytes::from_static(br#"{"code":500,"reason":"too-large: the answer cannot be sent"}"#);
    // A fixed small body always fits.
    Message::Response { id, body }.encode_package().unwrap_or_default()
}

/// A framed push; its route abbreviated if there is a dictionary.
///
/// # Errors
/// If the body cannot be sent.
pub fn push(route: &str, body: &impl Serialize, dictionary: Option<&Dictionary>) -> Result<Bytes, WireError> {
    // The limits of names and content ensure that every push can be sent.
    let route = match dictionary {
        Some(dictionary) => dictionary.abbreviate(route),
        None => RouteRef::Text(route.to_owned()),
    };
    Message::Push { route, body: render(body)? }.encode_package()
}

fn render(body: &impl Serialize) -> Result<Bytes, WireError> {
    let body = wire::to_json(body)?;
    if body.len() > MAX_JSON_TO_CLIENT {
        return Err(WireError::PackageTooLong { len: body.len(), max: MAX_JSON_TO_CLIENT });
    }
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_left_out_where_the_demo_has_none() {
        let framed = response(1, &ErrorBody::new(500, false, "x")).unwrap();
        assert!(framed.ends_with(br#"{"code":500,"reason":"x"}"#));
    }
}
