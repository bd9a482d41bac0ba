//! Reports of connectors on chat servers, for gates, which may not send requests to chat servers.

use serde::{Deserialize, Serialize};

use super::messages::ChatStats;
use crate::ids::{Incarnation, MAX_SERVER_ID_BYTES, ServerId};

/// Most bytes of a program's version in a report.
const MAX_VERSION_BYTES: usize = 64;

/// One chat server, as a connector's failure detector sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatReport {
    /// The chat server.
    pub chat: ServerId,
    /// Verdict of the failure detector.
    pub liveness: Liveness,
    /// The highest run that sent a message; none if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// Statistics of that run, from its last response to a heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<ChatStats>,
}

/// Verdict of a failure detector on a server that it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// It responds to heartbeats.
    Up,
    /// It responds, and is about to end.
    Leaving,
    /// It does not respond.
    Down,
}

impl ChatReport {
    /// Most bytes of an encoded report.
    pub const MOST_BYTES: usize = MAX_SERVER_ID_BYTES + MAX_VERSION_BYTES + 128;
}

impl ChatStats {
    /// Returns true if the figures fit a report. They come from another server, whose version may
    /// be any text.
    pub fn fits_report(&self) -> bool {
        self.version.len() <= MAX_VERSION_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc;
    use crate::rpc::messages::LogShortages;

    #[test]
    fn the_largest_report_is_within_its_bound() {
        let version = "v".repeat(MAX_VERSION_BYTES);
        let most = u64::MAX;
        let stats =
            ChatStats { version, uptime_ms: most, rooms: most, records: most, log_shortages: LogShortages::NONE };
        assert!(stats.fits_report());
        assert!(!ChatStats { version: format!("{}v", stats.version), ..stats.clone() }.fits_report());
        let chat = ServerId::new(&"c".repeat(MAX_SERVER_ID_BYTES)).unwrap();
        let (liveness, incarnation) = (Liveness::Leaving, Some(Incarnation(most)));
        let report = ChatReport { chat, liveness, incarnation, stats: Some(stats) };
        let bytes = rpc::encode(&report).unwrap().len();
        assert!((ChatReport::MOST_BYTES - 32..=ChatReport::MOST_BYTES).contains(&bytes), "{bytes}");
    }
}
