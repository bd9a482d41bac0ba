//! Finding a connector through a gate.

use std::fmt;

use serde::Deserialize;
use serde_json::json;

use crate::{ChatClient, ClientError, Options, routes};

/// Where a connector is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// Its host.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
}

impl fmt::Display for Address {
    /// As `host:port`, an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { host, port } if host.contains(':') && !host.starts_with('[') => write!(f, "[{host}]:{port}"),
            Self { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Asks the gate at `host:port` which connector `uid` is to use.
///
/// # Errors
/// If the gate is not there, does not answer, or knows no connector.
pub async fn query_entry(gate: &str, uid: &str, options: &Options) -> Result<Address, ClientError> {
    let (connection, _events) = ChatClient::connect(gate, options.clone()).await?;
    let answer = connection.ask(routes::QUERY_ENTRY, &json!({ "uid": uid })).await?;
    connection.close();
    serde_json::from_value(answer).map_err(|error| ClientError::Answer(error.to_string()))
}
