//! The choice of a connector for a user. Pure; the only place that decides it.

use std::borrow::Cow;

use model::identity::{LoginRefusal, Principal};
use model::ids::ServerId;
use model::placement;
use model::servers::Server;
use serde::Serialize;
use thiserror::Error;
use wire::{Body, value};

/// Longest `uid`, in bytes.
const MAX_UID: usize = 256;

/// The address of the user's connector.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ConnectorAddress {
    code: u16,
    /// Host of the connector, in the form for a URL.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
    /// True if clients have to connect with TLS.
    // Left out where it is false, so that clients without TLS get the answer of Pomelo's gate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
}

impl ConnectorAddress {
    /// Returns the same address in the form for clients that make no URL of it: an IPv6 address
    /// without brackets.
    #[must_use]
    pub fn without_brackets(mut self) -> Self {
        if let Some(bare) = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            self.host = bare.to_owned();
        }
        self
    }
}

/// The reason why there is no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EntryError {
    /// The request's fault: no `uid`.
    #[error("bad-uid: uid must be a string of 1 to {MAX_UID} bytes, or a whole number")]
    BadUid,
    /// Our fault: no connector is up.
    #[error("no-connector: no connector takes users now; try again")]
    NoConnector,
    /// There is no token, and there must be one; or it is refused.
    #[error("{}", .0.reason())]
    Login(LoginRefusal),
}

impl EntryError {
    /// The code of the response: 500 where Pomelo's gate has that.
    pub fn code(&self) -> u16 {
        match self {
            Self::Login(refusal) => refusal.code(),
            Self::BadUid | Self::NoConnector => 500,
        }
    }
}

/// Returns the text that places a client: the id of the user whose token it has, else the `uid` of
/// its request.
///
/// # Errors
/// If there is neither, or a token `is_required` and missing.
pub fn place_by(
    user: Option<&Principal>,
    is_required: bool,
    requested: impl FnOnce() -> Result<String, EntryError>,
) -> Result<String, EntryError> {
    match user {
        Some(user) => Ok(user.uid.as_str().to_owned()),
        None if is_required => Err(EntryError::Login(LoginRefusal::missing())),
        None => requested(),
    }
}

/// Reads `uid` from the body of `queryEntry`.
///
/// # Errors
/// If there is none that is a string or a whole number, which stands for its digits.
pub fn read_uid(body: &[u8]) -> Result<String, EntryError> {
    let uid = Body::parse(body).into_members().and_then(|mut members| members.remove("uid"));
    uid.as_ref().and_then(value::text).map(Cow::into_owned).ok_or(EntryError::BadUid)
}

/// The connector of `uid`, without TLS: the placement formula over all connectors, or over those that are
/// available if that one is not. `listens` is the port that a connector reported.
///
/// # Errors
/// If the `uid` is empty or too long, or no connector is available.
pub fn choose(
    uid: &str,
    connectors: &[Server],
    is_unavailable: impl Fn(&ServerId) -> bool,
    listens: impl Fn(&ServerId) -> Option<u16>,
) -> Result<ConnectorAddress, EntryError> {
    if uid.is_empty() || uid.len() > MAX_UID {
        return Err(EntryError::BadUid);
    }
    let first = placement::candidates(uid, connectors, is_unavailable).into_iter().next();
    // The reported port comes before that of the file, which may have been edited since the
    // connector's start.
    let port = |server: &Server| server.public_port.or_else(|| listens(&server.id)).or(server.client_port);
    let (server, port) = first.and_then(|s| Some((s, port(s)?))).ok_or(EntryError::NoConnector)?;
    Ok(ConnectorAddress { code: 200, host: server.advertised_host().into_owned(), port, tls: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connectors() -> Vec<Server> {
        let server = |n: u16| {
            let id = ServerId::new(&format!("connector-server-{n}")).unwrap();
            Server { client_port: Some(3049 + n), ..Server::new(id, "127.0.0.1") }
        };
        (1..=3).map(server).collect()
    }

    fn choose(
        uid: &str,
        connectors: &[Server],
        is_unavailable: impl Fn(&ServerId) -> bool,
    ) -> Result<ConnectorAddress, EntryError> {
        super::choose(uid, connectors, is_unavailable, |_| None)
    }

    #[test]
    fn clients_receive_the_public_address_of_the_connector() {
        let advertised = |public_host: &str, public_port: Option<u16>, listens: Option<u16>| {
            let mut server = connectors().remove(0);
            (server.public_host, server.public_port) = (Some(public_host.to_owned()), public_port);
            let entry = super::choose("ann", &[server], |_| false, |_| listens).unwrap();
            (entry.host, entry.port)
        };
        assert_eq!(advertised("chat.example.org", Some(443), Some(3050)), ("chat.example.org".to_owned(), 443));
        assert_eq!(advertised("2001:db8::1", None, None), ("[2001:db8::1]".to_owned(), 3050));
        assert_eq!(advertised("h", None, Some(3999)), ("h".to_owned(), 3999), "it listens where its pong says");
    }

    #[test]
    fn an_answer_says_that_tls_is_required_only_where_it_is() {
        let plain = choose("alice", &connectors(), |_| false).unwrap();
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"code":200,"host":"127.0.0.1","port":3052}"#);
        let secure = ConnectorAddress { tls: true, ..plain };
        let text = r#"{"code":200,"host":"127.0.0.1","port":3052,"tls":true}"#;
        assert_eq!(serde_json::to_string(&secure).unwrap(), text);
    }

    #[test]
    fn clients_without_urls_receive_no_brackets() {
        let host = |host: &str| {
            let server = Server { public_host: Some(host.to_owned()), ..connectors().remove(0) };
            super::choose("ann", &[server], |_| false, |_| None).unwrap().without_brackets().host
        };
        assert_eq!(host("2001:db8::1"), "2001:db8::1");
        assert_eq!(host("203.0.113.7"), "203.0.113.7");
        assert_eq!(host("chat.example.org"), "chat.example.org");
    }

    #[test]
    fn the_formula_chooses() {
        // crc32("alice") % 3 = 2, crc32("user1") % 3 = 1.
        assert_eq!(choose("alice", &connectors(), |_| false).unwrap().port, 3052);
        assert_eq!(choose("user1", &connectors(), |_| false).unwrap().port, 3051);
    }

    #[test]
    fn a_connector_that_is_down_is_skipped() {
        let down = |id: &ServerId| id.as_str() == "connector-server-3";
        assert_ne!(choose("alice", &connectors(), down).unwrap().port, 3052);
        assert_eq!(choose("user1", &connectors(), down).unwrap().port, 3051);
        assert_eq!(choose("alice", &connectors(), |_| true), Err(EntryError::NoConnector));
    }

    #[test]
    fn a_uid_is_a_string_of_some_length() {
        assert_eq!(read_uid(br#"{"uid":"a"}"#), Ok("a".to_owned()));
        assert_eq!(read_uid(br#"{"uid":1001}"#), Ok("1001".to_owned()));
        assert_eq!(read_uid(br#"{"uid":1001.0}"#), Ok("1001".to_owned()));
        for body in [&b""[..], b"{}", b"[]", br#"{"uid":1.5}"#, br#"{"uid":true}"#, br#"{"uid":["a"]}"#] {
            assert_eq!(read_uid(body), Err(EntryError::BadUid));
        }
        assert_eq!(choose("", &connectors(), |_| false), Err(EntryError::BadUid));
        assert_eq!(choose(&"x".repeat(257), &connectors(), |_| false), Err(EntryError::BadUid));
    }
}
