//! Occurrences that an operator learns about: each kind is a log line, a counter, or both. Pure
//! values: the edge logs and counts them.

use model::ids::{Incarnation, RoomId, ServerId};
use model::record::Position;
use model::rpc::messages::{KnownIncarnation, Unavailable};

/// One occurrence, as an effect among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message of a connector was refused: no server with this id may send it.
    SenderRefused {
        /// The sender that the message names.
        sender: ServerId,
    },
    /// A message was refused: its response would go to a subject that is not its sender's.
    ReplyRefused {
        /// The sender.
        sender: ServerId,
        /// The subject.
        reply: Option<String>,
    },
    /// A repeated or overtaken message of a connector was ignored.
    MessageRepeated {
        /// The connector.
        connector: ServerId,
        /// The message's count.
        count: Option<u64>,
    },
    /// A message came from an earlier incarnation of a connector.
    MessageStale {
        /// The connector.
        connector: ServerId,
        /// The latest known incarnation.
        known: KnownIncarnation,
    },
    /// An implausible incarnation was ignored.
    IncarnationImplausible {
        /// The connector that named it.
        connector: ServerId,
        /// The incarnation.
        incarnation: Incarnation,
    },
    /// A connector knows a later incarnation of this server, which continues above it.
    IncarnationRaised {
        /// The connector.
        connector: ServerId,
        /// This server's incarnation before.
        before: Incarnation,
        /// The incarnation that the connector knows.
        known: Incarnation,
    },
    /// A connector was silent for so long that it follows no rooms any more.
    ConnectorSilent {
        /// The connector.
        connector: ServerId,
        /// Seconds of silence.
        secs: u64,
    },
    /// A message to a connector cannot be encoded.
    MessageUnencodable {
        /// The connector.
        connector: ServerId,
        /// The reason.
        error: String,
    },
    /// Another process with this server's id started later.
    DuplicateId {
        /// This process's incarnation.
        mine: Incarnation,
    },
    /// The later process with this server's id ended.
    DuplicateIdEnded,
    /// A room of another home was taken over.
    TakenOver,
    /// Load shedding: a request about a room of another home was dropped.
    RequestDropped,
    /// Load shedding: a history request was dropped.
    HistoryDropped,
    /// A history request failed and was dropped.
    HistoryFailed {
        /// The reason.
        error: String,
    },
    /// A connector requested messages on behalf of a member that it does not have.
    ViewerRefused {
        /// The room.
        room: RoomId,
        /// The connector.
        connector: ServerId,
    },
    /// A proposal, or a message of acts, with an implausible number was dropped.
    ProposalImplausible {
        /// The connector, or the api server.
        connector: ServerId,
        /// The number.
        number: u64,
    },
    /// A room became active: its state was recovered from the log.
    Activated,
    /// A record was committed.
    Committed {
        /// Number of its entries.
        entries: usize,
    },
    /// Joins and leaves of a room wait for others, to share a record.
    PresenceDelayed,
    /// Messages were refused because their room wrote more than its share of a log that is nearly
    /// full.
    ShareRefused {
        /// Their number.
        messages: u64,
    },
    /// Messages were refused because the log is in its reserve.
    ReserveRefused {
        /// Their number.
        messages: u64,
    },
    /// An append failed, or may have failed.
    AppendFailed,
    /// An operation of the log failed, and the room's waiting proposals with it.
    LogFailed {
        /// The room.
        room: RoomId,
        /// The reason as connectors get it.
        because: Unavailable,
        /// The reason.
        error: String,
    },
    /// A record cannot be encoded.
    RecordUnencodable {
        /// The room.
        room: RoomId,
        /// The reason.
        error: String,
    },
    /// A log operation ended that the room did not request; a defect of the caller.
    ResultUnexpected {
        /// The room.
        room: RoomId,
        /// The result.
        result: String,
    },
    /// Records were evicted while they were read, or are missing: the log is read again.
    RecordsNotFound {
        /// The room.
        room: RoomId,
    },
    /// Records are missing for good; the room continues from the remaining ones.
    RecordsMissing {
        /// The room.
        room: RoomId,
        /// Their positions, newest first.
        positions: Vec<Position>,
    },
    /// A message in a room's log is no record of it, and was passed over.
    RecordBad {
        /// The room.
        room: RoomId,
        /// Position of the message.
        position: Position,
        /// The reason.
        reason: String,
    },
    /// A room's log ends with too many messages that are no records: the room cannot be used.
    RoomUnusable {
        /// The room.
        room: RoomId,
        /// Position of the last message.
        position: Position,
        /// The reason.
        reason: String,
    },
    /// A record's time is more than a day ahead of this server's clock.
    RecordFromFuture {
        /// The room.
        room: RoomId,
        /// Position of the record.
        position: Position,
    },
}
