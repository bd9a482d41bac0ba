//! A client's handshake request, `{"sys":{...},"user":...}`. Tolerant: only `sys` is needed.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::body::Body;
use crate::error::WireError;
use crate::text::to_json;

/// A client's handshake.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HandshakeRequest {
    /// The kind of client, `sys.type`: `js-websocket` for browsers, the platform for libpomelo2.
    pub client_type: Option<String>,
    /// The client library's version.
    pub version: Option<String>,
    /// The version of the dictionary that the client still has.
    pub dict_version: Option<String>,
    /// The version of the protobuf schemas that the client still has: a text, or a number above 0.
    pub proto_version: Option<String>,
    /// The application's own part.
    pub user: Option<Value>,
}

impl HandshakeRequest {
    /// Reads the body of a client's handshake package. Members of another type than expected count
    /// as absent: browsers send a `protoVersion` of 0 at first.
    ///
    /// # Errors
    /// [`WireError::Handshake`] if the body is no JSON object or its `sys` is none; to be answered
    /// with [`HandshakeRefusal::Failed`](crate::HandshakeRefusal::Failed).
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        let Body::Object(mut members) = Body::parse(body) else {
            return Err(WireError::Handshake("not a JSON object"));
        };
        let Some(Value::Object(mut sys)) = members.remove("sys") else {
            return Err(WireError::Handshake("sys is not an object"));
        };
        Ok(Self {
            client_type: take_text(&mut sys, "type"),
            version: take_text(&mut sys, "version"),
            dict_version: take_text(&mut sys, "dictVersion"),
            proto_version: take_version(&mut sys, "protoVersion"),
            user: members.remove("user"),
        })
    }

    /// The body of a client's handshake package.
    ///
    /// # Errors
    /// None in practice: every part has a JSON form.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        let sys = Sys {
            client_type: self.client_type.as_deref(),
            version: self.version.as_deref(),
            dict_version: self.dict_version.as_deref(),
            proto_version: self.proto_version.as_deref(),
        };
        to_json(&Sent { sys, user: self.user.as_ref() }).map(Bytes::from)
    }
}

fn take_text(members: &mut Map<String, Value>, name: &str) -> Option<String> {
    match members.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// A version, as Pomelo's two protobuf components write it: a digest or a number. Nothing and 0 are
/// no version.
fn take_version(members: &mut Map<String, Value>, name: &str) -> Option<String> {
    match members.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        Some(Value::Number(number)) if number.as_f64().is_some_and(|number| number > 0.0) => Some(number.to_string()),
        _ => None,
    }
}

#[derive(Serialize)]
struct Sent<'a> {
    sys: Sys<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sys<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    client_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dict_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto_version: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_clients_request_is_read_back() {
        let request = HandshakeRequest {
            client_type: Some("shaddock".to_owned()),
            dict_version: Some("v1".to_owned()),
            user: Some(json!({"token": "\u{1F600}"})),
            ..HandshakeRequest::default()
        };
        let body = request.encode().unwrap();
        assert!(body.is_ascii());
        assert_eq!(HandshakeRequest::parse(&body), Ok(request));
    }

    #[test]
    fn only_sys_is_needed() {
        assert_eq!(HandshakeRequest::parse(b"{\"sys\":{}}"), Ok(HandshakeRequest::default()));
        let odd = b"{\"sys\":{\"type\":7,\"protoVersion\":0,\"rsa\":{}}}";
        assert_eq!(HandshakeRequest::parse(odd), Ok(HandshakeRequest::default()));
        for bad in [&b""[..], b"{", b"[]", b"{}", b"{\"sys\":null}", b"{\"sys\":\"x\"}"] {
            assert!(matches!(HandshakeRequest::parse(bad), Err(WireError::Handshake(_))));
        }
    }
}
