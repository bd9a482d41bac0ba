//! Addresses of gates and connectors, and the transport to them.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::ClientError;

/// The carrier of packages between a client and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Websocket, `ws://`.
    Websocket,
    /// Websocket inside TLS, `wss://`.
    SecureWebsocket,
    /// TCP without a websocket, as native clients of Pomelo use it, `tcp://`.
    Tcp,
    /// The same inside TLS, `tls://`.
    SecureTcp,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Websocket, Self::SecureWebsocket, Self::Tcp, Self::SecureTcp];

    /// The scheme of its URLs.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Websocket => "ws",
            Self::SecureWebsocket => "wss",
            Self::Tcp => "tcp",
            Self::SecureTcp => "tls",
        }
    }

    /// Returns true if the connection is encrypted.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::SecureWebsocket | Self::SecureTcp)
    }

    /// Returns true if packages travel in websocket frames.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Websocket | Self::SecureWebsocket)
    }

    /// Returns the same transport inside TLS.
    #[must_use]
    pub fn secured(self) -> Self {
        match self {
            Self::Websocket | Self::SecureWebsocket => Self::SecureWebsocket,
            Self::Tcp | Self::SecureTcp => Self::SecureTcp,
        }
    }

    /// The port of a URL without one.
    fn default_port(self) -> Option<&'static str> {
        match self {
            Self::Websocket => Some("80"),
            Self::SecureWebsocket => Some("443"),
            Self::Tcp | Self::SecureTcp => None,
        }
    }
}

/// The address of a gate or a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The transport to it.
    pub transport: Transport,
    /// Its host; an IPv6 address has no brackets when a gate named it.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
}

/// A gate's answer: the connector of a user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GateAnswer {
    /// The connector's host.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
    /// True if clients have to connect with TLS. Servers without TLS do not send it.
    #[serde(default)]
    pub tls: bool,
}

impl Address {
    /// Returns `host:port`, with an IPv6 address in brackets.
    pub fn host_port(&self) -> String {
        match self {
            Self { host, port, .. } if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
            Self { host, port, .. } => format!("{host}:{port}"),
        }
    }

    /// Returns the address of the connector that a gate at this address named.
    #[must_use]
    pub fn connector(&self, GateAnswer { host, port, tls }: GateAnswer) -> Self {
        // A client that reached its gate by TLS never goes on without, even if the answer lacks the
        // word: a proxy may end TLS for servers that do not know of it.
        let transport = if tls { self.transport.secured() } else { self.transport };
        Self { transport, host, port }
    }
}

impl fmt::Display for Address {
    /// Writes `host:port` for a websocket without TLS, and a URL otherwise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transport {
            Transport::Websocket => f.write_str(&self.host_port()),
            other => write!(f, "{}://{}", other.scheme(), self.host_port()),
        }
    }
}

impl FromStr for Address {
    type Err = ClientError;

    /// Reads `host:port`, or a URL as servers print it and browsers show it: `ws://host:port`,
    /// `https://host/path`. Without a port it is 80, or 443 with TLS. `tcp://host:port` and
    /// `tls://host:port` are connections without a websocket.
    fn from_str(text: &str) -> Result<Self, ClientError> {
        let refused = |reason: &str| ClientError::Connect { address: text.to_owned(), reason: reason.to_owned() };
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("ws", text.trim()));
        let transport = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => Transport::Websocket,
            "wss" | "https" => Transport::SecureWebsocket,
            "tcp" => Transport::Tcp,
            "tls" => Transport::SecureTcp,
            _ => return Err(refused("write host:port, or a URL with ws://, wss://, tcp:// or tls://")),
        };
        let (authority, _) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, transport.default_port()),
        };
        let port = port.and_then(|port| port.parse().ok());
        let port = port.ok_or_else(|| refused("its port is no number of 1 to 65535"))?;
        if host.is_empty() || (host.contains(':') && !host.starts_with('[')) {
            return Err(refused("write host:port, with IPv6 addresses in brackets"));
        }
        Ok(Self { transport, host: host.to_owned(), port })
    }
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
        for text in ["wss://h:443", "https://h/", "HTTPS://h", "wss://h/?room=a"] {
            assert_eq!(read(text).as_deref(), Some("wss://h:443"), "{text}");
        }
        assert_eq!(read("http://chat.example/page").as_deref(), Some("chat.example:80"));
        assert_eq!(read("ws://[::1]:3014").as_deref(), Some("[::1]:3014"));
        assert_eq!(read("[::1]").as_deref(), Some("[::1]:80"));
        assert_eq!(read("tcp://h:3014").as_deref(), Some("tcp://h:3014"));
        assert_eq!(read("tls://[::1]:3014").as_deref(), Some("tls://[::1]:3014"));
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_a_reason() {
        for text in ["", "ws://", "h:", "h:x", "h:65536", "::1:3014", ":3014", "ftp://h:21", "tcp://h", "tls://h"] {
            assert!(matches!(text.parse::<Address>(), Err(ClientError::Connect { .. })), "{text}");
        }
    }

    #[test]
    fn a_connector_is_reached_as_its_gate_was_and_never_with_less() {
        let connector = |gate: &str, answer: &str| {
            let answer: GateAnswer = serde_json::from_str(answer).unwrap();
            gate.parse::<Address>().unwrap().connector(answer).to_string()
        };
        let plain = r#"{"code":200,"host":"::1","port":3050}"#;
        let secure = r#"{"code":200,"host":"::1","port":3050,"tls":true}"#;
        assert_eq!(connector("h:3014", plain), "[::1]:3050");
        assert_eq!(connector("h:3014", secure), "wss://[::1]:3050");
        assert_eq!(connector("wss://h", plain), "wss://[::1]:3050");
        assert_eq!(connector("tcp://h:3014", plain), "tcp://[::1]:3050");
        assert_eq!(connector("tcp://h:3014", secure), "tls://[::1]:3050");
        assert_eq!(connector("tls://h:3014", plain), "tls://[::1]:3050");
    }
}
