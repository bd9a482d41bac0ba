//! A server's response to a handshake: heartbeat and dictionary, or a refusal. Supports no
//! protobuf; replaces the schemas that a client has from another server.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::HandshakeRequest;
use crate::body::Body;
use crate::error::WireError;
use crate::route::Dictionary;
use crate::text::to_json;

/// Code of a response that accepts.
const OK: u64 = 200;

/// Version of the empty protobuf schemas that replace those of another server.
const EMPTY_PROTOS: &str = "none";

/// A server's response to a client that it accepts, to be encoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct HandshakeAccept<'a> {
    /// Seconds between heartbeats, 0 for none.
    pub heartbeat_secs: u32,
    /// The abbreviations that both sides may use from now on.
    pub dictionary: Option<&'a Dictionary>,
    /// The application's own part.
    pub user: Option<&'a Value>,
}

impl HandshakeAccept<'_> {
    /// The body of the response to `request`: code 200. The dictionary is left out if the client
    /// still has it. A client that has protobuf schemas gets empty ones.
    ///
    /// # Errors
    /// None in practice: every part has a JSON form.
    pub fn encode(&self, request: &HandshakeRequest) -> Result<Bytes, WireError> {
        // A client that names the version has kept these maps.
        let unknown = self.dictionary.filter(|own| request.dict_version.as_deref() != Some(own.version()));
        let sys = Sys {
            heartbeat: (self.heartbeat_secs > 0).then_some(self.heartbeat_secs),
            dict: unknown.map(Dictionary::route_to_code),
            route_to_code: unknown.map(Dictionary::route_to_code),
            code_to_route: unknown.map(Dictionary::code_to_route),
            dict_version: unknown.map(Dictionary::version),
            use_dict: self.dictionary.map(|_| true),
            protos: has_schemas(request).then_some(Protos::EMPTY),
            use_proto: request.proto_version.as_ref().map(|_| true),
        };
        to_json(&Accepted { code: OK, sys, user: self.user }).map(Bytes::from)
    }
}

// Browsers keep the schemas of a Pomelo server in `localStorage` and decode the routes in them as
// protobuf before any response. Our bodies are JSON: without the reset such a client throws at each
// of them.
fn has_schemas(request: &HandshakeRequest) -> bool {
    request.proto_version.as_deref().is_some_and(|version| version != EMPTY_PROTOS)
}

#[derive(Serialize)]
struct Accepted<'a, S> {
    code: u64,
    sys: S,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a Value>,
}

/// In Pomelo's order. libpomelo2 aborts unless the dictionary's four members are all there or all
/// absent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sys<'a, R, C> {
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dict: Option<R>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route_to_code: Option<R>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code_to_route: Option<C>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dict_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_dict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protos: Option<Protos>,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_proto: Option<bool>,
}

/// Protobuf schemas of pushes and responses (`server`) and of requests (`client`), by route.
#[derive(Serialize)]
struct Protos {
    server: NoSchemas,
    client: NoSchemas,
    version: &'static str,
}

/// Serialized as `{}`.
#[derive(Serialize)]
struct NoSchemas {}

impl Protos {
    const EMPTY: Self = Self { server: NoSchemas {}, client: NoSchemas {}, version: EMPTY_PROTOS };
}

/// A server's response to a client that it does not accept; it closes the connection afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeRefusal {
    /// The handshake is malformed or failed: code 500.
    Failed,
    /// This type or version of client is not served: code 501.
    ClientRefused,
}

impl HandshakeRefusal {
    /// The body of the response.
    pub const fn encode(self) -> Bytes {
        match self {
            Self::Failed => Bytes::from_static(b"{\"code\":500}"),
            Self::ClientRefused => Bytes::from_static(b"{\"code\":501}"),
        }
    }
}

/// Encodes the response to a client that may not log in; the server closes the connection
/// afterwards.
///
/// # Errors
/// None in practice: every part has a JSON form.
pub fn encode_denial(code: u16, reason: &str) -> Result<Bytes, WireError> {
    to_json(&Denied { code, reason }).map(Bytes::from)
}

#[derive(Serialize)]
struct Denied<'a> {
    code: u16,
    reason: &'a str,
}

/// A server's response, decoded by a client.
#[derive(Debug, Clone, PartialEq)]
pub enum HandshakeResponse {
    /// Code 200: the client acknowledges and begins.
    Accepted {
        /// Seconds between heartbeats, 0 for none.
        heartbeat_secs: u32,
        /// The abbreviations of routes.
        dictionary: OfferedDictionary,
        /// Some bodies are protobuf, which is not read here.
        protobuf: bool,
        /// The application's own part.
        user: Option<Value>,
    },
    /// Any other code; the server closes the connection.
    Refused {
        /// The code, 0 if the response has none.
        code: u64,
        /// The reason; empty if the response has none.
        reason: String,
    },
}

/// The dictionary in a server's response.
#[derive(Debug, Clone, PartialEq)]
pub enum OfferedDictionary {
    /// Routes are texts on this connection.
    Off,
    /// The one whose version the client gave.
    Known,
    /// A new one, to be kept under its version.
    New(Dictionary),
}

