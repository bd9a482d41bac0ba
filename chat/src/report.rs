//! Log lines and counters of the events of a chat server's rooms. The only place that knows their
//! texts, levels and rate limits.

use std::fmt::Display;
use std::sync::Arc;

use model::ids::{RoomId, ServerId};
use model::record::Position;
use model::rpc::messages::Unavailable;
use runtime::log_rate_limit::LogRateLimit;
use runtime::metrics::Metrics;
use tracing::{debug, error, info, warn};

use crate::log::{Log, jetstream};
use owner::event::Event;

/// Logs and counts the events of one chat server.
pub(crate) struct Reporter {
    server: ServerId,
    /// Knows the names of streams, for the commands in log lines.
    log: Log,
    metrics: Arc<Metrics>,
}

/// Counts an event.
pub fn count(event: &Event, metrics: &Metrics) {
    match event {
        Event::SenderRefused { .. } => metrics.bus_refused.sender.add(),
        Event::ReplyRefused { .. } => metrics.bus_refused.reply.add(),
        Event::ViewerRefused { .. } => metrics.bus_refused.viewer.add(),
        Event::IncarnationImplausible { .. } | Event::ProposalImplausible { .. } => metrics.bus_implausible.add(),
        Event::TakenOver => metrics.takeovers.add(),
        Event::RequestDropped => metrics.questions_dropped.add(),
        Event::HistoryDropped => metrics.histories_dropped.add(),
        Event::Activated => metrics.activations.add(),
        Event::Committed { entries } => {
            metrics.records_committed.add();
            metrics.entries_committed.add_many(*entries as u64);
            metrics.record_entries.add(*entries);
        }
        Event::PresenceDelayed => metrics.presence_delays.add(),
        Event::ShareRefused { messages } => metrics.share_refused.add_many(*messages),
        Event::ReserveRefused { messages } => metrics.reserve_refused.add_many(*messages),
        Event::AppendFailed => metrics.appends_failed.add(),
        Event::RecordsMissing { positions, .. } => metrics.records_missing.add_many(positions.len() as u64),
        Event::RecordBad { .. } | Event::RoomUnusable { .. } => metrics.records_bad.add(),
        Event::RecordFromFuture { .. } => metrics.records_from_future.add(),
        Event::MessageRepeated { .. }
        | Event::MessageStale { .. }
        | Event::IncarnationRaised { .. }
        | Event::ConnectorSilent { .. }
        | Event::MessageUnencodable { .. }
        | Event::DuplicateId { .. }
        | Event::DuplicateIdEnded
        | Event::HistoryFailed { .. }
        | Event::LogFailed { .. }
        | Event::RecordUnencodable { .. }
        | Event::ResultUnexpected { .. }
        | Event::RecordsNotFound { .. } => {}
    }
}

impl Reporter {
    pub(crate) fn new(server: ServerId, log: Log, metrics: Arc<Metrics>) -> Self {
        Self { server, log, metrics }
    }

    /// Replaces the log by one that was divided.
    pub(crate) fn set_log(&mut self, log: Log) {
        self.log = log;
    }

    /// Counts and logs an event.
    pub(crate) fn report(&self, event: &Event) {
        count(event, &self.metrics);
        match event {
            Event::TakenOver
            | Event::RequestDropped
            | Event::HistoryDropped
            | Event::Activated
            | Event::Committed { .. }
            | Event::PresenceDelayed
            | Event::ShareRefused { .. }
            | Event::ReserveRefused { .. }
            | Event::AppendFailed => {}
            Event::RecordsNotFound { .. }
            | Event::RecordsMissing { .. }
            | Event::RecordBad { .. }
            | Event::RoomUnusable { .. }
            | Event::RecordFromFuture { .. }
            | Event::LogFailed { .. }
            | Event::RecordUnencodable { .. }
            | Event::ResultUnexpected { .. } => self.log_of_log(event),
            Event::SenderRefused { .. }
            | Event::ReplyRefused { .. }
            | Event::ViewerRefused { .. }
            | Event::IncarnationImplausible { .. }
            | Event::ProposalImplausible { .. }
            | Event::MessageRepeated { .. }
            | Event::MessageStale { .. }
            | Event::IncarnationRaised { .. }
            | Event::ConnectorSilent { .. }
            | Event::MessageUnencodable { .. }
            | Event::DuplicateId { .. }
            | Event::DuplicateIdEnded
            | Event::HistoryFailed { .. } => self.log_of_bus(event),
        }
    }

