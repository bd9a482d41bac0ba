//! Messages between gates and connectors, and the statistics in them.

use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, ServerId};
use crate::rpc::report::ChatReport;

/// A gate's request that checks if a connector takes users; on `connector.<server-id>.ping`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// [`rpc::VERSION`](crate::rpc::VERSION) of the writer.
    pub v: u8,
    /// The gate.
    pub gate: ServerId,
}

/// A connector's response to the [`Ping`] of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// [`rpc::VERSION`](crate::rpc::VERSION) of the writer.
    pub v: u8,
    /// The connector.
    pub connector: ServerId,
    /// True if the connector takes new users.
    pub accepting: bool,
    /// The run of the connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// Statistics of the connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<ConnectorStats>,
    /// Chat servers as it sees them, those left out that it knows nothing of. Empty from an earlier
    /// program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chats: Vec<ChatReport>,
    /// The port that it listens on for clients.
    // `servers.json` may have been edited since the start of the connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_port: Option<u16>,
}

/// Statistics of a connector, for operators.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorStats {
    /// Of the program.
    pub version: String,
    /// Milliseconds since its start.
    pub uptime_ms: u64,
    /// Client connections now.
    pub connections: u64,
    /// Rooms that it follows now.
    pub rooms: u64,
    /// Client requests since its start.
    pub requests: u64,
}

/// Statistics of a chat server, for operators.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatStats {
    /// Of the program.
    pub version: String,
    /// Milliseconds since its start.
    pub uptime_ms: u64,
    /// Rooms whose state it has in memory now.
    pub rooms: u64,
    /// Records that it appended since its start.
    pub records: u64,
    /// Set while the rooms' log is nearly full. For connectors, which limit their clients then and
    /// leave it out of their reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_shortage: Option<LogShortage>,
}

/// The shortage of space in the rooms' log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogShortage {
    /// More than `log.pressure` of the log is used: connectors limit what each client appends.
    Pressure,
    /// The reserve is reached, the last twentieth of the log: it takes joins and leaves, and no
    /// messages.
    Reserve,
}
