//! Counters and log lines of the events of a connector's state. A kind of line that may repeat has a
//! rate limit.

use follower::connector_state::QuotaRefusal;
use follower::event::Event;
use model::ids::{Incarnation, ServerId};
use model::record::Refusal;
use runtime::log_rate_limit::LogRateLimit;
use runtime::metrics::Metrics;
use tracing::{debug, error, info, warn};

/// Counts and logs an event of this server.
pub(crate) fn report(event: Event, server: &ServerId, metrics: &Metrics) {
    count(&event, metrics);
    log(event, server);
}

fn count(event: &Event, metrics: &Metrics) {
    match event {
        Event::RoomsRerouted { rooms } => metrics.rooms_moved.add_many(*rooms),
        Event::ImplausibleIgnored { .. } => metrics.bus_implausible.add(),
        Event::SenderRefused { .. } | Event::GateRefused { .. } => metrics.bus_refused.sender.add(),
        Event::ReplyRefused { .. } => metrics.bus_refused.reply.add(),
        Event::GapFound => metrics.gaps_repaired.add(),
        Event::GapPushed => metrics.gaps_told.add(),
        Event::StateTaken => metrics.states_taken.add(),
        Event::RequestExpired => metrics.requests_expired.add(),
        Event::QuotaRefused { limit } => count_refused(*limit, metrics),
        Event::MessageRefused { refusal: Refusal::LogReserve } => metrics.reserve_refused.add(),
        Event::MessageRefused { .. } => metrics.share_refused.add(),
        Event::ChatServersDown { .. }
        | Event::ChatServerUp { .. }
        | Event::ChatServerLeaving { .. }
        | Event::EarlierRunIgnored { .. }
        | Event::ContinuedAbove { .. }
        | Event::RequestUnwritable { .. } => {}
    }
}

fn count_refused(limit: QuotaRefusal, metrics: &Metrics) {
    match limit {
        QuotaRefusal::LogPressure => metrics.pressure_refused.add(),
        QuotaRefusal::LogReserve => metrics.reserve_refused.add(),
        QuotaRefusal::NewRooms => metrics.new_rooms_refused.add(),
        QuotaRefusal::AddressMembers => metrics.address_members_refused.add(),
    }
}

fn log(event: Event, server: &ServerId) {
    match event {
        Event::ChatServersDown { down } => warn!(?down, "chat servers down, rerouting their rooms"),
        Event::ChatServerUp { chat } => info!(%chat, "chat server up again, rerouting its rooms"),
        Event::ChatServerLeaving { chat } => info!(%chat, "chat server is shutting down, rerouting its rooms"),
        Event::EarlierRunIgnored { chat } => debug!(%chat, "message of an earlier run of a chat server ignored"),
        Event::ContinuedAbove { chat, before, known } => {
            info!(%server, %chat, before = before.0, known = known.0, "a later incarnation is known, going on above it");
        }
        Event::RequestUnwritable { error } => {
            static UNWRITABLE: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = UNWRITABLE.pass() {
                error!(%error, suppressed, "request to a chat server cannot be encoded");
            }
        }
        Event::ImplausibleIgnored { chat, incarnation, number } => {
            static IMPLAUSIBLE: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = IMPLAUSIBLE.pass() {
                let incarnation = incarnation.0;
                warn!(%chat, incarnation, number, suppressed, "an incarnation or a number that cannot be was ignored");
            }
        }
        Event::SenderRefused { sender } => {
            static SENDERS: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = SENDERS.pass() {
                warn!(%server, %sender, suppressed, "a message was refused: servers.json has no such chat server");
            }
        }
        Event::GateRefused { sender } => {
            static GATES: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = GATES.pass() {
                warn!(%server, %sender, suppressed, "a ping was refused: servers.json has no such gate");
            }
        }
        Event::ReplyRefused { sender, reply } => {
            static REPLIES: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = REPLIES.pass() {
                let what = "a ping was refused: its answer would go to no inbox of its gate";
                warn!(%server, %sender, reply, suppressed, "{what}");
            }
        }
        // Only counted: they are frequent where something else is logged.
        Event::RoomsRerouted { .. }
        | Event::GapFound
        | Event::GapPushed
        | Event::StateTaken
        | Event::RequestExpired
        | Event::QuotaRefused { .. }
        | Event::MessageRefused { .. } => {}
    }
}

/// Logs that a later process has this server's id; the caller asks once per tick while it does.
pub(crate) fn log_duplicate_id(server: &ServerId, mine: Incarnation) {
    static OLDER: LogRateLimit = LogRateLimit::new();
    if let Some(suppressed) = OLDER.pass() {
        let mine = mine.0;
        error!(%server, mine, suppressed, "another process has this server's id, and started later: end one");
    }
}
