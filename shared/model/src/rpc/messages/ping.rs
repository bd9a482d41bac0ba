//! Messages between gates and connectors, and the statistics in them.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, RoomId, ServerId};
use crate::log_parts::Slot;
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
    /// Set while a part of the rooms' log is nearly full. For connectors, which limit their clients
    /// then and leave it out of their reports.
    #[serde(default, skip_serializing_if = "LogShortages::is_empty")]
    pub log_shortages: LogShortages,
}

/// The slots whose parts of the log have a shortage of space, as sets of bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogShortages {
    #[serde(default)]
    pressure: u64,
    #[serde(default)]
    reserve: u64,
}

impl LogShortages {
    /// No slot has a shortage.
    pub const NONE: Self = Self { pressure: 0, reserve: 0 };

    /// Returns true if no slot has a shortage.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// Adds the shortage of a part with these slots.
    pub fn add(&mut self, slots: RangeInclusive<u8>, shortage: LogShortage) {
        let of_kind = match shortage {
            LogShortage::Pressure => &mut self.pressure,
            LogShortage::Reserve => &mut self.reserve,
        };
        *of_kind |= slots.fold(0, |set, slot| set | bit(slot));
    }

    /// Returns the shortage of the part of a room.
    pub fn of(&self, room: &RoomId) -> Option<LogShortage> {
        if self.is_empty() {
            return None;
        }
        let bit = bit(Slot::of(room).number());
        if self.reserve & bit != 0 {
            return Some(LogShortage::Reserve);
        }
        (self.pressure & bit != 0).then_some(LogShortage::Pressure)
    }
}

fn bit(slot: u8) -> u64 {
    1_u64.checked_shl(slot.into()).unwrap_or_default()
}

/// The shortage of space in a part of the rooms' log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogShortage {
    /// More than `log.pressure` of it is used: connectors limit what each client appends.
    Pressure,
    /// The reserve is reached, its last twentieth: it takes joins and leaves, and no
    /// messages.
    Reserve,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_parts::LogParts;

    #[test]
    fn a_shortage_is_that_of_the_slots_of_its_part() {
        let [lobby, other] = ["lobby", "room2"].map(|name| RoomId::new(name).unwrap());
        let two = LogParts::new(2).unwrap();
        let mut shortages = LogShortages::NONE;
        shortages.add(two.slots(two.of(&lobby)), LogShortage::Pressure);
        assert_eq!([&lobby, &other].map(|room| shortages.of(room)), [Some(LogShortage::Pressure), None]);
        shortages.add(two.slots(two.of(&other)), LogShortage::Reserve);
        assert_eq!(shortages.of(&other), Some(LogShortage::Reserve));
        assert!(!shortages.is_empty() && LogShortages::default().is_empty());
        let mut all = LogShortages::NONE;
        all.add(LogParts::ONE.slots(LogParts::ONE.of(&lobby)), LogShortage::Reserve);
        assert_eq!(all, LogShortages { pressure: 0, reserve: u64::MAX });
    }
}