impl HandshakeResponse {
    /// Reads the body of a server's handshake package.
    ///
    /// # Errors
    /// [`WireError::Handshake`] if it is no JSON object, or accepts without a readable `sys`.
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        let Body::Object(mut members) = Body::parse(body) else {
            return Err(WireError::Handshake("not a JSON object"));
        };
        let code = members.get("code").and_then(Value::as_u64).unwrap_or_default();
        if code != OK {
            let reason = members.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
            return Ok(Self::Refused { code, reason });
        }
        let Some(Value::Object(sys)) = members.remove("sys") else {
            return Err(WireError::Handshake("sys is not an object"));
        };
        let heartbeat_secs = sys.get("heartbeat").and_then(Value::as_u64).unwrap_or_default();
        Ok(Self::Accepted {
            // A longer interval than 136 years is no reason to refuse a handshake.
            heartbeat_secs: u32::try_from(heartbeat_secs).unwrap_or(u32::MAX),
            dictionary: OfferedDictionary::read(&sys)?,
            protobuf: is_true(&sys, "useProto"),
            user: members.remove("user"),
        })
    }
}

impl OfferedDictionary {
    fn read(sys: &Map<String, Value>) -> Result<Self, WireError> {
        let Some(codes) = sys.get("dict") else {
            return Ok(if is_true(sys, "useDict") { Self::Known } else { Self::Off });
        };
        let codes = codes.as_object().ok_or(WireError::Handshake("dict is not an object"))?;
        let codes: Option<Vec<(String, u16)>> = codes.iter().map(read_code).collect();
        let codes = codes.ok_or(WireError::Handshake("dict has a code that is not 16 bits"))?;
        let version = sys.get("dictVersion").and_then(Value::as_str).unwrap_or_default();
        Ok(Self::New(Dictionary::received(codes, version.to_owned())))
    }
}

fn read_code((route, code): (&String, &Value)) -> Option<(String, u16)> {
    Some((route.clone(), u16::try_from(code.as_u64()?).ok()?))
}

fn is_true(members: &Map<String, Value>, name: &str) -> bool {
    members.get(name).and_then(Value::as_bool).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(accept: HandshakeAccept<'_>, request: &HandshakeRequest) -> HandshakeResponse {
        HandshakeResponse::parse(&accept.encode(request).unwrap()).unwrap()
    }

    fn accepted(heartbeat_secs: u32, dictionary: OfferedDictionary) -> HandshakeResponse {
        HandshakeResponse::Accepted { heartbeat_secs, dictionary, protobuf: false, user: None }
    }

    #[test]
    fn a_client_gets_the_dictionary_unless_it_has_it() {
        let dictionary = Dictionary::new(["chat.chatHandler.send"], ["onChat"]);
        let accept = HandshakeAccept { heartbeat_secs: 3, dictionary: Some(&dictionary), user: None };
        let mut request = HandshakeRequest { dict_version: Some("old".to_owned()), ..HandshakeRequest::default() };
        assert_eq!(response(accept, &request), accepted(3, OfferedDictionary::New(dictionary.clone())));
        request.dict_version = Some(dictionary.version().to_owned());
        assert_eq!(response(accept, &request), accepted(3, OfferedDictionary::Known));
    }

    #[test]
    fn without_heartbeat_and_dictionary_sys_is_empty() {
        let accept = HandshakeAccept::default();
        let request = HandshakeRequest::default();
        assert_eq!(accept.encode(&request).unwrap(), "{\"code\":200,\"sys\":{}}");
        assert_eq!(response(accept, &request), accepted(0, OfferedDictionary::Off));
    }

    #[test]
    fn schemas_of_another_server_are_replaced_once() {
        let accept = HandshakeAccept::default();
        let response = |version: &str| {
            let body = format!("{{\"sys\":{{\"protoVersion\":{version}}}}}");
            accept.encode(&HandshakeRequest::parse(body.as_bytes()).unwrap()).unwrap()
        };
        let reset = r#"{"code":200,"sys":{"protos":{"server":{},"client":{},"version":"none"},"useProto":true}}"#;
        for old in ["\"3rHk1gmWXbQfVvAp6aWk2A==\"", "7", "1.5", "\"7\""] {
            assert_eq!(response(old), reset, "{old}");
        }
        assert_eq!(response("\"none\""), r#"{"code":200,"sys":{"useProto":true}}"#);
        for none in ["0", "0.0", "\"\"", "null", "-1", "{}"] {
            assert_eq!(response(none), r#"{"code":200,"sys":{}}"#, "{none}");
        }
    }

    fn refused(code: u64, reason: &str) -> HandshakeResponse {
        HandshakeResponse::Refused { code, reason: reason.to_owned() }
    }

    #[test]
    fn refusals_carry_their_code() {
        for (refusal, code) in [(HandshakeRefusal::Failed, 500), (HandshakeRefusal::ClientRefused, 501)] {
            assert_eq!(HandshakeResponse::parse(&refusal.encode()), Ok(refused(code, "")));
        }
        assert_eq!(HandshakeResponse::parse(b"{}"), Ok(refused(0, "")));
        let denial = encode_denial(401, "token-bad: why").unwrap();
        assert_eq!(HandshakeResponse::parse(&denial), Ok(refused(401, "token-bad: why")));
    }

    #[test]
    fn malformed_responses_are_refused() {
        let bad_code = "{\"code\":200,\"sys\":{\"dict\":{\"a\":65536}}}";
        for body in ["", "[]", "{\"code\":200}", "{\"code\":200,\"sys\":{\"dict\":1}}", bad_code] {
            assert!(matches!(HandshakeResponse::parse(body.as_bytes()), Err(WireError::Handshake(_))), "{body}");
        }
    }
}
