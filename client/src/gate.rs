//! Finding a connector through a gate.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::json;

use crate::{ChatClient, ClientError, Options, routes};

/// The address of a connector.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// Its host.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
}

impl fmt::Display for Address {
    /// Writes `host:port`, with an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { host, port } if host.contains(':') && !host.starts_with('[') => write!(f, "[{host}]:{port}"),
            Self { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl FromStr for Address {
    type Err = ClientError;

    /// Reads `host:port`, or a URL as servers print it and browsers show it: `ws://host:port`,
    /// `http://host/path`. Without a port it is 80.
    fn from_str(text: &str) -> Result<Self, ClientError> {
        let refused = |reason: &str| ClientError::Connect { address: text.to_owned(), reason: reason.to_owned() };
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("ws", text.trim()));
        match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => {}
            "wss" | "https" => return Err(refused("this client has no TLS; take an address without it")),
            _ => return Err(refused("write host:port, or ws://host:port")),
        }
        let (authority, _) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, "80"),
        };
        let port = port.parse().map_err(|_| refused("its port is no number of 1 to 65535"))?;
        if host.is_empty() || (host.contains(':') && !host.starts_with('[')) {
            return Err(refused("write host:port, with IPv6 addresses in brackets"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// Requests the connector of `uid` from the gate at `host:port`, or such a URL.
///
/// # Errors
///
/// If the gate is not there, does not respond, or knows no connector.
pub async fn query_entry(gate: &str, uid: &str, options: &Options) -> Result<Address, ClientError> {
    let (connection, _events) = ChatClient::connect(gate, options.clone()).await?;
    let response = connection.request(routes::QUERY_ENTRY, &json!({ "uid": uid })).await?;
    connection.close();
    serde_json::from_value(response).map_err(|error| ClientError::BadResponse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        text.parse::<Address>().ok().map(|address| address.to_string())
    }

    #[test]
    fn urls_are_addresses() {
        for text in
            ["ws://h:3014", "ws://h:3014/", "WS://h:3014/#x", "http://h:3014/?room=a", "h:3014", "h:3014/", " h:3014 "]
        {
            assert_eq!(read(text).as_deref(), Some("h:3014"), "{text}");
        }
        assert_eq!(read("http://chat.example/page").as_deref(), Some("chat.example:80"));
        assert_eq!(read("ws://[::1]:3014").as_deref(), Some("[::1]:3014"));
        assert_eq!(read("[::1]").as_deref(), Some("[::1]:80"));
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_a_reason() {
        for text in
            ["", "ws://", "h:", "h:x", "h:65536", "::1:3014", ":3014", "ftp://h:21", "wss://h:3014", "https://h"]
        {
            assert!(matches!(text.parse::<Address>(), Err(ClientError::Connect { .. })), "{text}");
        }
    }
}