    /// Logs an event of messages, connectors and other servers.
    fn log_of_bus(&self, event: &Event) {
        let server = &self.server;
        match event {
            Event::SenderRefused { sender } => {
                static STRANGERS: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = STRANGERS.pass() {
                    let what = "a message was refused: servers.json has no such server that may send it";
                    warn!(%server, %sender, suppressed, "{what}");
                }
            }
            Event::ReplyRefused { sender, reply } => {
                static REPLIES: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = REPLIES.pass() {
                    let what = "a message was refused: its answer would go to a subject that is not its sender's";
                    warn!(%server, %sender, reply, suppressed, "{what}");
                }
            }
            Event::MessageRepeated { connector, count } => {
                debug!(%connector, count, "a repeated or overtaken message of a connector was ignored");
            }
            Event::MessageStale { connector, known } => {
                let (known, live) = (known.incarnation.0, known.live);
                debug!(%connector, known, live, "message of an earlier incarnation of a connector");
            }
            Event::IncarnationImplausible { connector, incarnation } => {
                static IMPLAUSIBLE: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = IMPLAUSIBLE.pass() {
                    let incarnation = incarnation.0;
                    warn!(%connector, incarnation, suppressed, "an incarnation from after the year 2100 was ignored");
                }
            }
            Event::IncarnationRaised { connector, before, known } => {
                let (before, known) = (before.0, known.0);
                info!(%server, %connector, before, known, "a later incarnation is known, going on above it");
            }
            Event::ConnectorSilent { connector, secs } => {
                warn!(%connector, "no message from a connector for {secs} s, it follows no rooms any more");
            }
            Event::MessageUnencodable { connector, error } => {
                static UNWRITABLE: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = UNWRITABLE.pass() {
                    warn!(%error, %connector, suppressed, "a message to a connector cannot be encoded");
                }
            }
            Event::DuplicateId { mine } => {
                static OLDER: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = OLDER.pass() {
                    let mine = mine.0;
                    error!(%server, mine, suppressed, "another process has this server's id, and started later: end one");
                }
            }
            Event::DuplicateIdEnded => info!(%server, "the other process with this server's id is gone, going on"),
            Event::HistoryFailed { error } => {
                debug!(%error, "history could not be read, the connector repeats the request");
            }
            Event::ViewerRefused { room, connector } => {
                static REFUSED: LogRateLimit = LogRateLimit::new();
                debug!(%room, %connector, "messages for a member that is not the connector's");
                if let Some(suppressed) = REFUSED.pass() {
                    let what = "a connector asked for messages on behalf of a member that it does not have";
                    warn!(%connector, suppressed, "{what} (level debug names the room)");
                }
            }
            Event::ProposalImplausible { connector, number } => {
                static IMPLAUSIBLE: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = IMPLAUSIBLE.pass() {
                    warn!(%connector, number, suppressed, "a proposal with a number that cannot be was ignored");
                }
            }
            _ => {}
        }
    }

    /// Logs an event of a room's log.
    fn log_of_log(&self, event: &Event) {
        match event {
            Event::RecordsNotFound { room } => {
                static GONE: LogRateLimit = LogRateLimit::new();
                debug!(%room, "records evicted or missing");
                if let Some(suppressed) = GONE.pass() {
                    warn!(
                        suppressed,
                        "records of a room were evicted from its log, or are missing, reading again (level debug names the room)"
                    );
                }
            }
            Event::RecordsMissing { room, positions } => {
                static MISSING: LogRateLimit = LogRateLimit::new();
                let newest = positions.first().map(|position| position.0);
                debug!(%room, missing = ?positions, "records missing");
                if let Some(suppressed) = MISSING.pass() {
                    let count = positions.len();
                    error!(%room, newest, count, suppressed, "a room's log lacks records, the room goes on from what is left");
                }
            }
            Event::RecordBad { room, position, reason } => {
                static BAD: LogRateLimit = LogRateLimit::new();
                let message = "a room's log has a message that is no record of it, passed over";
                self.log_position(&BAD, (room, *position), reason, message);
            }
            Event::RoomUnusable { room, position, reason } => {
                static UNUSABLE: LogRateLimit = LogRateLimit::new();
                let message = "a room cannot be used: its log ends with messages that are no records";
                self.log_position(&UNUSABLE, (room, *position), reason, message);
            }
            Event::RecordFromFuture { room, position } => {
                static FUTURE: LogRateLimit = LogRateLimit::new();
                let position = position.0;
                debug!(%room, position, "record from the future");
                if let Some(suppressed) = FUTURE.pass() {
                    warn!(
                        %room, position, suppressed,
                        "a record is more than a day ahead of this server's clock, the room's time does not follow it"
                    );
                }
            }
            Event::LogFailed { room, because, error } => {
                static FULL: LogRateLimit = LogRateLimit::new();
                static AWAY: LogRateLimit = LogRateLimit::new();
                let limit = match because {
                    Unavailable::LogFull => &FULL,
                    Unavailable::LogAway => &AWAY,
                };
                debug!(%room, %error, "log operation failed");
                if let Some(suppressed) = limit.pass() {
                    warn!(%error, suppressed, "a room cannot be appended to, retrying (level debug names the room)");
                }
            }
            Event::RecordUnencodable { room, error } => {
                static UNREADABLE: LogRateLimit = LogRateLimit::new();
                debug!(%room, %error, "room log unusable");
                if let Some(suppressed) = UNREADABLE.pass() {
                    error!(%error, suppressed, "a room's log cannot be used, retrying (level debug names the room)");
                }
            }
            Event::ResultUnexpected { room, result } => {
                static UNASKED: LogRateLimit = LogRateLimit::new();
                debug!(%room, unexpected = result, "unexpected log operation");
                if let Some(suppressed) = UNASKED.pass() {
                    error!(suppressed, "a log operation ended that was not requested (level debug names the room)");
                }
            }
            _ => {}
        }
    }

    fn log_position(
        &self,
        limit: &LogRateLimit,
        (room, position): (&RoomId, Position),
        reason: &dyn Display,
        message: &'static str,
    ) {
        let at = position.0;
        debug!(%room, position = at, %reason, "{message}");
        if let Some(suppressed) = limit.pass() {
            // The line carries the command that repairs the log.
            let stream = self.log.part_name(self.log.parts().of(room));
            let remove = jetstream::removal(&stream, position);
            error!(%room, position = at, %reason, remove, suppressed, "{message}");
        }
    }
}
