//! The messages between connectors, chat servers and gates, and nothing else.

mod history;
mod item;
mod ping;
mod request;
mod response;

use serde::{Deserialize, Serialize};

use crate::ids::Incarnation;
use crate::record::{Epoch, Position, RecordId};

pub use history::{HistoryMessage, HistoryPage, HistoryQuery, HistoryRange};
pub use item::{Claim, Deed, Item};
pub use ping::{ChatStats, ConnectorStats, LogShortage, LogShortages, Ping, Pong};
pub use request::{FromConnector, RpcRequest};
pub use response::{CatchUp, FromChat, RpcResponse, Unavailable};

/// Numbers of proposals above this come from wrong senders, unless they are close to a known one.
// No connector counts that far.
const MOST_NUMBER: u64 = 1 << 62;

/// Distance above a known number of a proposal up to which a number above [`MOST_NUMBER`] is
/// plausible.
const PLAUSIBLE_NUMBERS: u64 = 1 << 20;

/// Returns false for the number of a proposal that is too far above `last`, the connector's last
/// known one. A server refuses it.
pub fn is_plausible_number(number: u64, last: u64) -> bool {
    // Stored, it would make all later numbers of the connector look old.
    number <= MOST_NUMBER || number <= last.saturating_add(PLAUSIBLE_NUMBERS)
}

/// The highest incarnation of a server that another one knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownIncarnation {
    /// The incarnation.
    pub incarnation: Incarnation,
    /// A message of that run arrived lately, so a lower incarnation that was accepted before is the
    /// older of two processes with one id.
    pub live: bool,
}

/// A connector's position in a room's log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// The life of the log that it read.
    pub epoch: Epoch,
    /// The last record that it applied.
    pub position: Position,
    /// The id of that record.
    // A log that lost its end may give the position to another record.
    pub id: RecordId,
}
